import type { Clock } from '../lib/clock.ts'

/** Since when, how often and for how long one connection of a program was open, lost and blocked. Whole milliseconds. */
export class ConnectionTimes {
  readonly #clock: Clock
  readonly #startedAt: number
  /** Undefined before the first connection. */
  #openedAt: number | undefined
  #lostAt: number | undefined
  #blockedAt: number | undefined
  #blockedMs = 0
  #reconnects = 0
  #lastRecoveryMs: number | undefined
  #recoveryMs = 0

  /** The connection is being opened. */
  constructor(clock: Clock) {
    this.#clock = clock
    this.#startedAt = clock.now()
  }

  #since(start: number | undefined): number {
    return start === undefined ? 0 : Math.round(this.#clock.now() - start)
  }

  /** It is open for the first time. Returns how long that took. */
  opened(): number {
    const took = this.#since(this.#startedAt)
    this.#openedAt = this.#clock.now()
    return took
  }

  /** It was lost. Returns how long it was open. */
  lost(): number {
    this.#lostAt = this.#clock.now()
    return this.#since(this.#openedAt)
  }

  /** Milliseconds since the loss that is being recovered from; 0 if there is none. */
  get recoveringMs(): number {
    return this.#since(this.#lostAt)
  }

  /** It is back. Returns how long that took. */
  recovered(): number {
    const took = this.recoveringMs
    this.#lostAt = undefined
    this.#openedAt = this.#clock.now()
    this.#reconnects++
    this.#lastRecoveryMs = took
    this.#recoveryMs += took
    return took
  }

  /** It is over for good: no time runs on. */
  closed(): void {
    this.#recoveryMs += this.recoveringMs
    this.#lostAt = undefined
    this.#openedAt = undefined
  }

  blocked(): void {
    this.#blockedAt ??= this.#clock.now()
  }

  /** Returns how long it was blocked; undefined if it was not. */
  unblocked(): number | undefined {
    if (this.#blockedAt === undefined) return undefined
    const took = this.#since(this.#blockedAt)
    this.#blockedAt = undefined
    this.#blockedMs += took
    return took
  }

  get stats() {
    return {
      openMs: this.#lostAt === undefined ? this.#since(this.#openedAt) : 0,
      reconnects: this.#reconnects,
      recoveringMs: this.recoveringMs,
      lastRecoveryMs: this.#lastRecoveryMs,
      totalRecoveryMs: this.#recoveryMs + this.recoveringMs,
      totalBlockedMs: this.#blockedMs + this.#since(this.#blockedAt),
    }
  }
}
