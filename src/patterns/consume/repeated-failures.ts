import { fingerprint } from '../../lib/platform.ts'
import { isDetached } from '../../protocol/bytes.ts'
import type { Message } from './message.ts'

/** Number of identities that are remembered, and of failures of messages that share one. */
const REMEMBERED = 10_000
const REMEMBERED_ALIKE = 100
/** Bytes of a body that identify it. */
const IDENTIFYING_BYTES = 65_536

/**
 * How often a message has failed. A quorum queue counts that itself, and so does a stream's consumer here. Of other
 * queues it is only known that a message was delivered before: it is recognized by its `messageId`, or else by where it
 * came from and what is in it. If several messages are alike, the one with the fewest failures counts,
 * so that failures of another message lengthen no pause.
 */
export class RepeatedFailures {
  readonly #failures = new Map<string, number[]>()

  get any(): boolean {
    return this.#failures.size > 0
  }

  /** It has failed again; returns how often before. */
  count(message: Message): number {
    const counted = deliveryCount(message)
    if (counted !== undefined) return counted
    const key = identity(message)
    const before = message.envelope.isRedeliver ? this.#take(key) : 0
    const counts = this.#failures.get(key) ?? []
    if (counts.length < REMEMBERED_ALIKE) counts.push(before + 1)
    this.#failures.delete(key)
    this.#failures.set(key, counts)
    if (this.#failures.size > REMEMBERED) {
      const [oldest] = this.#failures.keys()
      if (oldest !== undefined) this.#failures.delete(oldest)
    }
    return before
  }

  /** The failures of the one that failed least, which is remembered no more. */
  #take(key: string): number {
    const counts = this.#failures.get(key)
    if (counts === undefined) return 0
    const least = Math.min(...counts)
    counts.splice(counts.indexOf(least), 1)
    if (counts.length === 0) this.#failures.delete(key)
    return least
  }

  /** It has not failed this time. */
  forget(message: Message): void {
    if (deliveryCount(message) === undefined) this.#take(identity(message))
  }
}

/** How often a queue that counts has delivered it before. Below 0, a publisher sent that: without a pause it would come again at once. */
function deliveryCount({ properties }: Message): number | undefined {
  const count = properties.headers?.['x-delivery-count']
  return typeof count === 'number' && count >= 0 ? count : undefined
}

function identity({ body, envelope, properties }: Message): string {
  const { messageId } = properties
  if (messageId !== undefined) return `id ${messageId}`
  // The handler may have transferred its memory to another thread.
  const contents = isDetached(body) ? '' : fingerprint(body.subarray(0, IDENTIFYING_BYTES))
  return `${envelope.exchangeName} ${envelope.routingKey} ${properties.correlationId} ${body.length} ${contents}`
}
