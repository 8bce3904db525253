import type { TimerSource } from './clock.ts'
import { WaitList } from './wait-list.ts'

/** A lock for one holder at a time; the others wait in order. */
export class Mutex {
  readonly #waiting: WaitList
  #used = false

  constructor(timers: TimerSource) {
    this.#waiting = new WaitList(timers)
  }

  /**
   * Wait for it. Resolves to a function that releases it; calling that again is harmless.
   *
   * @param what waits, for the error.
   * @throws AbortError if `signal` is aborted first.
   */
  async acquire(what: string, signal?: AbortSignal): Promise<() => void> {
    if (this.#used) await this.#waiting.wait({ what, signal })
    this.#used = true
    let held = true
    return () => {
      if (!held) return
      held = false
      // It is handed over directly: no other caller can come in between.
      this.#used = this.#waiting.wakeNext()
    }
  }
}
