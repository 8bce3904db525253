import type { FieldTable } from '../protocol/values.ts'

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
  /** '' where the server was to make the name. */
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

/** Keeps what the program has made at the broker, to make it again on the next connection. */
export interface TopologyRecorder {
  exchangeDeclared(definition: ExchangeDefinition): void
  exchangeDeleted(exchangeName: string): void
  queueDeclared(name: string, definition: QueueDefinition): void
  queueDeleted(name: string): void
  bound(binding: BindingDefinition): void
  unbound(binding: BindingDefinition): void
  /** A consumer of the queue is there, or gone: an auto-delete queue goes with its last. */
  consumerAdded(queueName: string): void
  consumerRemoved(queueName: string): void
  /** Whether the queue is a stream, as the program declared it; undefined where it did not, or did not say. */
  isStream(queueName: string): boolean | undefined
  /** The name that a server-named queue has now. */
  currentName(queueName: string): string
}
