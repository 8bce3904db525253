import type { Clock } from '../../lib/clock.ts'
import type { RecoverySettings } from '../settings/settings.ts'

/** The window of the first attempt in milliseconds: many clients that lose one broker must not dial in one tick. */
const FIRST_WINDOW = 50
/** The shortest window that grows, in milliseconds: an initial delay of 0 would never grow. */
const SMALLEST_WINDOW = 100
/**
 * While no server answers, an attempt is cheap, and nobody knows when one will be back. A random pause of up to this many
 * milliseconds notices it after 0.4 s in one half of all cases and 1 s in nine of ten, with 34 attempts in 20 s.
 */
const UNANSWERED_WINDOW = 1_400
/** Past six minutes, the window grows to this share of the outage. */
const SHARE_OF_OUTAGE = 0.004

/** What the last attempt ended with: no server answered, or one did and refused. */
export type AttemptOutcome = 'unanswered' | 'refused'

/**
 * The pauses between the attempts of one recovery. Each is a random part of a window that grows by `factor`: up to about
 * a second while no server answers, and up to `maxDelay` while one answers and refuses.
 */
export class Backoff {
  readonly #settings: RecoverySettings
  readonly #clock: Clock
  readonly #started: number
  #unanswered = 0
  #refused: number

  /** `refused` attempts count as made: connections that were lost as soon as they were back. */
  constructor(settings: RecoverySettings, clock: Clock, refused = 0) {
    this.#settings = settings
    this.#clock = clock
    this.#started = clock.now()
    this.#refused = refused
  }

  /** Milliseconds before the next attempt; `last` is how the one before ended. */
  next(last?: AttemptOutcome): number {
    const { initialDelay, jitter } = this.#settings
    if (last === 'unanswered') this.#unanswered++
    if (last === 'refused') this.#refused++
    if (this.#unanswered === 0 && this.#refused === 0) return this.#randomPart(initialDelay, FIRST_WINDOW * jitter)
    const window = this.#window(last)
    return this.#randomPart(window * (1 - jitter), window * jitter)
  }

  #window(last: AttemptOutcome | undefined): number {
    const { initialDelay, maxDelay, factor } = this.#settings
    const count = last === 'unanswered' ? this.#unanswered : this.#refused
    const grown = Math.max(initialDelay, SMALLEST_WINDOW) * factor ** (count - 1)
    if (last !== 'unanswered') return Math.min(grown, maxDelay)
    const outage = this.#clock.now() - this.#started
    return Math.min(grown, maxDelay, Math.max(UNANSWERED_WINDOW, initialDelay, SHARE_OF_OUTAGE * outage))
  }

  #randomPart(fixed: number, random: number): number {
    return Math.min(fixed + random * this.#clock.random(), this.#settings.maxDelay)
  }
}
