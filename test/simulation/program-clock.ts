import type { Clock, Timer, TimerOptions } from '../../src/lib/clock.ts'

/** The time of the history, as one program takes it: it knows what keeps its process alive. */
export class ProgramClock implements Clock {
  readonly #clock: Clock
  readonly #keeping = new Set<Timer>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Timers of the client that keep the process alive. */
  get keeping(): number {
    return this.#keeping.size
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
    if (options?.keepsProcessAlive !== true || milliseconds === Number.POSITIVE_INFINITY)
      return this.#clock.after(milliseconds, run, options)
    const timer = this.#clock.after(
      milliseconds,
      () => {
        this.#keeping.delete(kept)
        run()
      },
      options,
    )
    const kept: Timer = {
      cancel: () => {
        this.#keeping.delete(kept)
        timer.cancel()
      },
    }
    this.#keeping.add(kept)
    return kept
  }
}
