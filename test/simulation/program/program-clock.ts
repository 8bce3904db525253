import type { Clock, ClockTimer, TimerOptions } from '../../../src/lib/clock.ts'

/** The time of the history, as one connection of a program takes it: it knows what timers run, and what keeps the process alive. */
export class ProgramClock implements Clock {
  readonly #clock: Clock
  readonly #running = new Map<ClockTimer, boolean>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Timers of the client that keep the process alive. */
  get keeping(): number {
    return [...this.#running.values()].filter(Boolean).length
  }

  /** Timers of the client. */
  get running(): number {
    return this.#running.size
  }

  now(): number {
    return this.#clock.now()
  }

  wallTime(): number {
    return this.#clock.wallTime()
  }

  random(): number {
    return this.#clock.random()
  }

  after(milliseconds: number, run: () => void, options?: TimerOptions): ClockTimer {
    if (milliseconds === Number.POSITIVE_INFINITY) return this.#clock.after(milliseconds, run, options)
    const timer = this.#clock.after(
      milliseconds,
      () => {
        this.#running.delete(known)
        run()
      },
      options,
    )
    const known: ClockTimer = {
      cancel: () => {
        this.#running.delete(known)
        timer.cancel()
      },
      keepAlive: keeps => {
        if (this.#running.has(known)) this.#running.set(known, keeps)
        timer.keepAlive(keeps)
      },
    }
    this.#running.set(known, options?.keepsProcessAlive === true)
    return known
  }
}
