import type { FieldTable } from '../protocol/values.ts'
import type { QueueType } from './argument-tables.ts'
import type { Message } from './message.ts'

/** A channel, as the queues see that give it messages. */
export interface Receiver {
  /** Its mailbox: runs after everything that the channel has already received. */
  post(turn: () => void): void
  /** Whether the limit of the channel as a whole lets one more message out. */
  hasRoom(): boolean
  /** A message is on its way to a consumer that is to acknowledge it. */
  took(): void
  deliver(delivery: Delivery): void
  /** Run it when what it was given before has left for the client. */
  afterWriting(turn: () => void): void
  /** The queue is gone, or gives this consumer nothing more. */
  cancelled(consumer: Consumer): void
  /** Not acknowledged in time; a consumer gets nothing more. Without one, the message was asked for by basic.get. */
  timedOut(consumer: Consumer | undefined): void
}

export interface ConsumerOptions {
  readonly noAck: boolean
  readonly exclusive: boolean
  /** Unacknowledged messages that it may have; 0 for no limit. */
  readonly prefetch: number
  /** Messages that it may have that are not settled, as its queue sees that. */
  readonly most: number
  /** Whether its channel has a limit for all of its consumers together. */
  readonly limited: boolean
  /** Whether it is held to that. */
  readonly heedsChannel: boolean
  readonly priority: number
  readonly arguments: FieldTable
}

/** What a quorum queue takes no prefetch limit for. */
const UNLIMITED = 2000

/** Messages that a consumer may have that are not settled. To a quorum queue, what needs no ack is settled when it arrives. */
export function mostUnsettled(type: QueueType, prefetch: number, noAck: boolean): number {
  if (type === 'quorum') return prefetch || UNLIMITED
  return noAck || prefetch === 0 ? Number.POSITIVE_INFINITY : prefetch
}

export class Consumer {
  readonly receiver: Receiver
  readonly tag: string
  readonly options: ConsumerOptions
  /** Messages that it has, or that are on their way to it. */
  unacked = 0
  /** Gets nothing more before all that it has is settled, since another one waits for its place. */
  quiescing = false
  /** Its place among the consumers that have got messages of its queue. */
  ordinal = 0

  constructor(receiver: Receiver, tag: string, options: ConsumerOptions) {
    this.receiver = receiver
    this.tag = tag
    this.options = options
  }

  /** Whether it may have one more message. */
  get isReady(): boolean {
    return this.#hasRoom && !this.#waitsForChannel
  }

  /** Whether only the limit of its channel keeps it from one more message. */
  get isHeldByChannel(): boolean {
    return this.#hasRoom && this.#waitsForChannel
  }

  get #hasRoom(): boolean {
    return !this.quiescing && this.unacked < this.options.most
  }

  get #waitsForChannel(): boolean {
    return this.options.heedsChannel && !this.receiver.hasRoom()
  }
}

/** Reports the end of their queue to its consumers: a channel looks for its own by their tags. */
export function cancelAll(consumers: readonly Consumer[]): void {
  for (const consumer of consumers.toSorted((one, other) => (one.tag < other.tag ? -1 : 1))) {
    consumer.receiver.post(() => consumer.receiver.cancelled(consumer))
  }
}

/** A message in a queue, which outlives being given and taken back. */
export interface Stored {
  readonly message: Message
  /** Its place in the queue. */
  readonly position: number
  /** What it counts toward a limit of bytes. */
  readonly size: number
  readonly expiresAt: number
  redelivered: boolean
  /** Deliveries that failed. */
  deliveryCount: number
  /** The number of times that a consumer got it and gave it back. */
  acquiredCount: number
}

/** A message that a queue has delivered, acknowledged or not. */
export interface Delivery {
  readonly queue: Settler
  readonly stored: Stored
  /** As it is sent, with the headers that its queue adds. */
  readonly message: Message
  readonly redelivered: boolean
  readonly receiver: Receiver
  /** Undefined where it was asked for by basic.get. */
  readonly consumer: Consumer | undefined
  /** That of its consumer, or its own. */
  readonly ordinal: number
  readonly noAck: boolean
  /** When it comes back if it is not settled. */
  readonly timesOutAt: number
}

/** How a delivery ends; `-dead` does not come back. */
export type Settlement = 'ack' | 'nack' | 'reject' | 'nack-dead' | 'reject-dead'

/** The queue of a delivery, as a channel sees it that settles it. */
export interface Settler {
  readonly name: string
  settle(deliveries: readonly Delivery[], settlement: Settlement): void
}
