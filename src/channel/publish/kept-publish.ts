import type { CloseReason } from '../close-reason.ts'
import type { PendingPublish } from './confirms.ts'
import type { Publishing } from './publishing.ts'

/** A message that the intent level publishes, and may publish again. */
export interface KeptPublish extends PendingPublish {
  readonly payload: Uint8Array | string
}

/** Who publishes on a channel of its own, keeps what the broker has not confirmed, and decides what becomes of it. */
export interface PublishKeeper {
  /** Publishes were settled, or more may be written. */
  progressed(): void
  /** The broker nacked a message. Returns whether it is to be sent again: it stays with what is not settled. */
  nacked(): boolean
  /**
   * That life of the channel is over. These were not settled, oldest first; where `reject` is undefined, nobody waits
   * for it any more.
   */
  ended(publishing: Publishing, unsettled: readonly PendingPublish[], ending: CloseReason): void
}

let settled: PendingPublish
const fill = (resolve: () => void, reject: (error: Error) => void): void => {
  settled.resolve = resolve
  settled.reject = reject
}

/** The promise of a publish, whose resolvers it gets; without another object for them, or a closure. */
export function promiseOf(publish: PendingPublish): Promise<void> {
  settled = publish
  return new Promise(fill)
}
