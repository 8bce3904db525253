import type { Clock, Timer, TimerOptions } from '../../../src/lib/clock.ts'

/** The time of the history, as one connection of a program takes it: it knows what timers run, and what keeps the process alive. */
export class ProgramClock implements Clock {
  readonly #clock: Clock
  readonly #running = new Map<Timer, boolean>()

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

  after(milliseconds: number, run: () => void, options?: TimerOptions): Timer {
    if (milliseconds === Number.POSITIVE_INFINITY) return this.#clock.after(milliseconds, run, options)
    const timer = this.#clock.after(
      milliseconds,
      () => {
        this.#running.delete(known)
        run()
      },
      options,
    )
    const known: Timer = {
      cancel: () => {
        this.#running.delete(known)
        timer.cancel()
      },
    }
    this.#running.set(known, options?.keepsProcessAlive === true)
    return known
  }
}
