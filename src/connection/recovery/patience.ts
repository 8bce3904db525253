import { isExclusiveUse } from '../../channel/rabbitmq.ts'
import { ChannelClosedError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'

/** The first pause in milliseconds before a refused entry is tried again; each is twice as long. */
const FIRST_PAUSE = 50
const LONGEST_PAUSE = 1_000
/** Milliseconds for which the broker may still clean up after the old connection, so that entities are missing. */
const CLEARING_UP = 2_000
/** Milliseconds for which a lock holds up operations that wait for the locked queue: most locks are short. */
const SHORT_LOCK = 1_000
/** Milliseconds for which the broker may lock (405, or 403 if a consumer is exclusive) what the old connection held. */
const LEAST_LOCK = 15_000

/** The broker locks it for another connection, which may be the old one. */
export function isLocked(error: Error | undefined): boolean {
  return error instanceof ChannelClosedError && (error.replyCode === 405 || isExclusiveUse(error))
}

/**
 * How long a new connection tolerates refusals that will pass. The age of the connection counts: if one entry has waited
 * for this time, the next one need not wait again.
 */
export class Patience {
  readonly #clock: Clock
  readonly #since: number
  readonly #lock: number

  /** @param heartbeat seconds; a lock lasts until the broker has noticed that the old connection is gone: 2 intervals. */
  constructor(clock: Clock, heartbeat: number) {
    this.#clock = clock
    this.#since = clock.now()
    this.#lock = Math.max(LEAST_LOCK, 3_000 * heartbeat)
  }

  get #age(): number {
    return this.#clock.now() - this.#since
  }

  /** Whether publishes and calls still wait for an entity with this refusal. */
  holdsUp(error: Error): boolean {
    return this.#age < (isLocked(error) ? SHORT_LOCK : CLEARING_UP)
  }

  /** Whether it is still likely to pass, so that it is not reported. */
  lasts(error: Error): boolean {
    return this.#age < this.#limit(error)
  }

  #limit(error: Error): number {
    return isLocked(error) ? this.#lock : CLEARING_UP
  }

  /** Milliseconds before it is tried again, for the `tries`th time; the last time is when this ends. */
  pause(error: Error, tries: number): number {
    const left = this.#limit(error) - this.#age
    return Math.max(1, Math.min(pauseBetween(tries), left))
  }
}

/** Milliseconds before the `tries`th time, whatever the error. */
export function pauseBetween(tries: number): number {
  return Math.min(FIRST_PAUSE * 2 ** (tries - 1), LONGEST_PAUSE)
}
