import { createHash } from 'node:crypto'
import type { Message } from './message.ts'

/** Messages that are remembered. */
const REMEMBERED = 10_000
/** Bytes of a body that tell it from others. */
const TELLING = 65_536

/**
 * How often a message has failed. Brokers don't number messages: one is known by its `messageId`, or else by where it
 * came from and what is in it. Of several that are alike, the one that failed least is taken to be meant.
 */
export class RepeatedFailures {
  readonly #failures = new Map<string, number[]>()

  get any(): boolean {
    return this.#failures.size > 0
  }

  /** It has failed again; returns how often before. */
  count(message: Message): number {
    const key = identity(message)
    const counts = this.#failures.get(key) ?? []
    // A quorum queue counts across consumers.
    const known = message.envelope.isRedeliver ? (counts.shift() ?? 0) : 0
    const before = Math.max(known, counted(message))
    counts.push(before + 1)
    this.#failures.delete(key)
    this.#failures.set(key, counts)
    if (this.#failures.size > REMEMBERED) {
      const [oldest] = this.#failures.keys()
      if (oldest !== undefined) this.#failures.delete(oldest)
    }
    return before
  }

  /** It has not failed this time. */
  forget(message: Message): void {
    const key = identity(message)
    const counts = this.#failures.get(key)
    counts?.shift()
    if (counts?.length === 0) this.#failures.delete(key)
  }
}

function counted(message: Message): number {
  const count = message.properties.headers?.['x-delivery-count']
  return typeof count === 'number' ? count : 0
}

function identity({ body, envelope, properties }: Message): string {
  const { messageId } = properties
  if (messageId !== undefined) return `id ${messageId}`
  return createHash('sha1')
    .update(`${envelope.exchangeName} ${envelope.routingKey} ${properties.correlationId} ${body.length} `)
    .update(body.subarray(0, TELLING))
    .digest('base64')
}
