import { describeThrown } from './lib/thrown.ts'

/** Where a message of a failed publish may be: not sent at all, refused by the broker, or perhaps in the queue. */
export type PublishOutcome = 'notSent' | 'refused' | 'unknown'

export interface AmqpErrorOptions {
  readonly cause?: unknown
  readonly outcome?: PublishOutcome | undefined
}

/** Base of every error of this package: `code` names the class, `cause` holds the error underneath. */
export abstract class AmqpError extends Error {
  static {
    AmqpError.prototype.name = 'AmqpError'
  }
  abstract readonly code: string
  /** Only on an error of a publish: whether sending the message again can duplicate it. */
  declare outcome?: PublishOutcome

  constructor(message: string, options: AmqpErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    if (options.outcome !== undefined) this.outcome = options.outcome
  }
}

/** Base of the errors that mean there is no usable connection. */
export abstract class ConnectionError extends AmqpError {
  static {
    ConnectionError.prototype.name = 'ConnectionError'
  }
}

/** One failed try to reach one server. */
export interface ConnectionAttempt {
  /** `host:port` */
  readonly server: string
  /** What it was doing: `lookup`, `connect`, `tls`, `connection.start`, `connection.tune`, `connection.open-ok`, ... */
  readonly step: string
  readonly cause: Error
}

/**
 * No server could be reached. `attempts` lists each try with its server, its step and its cause; after several attempts for a
 * first connection, the last 20.
 */
export class ConnectionFailedError extends ConnectionError {
  static {
    ConnectionFailedError.prototype.name = 'ConnectionFailedError'
  }
  readonly code = 'CONNECTION_FAILED'
  readonly attempts: readonly ConnectionAttempt[]

  constructor(message: string, options: AmqpErrorOptions & { readonly attempts: readonly ConnectionAttempt[] }) {
    super(message, options)
    this.attempts = options.attempts
  }
}

export interface ServerCloseDetails extends AmqpErrorOptions {
  readonly replyCode?: number | undefined
  readonly replyText?: string | undefined
  readonly classId?: number | undefined
  readonly methodId?: number | undefined
}

/** The connection is closed: by the program, or by the server, which then gave `replyCode` and `replyText`. */
export class ConnectionClosedError extends ConnectionError {
  static {
    ConnectionClosedError.prototype.name = 'ConnectionClosedError'
  }
  readonly code = 'CONNECTION_CLOSED'
  readonly replyCode: number | undefined
  readonly replyText: string | undefined
  /** Class of the method that made the server close, 0 if none did. */
  readonly classId: number | undefined
  readonly methodId: number | undefined

  constructor(message: string, options: ServerCloseDetails = {}) {
    super(message, options)
    this.replyCode = options.replyCode
    this.replyText = options.replyText
    this.classId = options.classId
    this.methodId = options.methodId
  }
}

/** Why a connection was lost. */
export type LossReason = 'socket' | 'end' | 'heartbeat' | 'protocol'

/** The connection broke: a socket error, an end of stream, missed heartbeats, or bytes that are not AMQP. */
export class ConnectionLostError extends ConnectionError {
  static {
    ConnectionLostError.prototype.name = 'ConnectionLostError'
  }
  readonly code = 'CONNECTION_LOST'
  readonly reason: LossReason

  constructor(message: string, options: AmqpErrorOptions & { readonly reason: LossReason }) {
    super(message, options)
    this.reason = options.reason
  }
}

/** The server refused the login or the virtual host, or shares no SASL mechanism with the client. */
export class AuthenticationError extends ConnectionError {
  static {
    AuthenticationError.prototype.name = 'AuthenticationError'
  }
  readonly code = 'AUTHENTICATION_FAILED'
  readonly replyCode: number | undefined
  readonly replyText: string | undefined
  /** The try at the server; empty on an error underneath another one. */
  readonly attempts: readonly ConnectionAttempt[]

  constructor(
    message: string,
    options: ServerCloseDetails & { readonly attempts?: readonly ConnectionAttempt[] | undefined } = {},
  ) {
    super(message, options)
    this.attempts = options.attempts ?? []
    this.replyCode = options.replyCode
    this.replyText = options.replyText
  }
}

/** The channel is closed: by the program, or by the server, which then gave `replyCode` and `replyText`. */
export class ChannelClosedError extends AmqpError {
  static {
    ChannelClosedError.prototype.name = 'ChannelClosedError'
  }
  readonly code = 'CHANNEL_CLOSED'
  readonly replyCode: number | undefined
  readonly replyText: string | undefined
  /** Class of the method that made the server close, 0 if none did. */
  readonly classId: number | undefined
  readonly methodId: number | undefined
  /** The method the server found at fault, such as `queue.declare`. */
  readonly method: string | undefined

  constructor(message: string, options: ServerCloseDetails & { readonly method?: string | undefined } = {}) {
    super(message, options)
    this.replyCode = options.replyCode
    this.replyText = options.replyText
    this.classId = options.classId
    this.methodId = options.methodId
    this.method = options.method
  }
}

/** Every channel number up to the negotiated `channelMax` is in use. */
export class NoChannelAvailableError extends AmqpError {
  static {
    NoChannelAvailableError.prototype.name = 'NoChannelAvailableError'
  }
  readonly code = 'NO_CHANNEL_AVAILABLE'
}

/** Base of the errors by which the broker refuses one message. */
export abstract class PublishError extends AmqpError {
  static {
    PublishError.prototype.name = 'PublishError'
  }
}

/** The broker answered the publish with basic.nack: it did not take the message. */
export class PublishFailedError extends PublishError {
  static {
    PublishFailedError.prototype.name = 'PublishFailedError'
  }
  readonly code = 'PUBLISH_FAILED'
  readonly deliveryTag: number

  constructor(message: string, options: AmqpErrorOptions & { readonly deliveryTag: number }) {
    super(message, { outcome: 'refused', ...options })
    this.deliveryTag = options.deliveryTag
  }
}

export interface MessageReturnedDetails<Envelope, Properties> extends AmqpErrorOptions {
  readonly replyCode: number
  readonly replyText: string
  readonly body: Buffer
  readonly envelope: Envelope
  readonly properties: Properties
}

/** A mandatory message came back: no queue wanted it. */
export class MessageReturnedError<Envelope = unknown, Properties = unknown> extends PublishError {
  static {
    MessageReturnedError.prototype.name = 'MessageReturnedError'
  }
  readonly code = 'MESSAGE_RETURNED'
  /** Not enumerable: a logger that writes the fields of an error leaves out what the message says. */
  declare readonly body: Buffer
  readonly replyCode: number
  readonly replyText: string
  readonly envelope: Envelope
  readonly properties: Properties

  constructor(message: string, options: MessageReturnedDetails<Envelope, Properties>) {
    super(message, { outcome: 'refused', ...options })
    this.replyCode = options.replyCode
    this.replyText = options.replyText
    Object.defineProperty(this, 'body', { value: options.body, configurable: true, writable: true })
    this.envelope = options.envelope
    this.properties = options.properties
  }
}

/** The handler of an RPC server threw; `remoteName` and `message` are its error's. */
export class RemoteError extends AmqpError {
  static {
    RemoteError.prototype.name = 'RemoteError'
  }
  readonly code = 'REMOTE_ERROR'
  readonly remoteName: string

  constructor(message: string, options: AmqpErrorOptions & { readonly remoteName: string }) {
    super(message, options)
    this.remoteName = options.remoteName
  }
}

/** `maxWaiting` publishes wait already. */
export class BufferFullError extends AmqpError {
  static {
    BufferFullError.prototype.name = 'BufferFullError'
  }
  readonly code = 'BUFFER_FULL'

  constructor(message: string, options: AmqpErrorOptions = {}) {
    super(message, { outcome: 'notSent', ...options })
  }
}

/** The server cancelled the consumer: its queue was deleted or moved, or it was too slow to ack. */
export class ConsumerCancelledError extends AmqpError {
  static {
    ConsumerCancelledError.prototype.name = 'ConsumerCancelledError'
  }
  readonly code = 'CONSUMER_CANCELLED'
  readonly queueName: string
  readonly consumerTag: string

  constructor(
    message: string,
    options: AmqpErrorOptions & { readonly queueName: string; readonly consumerTag: string },
  ) {
    super(message, options)
    this.queueName = options.queueName
    this.consumerTag = options.consumerTag
  }
}

/** The consumer tag is in use on this channel. */
export class DuplicateConsumerTagError extends AmqpError {
  static {
    DuplicateConsumerTagError.prototype.name = 'DuplicateConsumerTagError'
  }
  readonly code = 'DUPLICATE_CONSUMER_TAG'
  readonly consumerTag: string

  constructor(message: string, options: AmqpErrorOptions & { readonly consumerTag: string }) {
    super(message, options)
    this.consumerTag = options.consumerTag
  }
}

/** Bytes that are not AMQP 0-9-1. The server was sent the reply code. */
export class FrameError extends AmqpError {
  static {
    FrameError.prototype.name = 'FrameError'
  }
  readonly code = 'FRAME_ERROR'
  /** The AMQP reply code that names the fault: 501 frame error, 502 syntax error. */
  readonly replyCode: number
  /** Only of an error of the codec's `FrameReader`: bytes of the stream before the frame at fault. */
  declare readonly offset?: number

  constructor(
    message: string,
    options: AmqpErrorOptions & { readonly replyCode?: number; readonly offset?: number } = {},
  ) {
    super(message, options)
    this.replyCode = options.replyCode ?? 501
    if (options.offset !== undefined) this.offset = options.offset
  }
}

/** Well-formed frames that break the rules of AMQP 0-9-1: the wrong order, channel or method. */
export class ProtocolError extends AmqpError {
  static {
    ProtocolError.prototype.name = 'ProtocolError'
  }
  readonly code = 'PROTOCOL_ERROR'
  /** The AMQP reply code that names the fault: 503 command invalid, 504 channel error, 505 unexpected frame. */
  readonly replyCode: number

  constructor(message: string, options: AmqpErrorOptions & { readonly replyCode?: number } = {}) {
    super(message, options)
    this.replyCode = options.replyCode ?? 503
  }
}

/** What a schema found wrong with a value. */
export interface SchemaIssue {
  /** Where in the value: `items[0].price`; `''` is the value itself. */
  readonly path: string
  readonly message: string
}

/** An argument that cannot be put on the wire; the message names it. Nothing was sent. */
export class EncodeError extends AmqpError {
  static {
    EncodeError.prototype.name = 'EncodeError'
  }
  readonly code = 'ENCODE_ERROR'
  /** Only of a payload that does not fit its `schema`: what is wrong with it. */
  declare readonly issues?: readonly SchemaIssue[]
}

/**
 * The body of a message is not what it was taken for: not UTF-8, not JSON, not what its content encoding says, or not what
 * its `schema` asks for. The error names the message.
 */
export class DecodeError extends AmqpError {
  static {
    DecodeError.prototype.name = 'DecodeError'
  }
  readonly code = 'DECODE_ERROR'
  /** Only of a body that does not fit its `schema`: what is wrong with it. */
  declare readonly issues?: readonly SchemaIssue[]
}

/** The time given for an operation ran out. */
export class TimeoutError extends AmqpError {
  static {
    TimeoutError.prototype.name = 'TimeoutError'
  }
  readonly code = 'TIMEOUT_ERR'
}

/** The operation's `signal` was aborted; `cause` is `signal.reason`. */
export class AbortError extends AmqpError {
  static {
    AbortError.prototype.name = 'AbortError'
  }
  readonly code = 'ABORT_ERR'
}

/** A URL that is not an AMQP URI, or a parameter of it that is unknown or has a bad value. */
export class AmqpUriError extends AmqpError {
  static {
    AmqpUriError.prototype.name = 'AmqpUriError'
  }
  readonly code = 'AMQP_URI_ERROR'
}

/** The error for an aborted signal: a signal that timed out gives `TimeoutError`, any other `AbortError`. */
export function abortedBy(
  signal: Pick<AbortSignal, 'reason'>,
  what: string,
  outcome?: PublishOutcome,
): TimeoutError | AbortError {
  const reason: unknown = signal.reason
  const options = { cause: reason, outcome }
  return describeThrown(reason).name === 'TimeoutError'
    ? new TimeoutError(`${what} timed out`, options)
    : new AbortError(`${what} was aborted`, options)
}
