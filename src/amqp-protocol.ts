import { EventEmitter } from 'node:events'
import { type CallOptions, describeCall } from './channel/call-options.ts'
import type { Channel, ReturnCallback } from './channel/channel.ts'
import type {
  BindOptions,
  ExchangeDeclareOptions,
  ExchangeDeleteOptions,
  MessageCountResult,
  PurgeOptions,
  QueueDeclareOptions,
  QueueDeclareResult,
  QueueDeleteOptions,
  UnbindOptions,
} from './channel/options.ts'
import type { ConnectionRole, ConnectionState } from './connection/connection-state.ts'
import { Connections } from './connection/connections.ts'
import { type AmqpProtocolEvents, PROTOCOL_EVENTS } from './connection/protocol-events.ts'
import type { RecoveringConnection } from './connection/recovering-connection.ts'
import type { Settings } from './connection/settings/settings.ts'
import type { TransportPeer } from './connection/wire/transport.ts'
import type { ConnectionStats } from './diagnostics/stats.ts'
import { ConnectionLostError, EncodeError } from './errors.ts'
import { showing } from './lib/await-site.ts'
import { type CallSite, fromCallSite, placeOfCall, rejection } from './lib/call-site.ts'
import { INSPECT, type InspectArguments, inspected } from './lib/inspect.ts'
import { emitSafely, keepListenerContexts } from './lib/safe-emitter.ts'
import { Consumer } from './patterns/consume/consumer.ts'
import type {
  BatchHandler,
  BatchHandlerOptions,
  HandlerOptions,
  LoopOptions,
  MessageHandler,
} from './patterns/consume/consumer-options.ts'
import { isolated, isolatedTransaction } from './patterns/isolated.ts'
import { DefaultPublishers } from './patterns/publish/default-publishers.ts'
import type { Payload } from './patterns/publish/payload.ts'
import { Publisher, type PublisherOptions } from './patterns/publish/publisher.ts'
import type { RpcClient, RpcClientOptions } from './patterns/rpc/rpc-client.ts'
import type { RpcHandler, RpcReply, RpcServer, RpcServerOptions } from './patterns/rpc/rpc-server.ts'
import { isTyped } from './patterns/typed/is-typed.ts'
import { loadTyped } from './patterns/typed/load.ts'
import type { TypedPublishOptions } from './patterns/typed/publish-options.ts'
import type { SchemaInput, StandardSchema } from './patterns/typed/standard-schema.ts'
import {
  badValue,
  booleanOption,
  checkOptions,
  choiceOption,
  durationOption,
  eventCheck,
  functionOption,
  integerOption,
  shortStringOption,
  signalOption,
} from './protocol/option-check.ts'
import type { BasicProperties } from './protocol/properties.ts'
import type { FieldTable } from './protocol/values.ts'

/** Options of `channel()`. */
export interface ChannelOptions {
  /** Open the channel in confirm mode. Default: false. */
  readonly publisherConfirms?: boolean | undefined
  /**
   * Milliseconds that a publish of the channel without a `timeout` of its own may take; then it rejects with `TimeoutError`.
   * `Infinity` is no limit. Default: that of the connection, which has none unless it is set.
   */
  readonly publishTimeout?: number | undefined
  /** Called with every message that comes back because no queue wanted it. */
  readonly returnCallback?: ReturnCallback | undefined
  /**
   * With `connections: 'separate'`: `'publisher'` for a channel that publishes. One on `'main'` that publishes while the
   * broker is short of memory or disk stops the acks of all consumers. Default: `'main'`.
   */
  readonly connection?: ConnectionRole | undefined
  /** Ends the wait for the channel. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `ready()`. */
export interface ReadyOptions {
  /** Milliseconds to wait. Default: no limit. */
  readonly timeout?: number | undefined
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined
}

/** Options of `close()`. */
export interface ProtocolCloseOptions {
  /** Default: 200. */
  readonly replyCode?: number | undefined
  /** What the broker's log shows. Default: `Normal Shutdown`. */
  readonly replyText?: string | undefined
  /** Milliseconds for the whole close. Default: 5,000. */
  readonly timeout?: number | undefined
}

const CLOSE_TIMEOUT = 5_000
const CHANNEL_OPTIONS = ['connection', 'publisherConfirms', 'publishTimeout', 'returnCallback', 'signal']

type NoWait = { readonly noWait: true }

/** A connection to a broker, as `connect()` returns it. It multiplexes channels. */
export class AmqpProtocol extends EventEmitter<AmqpProtocolEvents> {
  static {
    keepListenerContexts(AmqpProtocol.prototype, eventCheck('protocol', PROTOCOL_EVENTS))
  }

  readonly #connections: Connections
  /** The one for all but what publishes. */
  readonly #session: RecoveringConnection
  #publishers: DefaultPublishers | undefined

  private constructor(settings: Settings) {
    super()
    this.#connections = new Connections(settings, (event, ...args) => this.#emit(event, ...args))
    this.#session = this.#connections.main
  }

  /** @internal Programs call `connect()`. */
  static async open(settings: Settings): Promise<AmqpProtocol> {
    const protocol = new AmqpProtocol(settings)
    await protocol.#connections.open(settings.firstAttempts ?? 1, true)
    return protocol
  }

  /** @internal Programs call `connectInBackground()`. */
  static openInBackground(settings: Settings): AmqpProtocol {
    const protocol = new AmqpProtocol(settings)
    void protocol.#connections.open(settings.firstAttempts ?? Number.POSITIVE_INFINITY, false)
    return protocol
  }

  /** A listener that throws is reported, and the others are called all the same. */
  #emit<K extends keyof AmqpProtocolEvents>(event: K, ...args: AmqpProtocolEvents[K]): void {
    emitSafely<AmqpProtocolEvents, K>(this, thrown => this.#session.report(thrown, 'unhandled'), event, ...args)
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    const { state, serverAddress, serverPort, virtualHost, connectionName, openChannels, blockedReason } = this.stats()
    const server = `${serverAddress}:${serverPort}`
    const blocked = blockedReason !== undefined && { blockedReason }
    return inspected(this, { state, server, virtualHost, connectionName, openChannels, ...blocked }, args)
  }

  /** The state of the connection. While it is `connecting` or `recovering`, calls wait. Two are open when both are. */
  get state(): ConnectionState {
    return this.#connections.state
  }

  /** Why the broker blocks publishers now; undefined if it does not. */
  get blocked(): string | undefined {
    return this.#connections.blocked
  }

  /** What the server says of itself: product, version, capabilities. */
  get serverProperties(): FieldTable {
    return this.#session.connection?.negotiated?.serverProperties ?? {}
  }

  /** Names of the server's SASL mechanisms, with a space between them. */
  get serverMechanisms(): string {
    return this.#session.connection?.negotiated?.serverMechanisms ?? ''
  }

  /** Channels that are open, with two connections on the main one; `stats()` counts both. */
  get channelsIdsCount(): number {
    return this.#session.connection?.channels.inUse ?? 0
  }

  /** Highest channel number that was agreed on. */
  get serverChannelMax(): number {
    return this.#session.connection?.negotiated?.channelMax ?? 0
  }

  /** Bytes of a whole frame that were agreed on. */
  get serverFrameMax(): number {
    return this.#session.connection?.negotiated?.frameMax ?? 0
  }

  /** Seconds between heartbeats that were agreed on; 0 for none. */
  get serverHeartbeat(): number {
    return this.#session.connection?.negotiated?.heartbeat ?? 0
  }

  /** The server at the other end, and the port at this one. Before the first connection: the first server, and port 0. */
  get peer(): TransportPeer {
    return this.#session.peer
  }

  /**
   * Resolves when the connection is open: at once if it is, else when the first connection or a recovery has succeeded. No
   * call needs it, since each waits by itself. A rejection of it ends nothing but this wait, and a program need not call it.
   *
   *     await protocol.ready({ timeout: 30_000 })
   *
   * @throws ConnectionFailedError or AuthenticationError if there has never been a connection and none is tried any more;
   * the reason if the connection is closed; TimeoutError, AbortError.
   */
  ready(options: ReadyOptions = {}): Promise<void> {
    return fromCallSite(placeOfCall(), async () => {
      checkOptions('ready', options, ['timeout', 'signal'])
      const timeout = durationOption('ready', 'timeout', options.timeout)
      const signal = signalOption('ready', 'signal', options.signal)
      await this.#connections.ready({ what: 'ready', timeout, signal })
    })
  }

  /**
   * The figures of the connection, of its publishers and of its consumers at the moment. They are computed when asked, in
   * a time that grows with the number of channels and of messages in hand; nothing is counted for them meanwhile.
   *
   *     const { state, unconfirmed, handlersRunning } = protocol.stats()
   */
  stats(): ConnectionStats {
    return this.#connections.stats()
  }

  /**
   * Open a channel (channel.open).
   *
   * @throws NoChannelAvailableError if `serverChannelMax` are open; AbortError; the reason if the connection ends.
   */
  async channel(options: ChannelOptions = {}): Promise<Channel> {
    const site = placeOfCall()
    try {
      checkOptions('channel', options, CHANNEL_OPTIONS)
      const publisherConfirms = booleanOption('channel', 'publisherConfirms', options.publisherConfirms)
      const signal = signalOption('channel', 'signal', options.signal)
      const returnCallback = functionOption('channel', 'returnCallback', options.returnCallback)
      const publishTimeout =
        durationOption('channel', 'publishTimeout', options.publishTimeout) ?? this.#session.publishTimeout
      const role = choiceOption('channel', 'connection', options.connection, ['main', 'publisher'])
      const source = role === 'publisher' ? this.#session.publishing : this.#session
      const given = { publisherConfirms, publishTimeout, returnCallback, signal }
      for (;;) {
        const isRecovering = source.state === 'recovering'
        const { channel, opened } = await source.openChannel(given)
        try {
          await opened
          return channel
        } catch (error) {
          // Begun while it recovers, it waits for the next connection, also if that is lost before all is restored.
          if (!isRecovering || source.ending !== undefined || !(error instanceof ConnectionLostError)) throw error
        }
      }
    } catch (error) {
      throw rejection(error, site)
    }
  }

  /**
   * Consume from a queue, on a separate channel. The consumer starts again after the broker has ended it, and its errors disturb nothing else.
   *
   *     for await (const message of consumer) await work(message.json())
   *
   * The loop acks a message when it asks for the next one, and gives it back to the queue when it is left. With a `handler`,
   * up to `concurrency` of them run at a time, and a message is acked when its handler returns; when it throws, `onFailure`
   * decides.
   *
   * @throws ChannelClosedError 404 if there is no such queue, 403 if it is refused or exclusively another consumer's,
   * 405 if it is another connection's: only at the start, later the consumer tries again. EncodeError; AbortError; the
   * reason if the connection ends.
   */
  consumer<Content = unknown>(queueName: string, options?: LoopOptions<Content>): Promise<Consumer<Content>>
  /**
   * Consume with a handler that gets arrays of messages: as soon as there are `batch.size`, or `batch.wait` milliseconds
   * after the first.
   */
  consumer<Content = unknown>(
    queueName: string,
    handler: BatchHandler<Content>,
    options: BatchHandlerOptions<Content>,
  ): Promise<Consumer<Content>>
  /** Consume with a handler: up to `concurrency` of them run at once, and a message is acked when its handler has returned. */
  consumer<Content = unknown>(
    queueName: string,
    handler: MessageHandler<Content>,
    options?: HandlerOptions<Content>,
  ): Promise<Consumer<Content>>
  consumer<Content>(
    queueName: string,
    handlerOrOptions?: MessageHandler<Content> | BatchHandler<Content> | LoopOptions<Content>,
    handlerOptions?: HandlerOptions<Content> | BatchHandlerOptions<Content>,
  ): Promise<Consumer<Content>> {
    return fromCallSite(placeOfCall(), async () => {
      if (typeof handlerOrOptions === 'function') {
        return await Consumer.open(this.#session, 'consumer', queueName, handlerOrOptions, handlerOptions)
      }
      // A handler that is missing by mistake: messages would be taken, and not be handled.
      if (handlerOptions !== undefined || handlerOrOptions === null || typeof (handlerOrOptions ?? {}) !== 'object') {
        throw badValue('consumer', 'handler', 'a function, or options in its place', handlerOrOptions)
      }
      return await Consumer.open(this.#session, 'consumer', queueName, undefined, handlerOrOptions)
    })
  }

  // ---- publishing

  /**
   * Publish a message (basic.publish) and wait until the broker has confirmed it, across lost connections: one whose
   * fate is unknown is sent again, in the original order and before anything newer. Each exchange has a channel of its own
   * for this. Messages are persistent unless they have a `deliveryMode`.
   *
   * @param payload an object or an array is sent as JSON. Neither it nor `properties` may be changed before the promise
   * has settled.
   * @param exchangeName '' is the default exchange, which routes to the queue that `routingKey` names; `mandatory` is
   * then true by default, since the broker confirms what no queue wanted.
   * @throws as `Publisher.publish`.
   */
  publish(
    payload: Payload,
    exchangeName: string,
    routingKey: string,
    properties?: BasicProperties,
    options?: TypedPublishOptions<undefined>,
  ): Promise<void>
  /** Publish what fits a schema; what does not is not sent, and rejects with an `EncodeError` that has the `issues`. */
  publish<Schema extends StandardSchema>(
    payload: SchemaInput<Schema>,
    exchangeName: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    options: TypedPublishOptions<Schema>,
  ): Promise<void>
  publish(
    payload: unknown,
    exchangeName: string,
    routingKey: string,
    properties?: BasicProperties,
    options?: TypedPublishOptions,
  ): Promise<void> {
    this.#publishers ??= this.#makePublishers()
    return this.#publishers.publish(payload as Payload, exchangeName, routingKey, properties, options)
  }

  #makePublishers(): DefaultPublishers {
    const resent = (count: number): void => this.#emit('resent', count)
    return new DefaultPublishers(this.#session.publishing, resent, this.publish)
  }

  /**
   * Publish to one exchange, with settings and a confirm channel of its own, which is opened when it is first needed.
   *
   * @throws EncodeError; the reason if the connection is closed.
   */
  publisher<Content = Payload>(options?: PublisherOptions<Content>): Promise<Publisher<Content>> {
    return fromCallSite(placeOfCall(), async () => {
      if (!isTyped(options)) return new Publisher(this.#session.publishing, options)
      const { TypedPublisher } = await loadTyped()
      return new TypedPublisher(this.#session.publishing, options)
    })
  }

  /**
   * Run `work` in a transaction (tx.select) on a separate channel. It is committed when `work` is done, and rolled back when `work`
   * throws; then this rejects with that error. It is never repeated: if the connection is lost, this rejects, and a commit in
   * flight may have taken place or not.
   */
  transaction<T>(work: (channel: Channel) => Promise<T> | T): Promise<T> {
    return isolatedTransaction(this.#session.publishing, placeOfCall(), work)
  }

  // ---- queues and exchanges, each method on a channel of its own: one that fails disturbs nothing

  /** With `noWait`: resolves, without a result, when the method is written. */
  queueDeclare(queueName: string | undefined, options: QueueDeclareOptions & NoWait): Promise<undefined>
  /**
   * Declare a queue (queue.declare): create it, or check that it exists with the same properties. An exclusive queue belongs to this connection.
   *
   * @param queueName '' lets the server make a name, which is in the result; the queue is then exclusive by default.
   * @throws ChannelClosedError 406 if the queue exists and is different, 405 if it is another connection's, 404 if it
   * does not exist and `passive` is true.
   */
  queueDeclare(queueName?: string, options?: QueueDeclareOptions): Promise<QueueDeclareResult>
  queueDeclare(queueName = '', options: QueueDeclareOptions = {}): Promise<QueueDeclareResult | undefined> {
    return this.#isolated(placeOfCall(), 'queueDeclare', 'queue.declare', queueName, options, (channel, given) =>
      channel.queueDeclare(queueName, given),
    )
  }

  /** With `noWait`: resolves, without a result, when the method is written. */
  queueDelete(queueName: string, options: QueueDeleteOptions & NoWait): Promise<undefined>
  /** Delete a queue with its messages (queue.delete). It is not an error if there is no such queue. */
  queueDelete(queueName: string, options?: QueueDeleteOptions): Promise<MessageCountResult>
  queueDelete(queueName: string, options: QueueDeleteOptions = {}): Promise<MessageCountResult | undefined> {
    return this.#isolated(placeOfCall(), 'queueDelete', 'queue.delete', queueName, options, (channel, given) =>
      channel.queueDelete(queueName, given),
    )
  }

  /** Bind a queue to an exchange (queue.bind): messages of the exchange with this routing key go to the queue. */
  queueBind(queueName: string, exchangeName: string, routingKey = '', options: BindOptions = {}): Promise<void> {
    return this.#isolated(placeOfCall(), 'queueBind', 'queue.bind', queueName, options, (channel, given) =>
      channel.queueBind(queueName, exchangeName, routingKey, given),
    )
  }

  /** Remove a binding (queue.unbind); all its arguments identify it. It is not an error if there is none. */
  queueUnbind(queueName: string, exchangeName: string, routingKey = '', options: UnbindOptions = {}): Promise<void> {
    return this.#isolated(placeOfCall(), 'queueUnbind', 'queue.unbind', queueName, options, (channel, given) =>
      channel.queueUnbind(queueName, exchangeName, routingKey, given),
    )
  }

  /** With `noWait`: resolves, without a result, when the method is written. */
  queuePurge(queueName: string, options: PurgeOptions & NoWait): Promise<undefined>
  /** Remove the messages of a queue that are not delivered to a consumer (queue.purge). */
  queuePurge(queueName: string, options?: PurgeOptions): Promise<MessageCountResult>
  queuePurge(queueName: string, options: PurgeOptions = {}): Promise<MessageCountResult | undefined> {
    return this.#isolated(placeOfCall(), 'queuePurge', 'queue.purge', queueName, options, (channel, given) =>
      channel.queuePurge(queueName, given),
    )
  }

  /**
   * Declare an exchange (exchange.declare): create it, or check that it exists with the same properties.
   *
   * @throws ChannelClosedError 406 if it exists and is different. For an unknown type, ChannelClosedError 406 from
   * RabbitMQ 4 on, ConnectionClosedError 503 before.
   */
  exchangeDeclare(exchangeName: string, typeName: string, options: ExchangeDeclareOptions = {}): Promise<void> {
    return this.#isolated(
      placeOfCall(),
      'exchangeDeclare',
      'exchange.declare',
      exchangeName,
      options,
      (channel, given) => channel.exchangeDeclare(exchangeName, typeName, given),
    )
  }

  /** Delete an exchange (exchange.delete). It is not an error if there is none. */
  exchangeDelete(exchangeName: string, options: ExchangeDeleteOptions = {}): Promise<void> {
    return this.#isolated(placeOfCall(), 'exchangeDelete', 'exchange.delete', exchangeName, options, (channel, given) =>
      channel.exchangeDelete(exchangeName, given),
    )
  }

  /** Bind an exchange to another one (exchange.bind, RabbitMQ's extension): messages of the source go to the destination too. */
  exchangeBind(
    exchangeDestination: string,
    exchangeSource: string,
    routingKey = '',
    options: BindOptions = {},
  ): Promise<void> {
    return this.#isolated(
      placeOfCall(),
      'exchangeBind',
      'exchange.bind',
      exchangeDestination,
      options,
      (channel, given) => channel.exchangeBind(exchangeDestination, exchangeSource, routingKey, given),
    )
  }

  /** Remove a binding of exchanges (exchange.unbind, RabbitMQ's extension); all its arguments identify it. */
  exchangeUnbind(
    exchangeDestination: string,
    exchangeSource: string,
    routingKey = '',
    options: BindOptions = {},
  ): Promise<void> {
    return this.#isolated(
      placeOfCall(),
      'exchangeUnbind',
      'exchange.unbind',
      exchangeDestination,
      options,
      (channel, given) => channel.exchangeUnbind(exchangeDestination, exchangeSource, routingKey, given),
    )
  }

  #isolated<T, O extends CallOptions>(
    site: CallSite,
    caller: string,
    method: string,
    name: string,
    options: O,
    run: (channel: Channel, options: O) => Promise<T>,
  ): Promise<T> {
    return isolated(this.#session, site, caller, describeCall(method, name === '' ? undefined : name), options, run)
  }

  /**
   * Call RPC servers: requests go to their queues, and replies come back by RabbitMQ's direct reply-to.
   *
   * @throws EncodeError; the reason if the connection ends.
   */
  rpcClient<Request = Payload, Reply = unknown>(
    options: RpcClientOptions<Request, Reply> = {},
  ): Promise<RpcClient<Request, Reply>> {
    return fromCallSite(placeOfCall(), async () => (await loadRpc()).RpcClient.open(this.#session.publishing, options))
  }

  /**
   * Answer the requests in a queue, `concurrency` at a time (32 by default). It declares nothing. A request is acked once
   * the broker has confirmed its reply; what `handler` throws reaches the caller as a `RemoteError`. A request without
   * `replyTo` gets no reply; if its handler throws, it goes to the queue's dead-letter exchange.
   *
   * @throws as `consumer` does.
   */
  rpcServer<Request = unknown, Reply = RpcReply>(
    queueName: string,
    handler: RpcHandler<Request, Reply>,
    options: RpcServerOptions<Request, Reply> = {},
  ): Promise<RpcServer> {
    return fromCallSite(placeOfCall(), async () =>
      (await loadRpc()).RpcServer.open(this.#session, queueName, handler, options),
    )
  }

  /**
   * Close the connection gracefully (connection.close): stop consumers, let running handlers end, wait for confirms,
   * then close, all within `timeout`. It always resolves; what was still pending then rejects. A second call gets the same promise.
   * A handler must not await it, since it waits for that handler.
   */
  close(options: ProtocolCloseOptions = {}): Promise<void> {
    try {
      checkOptions('close', options, ['replyCode', 'replyText', 'timeout'])
      const replyCode = integerOption('close', 'replyCode', options.replyCode, 0, 65_535) ?? 200
      const replyText = shortStringOption('close', 'replyText', options.replyText) ?? 'Normal Shutdown'
      const timeout = durationOption('close', 'timeout', options.timeout) ?? CLOSE_TIMEOUT
      return this.#connections.close(replyCode, replyText, timeout)
    } catch (error) {
      return Promise.reject(showing(error, this.close))
    }
  }

  /** Resolves once the program has closed the connection; rejects with the reason if it ended otherwise. */
  waitClosed(): Promise<void> {
    return this.#connections.waitClosed()
  }

  /**
   * Give the broker a new secret before the old one, such as an OAuth token, expires (connection.update-secret,
   * RabbitMQ's extension). Later logins use it too.
   *
   * @param reason what the broker's log shows.
   */
  updateSecret(secret: string, reason: string): Promise<void> {
    return fromCallSite(placeOfCall(), async () => {
      if (typeof secret !== 'string') throw new EncodeError('updateSecret: secret must be a string')
      if (typeof reason !== 'string') throw badValue('updateSecret', 'reason', 'a string', reason)
      shortStringOption('updateSecret', 'reason', reason)
      await this.#connections.updateSecret(secret, reason)
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

let rpc: Promise<typeof import('./patterns/rpc/rpc.ts')> | undefined

/** @internal Only programs that call or answer load its code, once. */
export function loadRpc(): Promise<typeof import('./patterns/rpc/rpc.ts')> {
  rpc ??= import('./patterns/rpc/rpc.ts')
  return rpc
}
