import type { Clock } from '../../lib/clock.ts'
import type { Runs } from './handler-runs.ts'
import type { Message } from './message.ts'

/** Handlers that have run for long. */
export interface SlowHandlers {
  readonly count: number
  /** The message of the slowest handler, and its running time in milliseconds at least. */
  readonly longest: { readonly message: Message; readonly ms: number }
}

/** Looks at the handlers in a threshold's time: more would report one sooner after the threshold. */
const LOOKS = 4

/**
 * Reports handlers that run for longer than a threshold, and again each time that has doubled. A handler costs nothing: all
 * are looked at from time to time, by one timer, while any runs.
 */
export class HandlerWatch {
  readonly #clock: Clock
  readonly #threshold: number
  readonly #runs: Pick<Runs, 'working' | 'isIdle'>
  readonly #slow: (handlers: SlowHandlers) => void
  /** The message at the last look, when that began, and after how many milliseconds it is reported. */
  #seen = new Map<Message, { readonly since: number; due: number }>()
  /** A look is due. */
  active = false

  /** `threshold` is in milliseconds; with `Infinity` nothing is reported. */
  constructor(
    clock: Clock,
    threshold: number,
    runs: Pick<Runs, 'working' | 'isIdle'>,
    slow: (handlers: SlowHandlers) => void,
  ) {
    this.#clock = clock
    this.#threshold = threshold
    this.#runs = runs
    this.#slow = slow
  }

  /** A handler may run, or will. */
  start(): void {
    this.active = true
    this.#clock.after(this.#threshold / LOOKS, this.#look)
  }

  readonly #look = (): void => {
    const now = this.#clock.now()
    const before = this.#seen
    this.#seen = new Map()
    let isDue = false
    let count = 0
    let longest: SlowHandlers['longest'] | undefined
    for (const message of this.#runs.working()) {
      const seen = before.get(message) ?? { since: now, due: this.#threshold }
      this.#seen.set(message, seen)
      const ms = Math.round(now - seen.since)
      if (ms < this.#threshold) continue
      count++
      if (ms > (longest?.ms ?? 0)) longest = { message, ms }
      if (ms < seen.due) continue
      isDue = true
      seen.due *= 2
    }
    this.active = false
    // A batch that is being collected now may be the last one.
    if (!this.#runs.isIdle) this.start()
    if (isDue && longest !== undefined) this.#slow({ count, longest })
  }
}
