// A strict program that uses every public name. It is compiled, never run.
import * as net from 'node:net'
import {
  AbortError,
  type AckOptions,
  AmqpError,
  AmqpProtocol,
  type AmqpProtocolEvents,
  AmqpUriError,
  AuthenticationError,
  type BasicProperties,
  type BasicPublishOptions,
  type BatchHandler,
  type BatchHandlerOptions,
  type BatchOptions,
  type BindOptions,
  BufferFullError,
  type CallContext,
  type CallOptions,
  type CancelDecider,
  type CancellationCallback,
  type CancelOptions,
  Channel,
  ChannelClosedError,
  type ChannelOptions,
  type CloseOptions,
  type ConfirmSelectOptions,
  type ConnectContext,
  type ConnectionAttempt,
  ConnectionClosedError,
  ConnectionError,
  ConnectionFailedError,
  ConnectionLostError,
  type ConnectionRole,
  type ConnectionState,
  type ConnectionStats,
  type ConnectOptions,
  type ConnectUrl,
  type ConsumeArguments,
  type ConsumeOptions,
  type Consumer,
  type ConsumerCallback,
  ConsumerCancelledError,
  type ConsumerCloseOptions,
  type ConsumerEvents,
  type ConsumerOptions,
  type ConsumerStats,
  type ConsumerTagResult,
  connect,
  connectInBackground,
  Decimal,
  DecodeError,
  DuplicateConsumerTagError,
  decimal,
  double,
  EncodeError,
  type Endpoint,
  type Envelope,
  type ErrorDestination,
  type ExchangeArguments,
  type ExchangeDeclareOptions,
  type ExchangeDeleteOptions,
  type ExpiringPassword,
  type FailureAction,
  type FailureDecider,
  type FieldTable,
  type FieldValue,
  FrameError,
  float,
  fromUrl,
  type GetEnvelope,
  type GetOptions,
  type GetResult,
  type HandlerOptions,
  int8,
  int16,
  int32,
  int64,
  type LifecycleEvent,
  type LifecycleEventName,
  type LifecycleEvents,
  type Logger,
  type LossReason,
  type Message,
  type MessageCountResult,
  type MessageHandler,
  MessageReturnedError,
  type NackOptions,
  type NextOptions,
  NoChannelAvailableError,
  type NoWaitOption,
  type NumericType,
  type OffsetStore,
  type PasswordFunction,
  type Payload,
  type ProcessContext,
  type ProcessKind,
  type ProcessResult,
  Properties,
  type ProtocolCloseOptions,
  ProtocolError,
  type PublishContext,
  PublishError,
  Publisher,
  type PublisherCloseOptions,
  type PublisherEvents,
  type PublisherOptions,
  type PublisherStats,
  PublishFailedError,
  type PublishOptions,
  type PublishOutcome,
  type PublishResult,
  type PurgeOptions,
  type QosOptions,
  type QueueArguments,
  type QueueDeclareOptions,
  type QueueDeclareResult,
  type QueueDeleteOptions,
  type ReadyOptions,
  type RecoverOptions,
  type RecoveryOptions,
  type RejectOptions,
  RemoteError,
  type RetryPolicy,
  type ReturnCallback,
  type ReturnEnvelope,
  type ReturnedMessage,
  type RpcCallContext,
  type RpcCallOptions,
  type RpcCallResult,
  type RpcClient,
  type RpcClientOptions,
  type RpcHandleContext,
  type RpcHandleResult,
  type RpcHandler,
  type RpcServer,
  type RpcServerOptions,
  type SaslMechanism,
  type SaslName,
  type SaslResponse,
  type ServerAddress,
  type ServerOrder,
  type SettleContext,
  type StreamInterval,
  type StreamOffset,
  TimeoutError,
  type TlsOptions,
  type Transport,
  type TransportFactory,
  type TransportHandler,
  type TransportPeer,
  type TransportStep,
  type TransportTarget,
  TypedValue,
  timestamp,
  type UnbindOptions,
  uint8,
  uint16,
  uint32,
} from 'asyncamqp'

// ---- connecting

const token: ExpiringPassword = { password: 'token', expiresAt: new Date(2_000_000_000_000) }
const password: PasswordFunction = async () => (Math.random() > 2 ? 'secret' : token)
const mechanisms: SaslName[] = ['PLAIN', 'AMQPLAIN', 'EXTERNAL']
const firstResponse: SaslResponse = Uint8Array.of(1, 2)
const mechanism: SaslMechanism = {
  name: 'X-OWN',
  response: challenge => (challenge === undefined ? firstResponse : challenge.toString('hex')),
}
const logger: Logger = console
const servers: ServerAddress[] = [{ host: 'a' }, { host: 'b', port: 5673 }]
const serverOrder: ServerOrder = 'race'
const recovery: RecoveryOptions = {
  initialDelay: 100,
  jitter: 0.5,
  giveUpOn: error => error instanceof AuthenticationError,
}

const createTransport: TransportFactory = async (
  target: TransportTarget,
  handler: TransportHandler,
  signal,
  onStep,
) => {
  const step: TransportStep = target.tls === undefined ? 'connect' : 'tls'
  onStep(step)
  const socket = net.connect({ host: target.host, port: target.port, signal })
  socket.on('data', (bytes: Buffer) => handler.onBytes(bytes, bytes.length))
  socket.on('drain', () => handler.onDrain()).on('end', () => handler.onEnd())
  socket.on('close', () => handler.onClose(socket.errored ?? undefined))
  const peer: TransportPeer = { host: target.host, port: target.port, localPort: 0, encrypted: false }
  const transport: Transport = {
    write(segments, sent) {
      return socket.write(Buffer.concat(segments), () => sent?.())
    },
    get pending() {
      return socket.writableLength
    },
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    end: () => void socket.end(),
    destroy: error => void socket.destroy(error),
    peer,
  }
  return transport
}

const ssl: TlsOptions = { servername: 'rabbit.example.com' }
const options: ConnectOptions = {
  host: 'localhost',
  port: 5672,
  login: 'guest',
  password,
  virtualhost: '/',
  ssl,
  verifySsl: true,
  loginMethod: mechanisms[0] ?? mechanism,
  channelMax: 10,
  frameMax: 131_072,
  heartbeat: 10,
  maxMessageSize: 1_000_000,
  clientProperties: { product: 'consumer' },
  connectionName: 'consumer',
  connectTimeout: 5_000,
  rpcTimeout: 5_000,
  maxBuffered: 1_000_000,
  maxWaiting: 100,
  publishTimeout: 30_000,
  onError: error => console.error(error.message),
  logger,
  signal: AbortSignal.timeout(1_000),
}
const url: ConnectUrl = ['amqp://a', new URL('amqps://b')]

export async function connecting(): Promise<AmqpProtocol[]> {
  return [
    await connect(),
    await connect(options),
    await connect('amqp://localhost'),
    await connect(url, { servers, serverOrder, recovery, createTransport }),
    await fromUrl(new URL('amqp://localhost'), options),
    connectInBackground('amqp://localhost', { firstAttempts: 10 }),
    connectInBackground(options),
  ]
}

export async function observing(protocol: AmqpProtocol): Promise<string> {
  const onClosed = (...[error]: AmqpProtocolEvents['closed']) => console.log(error?.message)
  protocol.on('closed', onClosed)
  protocol.once('blocked', reason => console.log(reason.length))
  protocol.on('unblocked', () => {})
  protocol.on('recovered', (connection: ConnectionRole) => console.log(connection === 'publisher'))
  protocol.on('connecting', (attempt, delay, error) => console.log(attempt + delay, error?.message))
  protocol.on('connected', () => {})
  protocol.on('disconnected', error => console.log(error.stack))
  const state: ConnectionState = protocol.state
  const numbers: number[] = [
    protocol.channelsIdsCount,
    protocol.serverChannelMax,
    protocol.serverFrameMax,
    protocol.serverHeartbeat,
  ]
  const serverProperties: FieldTable = protocol.serverProperties
  const { host, port, localPort, encrypted }: TransportPeer = protocol.peer
  const ready: ReadyOptions = { timeout: 1_000, signal: AbortSignal.timeout(1_000) }
  await protocol.ready(ready)
  await protocol.updateSecret('secret', 'expires')
  const closing: ProtocolCloseOptions = { replyCode: 200, replyText: 'bye', timeout: 1_000 }
  await protocol.close(closing)
  await protocol.waitClosed()
  const blocked: string | undefined = protocol.blocked
  return `${state} ${blocked} ${numbers} ${serverProperties['product']} ${protocol.serverMechanisms} ${host}:${port} ${localPort} ${encrypted}`
}

// ---- topology

const call: CallOptions = { signal: AbortSignal.timeout(1_000), timeout: 1_000 }
const noWait: NoWaitOption = { noWait: false }
const queueArguments: QueueArguments = { 'x-queue-type': 'quorum', 'x-delivery-limit': 5, 'x-mine': [1, 'two', null] }
const delayedRetry: QueueArguments = {
  'x-queue-type': 'quorum',
  'x-delayed-retry-type': 'failed',
  'x-delayed-retry-min': 1_000,
  'x-delayed-retry-max': 60_000,
  'x-consumer-timeout': 600_000,
  'x-single-active-consumer': true,
}
const age: StreamInterval = '7D'
const streamArguments: QueueArguments = { 'x-queue-type': 'stream', 'x-max-age': age, 'x-stream-filter-size-bytes': 32 }
const offsets: readonly StreamOffset[] = [
  ...(['first', 'last', 'next', '5m', 0, 2n ** 60n, new Date(0), timestamp(0)] as const),
]
const filtered: ConsumeArguments = { 'x-stream-filter': ['a', 'b'], 'x-stream-match-unfiltered': true }
const exchangeArguments: ExchangeArguments = { 'alternate-exchange': 'rest' }

export async function declaring(channel: Channel): Promise<number> {
  const durable: QueueDeclareOptions = { durable: true, arguments: queueArguments, ...call, ...noWait }
  const declared: QueueDeclareResult = await channel.queueDeclare('orders', durable)
  const nothing: undefined = await channel.queueDeclare('later', { noWait: true })
  const exchange: ExchangeDeclareOptions = { internal: false, arguments: exchangeArguments }
  await channel.exchangeDeclare('events', 'topic', exchange)
  await channel.exchange('rest', 'fanout')
  const { queue } = await channel.queue()
  const bind: BindOptions = { arguments: { 'x-match': 'all', format: 'pdf' } }
  const unbind: UnbindOptions = { arguments: { 'x-match': 'all', format: 'pdf' } }
  await channel.queueBind(queue, 'events', 'orders.#', bind)
  await channel.queueUnbind(queue, 'events', 'orders.#', unbind)
  await channel.exchangeBind('rest', 'events')
  await channel.exchangeUnbind('rest', 'events')
  const purge: PurgeOptions = { noWait: false }
  const purged: MessageCountResult = await channel.queuePurge(queue, purge)
  const queueDelete: QueueDeleteOptions = { ifEmpty: true, ifUnused: true }
  const deleted = await channel.queueDelete(queue, queueDelete)
  const exchangeDelete: ExchangeDeleteOptions = { ifUnused: true }
  await channel.exchangeDelete('rest', exchangeDelete)
  return declared.messageCount + declared.consumerCount + purged.messageCount + deleted.messageCount + (nothing ?? 0)
}

// ---- publishing

const values: FieldValue[] = [
  true,
  'text',
  1,
  2n ** 60n,
  null,
  new Date(),
  Uint8Array.of(1),
  [1, 'two'],
  { nested: new Map([['a', 1]]) },
  int8(1),
  uint8(1),
  int16(1),
  uint16(1),
  int32(1),
  uint32(1),
  int64(1n),
  float(0.5),
  double(1),
  timestamp(new Date()),
]
const price: Decimal = decimal(1250, 2)
const typed: TypedValue = int8(1)
const wireType: NumericType = typed.type
const properties: BasicProperties = {
  contentType: 'text/plain',
  deliveryMode: 2,
  headers: { values, price, typed },
  timestamp: new Date(),
}

export async function publishing(protocol: AmqpProtocol): Promise<void> {
  const returnCallback: ReturnCallback = (channel, body, envelope, returned) => {
    const where: ReturnEnvelope = envelope
    const message: ReturnedMessage = { body, envelope: where, properties: returned }
    console.log(channel.channelId, message.body.length, where.replyCode)
  }
  const channelOptions: ChannelOptions = { publisherConfirms: true, returnCallback }
  await using channel = await protocol.channel(channelOptions)
  const confirms: ConfirmSelectOptions = { noWait: true }
  await channel.confirmSelect(confirms)
  const basic: BasicPublishOptions = { mandatory: true }
  await channel.basicPublish('text', 'events', 'orders.new', properties, basic)
  const confirmed: PublishOptions = { ...basic, ...call }
  await channel.publish(Buffer.from('bytes'), 'events', 'orders.new', {}, confirmed)
  await channel.waitForConfirms()

  const transactional = await protocol.channel()
  const answer: number = await transactional.transaction(async channel => {
    await channel.basicPublish(Uint8Array.of(1), '', 'orders')
    return 42
  })
  await transactional.txSelect()
  await transactional.txCommit()
  await transactional.txRollback({ timeout: answer })
}

// ---- consuming

export async function consuming(channel: Channel): Promise<string> {
  const callback: ConsumerCallback = async (channel, body, envelope: Envelope, properties: Properties) => {
    const ack: AckOptions = { multiple: true }
    const sent: boolean = await channel.basicClientAck(envelope.deliveryTag, ack)
    const nack: NackOptions = { multiple: false, requeue: false }
    const reject: RejectOptions = { requeue: true }
    await channel.basicClientNack(envelope.deliveryTag, nack)
    await channel.basicReject(envelope.deliveryTag, reject)
    await channel.basicPublish(body, '', properties.replyTo ?? 'nowhere', properties)
    console.log(sent, envelope.consumerTag, envelope.isRedeliver, properties.headers?.['attempt'])
  }
  const consumeArguments: ConsumeArguments = { 'x-priority': 1, 'x-stream-offset': 'first' }
  const consume: ConsumeOptions = { concurrency: 1, arguments: consumeArguments }
  const qos: QosOptions = { prefetchCount: 10 }
  await channel.basicQos(qos)
  const { consumerTag }: ConsumerTagResult = await channel.basicConsume(callback, 'orders', consume)
  const cancelled: CancellationCallback = (channel, consumerTag) => console.log(channel.isOpen, consumerTag)
  channel.addCancellationCallback(cancelled)
  const cancel: CancelOptions = { noWait: true }
  await channel.basicCancel(consumerTag, cancel)
  const get: GetOptions = { noAck: true }
  const message: GetResult | null = await channel.basicGet('orders', get)
  const envelope: GetEnvelope | undefined = message?.envelope
  const recover: RecoverOptions = { requeue: true }
  await channel.basicRecover(recover)
  await channel.basicRecoverAsync()
  const { active } = await channel.flow(true)
  const close: CloseOptions = { replyText: 'done' }
  await channel.close(close)
  await channel.waitClosed()
  return `${envelope?.routingKey} ${active} ${price.toString()} ${typed.value} ${wireType}`
}

// ---- publishing until confirmed

export async function publishUntilConfirmed(protocol: AmqpProtocol): Promise<number> {
  const payloads: Payload[] = ['text', Uint8Array.of(1), { id: 1 }, [1, 'two']]
  const publish: PublishOptions = { mandatory: true, ...call }
  for (const payload of payloads) await protocol.publish(payload, 'events', 'orders.new', properties, publish)
  const options: PublisherOptions = { exchangeName: 'events', mandatory: true, persistent: false, maxInFlight: 100 }
  await using publisher: Publisher = await protocol.publisher(options)
  publisher.on('resent', (...[count]: PublisherEvents['resent']) => console.log(count))
  await publisher.publish({ id: 2 }, 'orders.new', properties, publish)
  const close: PublisherCloseOptions = { timeout: 1_000 }
  await publisher.close(close)
  await protocol.queueDeclare('orders', { durable: true, arguments: queueArguments })
  await protocol.queueDeclare('retried', { arguments: delayedRetry })
  await protocol.queueDeclare('stream', { arguments: streamArguments })
  for (const offset of offsets) {
    await protocol.consumer('stream', { arguments: { ...filtered, 'x-stream-offset': offset } })
  }
  const { messageCount } = await protocol.queuePurge('orders')
  const answer: number = await protocol.transaction(async channel => {
    await channel.basicPublish('text', '', 'orders')
    return messageCount
  })
  return answer + publisher.pending + publisher.resent
}

// ---- consuming and calling

export async function work(protocol: AmqpProtocol): Promise<void> {
  const onCancel: CancelDecider = async error => (error instanceof ConsumerCancelledError ? 'resume' : 'close')
  const options: ConsumerOptions = { prefetchCount: 10, exclusive: true, onCancel, arguments: { 'x-priority': 1 } }
  const consumer: Consumer = await protocol.consumer('orders', options)
  const events: (keyof ConsumerEvents)[] = ['cancelled', 'resumed', 'closed']
  consumer.on('cancelled', error => console.log(error.message, events, consumer.queueName, consumer.isPaused))
  for await (const message of consumer) {
    const { id } = message.json<{ id: number }>()
    const { aborted } = message.signal
    const sent: boolean = message.nack({ requeue: false }) || message.reject({ requeue: true }) || message.ack()
    console.log(id, message.text(), message.deliveryCount, aborted, sent, message.envelope.routingKey)
  }
  const offsetStore: OffsetStore = { load: async () => undefined, save: offset => console.log(offset + 1n) }
  await protocol.consumer('readings', { offsetStore })
  const next: NextOptions = { timeout: 1_000, signal: AbortSignal.timeout(2_000) }
  const { value, done } = await consumer.next(next)
  if (done !== true) console.log(value.body.length)
  consumer.pause()
  consumer.resume()
  const close: ConsumerCloseOptions = { timeout: 1_000 }
  await consumer.close(close)

  const batch: BatchOptions = { size: 10, wait: 100 }
  for await (const messages of consumer.batches(batch)) console.log(messages.length)
  const insert: BatchHandler = messages => console.log(messages.map(message => message.attempt))
  const inBatches: BatchHandlerOptions = { batch, concurrency: 2 }
  await protocol.consumer('orders', insert, inBatches)
  await protocol.consumer('orders', messages => console.log(messages.length), { batch })

  const destination: ErrorDestination = { exchangeName: '', routingKey: 'failed' }
  const retry: RetryPolicy = { retries: 3, delays: [1_000, 10_000], otherwise: destination }
  const actions: FailureAction[] = ['requeue', 'reject', 'drop', destination, retry]
  const onFailure: FailureDecider = (message, error) => (error instanceof DecodeError ? actions[1] : void message.ack())
  const handler: MessageHandler = async message => console.log(message.properties.correlationId)
  const handled: HandlerOptions = { concurrency: 5, onFailure }
  await using handling = await protocol.consumer('orders', handler, handled)
  await protocol.consumer('orders', message => message.text(), { onFailure: async message => void message.ack() })

  const answer: RpcHandler = request => ({ answer: request.text() })
  const serving: RpcServerOptions = { concurrency: 3 }
  await using server: RpcServer = await protocol.rpcServer('questions', answer, serving)
  const asking: RpcClientOptions = { timeout: 5_000 }
  await using client: RpcClient = await protocol.rpcClient(asking)
  const call: RpcCallOptions = { exchangeName: '', properties: { appId: 'me' }, signal: AbortSignal.timeout(100) }
  const reply: Message = await client.call('questions', { question: 1 }, call)
  console.log(reply.text(), handling.queueName, server.consumer.queueName)
}

// ---- errors

export function explain(error: unknown): string {
  if (!(error instanceof AmqpError)) return 'not ours'
  const outcome: PublishOutcome | undefined = error.outcome
  if (error instanceof ConnectionFailedError) {
    const attempts: readonly ConnectionAttempt[] = error.attempts
    return attempts.map(({ server, step, cause }) => `${server} ${step} ${cause.message}`).join()
  }
  if (error instanceof ConnectionLostError) {
    const reason: LossReason = error.reason
    return reason
  }
  if (error instanceof ConnectionClosedError) return `${error.replyCode} ${error.classId} ${error.methodId}`
  if (error instanceof AuthenticationError) return `${error.replyText}`
  if (error instanceof ConnectionError) return error.code
  if (error instanceof ChannelClosedError) return `${error.replyCode} ${error.replyText} ${error.method}`
  if (error instanceof PublishFailedError) return `${error.deliveryTag}`
  if (error instanceof MessageReturnedError) return `${error.replyCode} ${error.replyText} ${error.body.length}`
  if (error instanceof PublishError) return `${outcome}`
  if (error instanceof ConsumerCancelledError) return `${error.queueName} ${error.consumerTag}`
  if (error instanceof DuplicateConsumerTagError) return error.consumerTag
  if (error instanceof FrameError || error instanceof ProtocolError) return `${error.replyCode}`
  if (error instanceof RemoteError) return error.remoteName
  const rest = [
    AbortError,
    TimeoutError,
    AmqpUriError,
    BufferFullError,
    DecodeError,
    EncodeError,
    NoChannelAvailableError,
  ]
  return rest.some(type => error instanceof type) ? error.code : error.message
}

const codes: Record<string, 'ABORT_ERR' | 'TIMEOUT_ERR'> = {
  abort: new AbortError('aborted').code,
  timeout: new TimeoutError('timed out').code,
}
export const classes = [AmqpProtocol, Channel, Publisher, Properties, Decimal, TypedValue, codes]

/** What is handed to subscribers of diagnostics channels, and what `stats()` gives. */
export type Diagnostics = readonly [
  contexts:
    | CallContext
    | ConnectContext
    | ProcessContext
    | PublishContext
    | RpcCallContext
    | RpcHandleContext
    | SettleContext,
  results: ProcessKind | ProcessResult | PublishResult | RpcCallResult | RpcHandleResult,
  events: LifecycleEvent<LifecycleEventName> | LifecycleEvents | Endpoint,
  stats: ConnectionStats | ConsumerStats | PublisherStats,
]
