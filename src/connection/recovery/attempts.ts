import { AuthenticationError, ConnectionFailedError } from '../../errors.ts'
import { Cancellation } from '../../lib/abort-listeners.ts'
import { abortable } from '../../lib/abortable.ts'
import type { Clock } from '../../lib/clock.ts'
import { pause } from '../../lib/pause.ts'
import { asError } from '../../lib/thrown.ts'
import type { Connection } from '../connection.ts'
import type { AttemptOutcome, Backoff } from './backoff.ts'

/** What the attempts to connect need of the connection they are for. */
export interface AttemptsHost {
  /** Attempt number `attempt` is made. */
  dial(signal: Cancellation, attempt: number): Promise<Connection>
  /** Attempt number `attempt` will be made in `delay` milliseconds; `error` is that of the attempt before. */
  trying(attempt: number, delay: number, error: Error | undefined): void
  /** Attempt number `attempt` failed; the next one will follow in `nextDelay` milliseconds, if that is a number. */
  attemptFailed(attempt: number, error: Error, nextDelay: number | undefined): void
  /** Whether further attempts are of no use. */
  givesUpOn(error: Error): Promise<boolean>
}

/**
 * Attempts to connect, one after the other, until one succeeds or nothing is tried any more: of a first connection as of a
 * recovery.
 *
 *     pause ──▶ dial ──▶ use ──▶ done
 *       ▲         └─failed─┘
 *       └────────────┴──▶ given up, cancelled
 */
export class Attempts {
  readonly #host: AttemptsHost
  readonly #clock: Clock
  readonly #backoff: Backoff
  readonly #most: number
  readonly #cancelled = new Cancellation()
  #made = 0

  /** `most` attempts are made, or `Infinity`. */
  constructor(host: AttemptsHost, clock: Clock, backoff: Backoff, most: number) {
    this.#host = host
    this.#clock = clock
    this.#backoff = backoff
    this.#most = most
  }

  /** Attempts that were begun. */
  get made(): number {
    return this.#made
  }

  /** Make no further attempt: `run` rejects with `reason`. */
  cancel(reason?: Error): void {
    this.#cancelled.abort(reason)
  }

  get isCancelled(): boolean {
    return this.#cancelled.aborted
  }

  throwIfCancelled(): void {
    this.#cancelled.throwIfAborted()
  }

  /**
   * Connect, and call `use` with the connection. Rejects with the error of the last attempt if no further one is made.
   */
  async run(use: (connection: Connection) => Promise<void> | void): Promise<void> {
    let failure: Error | undefined
    this.throwIfCancelled()
    let delay = this.#backoff.next(undefined)
    for (let attempt = 1; ; attempt++) {
      this.#host.trying(attempt, delay, failure)
      // Without any pause, attempts that fail at once would leave the event loop no turn.
      await this.pause(attempt === 1 ? delay : Math.max(1, delay))
      this.#made = attempt
      try {
        const connection = await this.#host.dial(this.#cancelled, attempt)
        if (this.isCancelled) connection.abandon('it came too late')
        this.throwIfCancelled()
        await use(connection)
        return
      } catch (thrown) {
        failure = asError(thrown)
        this.throwIfCancelled()
        const isLast = attempt >= this.#most || (await this.#givesUpOn(failure))
        delay = isLast ? 0 : this.#backoff.next(outcomeOf(failure))
        this.#host.attemptFailed(attempt, failure, isLast ? undefined : delay)
        if (isLast) throw failure
        this.throwIfCancelled()
      }
    }
  }

  /** The answer may take its time, or never come. Rejects if it is cancelled. */
  #givesUpOn(failure: Error): Promise<boolean> {
    return abortable(this.#cancelled, () => this.#host.givesUpOn(failure))
  }

  /** Its timer keeps the process alive: a program that is being connected has not ended. Rejects if it is cancelled. */
  async pause(milliseconds: number): Promise<void> {
    this.throwIfCancelled()
    if (milliseconds === 0) return
    await pause(this.#clock, milliseconds, this.#cancelled, { keepsProcessAlive: true })
    this.throwIfCancelled()
  }
}

function outcomeOf(error: Error): AttemptOutcome {
  // A login or a virtual host was refused, or something that recovery restores.
  if (!(error instanceof ConnectionFailedError)) return 'refused'
  if (error.attempts.some(({ cause }) => cause instanceof AuthenticationError)) return 'refused'
  return error.attempts.some(({ step }) => step === 'lookup') ? 'unresolved' : 'unanswered'
}
