import type { FieldTable, FieldValue } from '../protocol/values.ts'
import type { CallOptions } from './call-options.ts'

export type { CallOptions }

/** Arguments of queue.declare that RabbitMQ knows, and any other. */
export interface QueueArguments {
  /** Default: the virtual host's, which is `classic` unless it was set. */
  readonly 'x-queue-type'?: 'classic' | 'quorum' | 'stream' | (string & {}) | undefined
  /** Milliseconds after which a message of the queue expires. */
  readonly 'x-message-ttl'?: number | undefined
  /** Milliseconds without use after which the queue itself is deleted. */
  readonly 'x-expires'?: number | undefined
  /** Messages that the queue may hold. */
  readonly 'x-max-length'?: number | undefined
  /** Bytes of message bodies that the queue may hold. */
  readonly 'x-max-length-bytes'?: number | undefined
  /** What happens past the limit; `reject-publish` nacks the publisher. */
  readonly 'x-overflow'?: 'drop-head' | 'reject-publish' | 'reject-publish-dlx' | undefined
  /** Exchange that rejected and expired messages go to. */
  readonly 'x-dead-letter-exchange'?: string | undefined
  /** Default: the message's own. */
  readonly 'x-dead-letter-routing-key'?: string | undefined
  readonly 'x-dead-letter-strategy'?: 'at-most-once' | 'at-least-once' | undefined
  /** 1 to 255; classic queues only. */
  readonly 'x-max-priority'?: number | undefined
  readonly 'x-single-active-consumer'?: boolean | undefined
  /** Deliveries after which a quorum queue gives a message up. */
  readonly 'x-delivery-limit'?: number | undefined
  readonly 'x-quorum-initial-group-size'?: number | undefined
  readonly 'x-queue-leader-locator'?: 'client-local' | 'balanced' | undefined
  /** How long a stream keeps messages, such as `7D`. */
  readonly 'x-max-age'?: string | undefined
  readonly 'x-stream-max-segment-size-bytes'?: number | undefined
  readonly [name: string]: FieldValue | undefined
}

/** Arguments of basic.consume that RabbitMQ knows, and any other. */
export interface ConsumeArguments {
  /** Consumers of the highest priority that can take a message get it. */
  readonly 'x-priority'?: number | undefined
  /** Where in a stream to start: `first`, `last`, `next`, an offset, a time or an interval. */
  readonly 'x-stream-offset'?: 'first' | 'last' | 'next' | number | bigint | string | Date | undefined
  readonly [name: string]: FieldValue | undefined
}

/** Arguments of exchange.declare that RabbitMQ knows, and any other. */
export interface ExchangeArguments {
  /** Exchange that takes what no binding of this one does. */
  readonly 'alternate-exchange'?: string | undefined
  readonly [name: string]: FieldValue | undefined
}

export interface NoWaitOption {
  /** Ask for no reply: the promise resolves, without a result, when the method is written. Default: false. */
  readonly noWait?: boolean | undefined
}

export interface QueueDeclareOptions extends CallOptions, NoWaitOption {
  /** Only ask whether the queue is there; the channel closes with 404 if it is not. Never recovered. Default: false. */
  readonly passive?: boolean | undefined
  /** The queue outlives a restart of the broker. Default: the opposite of `exclusive`. */
  readonly durable?: boolean | undefined
  /** Only this connection may use the queue, which ends with it. Default: true for a server-named queue without `durable`. */
  readonly exclusive?: boolean | undefined
  /** The queue is deleted when its last consumer goes. Default: false. */
  readonly autoDelete?: boolean | undefined
  readonly arguments?: QueueArguments | undefined
  /** Declare the queue again after a lost connection. Default: true. */
  readonly recover?: boolean | undefined
}

export interface QueueDeclareResult {
  /** The queue's name: the one given, or the one that the server made. */
  readonly queue: string
  /** Messages that are ready. */
  readonly messageCount: number
  readonly consumerCount: number
}

export interface MessageCountResult {
  readonly messageCount: number
}

export interface QueueDeleteOptions extends CallOptions, NoWaitOption {
  /** Only if it has no consumers; else the channel closes with 406. Default: false. */
  readonly ifUnused?: boolean | undefined
  /** Only if it has no messages; else the channel closes with 406. Default: false. */
  readonly ifEmpty?: boolean | undefined
}

export interface BindOptions extends CallOptions, NoWaitOption {
  /** What a headers exchange matches, for instance. */
  readonly arguments?: FieldTable | undefined
}

export interface UnbindOptions extends CallOptions {
  /** Those of the binding: they are a part of its identity. */
  readonly arguments?: FieldTable | undefined
}

export interface PurgeOptions extends CallOptions, NoWaitOption {}

export interface ExchangeDeclareOptions extends CallOptions, NoWaitOption {
  /** Only ask whether the exchange is there; the channel closes with 404 if it is not. Never recovered. Default: false. */
  readonly passive?: boolean | undefined
  /** The exchange outlives a restart of the broker. Default: true. */
  readonly durable?: boolean | undefined
  /** The exchange is deleted when its last binding goes. Default: false. */
  readonly autoDelete?: boolean | undefined
  /** Only other exchanges can publish to it. Default: false. */
  readonly internal?: boolean | undefined
  readonly arguments?: ExchangeArguments | undefined
  /** Declare the exchange again after a lost connection. Default: true. */
  readonly recover?: boolean | undefined
}

export interface ExchangeDeleteOptions extends CallOptions, NoWaitOption {
  /** Only if it has no bindings; else the channel closes with 406. Default: false. */
  readonly ifUnused?: boolean | undefined
}

export interface BasicPublishOptions {
  /** The message comes back if no queue gets it. Default: false. */
  readonly mandatory?: boolean | undefined
}

/** `timeout` in milliseconds and `signal` end the wait, never the channel: the error's `outcome` says what is known. */
export interface PublishOptions extends BasicPublishOptions, CallOptions {}

export interface ConfirmSelectOptions extends CallOptions, NoWaitOption {}

export interface QosOptions extends CallOptions {
  /** Unacknowledged deliveries that a consumer may have; 0 is no limit. Default: 0. */
  readonly prefetchCount?: number | undefined
  /** Bytes; RabbitMQ knows only 0. Default: 0. */
  readonly prefetchSize?: number | undefined
  /** One limit for all consumers of the channel; RabbitMQ 4.3 takes it as that of each of them. Default: false. */
  readonly connectionGlobal?: boolean | undefined
}

export interface ConsumeOptions extends CallOptions, NoWaitOption {
  /** Default: one made here, unique. */
  readonly consumerTag?: string | undefined
  /** Not what this connection publishes; RabbitMQ ignores it. Default: false. */
  readonly noLocal?: boolean | undefined
  /** Deliveries count as acknowledged when sent: what is on its way when the connection breaks is lost. Default: false. */
  readonly noAck?: boolean | undefined
  /** No other consumer may use the queue. Default: false. */
  readonly exclusive?: boolean | undefined
  /** Callbacks that may run at the same time; 1 makes each wait for the one before. Default: no limit. */
  readonly concurrency?: number | undefined
  readonly arguments?: ConsumeArguments | undefined
}

export interface ConsumerTagResult {
  readonly consumerTag: string
}

export interface CancelOptions extends CallOptions, NoWaitOption {}

export interface GetOptions extends CallOptions {
  /** The message counts as acknowledged when sent. Default: false. */
  readonly noAck?: boolean | undefined
}

export interface AckOptions {
  /** Every delivery up to this one. Default: false. */
  readonly multiple?: boolean | undefined
}

export interface NackOptions extends AckOptions {
  /** Back to the queue; else to its dead-letter exchange, or away. Default: true. */
  readonly requeue?: boolean | undefined
}

export interface RejectOptions {
  /** Back to the queue; else to its dead-letter exchange, or away. Default: false. */
  readonly requeue?: boolean | undefined
}

export interface RecoverOptions extends CallOptions {
  /** RabbitMQ knows only true, its default here. */
  readonly requeue?: boolean | undefined
}

export interface CloseOptions {
  /** Default: 200. */
  readonly replyCode?: number | undefined
  /** What the broker's log shows. Default: `Normal Shutdown`. */
  readonly replyText?: string | undefined
}
