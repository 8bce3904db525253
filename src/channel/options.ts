import type { FieldTable, FieldValue, TypedValue } from '../protocol/values.ts'
import type { CallOptions } from './call-options.ts'

export type { CallOptions }

/**
 * A time span of RabbitMQ's streams: a whole number of years, months, days, hours, minutes or seconds, such as `7D` or
 * `5m`.
 */
export type StreamInterval = `${number}${'Y' | 'M' | 'D' | 'h' | 'm' | 's'}`

/**
 * Where in a stream a consumer starts: at the first message that is there, at the last chunk of messages, after all of
 * them (RabbitMQ's default), at an offset, at a time, or a span of time ago. `timestamp()` and `int64()` give a time in
 * seconds and an offset, too.
 */
export type StreamOffset = 'first' | 'last' | 'next' | number | bigint | Date | StreamInterval | TypedValue

/** Arguments of queue.declare that RabbitMQ knows, and any other. It refuses those of another type of queue (406). */
export interface QueueArguments {
  /** Default: the virtual host's, which is `classic` unless it was set. */
  readonly 'x-queue-type'?: 'classic' | 'quorum' | 'stream' | (string & {}) | undefined
  /** Milliseconds after which a message of the queue expires. Classic and quorum queues. */
  readonly 'x-message-ttl'?: number | undefined
  /** Milliseconds without use after which the queue itself is deleted. Classic and quorum queues. */
  readonly 'x-expires'?: number | undefined
  /** Messages that the queue may hold. Classic and quorum queues. */
  readonly 'x-max-length'?: number | undefined
  /** Bytes of message bodies that the queue may hold. */
  readonly 'x-max-length-bytes'?: number | undefined
  /** What happens past the limit; `reject-publish` nacks the publisher. Default: `drop-head`. Classic and quorum queues. */
  readonly 'x-overflow'?: 'drop-head' | 'reject-publish' | 'reject-publish-dlx' | undefined
  /** Exchange that rejected and expired messages go to. Classic and quorum queues. */
  readonly 'x-dead-letter-exchange'?: string | undefined
  /** Routing key of dead letters; needs `x-dead-letter-exchange`. Default: the message's own. */
  readonly 'x-dead-letter-routing-key'?: string | undefined
  /** `at-least-once` needs `x-overflow: 'reject-publish'`. Default: `at-most-once`. Quorum queues. */
  readonly 'x-dead-letter-strategy'?: 'at-most-once' | 'at-least-once' | undefined
  /** Highest priority that the queue distinguishes, 1 to 255. Classic queues: a quorum queue knows priorities without it. */
  readonly 'x-max-priority'?: number | undefined
  /** One consumer at a time gets the messages, and another one when it is gone. Default: false. Classic and quorum queues. */
  readonly 'x-single-active-consumer'?: boolean | undefined
  /** Deliveries after which a quorum queue gives a message up; -1 for no limit. Default: 20 since RabbitMQ 4. */
  readonly 'x-delivery-limit'?: number | undefined
  /**
   * Which messages that come back wait before they are delivered again: those of failed deliveries (basic.reject with
   * `requeue`, a lost channel), those that were only returned (basic.nack with `requeue`, basic.recover), or all. Needs
   * `x-delayed-retry-min`. RabbitMQ 4.3 takes any value, and ignores one that it does not know. Default: `disabled`.
   * Quorum queues of RabbitMQ 4.3.
   */
  readonly 'x-delayed-retry-type'?: 'all' | 'failed' | 'returned' | 'disabled' | undefined
  /**
   * Milliseconds for each delivery that has failed, and once for a message that was only returned. Quorum queues of
   * RabbitMQ 4.3.
   */
  readonly 'x-delayed-retry-min'?: number | undefined
  /** Milliseconds that a message waits at most. Default: `x-delayed-retry-min`. Quorum queues of RabbitMQ 4.3. */
  readonly 'x-delayed-retry-max'?: number | undefined
  /**
   * Milliseconds that a delivery may be unacknowledged; after that RabbitMQ 4.3 takes its consumer off the queue, and
   * earlier versions close its channel. Default: the broker's, 30 minutes. Quorum queues; of RabbitMQ 3.12 to 4.2 classic
   * queues, too.
   */
  readonly 'x-consumer-timeout'?: number | undefined
  /**
   * Milliseconds after which messages of a consumer on a node that cannot be reached go to others. Default: 60,000.
   * Quorum queues of RabbitMQ 4.3.
   */
  readonly 'x-consumer-disconnected-timeout'?: number | undefined
  /** Replicas that are made with the queue. Default: the broker's, 3. Quorum queues. */
  readonly 'x-quorum-initial-group-size'?: number | undefined
  /** Replicas that RabbitMQ adds up to, when nodes join. Quorum queues. */
  readonly 'x-quorum-target-group-size'?: number | undefined
  /** On which node the queue, or its leader, is made. Default: `client-local`. */
  readonly 'x-queue-leader-locator'?: 'client-local' | 'balanced' | undefined
  /** Replicas that are made with the stream. */
  readonly 'x-initial-cluster-size'?: number | undefined
  /** How long a stream keeps messages, such as `7D`. */
  readonly 'x-max-age'?: StreamInterval | undefined
  /** Bytes of a file of the stream, the unit in which old messages are deleted. Default: 500,000,000. */
  readonly 'x-stream-max-segment-size-bytes'?: number | undefined
  /** Bytes of the filter of a chunk of messages, 16 to 255. Default: 16. Streams. */
  readonly 'x-stream-filter-size-bytes'?: number | undefined
  /** `lazy` keeps messages on disk. Classic queues before RabbitMQ 3.12; ignored since. */
  readonly 'x-queue-mode'?: 'default' | 'lazy' | undefined
  /** How messages are stored. RabbitMQ 4.3 takes 2 alone. Classic queues. */
  readonly 'x-queue-version'?: 1 | 2 | undefined
  readonly [name: string]: FieldValue | undefined
}

/** Arguments of basic.consume that RabbitMQ knows, and any other. It refuses those of another type of queue (406). */
export interface ConsumeArguments {
  /**
   * Consumers of the highest priority that can take a message get it; negative ones are below the default, 0. Classic and
   * quorum queues.
   */
  readonly 'x-priority'?: number | undefined
  /** Milliseconds, in the place of the queue's `x-consumer-timeout`. Quorum queues of RabbitMQ 4.3. */
  readonly 'x-consumer-timeout'?: number | undefined
  /** Where in a stream to start. RabbitMQ's default: `next`, what comes from now on. */
  readonly 'x-stream-offset'?: StreamOffset | undefined
  /**
   * Only chunks of a stream that have messages whose header `x-stream-filter-value` is this, or one of these. A consumer of
   * `protocol.consumer()` leaves out the other messages of such a chunk; a callback gets them too. RabbitMQ 3.13 and newer.
   */
  readonly 'x-stream-filter'?: string | readonly string[] | undefined
  /** With `x-stream-filter`, also chunks with messages that have no `x-stream-filter-value`. Default: false. */
  readonly 'x-stream-match-unfiltered'?: boolean | undefined
  readonly [name: string]: FieldValue | undefined
}

/** Arguments of exchange.declare that RabbitMQ knows, and any other. */
export interface ExchangeArguments {
  /** Exchange that takes what no binding of this one does. */
  readonly 'alternate-exchange'?: string | undefined
  readonly [name: string]: FieldValue | undefined
}

/** For methods that can go without a reply. */
export interface NoWaitOption {
  /** Ask for no reply: the promise resolves, without a result, when the method is written. Default: false. */
  readonly noWait?: boolean | undefined
}

/** Options of `queueDeclare`. */
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

/** What queue.declare-ok says. */
export interface QueueDeclareResult {
  /** The queue's name: the one given, or the one that the server made. */
  readonly queue: string
  /** Messages that are ready. */
  readonly messageCount: number
  readonly consumerCount: number
}

/** How many messages were removed. */
export interface MessageCountResult {
  readonly messageCount: number
}

/** Options of `queueDelete`. */
export interface QueueDeleteOptions extends CallOptions, NoWaitOption {
  /** Only if it has no consumers; else the channel closes with 406. Default: false. */
  readonly ifUnused?: boolean | undefined
  /** Only if it has no messages; else the channel closes with 406. Default: false. */
  readonly ifEmpty?: boolean | undefined
}

/** Options of `queueBind`, `exchangeBind` and `exchangeUnbind`. */
export interface BindOptions extends CallOptions, NoWaitOption {
  /** What a headers exchange matches, for instance. */
  readonly arguments?: FieldTable | undefined
}

/** Options of `queueUnbind`. */
export interface UnbindOptions extends CallOptions {
  /**
   * The arguments of the binding: they are a part of its identity, with their wire types. An integer that another client
   * bound may have another one than a number has here, 32 bits: `int8(1)`, for instance, is amqplib's 1.
   */
  readonly arguments?: FieldTable | undefined
}

/** Options of `queuePurge`. */
export interface PurgeOptions extends CallOptions, NoWaitOption {}

/** Options of `exchangeDeclare`. */
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

/** Options of `exchangeDelete`. */
export interface ExchangeDeleteOptions extends CallOptions, NoWaitOption {
  /** Only if it has no bindings; else the channel closes with 406. Default: false. */
  readonly ifUnused?: boolean | undefined
}

/** Options of `basicPublish`. */
export interface BasicPublishOptions {
  /** The message comes back if no queue gets it. Default: false. */
  readonly mandatory?: boolean | undefined
}

/** `timeout` in milliseconds and `signal` end the wait, never the channel: the error's `outcome` says what is known. */
export interface PublishOptions extends BasicPublishOptions, CallOptions {}

/** Options of `confirmSelect`. */
export interface ConfirmSelectOptions extends CallOptions, NoWaitOption {}

/** Options of `basicQos`. */
export interface QosOptions extends CallOptions {
  /** Unacknowledged deliveries that a consumer may have; 0 is no limit. Default: 0. */
  readonly prefetchCount?: number | undefined
  /** Bytes; RabbitMQ knows only 0. Default: 0. */
  readonly prefetchSize?: number | undefined
  /** One limit for all consumers of the channel; RabbitMQ 4.3 takes it as that of each of them. Default: false. */
  readonly connectionGlobal?: boolean | undefined
}

/** Options of `basicConsume`. */
export interface ConsumeOptions extends CallOptions, NoWaitOption {
  /** Default: one made here, unique. */
  readonly consumerTag?: string | undefined
  /** Leave out messages that this connection publishes; RabbitMQ ignores it. Default: false. */
  readonly noLocal?: boolean | undefined
  /** Deliveries count as acknowledged when sent: those on their way when the connection breaks are lost. Default: false. */
  readonly noAck?: boolean | undefined
  /** No other consumer may use the queue. Default: false. */
  readonly exclusive?: boolean | undefined
  /** Callbacks that may run at the same time; 1 makes each wait for the one before. Default: no limit. */
  readonly concurrency?: number | undefined
  readonly arguments?: ConsumeArguments | undefined
}

/** Which consumer was started or stopped. */
export interface ConsumerTagResult {
  readonly consumerTag: string
}

/** Options of `basicCancel`. */
export interface CancelOptions extends CallOptions, NoWaitOption {}

/** Options of `basicGet`. */
export interface GetOptions extends CallOptions {
  /** The message counts as acknowledged when sent. Default: false. */
  readonly noAck?: boolean | undefined
}

/** Options of `basicClientAck`. */
export interface AckOptions {
  /** Settle every delivery up to this one. Default: false. */
  readonly multiple?: boolean | undefined
}

/** Options of `basicClientNack`. */
export interface NackOptions extends AckOptions {
  /** Back to the queue; otherwise to its dead-letter exchange, or dropped. Default: true. */
  readonly requeue?: boolean | undefined
}

/** Options of `basicReject`. */
export interface RejectOptions {
  /** Back to the queue; else to its dead-letter exchange, or away. Default: false. */
  readonly requeue?: boolean | undefined
}

/** Options of `basicRecover` and `basicRecoverAsync`. */
export interface RecoverOptions extends CallOptions {
  /** RabbitMQ knows only true, its default here. */
  readonly requeue?: boolean | undefined
}

/** What a channel's close says to the broker. */
export interface CloseOptions {
  /** Default: 200. */
  readonly replyCode?: number | undefined
  /** What the broker's log shows. Default: `Normal Shutdown`. */
  readonly replyText?: string | undefined
}
