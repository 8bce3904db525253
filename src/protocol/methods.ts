import {
  bit,
  type Field,
  type FieldInputs,
  type FieldOutputs,
  long,
  longlong,
  longstr,
  longtext,
  octet,
  optional,
  type Presence,
  reserved,
  short,
  shortstr,
  table,
} from './fields.ts'

/** The fields of a method in wire order, by the names that its arguments have in this package. */
export type Fields = { readonly [name: string]: Field }

/** A field with the facts that the codec needs. */
export interface Argument {
  readonly name: string
  /** @internal What errors call it: `queue.declare: queueName`. */
  readonly where: string
  readonly field: Field
}

/** A method of the protocol, for code that takes any method. */
export interface AnyMethod {
  /** As the specification has it: `queue.declare`. */
  readonly name: string
  readonly classId: number
  readonly methodId: number
  /** Class and method id in one: what the payload of a method frame starts with. */
  readonly key: number
  readonly fields: Fields
  /** The fields, in wire order. */
  readonly order: readonly Argument[]
  /** The method that answers this one. */
  readonly reply?: AnyMethod | undefined
  /** Every method that may answer this one: basic.get has two, others have one or none. */
  readonly replies: readonly AnyMethod[]
  /** A content header and body frames follow. */
  readonly content: boolean
  /** The peer answers this method. */
  readonly synchronous: boolean
}

/** A method whose name and fields the compiler knows. */
export interface Method<N extends string = string, F extends Fields = Fields> extends AnyMethod {
  readonly name: N
  readonly fields: F
}

/** A method that the peer answers. */
export interface SyncMethod<N extends string = string, F extends Fields = Fields, R extends AnyMethod = AnyMethod>
  extends Method<N, F> {
  readonly reply: R
  readonly synchronous: true
}

type Named<F extends Fields, P extends Presence> = {
  [K in keyof F]: F[K] extends { readonly presence: P } ? K : never
}[keyof F]

type In<T> = T extends Field<infer Kind> ? FieldInputs[Kind] : never
type Out<T> = T extends Field<infer Kind> ? FieldOutputs[Kind] : never

type Flat<T> = { readonly [K in keyof T]: T[K] }

/** What encoding the method takes. Optional arguments have the defaults of the table. */
export type ArgumentsOf<M extends AnyMethod> = Flat<
  { readonly [K in keyof M['fields'] as K extends Named<M['fields'], 'required'> ? K : never]: In<M['fields'][K]> } & {
    readonly [K in keyof M['fields'] as K extends Named<M['fields'], 'optional'> ? K : never]?:
      | In<M['fields'][K]>
      | undefined
  }
>

/** What decoding the method gives: every field but the reserved ones. */
export type DecodedOf<M extends AnyMethod> = {
  readonly [K in keyof M['fields'] as K extends Named<M['fields'], 'reserved'> ? never : K]: Out<M['fields'][K]>
}

/** The decoded reply of a synchronous method; of basic.get, basic.get-ok. */
export type ReplyOf<M extends AnyMethod> = M extends { readonly reply: infer R extends AnyMethod }
  ? DecodedOf<R>
  : never

function define<N extends string, F extends Fields>(
  name: N,
  classId: number,
  methodId: number,
  fields: F,
  replies: readonly AnyMethod[],
  content: boolean,
): Method<N, F> {
  const order = Object.entries(fields).map(([argument, field]) => ({
    name: argument,
    where: `${name}: ${argument}`,
    field,
  }))
  const [reply] = replies
  const key = ((classId << 16) | methodId) >>> 0
  const synchronous = reply !== undefined
  return { name, classId, methodId, key, fields, order, reply, replies, content, synchronous }
}

/** A method that has no answer, or is one. */
function method<N extends string, F extends Fields>(
  name: N,
  classId: number,
  methodId: number,
  fields: F,
): Method<N, F> {
  return define(name, classId, methodId, fields, [], false)
}

/** A method that carries a message. */
function contentMethod<N extends string, F extends Fields>(
  name: N,
  classId: number,
  methodId: number,
  fields: F,
): Method<N, F> {
  return define(name, classId, methodId, fields, [], true)
}

/** A method that the peer answers with `reply`, or with one of `otherReplies`. */
function syncMethod<N extends string, F extends Fields, R extends AnyMethod>(
  name: N,
  classId: number,
  methodId: number,
  reply: R,
  fields: F,
  ...otherReplies: readonly AnyMethod[]
): SyncMethod<N, F, R> {
  return define(name, classId, methodId, fields, [reply, ...otherReplies], false) as SyncMethod<N, F, R>
}

/** The access ticket of AMQP 0-8. RabbitMQ ignores it. */
const ticket = reserved(short, 0)

// connection (§1.2 of the method reference): always on channel 0

export const ConnectionStartOk = method('connection.start-ok', 10, 11, {
  clientProperties: table,
  mechanism: shortstr,
  response: longstr,
  locale: optional(shortstr, 'en_US'),
})
export const ConnectionStart = syncMethod('connection.start', 10, 10, ConnectionStartOk, {
  versionMajor: optional(octet, 0),
  versionMinor: optional(octet, 9),
  serverProperties: table,
  /** Names of SASL mechanisms, separated by spaces. */
  mechanisms: optional(longtext, 'PLAIN'),
  /** Names of locales, separated by spaces. */
  locales: optional(longtext, 'en_US'),
})
export const ConnectionSecureOk = method('connection.secure-ok', 10, 21, { response: longstr })
export const ConnectionSecure = syncMethod('connection.secure', 10, 20, ConnectionSecureOk, { challenge: longstr })
export const ConnectionTuneOk = method('connection.tune-ok', 10, 31, {
  channelMax: optional(short, 0),
  frameMax: optional(long, 0),
  heartbeat: optional(short, 0),
})
export const ConnectionTune = syncMethod('connection.tune', 10, 30, ConnectionTuneOk, {
  /** Highest channel number; 0 sets no limit. */
  channelMax: optional(short, 0),
  /** Bytes of a whole frame at most; 0 sets no limit. */
  frameMax: optional(long, 0),
  /** Seconds between heartbeats; 0 for none. */
  heartbeat: optional(short, 0),
})
export const ConnectionOpenOk = method('connection.open-ok', 10, 41, { knownHosts: reserved(shortstr, '') })
export const ConnectionOpen = syncMethod('connection.open', 10, 40, ConnectionOpenOk, {
  virtualHost: optional(shortstr, '/'),
  capabilities: reserved(shortstr, ''),
  insist: reserved(bit, false),
})
export const ConnectionCloseOk = method('connection.close-ok', 10, 51, {})
export const ConnectionClose = syncMethod('connection.close', 10, 50, ConnectionCloseOk, {
  /** 200 says that all is well. */
  replyCode: short,
  /** At most 255 bytes in UTF-8. */
  replyText: optional(shortstr, ''),
  /** Class of the method at fault; 0 if none is. */
  classId: short,
  /** The method at fault; 0 if none is. */
  methodId: short,
})
/** RabbitMQ's extension: an alarm makes the broker stop reading from publishers. */
export const ConnectionBlocked = method('connection.blocked', 10, 60, { reason: optional(shortstr, '') })
/** RabbitMQ's extension: the alarm is over. */
export const ConnectionUnblocked = method('connection.unblocked', 10, 61, {})
export const ConnectionUpdateSecretOk = method('connection.update-secret-ok', 10, 71, {})
/** RabbitMQ's extension: a new token before the one of the login expires. */
export const ConnectionUpdateSecret = syncMethod('connection.update-secret', 10, 70, ConnectionUpdateSecretOk, {
  newSecret: longstr,
  /** Shown in the broker's log. */
  reason: shortstr,
})

// channel

export const ChannelOpenOk = method('channel.open-ok', 20, 11, { channelId: reserved(longstr, '') })
export const ChannelOpen = syncMethod('channel.open', 20, 10, ChannelOpenOk, { outOfBand: reserved(shortstr, '') })
export const ChannelFlowOk = method('channel.flow-ok', 20, 21, { active: bit })
export const ChannelFlow = syncMethod('channel.flow', 20, 20, ChannelFlowOk, {
  /** Whether deliveries go on; RabbitMQ answers false with the connection exception 540. */
  active: bit,
})
export const ChannelCloseOk = method('channel.close-ok', 20, 41, {})
export const ChannelClose = syncMethod('channel.close', 20, 40, ChannelCloseOk, {
  /** 200 says that all is well. */
  replyCode: short,
  /** At most 255 bytes in UTF-8. */
  replyText: optional(shortstr, ''),
  /** Class of the method at fault; 0 if none is. */
  classId: short,
  /** The method at fault; 0 if none is. */
  methodId: short,
})

// access: AMQP 0-8; RabbitMQ answers and does nothing

export const AccessRequestOk = method('access.request-ok', 30, 11, { ticket: optional(short, 1) })
export const AccessRequest = syncMethod('access.request', 30, 10, AccessRequestOk, {
  realm: optional(shortstr, '/data'),
  exclusive: bit,
  passive: optional(bit, true),
  active: optional(bit, true),
  write: optional(bit, true),
  read: optional(bit, true),
})

// exchange

export const ExchangeDeclareOk = method('exchange.declare-ok', 40, 11, {})
export const ExchangeDeclare = syncMethod('exchange.declare', 40, 10, ExchangeDeclareOk, {
  ticket,
  exchangeName: shortstr,
  /** `direct`, `fanout`, `topic`, `headers`, or the type of a plugin. */
  typeName: shortstr,
  /** Only ask whether the exchange is there; the channel closes with 404 if it is not. Default false. */
  passive: bit,
  /** Keep the exchange when the broker restarts. Default true. */
  durable: optional(bit, true),
  /** Delete the exchange when its last binding is removed. Default false. */
  autoDelete: bit,
  /** Only other exchanges may publish to it. Default false. */
  internal: bit,
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
  /** Arguments of the exchange, such as `alternate-exchange`. */
  arguments: table,
})
export const ExchangeDeleteOk = method('exchange.delete-ok', 40, 21, {})
export const ExchangeDelete = syncMethod('exchange.delete', 40, 20, ExchangeDeleteOk, {
  ticket,
  exchangeName: shortstr,
  /** Only when nothing is bound to it; otherwise the channel closes with 406. Default false. */
  ifUnused: bit,
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
})
/** RabbitMQ's extension. */
export const ExchangeBindOk = method('exchange.bind-ok', 40, 31, {})
/** RabbitMQ's extension: messages of one exchange go to another. */
export const ExchangeBind = syncMethod('exchange.bind', 40, 30, ExchangeBindOk, {
  ticket,
  /** Exchange that gets the messages. */
  exchangeDestination: shortstr,
  /** Exchange that gives them. */
  exchangeSource: shortstr,
  routingKey: optional(shortstr, ''),
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
  /** For a headers exchange, the headers to match. */
  arguments: table,
})
/** RabbitMQ's extension; 51, not 41, is what RabbitMQ sends. */
export const ExchangeUnbindOk = method('exchange.unbind-ok', 40, 51, {})
/** RabbitMQ's extension. */
export const ExchangeUnbind = syncMethod('exchange.unbind', 40, 40, ExchangeUnbindOk, {
  ticket,
  /** Exchange that gets the messages. */
  exchangeDestination: shortstr,
  /** Exchange that gives them. */
  exchangeSource: shortstr,
  routingKey: optional(shortstr, ''),
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
  /** The arguments of the binding: it is found by them too. */
  arguments: table,
})

// queue

export const QueueDeclareOk = method('queue.declare-ok', 50, 11, {
  /** The name of the queue, which the broker chose if none was given. */
  queue: shortstr,
  /** Messages ready to be delivered. */
  messageCount: long,
  consumerCount: long,
})
export const QueueDeclare = syncMethod('queue.declare', 50, 10, QueueDeclareOk, {
  ticket,
  queueName: optional(shortstr, ''),
  /** Only ask whether the queue is there; the channel closes with 404 if it is not. Default false. */
  passive: bit,
  /** Keep the queue when the broker restarts. */
  durable: bit,
  /** Only this connection may use the queue, and it is deleted with the connection. */
  exclusive: bit,
  /** Delete the queue when its last consumer is gone. Default false. */
  autoDelete: bit,
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
  /** Arguments of the queue: `x-queue-type`, limits, dead lettering, ... */
  arguments: table,
})
export const QueueBindOk = method('queue.bind-ok', 50, 21, {})
export const QueueBind = syncMethod('queue.bind', 50, 20, QueueBindOk, {
  ticket,
  queueName: optional(shortstr, ''),
  exchangeName: shortstr,
  routingKey: optional(shortstr, ''),
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
  /** For a headers exchange, the headers to match. */
  arguments: table,
})
export const QueueUnbindOk = method('queue.unbind-ok', 50, 51, {})
export const QueueUnbind = syncMethod('queue.unbind', 50, 50, QueueUnbindOk, {
  ticket,
  queueName: optional(shortstr, ''),
  exchangeName: shortstr,
  routingKey: optional(shortstr, ''),
  /** The arguments of the binding: it is found by them too. */
  arguments: table,
})
export const QueuePurgeOk = method('queue.purge-ok', 50, 31, {
  /** Messages that were removed. */
  messageCount: long,
})
export const QueuePurge = syncMethod('queue.purge', 50, 30, QueuePurgeOk, {
  ticket,
  queueName: optional(shortstr, ''),
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
})
export const QueueDeleteOk = method('queue.delete-ok', 50, 41, {
  /** Messages that were deleted with the queue. */
  messageCount: long,
})
export const QueueDelete = syncMethod('queue.delete', 50, 40, QueueDeleteOk, {
  ticket,
  queueName: optional(shortstr, ''),
  /** Only when it has no consumers; otherwise the channel closes with 406. Default false. */
  ifUnused: bit,
  /** Only when it has no messages; otherwise the channel closes with 406. Default false. */
  ifEmpty: bit,
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
})

// basic

export const BasicQosOk = method('basic.qos-ok', 60, 11, {})
export const BasicQos = syncMethod('basic.qos', 60, 10, BasicQosOk, {
  /** Bytes of bodies that may be unacknowledged; RabbitMQ takes only 0, no limit. Default 0. */
  prefetchSize: optional(long, 0),
  /** Deliveries that may be unacknowledged, up to 65,535; 0 sets no limit. Default 0. */
  prefetchCount: optional(short, 0),
  /** Count for the whole channel instead of for each consumer started later; RabbitMQ 4.3 ignores it. Default false. */
  connectionGlobal: bit,
})
export const BasicConsumeOk = method('basic.consume-ok', 60, 21, { consumerTag: shortstr })
export const BasicConsume = syncMethod('basic.consume', 60, 20, BasicConsumeOk, {
  ticket,
  queueName: optional(shortstr, ''),
  /** Name of the consumer on its channel. By default one is made. */
  consumerTag: optional(shortstr, ''),
  /** No messages that this connection published; RabbitMQ ignores it. Default false. */
  noLocal: bit,
  /** Messages count as settled when they are sent: one that is lost on the way is gone. Default false. */
  noAck: bit,
  /** No other consumer on the queue; the channel closes with 403 if there is one. Default false. */
  exclusive: bit,
  /** The broker sends no reply; if it refuses, it closes the channel. Default false. */
  noWait: bit,
  /** Arguments of the consumer: `x-priority`, `x-stream-offset`, ... */
  arguments: table,
})
export const BasicCancelOk = method('basic.cancel-ok', 60, 31, { consumerTag: shortstr })
/** Also sent by the server, when a consumer's queue is gone (RabbitMQ's extension `consumer_cancel_notify`). */
export const BasicCancel = syncMethod('basic.cancel', 60, 30, BasicCancelOk, {
  consumerTag: shortstr,
  /** The broker sends no reply. Default false. */
  noWait: bit,
})
export const BasicPublish = contentMethod('basic.publish', 60, 40, {
  ticket,
  exchangeName: optional(shortstr, ''),
  routingKey: optional(shortstr, ''),
  /** The message comes back if no queue takes it. Default false. */
  mandatory: bit,
  /** RabbitMQ closes the connection with 540 if it is set. */
  immediate: reserved(bit, false),
})
export const BasicReturn = contentMethod('basic.return', 60, 50, {
  replyCode: short,
  replyText: optional(shortstr, ''),
  exchangeName: shortstr,
  routingKey: shortstr,
})
export const BasicDeliver = contentMethod('basic.deliver', 60, 60, {
  consumerTag: shortstr,
  deliveryTag: longlong,
  redelivered: bit,
  exchangeName: shortstr,
  routingKey: shortstr,
})
export const BasicGetOk = contentMethod('basic.get-ok', 60, 71, {
  deliveryTag: longlong,
  /** The broker has delivered the message before. */
  redelivered: bit,
  exchangeName: shortstr,
  routingKey: shortstr,
  /** Messages left in the queue. */
  messageCount: long,
})
export const BasicGetEmpty = method('basic.get-empty', 60, 72, { clusterId: reserved(shortstr, '') })
export const BasicGet = syncMethod(
  'basic.get',
  60,
  70,
  BasicGetOk,
  {
    ticket,
    queueName: optional(shortstr, ''),
    /** The message counts as settled when it is sent. Default false. */
    noAck: bit,
  },
  BasicGetEmpty,
)
/** The server sends it too, as a confirm. */
export const BasicAck = method('basic.ack', 60, 80, {
  /** 0 with `multiple` means all. */
  deliveryTag: longlong,
  /** Everything up to and including this tag. Default false. */
  multiple: bit,
})
export const BasicReject = method('basic.reject', 60, 90, {
  deliveryTag: longlong,
  /** Back to the queue; otherwise the message is dead-lettered or dropped. Default false. */
  requeue: bit,
})
export const BasicRecoverAsync = method('basic.recover-async', 60, 100, {
  /** Back to the queue, for any consumer. Default true; RabbitMQ refuses false. */
  requeue: optional(bit, true),
})
export const BasicRecoverOk = method('basic.recover-ok', 60, 111, {})
export const BasicRecover = syncMethod('basic.recover', 60, 110, BasicRecoverOk, {
  /** Back to the queue, for any consumer. Default true; RabbitMQ refuses false. */
  requeue: optional(bit, true),
})
/** RabbitMQ's extension. The server sends it too, as a confirm that it did not take a message. */
export const BasicNack = method('basic.nack', 60, 120, {
  /** 0 with `multiple` means all. */
  deliveryTag: longlong,
  /** Everything up to and including this tag. Default false. */
  multiple: bit,
  /** Back to the queue; otherwise the message is dead-lettered or dropped. Default true. */
  requeue: optional(bit, true),
})

// confirm: RabbitMQ's extension

export const ConfirmSelectOk = method('confirm.select-ok', 85, 11, {})
export const ConfirmSelect = syncMethod('confirm.select', 85, 10, ConfirmSelectOk, {
  /** The broker sends no reply. Default false. */
  noWait: bit,
})

// tx

export const TxSelectOk = method('tx.select-ok', 90, 11, {})
export const TxSelect = syncMethod('tx.select', 90, 10, TxSelectOk, {})
export const TxCommitOk = method('tx.commit-ok', 90, 21, {})
export const TxCommit = syncMethod('tx.commit', 90, 20, TxCommitOk, {})
export const TxRollbackOk = method('tx.rollback-ok', 90, 31, {})
export const TxRollback = syncMethod('tx.rollback', 90, 30, TxRollbackOk, {})

const methods: readonly AnyMethod[] = [
  ConnectionStart,
  ConnectionStartOk,
  ConnectionSecure,
  ConnectionSecureOk,
  ConnectionTune,
  ConnectionTuneOk,
  ConnectionOpen,
  ConnectionOpenOk,
  ConnectionClose,
  ConnectionCloseOk,
  ConnectionBlocked,
  ConnectionUnblocked,
  ConnectionUpdateSecret,
  ConnectionUpdateSecretOk,
  ChannelOpen,
  ChannelOpenOk,
  ChannelFlow,
  ChannelFlowOk,
  ChannelClose,
  ChannelCloseOk,
  AccessRequest,
  AccessRequestOk,
  ExchangeDeclare,
  ExchangeDeclareOk,
  ExchangeDelete,
  ExchangeDeleteOk,
  ExchangeBind,
  ExchangeBindOk,
  ExchangeUnbind,
  ExchangeUnbindOk,
  QueueDeclare,
  QueueDeclareOk,
  QueueBind,
  QueueBindOk,
  QueueUnbind,
  QueueUnbindOk,
  QueuePurge,
  QueuePurgeOk,
  QueueDelete,
  QueueDeleteOk,
  BasicQos,
  BasicQosOk,
  BasicConsume,
  BasicConsumeOk,
  BasicCancel,
  BasicCancelOk,
  BasicPublish,
  BasicReturn,
  BasicDeliver,
  BasicGet,
  BasicGetOk,
  BasicGetEmpty,
  BasicAck,
  BasicReject,
  BasicRecoverAsync,
  BasicRecover,
  BasicRecoverOk,
  BasicNack,
  ConfirmSelect,
  ConfirmSelectOk,
  TxSelect,
  TxSelectOk,
  TxCommit,
  TxCommitOk,
  TxRollback,
  TxRollbackOk,
]

/** Every method, by its key. */
export const methodByKey: ReadonlyMap<number, AnyMethod> = new Map(methods.map(known => [known.key, known]))

/** The name of a method, such as `queue.declare`; its numbers if it has none. */
export function methodName(classId: number, methodId: number): string {
  return methodByKey.get(((classId << 16) | methodId) >>> 0)?.name ?? `method ${methodId} of class ${classId}`
}
