import type { AmqpError } from '../errors.ts'
import { type Deferred, deferred } from '../lib/deferred.ts'
import type { CloseReason } from './close-reason.ts'

/**
 * The end for good of a long-lived connection or channel: its reason, and those who wait for it. The reason is there first,
 * for the errors of all that is pending; `settle` is called when that has ended.
 */
export class FinalEnd {
  reason: CloseReason | undefined
  /** Made for the first who waits. */
  #awaited: Deferred | undefined

  /** Settle the promise of those who wait. Returns the error if it has to be reported, since no promise rejects with it. */
  settle(): AmqpError | undefined {
    const { error, isReported = false } = this.reason ?? {}
    if (error === undefined) this.#awaited?.resolve()
    else this.#awaited?.reject(error)
    return isReported || this.#awaited !== undefined ? undefined : error
  }

  /** Resolves when the program has asked for the end; rejects with the reason if it was not asked for. */
  wait(): Promise<void> {
    if (this.reason === undefined) {
      this.#awaited ??= deferred()
      return this.#awaited.promise
    }
    return this.reason.error === undefined ? Promise.resolve() : Promise.reject(this.reason.error)
  }
}
