/**
 * Every name that spans and metrics have, in one table: what is ours, and what OpenTelemetry calls it. Names without
 * `asyncamqp` are those of its semantic conventions for messaging and RabbitMQ, in this version, which are not stable yet:
 * https://github.com/open-telemetry/semantic-conventions/tree/v1.45.0/docs/messaging
 */
import { SpanKind } from '@opentelemetry/api'

export const CONVENTIONS_VERSION = '1.45.0'
export const SCHEMA_URL = `https://opentelemetry.io/schemas/${CONVENTIONS_VERSION}`

/** Of spans; those of `Destination.metricAttributes` also of metrics. */
export const ATTRIBUTES = {
  system: 'messaging.system.name',
  operationName: 'messaging.operation.name',
  operationType: 'messaging.operation.type',
  destinationName: 'messaging.destination.name',
  destinationTemplate: 'messaging.destination.template',
  destinationTemporary: 'messaging.destination.temporary',
  destinationAnonymous: 'messaging.destination.anonymous',
  routingKey: 'rabbitmq.destination.routing_key',
  deliveryTag: 'rabbitmq.message.delivery_tag',
  clientId: 'messaging.client.id',
  messageId: 'messaging.message.id',
  correlationId: 'messaging.message.conversation_id',
  bodySize: 'messaging.message.body.size',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  errorType: 'error.type',

  errorCode: 'asyncamqp.error.code',
  replyCode: 'asyncamqp.reply_code',
  virtualHost: 'asyncamqp.virtual_host',
  outcome: 'asyncamqp.outcome',
  attempt: 'asyncamqp.attempt',
  deliveryCount: 'asyncamqp.delivery_count',
  durationMs: 'asyncamqp.duration_ms',
  delayMs: 'asyncamqp.delay_ms',
  reason: 'asyncamqp.reason',
  connectionState: 'asyncamqp.connection.state',
} as const

/** Their names until 1.45.0. Both are set, since the views of most vendors still look for the old ones. */
export const FORMER_NAMES = {
  system: 'messaging.system',
  routingKey: 'messaging.rabbitmq.destination.routing_key',
  deliveryTag: 'messaging.rabbitmq.message.delivery_tag',
} as const

export const SYSTEM = 'rabbitmq'

/** Name and type of an operation, and the kind of its span. */
export interface OperationNames {
  readonly name: string
  readonly type?: 'send' | 'receive' | 'process' | 'settle' | undefined
  readonly kind: SpanKind
}

export const OPERATIONS = {
  publish: { name: 'publish', type: 'send', kind: SpanKind.PRODUCER },
  process: { name: 'process', type: 'process', kind: SpanKind.CONSUMER },
  // The two other kinds mean that a caller awaits the answer.
  call: { name: 'call', type: 'send', kind: SpanKind.CLIENT },
  handle: { name: 'handle', type: 'process', kind: SpanKind.SERVER },
} as const satisfies Record<string, OperationNames>

/** Spans that the conventions do not have: connecting, recovering, and the methods of AMQP with a reply. */
export function clientOperation(name: string): OperationNames {
  return { name, type: name === 'basic.get' ? 'receive' : undefined, kind: SpanKind.CLIENT }
}

export const EVENTS = {
  returned: 'asyncamqp.returned',
  nacked: 'asyncamqp.nacked',
  resent: 'asyncamqp.resent',
  redelivered: 'asyncamqp.redelivered',
  requeued: 'asyncamqp.requeued',
  rejected: 'asyncamqp.rejected',
  retried: 'asyncamqp.retried',
  copied: 'asyncamqp.copied',
  lost: 'asyncamqp.lost',
  connectionLost: 'asyncamqp.connection.lost',
  connectionRecovered: 'asyncamqp.connection.recovered',
  attemptFailed: 'asyncamqp.connection.attempt_failed',
  blocked: 'asyncamqp.connection.blocked',
  unblocked: 'asyncamqp.connection.unblocked',
} as const

/** Seconds: the boundaries that the conventions advise for both durations. */
export const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
/** Seconds: a recovery takes from a few milliseconds up to however long the broker is away. */
export const RECOVERY_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600]

/** Metrics, with their units. The first four are those of the conventions. */
export const METRICS = {
  operationDuration: {
    name: 'messaging.client.operation.duration',
    unit: 's',
    description: 'Duration of a publish to its confirm, of an RPC call to its answer, and of methods with a reply.',
  },
  processDuration: {
    name: 'messaging.process.duration',
    unit: 's',
    description: 'Duration of the work on a message, until it is settled.',
  },
  sentMessages: {
    name: 'messaging.client.sent.messages',
    unit: '{message}',
    description: 'Messages that the program published.',
  },
  consumedMessages: {
    name: 'messaging.client.consumed.messages',
    unit: '{message}',
    description: 'Messages that the program got.',
  },

  connections: { name: 'asyncamqp.connections', unit: '{connection}', description: 'Connections in each state.' },
  channels: { name: 'asyncamqp.connection.channels', unit: '{channel}', description: 'Open channels.' },
  buffered: {
    name: 'asyncamqp.connection.buffered',
    unit: 'By',
    description: 'Encoded bytes that wait for the socket.',
  },
  reconnects: {
    name: 'asyncamqp.connection.reconnects',
    unit: '{reconnect}',
    description: 'Lost connections that were recovered.',
  },
  recoveryDuration: {
    name: 'asyncamqp.connection.recovery.duration',
    unit: 's',
    description: 'From the loss of a connection to its recovery.',
  },
  blockedDuration: {
    name: 'asyncamqp.connection.blocked.duration',
    unit: 's',
    description: 'Time for which the broker blocked publishers.',
  },
  unconfirmed: {
    name: 'asyncamqp.publish.unconfirmed',
    unit: '{message}',
    description: 'Sent messages that the broker has not confirmed.',
  },
  waiting: {
    name: 'asyncamqp.publish.waiting',
    unit: '{message}',
    description: 'Publishes and calls that wait to be sent.',
  },
  resent: {
    name: 'asyncamqp.publish.resent',
    unit: '{message}',
    description: 'Messages that were sent again, since their fate was unknown or the broker had nacked them.',
  },
  unacknowledged: {
    name: 'asyncamqp.consume.unacknowledged',
    unit: '{message}',
    description: 'Messages that have arrived and are not settled.',
  },
  handlers: {
    name: 'asyncamqp.consume.handlers',
    unit: '{handler}',
    description: 'Handlers and callbacks that are running.',
  },
  cancellations: {
    name: 'asyncamqp.consume.cancellations',
    unit: '{cancellation}',
    description: 'Consumers that the broker ended.',
  },
} as const
