import type { FieldTable } from '../protocol/values.ts'
import type { Effect } from './written-effects.ts'

/** How an exchange was declared. */
export interface ExchangeDefinition {
  readonly exchangeName: string
  readonly typeName: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly internal: boolean
  readonly arguments: FieldTable | undefined
}

/** How a queue was declared. */
export interface QueueDefinition {
  /** '' if the server was to make the name. */
  readonly queueName: string
  readonly durable: boolean
  readonly exclusive: boolean
  readonly autoDelete: boolean
  readonly arguments: FieldTable | undefined
}

/** A binding is all of these together. */
export interface BindingDefinition {
  readonly kind: 'queue' | 'exchange'
  readonly source: string
  /** A queue or an exchange. */
  readonly destination: string
  readonly routingKey: string
  readonly arguments: FieldTable | undefined
}

/** A queue of the ledger, whatever becomes of its name; the name alone of one that it did not know. */
export type CountedQueue = { readonly consumers: number } | string

/** What a program has made at the broker. Each method is one thing that the broker has done. */
export interface Ledger {
  /** @param recovers false: the program wants it kept out of a recovery, and what is bound to it. */
  exchangeDeclared(definition: ExchangeDefinition, recovers: boolean): void
  exchangeDeleted(exchangeName: string): void
  queueDeclared(name: string, definition: QueueDefinition, recovers: boolean): void
  queueDeleted(name: string): void
  bound(binding: BindingDefinition): void
  unbound(binding: BindingDefinition): void
  /** A consumer of the queue is there. Returns the queue that it will be taken from, which may be deleted by then. */
  consumerAdded(queueName: string): CountedQueue
  /** It is gone: an auto-delete queue goes with its last. */
  consumerRemoved(queue: CountedQueue): void
  /** A consumer of the queue is gone with its channel, and is asked for again: so is the queue, if it went with it. */
  consumerLost(queue: CountedQueue): void
  /** The queue was asked for or read from: one that expires (x-expires) lives on. */
  queueUsed(queueName: string): void
}

/** Keeps what the program has made at the broker, to make it again on the next connection. */
export interface TopologyRecorder {
  /**
   * A method was written on any channel. When its effect is accepted, `change` is applied: in the order in which
   * methods were written, whatever the order of their replies.
   *
   * @param provisional nothing will reply to it (noWait).
   */
  written(change: (ledger: Ledger) => void, provisional?: boolean): Effect
  /** Whether the queue is a stream, as the program declared it; undefined if it did not, or did not say. */
  isStream(queueName: string): boolean | undefined
  /** The arguments of the queue, as the program declared it; undefined if it did not, or gave none. */
  queueArguments(queueName: string): FieldTable | undefined
  /** The name that a server-named queue has now. */
  currentName(queueName: string): string
}
