import { AbortError, abortedBy, type ConnectionAttempt, ConnectionFailedError, TimeoutError } from '../errors.ts'
import { onAbort } from '../lib/abort-listeners.ts'
import { asError } from '../lib/thrown.ts'
import type { Connection } from './connection.ts'
import { addressOf, isFinal } from './dial.ts'
import { Attempts, type AttemptsHost } from './recovery/attempts.ts'
import { Backoff } from './recovery/backoff.ts'
import { DEFAULT_RECOVERY, type Settings } from './settings/settings.ts'

/** Tries at the servers that the error lists at most, the last ones. */
const MOST_LISTED = 20

/**
 * The attempts for the first connection of all, with the pauses of a recovery. They end for good when a server refuses
 * something that the next attempt would repeat, or by the program's `signal`.
 */
export class FirstConnection {
  readonly #settings: Settings
  readonly #attempts: Attempts
  readonly #what: string
  readonly #started: number
  /** Attempts that failed. */
  #failed = 0
  #last: Error | undefined
  #listed: ConnectionAttempt[] = []

  /** At most `most` attempts are made; `Infinity` is fine. */
  constructor(host: Omit<AttemptsHost, 'attemptFailed'>, settings: Settings, most: number) {
    const { servers, clock, recovery = DEFAULT_RECOVERY } = settings
    this.#settings = settings
    this.#what = `connect to ${servers.map(addressOf).join(', ')}`
    this.#started = clock.now()
    const counting: AttemptsHost = {
      dial: (signal, attempt) => host.dial(signal, attempt),
      trying: (attempt, delay, error) => host.trying(attempt, delay, error),
      attemptFailed: (_attempt, error) => this.#attemptFailed(error),
      givesUpOn: async error => isFinal(error) || host.givesUpOn(error),
    }
    this.#attempts = new Attempts(counting, clock, new Backoff(recovery, clock, 0, true), most)
  }

  /** Whether an attempt has failed: a server that is there now may have just started. */
  get wasLate(): boolean {
    return this.#failed > 0
  }

  /** Make no further attempt. */
  cancel(): void {
    this.#attempts.cancel()
  }

  /** Connect, and have `use` take the connection. Rejects with the error for the program, or if it is cancelled. */
  async run(use: (connection: Connection) => void): Promise<void> {
    const { signal } = this.#settings
    const cancel = (): void => {
      if (signal !== undefined) this.#attempts.cancel(abortedBy(signal, this.#what))
    }
    const aborted = signal === undefined || signal.aborted ? undefined : onAbort(signal, cancel)
    if (signal?.aborted) cancel()
    try {
      await this.#attempts.run(use)
    } catch (thrown) {
      throw this.#explained(asError(thrown))
    } finally {
      aborted?.cancel()
    }
  }

  #attemptFailed(error: Error): void {
    this.#failed++
    this.#last = error
    if (error instanceof ConnectionFailedError) this.#listed.push(...error.attempts)
    this.#listed.splice(0, this.#listed.length - MOST_LISTED)
  }

  /** Its error, and a summary of the earlier attempts. */
  #explained(error: Error): Error {
    const last = this.#last
    if ((error instanceof AbortError || error instanceof TimeoutError) && last !== undefined) {
      error.message += `; attempt ${this.#failed} had failed: ${last.message}`
    } else if (error instanceof ConnectionFailedError && this.#failed > 1) {
      const seconds = Math.round((this.#settings.clock.now() - this.#started) / 1_000)
      const message = `${error.message}; that was attempt ${this.#failed}, ${seconds} s after the first`
      return new ConnectionFailedError(message, { attempts: this.#listed, cause: error.cause })
    }
    return error
  }
}
