import type { FieldTable } from '../protocol/values.ts'
import type { Message } from './message.ts'
import { numberArgument, textArgument } from './queue-arguments.ts'

/** What the arguments of a queue say about how many messages it keeps, and how long. */
export class QueueLimits {
  readonly #maxLength: number
  readonly #maxBytes: number
  readonly #ttl: number
  readonly overflow: 'drop-head' | 'reject-publish' | 'reject-publish-dlx'

  constructor(table: FieldTable) {
    this.#maxLength = numberArgument(table, 'x-max-length') ?? Number.POSITIVE_INFINITY
    this.#maxBytes = numberArgument(table, 'x-max-length-bytes') ?? Number.POSITIVE_INFINITY
    this.#ttl = numberArgument(table, 'x-message-ttl') ?? Number.POSITIVE_INFINITY
    const overflow = textArgument(table, 'x-overflow')
    this.overflow = overflow === 'reject-publish' || overflow === 'reject-publish-dlx' ? overflow : 'drop-head'
  }

  /** Whether there is more than a queue may have, or than a `share` of that. */
  isExceeded(length: number, bytes: number, share = 1): boolean {
    return length > Math.trunc(this.#maxLength * share) || bytes > Math.trunc(this.#maxBytes * share)
  }

  /** How long a message may stay: the shorter one of the limits of the queue and the publisher. */
  timeToLive({ properties }: Message): number {
    const { expiration } = properties
    return Math.min(this.#ttl, expiration === undefined ? Number.POSITIVE_INFINITY : Number(expiration))
  }
}
