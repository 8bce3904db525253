import type { Clock } from '../../lib/clock.ts'
import type { RecoverySettings } from '../settings/settings.ts'

/** The window of the first attempt in milliseconds: many clients that lose one broker must not dial in one tick. */
const FIRST_WINDOW = 50
/** The shortest window that grows, in milliseconds: an initial delay of 0 would never grow. */
const SMALLEST_WINDOW = 100
/**
 * While no server answers, an attempt is cheap, and it is unknown when one will be back. A random pause of up to this many
 * milliseconds notices it after 0.4 s in one half of all cases and 1 s in nine of ten, with 34 attempts in 20 s.
 */
const EARLY_WINDOW = 1_400
/**
 * The same before there has been any connection: the whole program waits for it. In the first minute a server is noticed
 * within 0.25 s of its start, by some ten attempts a second.
 */
const EARLY_WINDOW_OF_FIRST = 200
/** Past six minutes, the window grows to this share of the outage. */
const SHARE_IF_UNANSWERED = 0.004
/** A server that refuses (a login, a virtual host that is made again) is asked less often the longer it has refused. */
const SHARE_IF_REFUSED = 0.1

/** What the last attempt ended with: a server's name had no address, no server answered, or one did and refused. */
export type AttemptOutcome = 'unresolved' | 'unanswered' | 'refused'

/**
 * The pauses between the attempts of one recovery, or of a first connection. Each is a random part of a window that grows
 * by `factor`, up to about a second at first, and then with the outage up to `maxDelay`: slowly while no server answers,
 * faster while one refuses.
 */
export class Backoff {
  readonly #settings: RecoverySettings
  readonly #clock: Clock
  readonly #started: number
  readonly #flapping: number
  readonly #isFirst: boolean
  readonly #counts = { unresolved: 0, unanswered: 0, refused: 0 }

  /**
   * @param flapping connections in a row that were lost as soon as they were back: the first pause is as if after as many
   * attempts.
   * @param isFirst of a first connection, whose first attempt is made at once.
   */
  constructor(settings: RecoverySettings, clock: Clock, flapping = 0, isFirst = false) {
    this.#settings = settings
    this.#clock = clock
    this.#started = clock.now()
    this.#flapping = flapping
    this.#isFirst = isFirst
  }

  /** Milliseconds before the next attempt; `outcome` is how the one before ended. */
  next(outcome?: AttemptOutcome): number {
    const { initialDelay, maxDelay, jitter } = this.#settings
    if (outcome === undefined && this.#isFirst) return 0
    // A first connection spares the servers of names, which cost more to ask than a closed port.
    const last = outcome === 'unresolved' && !this.#isFirst ? 'unanswered' : outcome
    if (last === undefined && this.#flapping === 0) return this.#randomPart(initialDelay, FIRST_WINDOW * jitter)
    const count = last === undefined ? this.#flapping : ++this.#counts[last]
    // A share of 0 of `Infinity` would be NaN.
    const window = Math.min(this.#grown(count), maxDelay, this.#most(last), Number.MAX_VALUE)
    return this.#randomPart(window * (1 - jitter), window * jitter)
  }

  #grown(count: number): number {
    const { initialDelay, factor } = this.#settings
    return Math.max(initialDelay, SMALLEST_WINDOW) * factor ** (count - 1)
  }

  #most(last: AttemptOutcome | undefined): number {
    if (last === undefined) return Number.POSITIVE_INFINITY
    const share = last === 'refused' ? SHARE_IF_REFUSED : SHARE_IF_UNANSWERED
    const early = this.#isFirst && last === 'unanswered' ? EARLY_WINDOW_OF_FIRST : EARLY_WINDOW
    const outage = this.#clock.now() - this.#started
    return Math.max(early, this.#settings.initialDelay, share * outage)
  }

  #randomPart(fixed: number, random: number): number {
    return Math.min(fixed + random * this.#clock.random(), this.#settings.maxDelay)
  }
}
