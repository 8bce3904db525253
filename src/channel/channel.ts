import { METHOD_CALL, CallContext as TracedCall } from '../diagnostics/call.ts'
import { type ConsumerCancelledError, EncodeError, ProtocolError } from '../errors.ts'
import { showing } from '../lib/await-site.ts'
import { atCallSite, type CallSite, fromCallSite, placeOfCall, rejection } from '../lib/call-site.ts'
import { ignore } from '../lib/ignore.ts'
import { INSPECT, type InspectArguments, inspected } from '../lib/inspect.ts'
import { asError } from '../lib/thrown.ts'
import {
  type ArgumentsOf,
  BasicQos,
  BasicRecover,
  BasicRecoverAsync,
  ChannelFlow,
  ExchangeBind,
  ExchangeDeclare,
  ExchangeDelete,
  ExchangeUnbind,
  QueueBind,
  QueueDeclare,
  QueueDelete,
  QueuePurge,
  QueueUnbind,
  type SyncMethod,
  TxRollback,
  TxSelect,
} from '../protocol/methods.ts'
import {
  badValue,
  booleanOption,
  checkOptions,
  durationOption,
  integerOption,
  shortStringOption,
  signalOption,
} from '../protocol/option-check.ts'
import type { BasicProperties } from '../protocol/properties.ts'
import type { Properties } from '../protocol/received-properties.ts'
import { copyTable } from '../protocol/table-copy.ts'
import type { FieldTable } from '../protocol/values.ts'
import { describeCall } from './call-options.ts'
import type { CallContext } from './calls.ts'
import { ChannelCallbacks } from './channel-callbacks.ts'
import type { ChannelSession } from './channel-session.ts'
import { CallbackConsumer } from './consume/callback-consumer.ts'
import type { Envelope, GetResult, ReturnEnvelope } from './consume/delivery.ts'
import type { Consumer, DeliverySink } from './consume/delivery-sink.ts'
import type { RecordedConsumer } from './consume/recorded-consumers.ts'
import { positionOf } from './consume/stream-position.ts'
import type {
  AckOptions,
  BasicPublishOptions,
  BindOptions,
  CallOptions,
  CancelOptions,
  CloseOptions,
  ConfirmSelectOptions,
  ConsumeOptions,
  ConsumerTagResult,
  ExchangeDeclareOptions,
  ExchangeDeleteOptions,
  GetOptions,
  MessageCountResult,
  NackOptions,
  PublishOptions,
  PurgeOptions,
  QosOptions,
  QueueDeclareOptions,
  QueueDeclareResult,
  QueueDeleteOptions,
  RecoverOptions,
  RejectOptions,
  UnbindOptions,
} from './options.ts'
import { notSent } from './publish/message.ts'
import type { Publishing } from './publish/publishing.ts'
import type { QueueReference } from './queue-names.ts'
import { type ChannelHost, RecoveringChannel, type RecoveringChannelOptions } from './recovering-channel.ts'
import type { BindingDefinition, Ledger, QueueDefinition, TopologyRecorder } from './topology-recorder.ts'
import type { Effect } from './written-effects.ts'

/** Called with each message; it may be async, and may await anything on any channel. */
export type ConsumerCallback = (channel: Channel, body: Buffer, envelope: Envelope, properties: Properties) => unknown

/** Called with each message that came back. */
export type ReturnCallback = (
  channel: Channel,
  body: Buffer,
  envelope: ReturnEnvelope,
  properties: Properties,
) => unknown

/** Called when the server cancels a consumer, or it could not be recovered; the error says which. */
export type CancellationCallback = (channel: Channel, consumerTag: string, error: ConsumerCancelledError) => unknown

type NoWait = { readonly noWait: true }

const CALL = ['signal', 'timeout']
const BINDING = [...CALL, 'noWait', 'arguments']
const QUEUE_DECLARE = [...BINDING, 'passive', 'durable', 'exclusive', 'autoDelete', 'recover']
const EXCHANGE_DECLARE = [...BINDING, 'passive', 'durable', 'autoDelete', 'internal', 'recover']
const CONSUME = [...BINDING, 'consumerTag', 'noLocal', 'noAck', 'exclusive', 'concurrency']
const BASIC_PUBLISH = ['mandatory']
const PUBLISH = [...CALL, ...BASIC_PUBLISH]
const ACK = ['multiple']
const REJECT = ['requeue']
const NACK = [...ACK, ...REJECT]
const NONE = {}

/**
 * A channel of the protocol level, with the methods of AMQP one to one. Made by `protocol.channel()`.
 *
 * Synchronous methods are pipelined: those started together go out together, and each promise resolves with the
 * server's reply. If the connection is recovered, the channel goes on as the same object.
 */
export class Channel {
  readonly #recovering: RecoveringChannel
  /** Made for the first. */
  #callbacks: ChannelCallbacks<Channel> | undefined
  #closed: Promise<void> | undefined
  /** When the one call that it is for was made. */
  readonly #calledAt: number | undefined
  /** Work of `transaction()` is under way: its commit is for all that the channel does. */
  #inTransaction = false

  /** @internal Programs call `protocol.channel()`. */
  constructor(host: ChannelHost, options: RecoveringChannelOptions, returnCallback?: ReturnCallback) {
    this.#recovering = new RecoveringChannel(host, options)
    this.#calledAt = options.calledAt
    if (returnCallback !== undefined) this.returnCallback = returnCallback
  }

  /** Called with every message that comes back because it was mandatory and no queue wanted it. */
  get returnCallback(): ReturnCallback | undefined {
    return this.#callbacks?.onReturn
  }

  set returnCallback(callback: ReturnCallback | undefined) {
    this.#makeCallbacks().onReturn = callback
  }

  /** @internal */
  get recovering(): RecoveringChannel {
    return this.#recovering
  }

  /** Its number on the connection; another one may have it once it is closed. */
  get channelId(): number {
    return this.#recovering.id
  }

  /** False from the moment it is being closed by either side. True while its connection is recovered. */
  get isOpen(): boolean {
    return this.#recovering.isOpen
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    return inspected(this, { channelId: this.channelId, isOpen: this.isOpen }, args)
  }

  // ---- queues

  /** With `noWait`: resolves, without a result, when the method is written. */
  queueDeclare(queueName: string | undefined, options: QueueDeclareOptions & NoWait): Promise<undefined>
  /**
   * Declare a queue (queue.declare): create it, or check that it exists with the same properties.
   *
   * @param queueName '' lets the server make a name, which is in the result; the queue is then exclusive by default.
   * @throws ChannelClosedError 406 if the queue exists and is different, 405 if it is another connection's.
   */
  queueDeclare(queueName?: string, options?: QueueDeclareOptions): Promise<QueueDeclareResult>
  queueDeclare(queueName = '', options: QueueDeclareOptions = NONE): Promise<QueueDeclareResult | undefined> {
    const name = queueName === '' ? undefined : queueName
    return this.#method(placeOfCall(), 'queue.declare', name, options, QUEUE_DECLARE, context => {
      const { passive, autoDelete, noWait, arguments: args, recover = true } = options
      booleanOption('queue.declare', 'recover', recover)
      if (noWait === true && queueName === '') {
        throw new EncodeError(
          'queue.declare: noWait needs a queueName, since the server makes the name only in its reply',
        )
      }
      const { exclusive = queueName === '' && options.durable === undefined } = options
      const { durable = !exclusive } = options
      const { names } = this.#recovering
      const sent = argumentsOf('queue.declare', args)
      const definition = { queueName, durable, exclusive, autoDelete: autoDelete === true, arguments: sent }
      return this.#recovering.record(QueueDeclare, context, session => {
        // A declare of '' makes a new queue each time: its old name is not meant.
        const wireName = queueName === '' ? '' : names.wireName(session, queueName)
        return {
          args: { queueName: wireName, passive, durable, exclusive, autoDelete, noWait, arguments: sent },
          written: () => {
            const declared = names.declared(session, wireName === '' ? undefined : wireName)
            // Another connection would make it as its own, while the one that has it may live.
            const recovers = recover && (!exclusive || this.#recovering.host.keepsTopology)
            const change = passive === true ? used(declared) : declaredAs(declared, definition, recovers)
            declared.recorded = this.#topology?.written(change, noWait)
            return declared
          },
        }
      })
    })
  }

  /** With `noWait`: resolves, without a result, when the method is written. */
  queueDelete(queueName: string, options: QueueDeleteOptions & NoWait): Promise<undefined>
  /** Delete a queue with its messages (queue.delete). It is not an error if there is no such queue. */
  queueDelete(queueName: string, options?: QueueDeleteOptions): Promise<MessageCountResult>
  queueDelete(queueName: string, options: QueueDeleteOptions = NONE): Promise<MessageCountResult | undefined> {
    return this.#method(
      placeOfCall(),
      'queue.delete',
      queueName,
      options,
      [...CALL, 'noWait', 'ifUnused', 'ifEmpty'],
      context => {
        const { ifUnused, ifEmpty, noWait } = options
        return this.#change(
          QueueDelete,
          context,
          wireName => ({ queueName: wireName(queueName), ifUnused, ifEmpty, noWait }),
          named => {
            const queue = named(queueName)
            return ledger => ledger.queueDeleted(queue.name ?? '')
          },
        )
      },
    )
  }

  /** Bind a queue to an exchange (queue.bind): messages of the exchange with this routing key go to the queue. */
  queueBind(queueName: string, exchangeName: string, routingKey = '', options: BindOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'queue.bind', queueName, options, BINDING, context => {
      return this.#changeBinding(QueueBind, context, queueName, exchangeName, routingKey, options)
    })
  }

  /** Remove a binding (queue.unbind); all its arguments identify it. It is not an error if there is none. */
  queueUnbind(queueName: string, exchangeName: string, routingKey = '', options: UnbindOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'queue.unbind', queueName, options, [...CALL, 'arguments'], context =>
      this.#changeBinding(QueueUnbind, context, queueName, exchangeName, routingKey, options),
    )
  }

  /** With `noWait`: resolves, without a result, when the method is written. */
  queuePurge(queueName: string, options: PurgeOptions & NoWait): Promise<undefined>
  /** Remove the messages of a queue that are not delivered to a consumer (queue.purge). */
  queuePurge(queueName: string, options?: PurgeOptions): Promise<MessageCountResult>
  queuePurge(queueName: string, options: PurgeOptions = NONE): Promise<MessageCountResult | undefined> {
    return this.#method(placeOfCall(), 'queue.purge', queueName, options, [...CALL, 'noWait'], context => {
      const { noWait } = options
      return this.#change(QueuePurge, context, wireName => ({ queueName: wireName(queueName), noWait }))
    })
  }

  // ---- exchanges

  /**
   * Declare an exchange (exchange.declare): create it, or check that it exists with the same properties.
   *
   * @throws ChannelClosedError 406 if it exists and is different. For an unknown type, ChannelClosedError 406 from
   * RabbitMQ 4 on, ConnectionClosedError 503 before.
   */
  exchangeDeclare(exchangeName: string, typeName: string, options: ExchangeDeclareOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'exchange.declare', exchangeName, options, EXCHANGE_DECLARE, context => {
      const { passive, durable = true, autoDelete, internal, noWait, recover = true } = options
      booleanOption('exchange.declare', 'recover', recover)
      const args = argumentsOf('exchange.declare', options.arguments)
      const kinds = { durable, autoDelete: autoDelete === true, internal: internal === true }
      return this.#change(
        ExchangeDeclare,
        context,
        () => ({ exchangeName, typeName, passive, durable, autoDelete, internal, noWait, arguments: args }),
        () => ledger => {
          if (passive !== true) ledger.exchangeDeclared({ exchangeName, typeName, ...kinds, arguments: args }, recover)
        },
      )
    })
  }

  /** Delete an exchange (exchange.delete). It is not an error if there is none. */
  exchangeDelete(exchangeName: string, options: ExchangeDeleteOptions = NONE): Promise<void> {
    return this.#method(
      placeOfCall(),
      'exchange.delete',
      exchangeName,
      options,
      [...CALL, 'noWait', 'ifUnused'],
      context => {
        const { ifUnused, noWait } = options
        return this.#change(
          ExchangeDelete,
          context,
          () => ({ exchangeName, ifUnused, noWait }),
          () => ledger => ledger.exchangeDeleted(exchangeName),
        )
      },
    )
  }

  /**
   * Bind an exchange to another one (exchange.bind, RabbitMQ's extension): messages of the source go to the destination
   * too.
   */
  exchangeBind(
    exchangeDestination: string,
    exchangeSource: string,
    routingKey = '',
    options: BindOptions = NONE,
  ): Promise<void> {
    return this.#method(placeOfCall(), 'exchange.bind', exchangeDestination, options, BINDING, context => {
      const { noWait } = options
      const args = argumentsOf('exchange.bind', options.arguments)
      const definition = binding('exchange', exchangeSource, exchangeDestination, routingKey, args)
      return this.#change(
        ExchangeBind,
        { ...context, names: [exchangeDestination, exchangeSource] },
        () => ({ exchangeDestination, exchangeSource, routingKey, noWait, arguments: args }),
        () => ledger => ledger.bound(definition),
      )
    })
  }

  /** Remove a binding of exchanges (exchange.unbind, RabbitMQ's extension); all its arguments identify it. */
  exchangeUnbind(
    exchangeDestination: string,
    exchangeSource: string,
    routingKey = '',
    options: BindOptions = NONE,
  ): Promise<void> {
    return this.#method(placeOfCall(), 'exchange.unbind', exchangeDestination, options, BINDING, context => {
      const { noWait } = options
      const args = argumentsOf('exchange.unbind', options.arguments)
      const definition = binding('exchange', exchangeSource, exchangeDestination, routingKey, args)
      return this.#change(
        ExchangeUnbind,
        { ...context, names: [exchangeDestination, exchangeSource] },
        () => ({ exchangeDestination, exchangeSource, routingKey, noWait, arguments: args }),
        () => ledger => ledger.unbound(definition),
      )
    })
  }

  // ---- publishing

  /**
   * Publish a message (basic.publish). Resolves when it is on its way and more may be written: awaiting it is the
   * backpressure, not a receipt. It need not be awaited: if its channel ends first, or has
   * too many waiting (`maxWaiting`), `onError` gets the error once.
   *
   * @param payload a string is sent as UTF-8. Bytes may be changed, or transferred to a worker, once the promise has
   * resolved.
   * @param exchangeName '' is the default exchange, which routes to the queue that `routingKey` names.
   * @throws EncodeError if an argument cannot be sent; the channel goes on. Others have `outcome`.
   */
  basicPublish(
    payload: Uint8Array | string,
    exchangeName: string,
    routingKey: string,
    properties?: BasicProperties,
    options?: BasicPublishOptions,
  ): Promise<void> {
    try {
      const mandatory = options === undefined ? false : this.#mandatory(options, BASIC_PUBLISH)
      return this.#publishing().basicPublish(payload, exchangeName, routingKey, properties, mandatory)
    } catch (error) {
      return this.#recovering.forgotten(showing(notSent(error), this.basicPublish))
    }
  }

  /**
   * Publish a message (basic.publish); on a channel in confirm mode, resolves when the broker has confirmed it, and otherwise
   * as `basicPublish` does.
   *
   * @param payload as of `basicPublish`. After a timeout or an abort whose `outcome` is `'unknown'` its bytes may still be
   * on their way out, until something later on this channel is confirmed or answered.
   * @throws PublishFailedError on a nack, MessageReturnedError if it is mandatory and came back, ChannelClosedError,
   * ConnectionLostError or ConnectionClosedError if that ended first, TimeoutError and AbortError; each has `outcome`.
   */
  publish(
    payload: Uint8Array | string,
    exchangeName: string,
    routingKey: string,
    properties?: BasicProperties,
    options?: PublishOptions,
  ): Promise<void> {
    try {
      const publishing = this.#publishing()
      if (options === undefined) {
        return publishing.publish(payload, exchangeName, routingKey, properties, false, undefined)
      }
      const mandatory = this.#mandatory(options, PUBLISH)
      const { signal, timeout } = options
      const bounds = signal === undefined && timeout === undefined ? undefined : { signal, timeout }
      if (bounds !== undefined) checkCall('basic.publish', signal, timeout)
      return publishing.publish(payload, exchangeName, routingKey, properties, mandatory, bounds)
    } catch (error) {
      return Promise.reject(showing(notSent(error), this.publish))
    }
  }

  /** The getter alone makes "publish 16 B" 4 % dearer. */
  #publishing(): Publishing {
    const { madePublishing = this.#recovering.publishing } = this.#recovering
    return madePublishing
  }

  #mandatory(options: BasicPublishOptions, known: readonly string[]): boolean {
    checkOptions('basic.publish', options, known)
    return booleanOption('basic.publish', 'mandatory', options.mandatory) ?? false
  }

  /** Put the channel into confirm mode (confirm.select, RabbitMQ's extension). It may be called again. */
  confirmSelect(options: ConfirmSelectOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'confirm.select', undefined, options, [...CALL, 'noWait'], context => {
      const noWait = booleanOption('confirm.select', 'noWait', options.noWait) ?? false
      return this.#recovering.confirmSelect(noWait, context)
    })
  }

  /**
   * Wait until the broker has settled everything that this channel has published before the call, in confirm mode.
   *
   * @throws PublishFailedError if it nacked one since the last call; the reason if the channel ends first, or if one was lost with a connection since the last call; ProtocolError if the channel is not in confirm mode.
   */
  waitForConfirms(options: CallOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'waitForConfirms', undefined, options, CALL, context => {
      if (!this.#recovering.publishing.confirming && !this.#recovering.isOver) {
        const text = `waitForConfirms failed: channel ${this.channelId} is not in confirm mode; open it with publisherConfirms: true, or call confirmSelect() first`
        return Promise.reject(atCallSite(new ProtocolError(text), context.site))
      }
      return this.#recovering.useBehindPublishes(session => session.waitForConfirms(context), context)
    })
  }

  // ---- consuming

  /**
   * Limit what the broker sends ahead of the acks (basic.qos): to each consumer started from now on; with
   * `connectionGlobal` to the whole channel, but to each consumer all the same since RabbitMQ 4.3: `logger` is warned once.
   */
  basicQos(options: QosOptions = NONE): Promise<void> {
    const known = [...CALL, 'prefetchCount', 'prefetchSize', 'connectionGlobal']
    return this.#method(placeOfCall(), 'basic.qos', undefined, options, known, context => {
      const { prefetchCount, prefetchSize, connectionGlobal } = options
      const args = { prefetchCount, prefetchSize, connectionGlobal }
      return this.#lasting(BasicQos, context, args, () => this.#recovering.qosWritten(args))
    })
  }

  /**
   * Call `callback` with each message of a queue (basic.consume). Calls start in the order of delivery and do not
   * wait for each other, unless `concurrency` says so; the first comes after the promise has resolved. What a callback
   * throws goes to `onError`, or is an unhandled rejection.
   *
   * @param queueName '' is the queue last declared on this channel.
   * @throws DuplicateConsumerTagError; ChannelClosedError 404 if there is no such queue, 403 if it is refused.
   */
  basicConsume(callback: ConsumerCallback, queueName = '', options: ConsumeOptions = NONE): Promise<ConsumerTagResult> {
    return this.#method(placeOfCall(), 'basic.consume', queueName, options, CONSUME, context => {
      const { noAck, concurrency = Number.POSITIVE_INFINITY } = options
      if (typeof callback !== 'function') throw badValue('basic.consume', 'callback', 'a function', callback)
      if (concurrency !== Number.POSITIVE_INFINITY && !(Number.isInteger(concurrency) && concurrency > 0)) {
        throw badValue('basic.consume', 'concurrency', 'a positive integer or Infinity', concurrency)
      }
      const sink = new CallbackConsumer({
        queueName,
        noAck: booleanOption('basic.consume', 'noAck', noAck) ?? false,
        concurrency,
        channel: this,
        callback,
      })
      return this.#consume(sink, options, context).then(({ tag }) => ({ consumerTag: tag }))
    })
  }

  /** @internal Have `sink` take the messages of its queue, whose owner consumes again when it is cancelled. */
  consumeInto(sink: DeliverySink, options: ConsumeOptions): Promise<Consumer> {
    return this.#method(placeOfCall(), 'basic.consume', sink.queueName, options, CONSUME, context =>
      this.#consume(sink, options, context),
    )
  }

  #consume(sink: DeliverySink, options: ConsumeOptions, context: CallContext): Promise<Consumer> {
    const { noLocal, exclusive } = options
    const { queueName, noAck } = sink
    const noWait = booleanOption('basic.consume', 'noWait', options.noWait) ?? false
    const args = argumentsOf('basic.consume', options.arguments)
    // Made here and not by the server, whose consume-ok comes by another way than the other replies.
    const tag = shortStringOption('basic.consume', 'consumerTag', options.consumerTag) || newConsumerTag()
    if (typeof queueName !== 'string') throw badValue('basic.consume', 'queueName', 'a string', queueName)
    // A stream takes no consumer without acks.
    const offset = args?.['x-stream-offset']
    const queue = this.#recovering.names.meant(queueName)
    const isStream = noAck ? false : offset !== undefined || this.#topology?.isStream(queue.name ?? '')
    const consumer: RecordedConsumer = {
      tag,
      sink,
      position: positionOf(isStream, offset),
      noLocal,
      exclusive,
      arguments: args,
      queue: undefined,
      prefetch: undefined,
      counted: undefined,
    }
    const { recordedConsumers } = this.#recovering
    return this.#recovering
      .use(session => recordedConsumers.start(session, consumer, noWait, context), context)
      .then(() => consumer)
  }

  /**
   * Stop a consumer (basic.cancel). What was delivered and no callback has seen goes back to the queue; with `noAck`
   * callbacks get it, until the channel is closed. On a transactional channel it goes back with the next commit, and after
   * a rollback when the channel is closed. A tag that is not known is not an error. With `noWait` it resolves at once, and
   * the tag may be used again: cancel-ok is asked for in any case, and a basicConsume of the same tag waits for it.
   */
  basicCancel(consumerTag: string, options: CancelOptions = NONE): Promise<ConsumerTagResult> {
    return this.#method(placeOfCall(), 'basic.cancel', undefined, options, [...CALL, 'noWait'], context => {
      if (typeof consumerTag !== 'string') throw badValue('basic.cancel', 'consumerTag', 'a string', consumerTag)
      const { recordedConsumers } = this.#recovering
      const noWait = booleanOption('basic.cancel', 'noWait', options.noWait) ?? false
      const cancel = (session: ChannelSession): Promise<void> =>
        recordedConsumers.cancel(session, consumerTag, noWait, context)
      return this.#recovering.use(cancel, context).then(() => ({ consumerTag }))
    })
  }

  /**
   * Fetch one message, or null if the queue is empty (basic.get). For more than a few, consume. If a `signal` ends the call, its
   * message goes back to the queue: on a transactional channel with the next commit, as what a cancelled consumer gives back.
   */
  basicGet(queueName = '', options: GetOptions = NONE): Promise<GetResult | null> {
    return this.#method(placeOfCall(), 'basic.get', queueName, options, [...CALL, 'noAck'], context => {
      const noAck = booleanOption('basic.get', 'noAck', options.noAck) ?? false
      return this.#recovering.use(session => this.#recovering.get(session, queueName, noAck, context), context)
    })
  }

  /**
   * Acknowledge a delivery (basic.ack). Resolves to false, with nothing sent, if it came before a recovery, or the connection
   * is being closed already.
   */
  basicClientAck(deliveryTag: number, options?: AckOptions): Promise<boolean> {
    try {
      if (options === undefined) return this.#recovering.settle('ack', deliveryTag, false, false)
      return this.#settle('ack', deliveryTag, options, ACK, false)
    } catch (error) {
      return this.#recovering.forgotten(showing(error, this.basicClientAck))
    }
  }

  /**
   * Refuse a delivery, back to its queue unless `requeue` is false (basic.nack, RabbitMQ's extension). Resolves as
   * `basicClientAck`. A stream takes nothing back: there, nothing is sent, or an ack if `requeue` is false. If it is not
   * known which messages are of a stream, or `multiple` spans others too, it may be that nothing is sent; that is reported.
   */
  basicClientNack(deliveryTag: number, options: NackOptions = NONE): Promise<boolean> {
    try {
      return this.#settle('nack', deliveryTag, options, NACK, true)
    } catch (error) {
      return this.#recovering.forgotten(showing(error, this.basicClientNack))
    }
  }

  /**
   * Refuse a delivery for good, to its dead-letter exchange, unless `requeue` is true (basic.reject). Resolves as
   * `basicClientNack`.
   */
  basicReject(deliveryTag: number, options: RejectOptions = NONE): Promise<boolean> {
    try {
      return this.#settle('reject', deliveryTag, options, REJECT, false)
    } catch (error) {
      return this.#recovering.forgotten(showing(error, this.basicReject))
    }
  }

  #settle(
    how: 'ack' | 'nack' | 'reject',
    tag: number,
    options: NackOptions,
    known: readonly string[],
    isRequeued: boolean,
  ): Promise<boolean> {
    const what = `basic.${how}`
    checkOptions(what, options, known)
    const multiple = booleanOption(what, 'multiple', options.multiple) ?? false
    const requeue = booleanOption(what, 'requeue', options.requeue) ?? isRequeued
    return this.#recovering.settle(how, tag, multiple, requeue)
  }

  /** Have the broker deliver again everything that is not acknowledged (basic.recover). */
  basicRecover(options: RecoverOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'basic.recover', undefined, options, [...CALL, 'requeue'], context => {
      const { requeue = true } = options
      return this.#recovering.use(async session => {
        const replied = (): void => session.acker.takenBack()
        await session.call(BasicRecover, { requeue }, context, () => ({ replied }))
      }, context)
    })
  }

  /** Like `basicRecover`, without a reply (basic.recover-async). */
  basicRecoverAsync(options: { readonly requeue?: boolean | undefined } = NONE): Promise<void> {
    const sent = this.#method(placeOfCall(), 'basic.recover-async', undefined, options, ['requeue'], context => {
      const { requeue = true } = options
      return this.#recovering.use(async session => {
        session.send(BasicRecoverAsync, { requeue }, context)
        session.acker.takenBack()
      }, context)
    })
    return this.#recovering.forgettable(sent)
  }

  // ---- transactions

  /** Make the channel transactional (tx.select): publishes and acks wait for `txCommit`. */
  txSelect(options: CallOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'tx.select', undefined, options, CALL, context => {
      const written = (): Effect => {
        // A second call: publishes and acks under way go on.
        if (this.#recovering.modes.transaction !== 'none') return NO_EFFECT
        this.#recovering.transactionTo('idle')
        return { accept: ignore, refuse: () => this.#recovering.transactionTo('none') }
      }
      // What was published before it belongs to no transaction.
      return this.#lasting(TxSelect, context, {}, written, true)
    })
  }

  /**
   * Carry out the publishes and acks since the last commit (tx.commit). What is called on the channel after it goes out once the
   * broker has answered, since RabbitMQ closes the connection over anything else.
   */
  txCommit(options: CallOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'tx.commit', undefined, options, CALL, context =>
      this.#recovering.useBehindPublishes(
        session => this.#recovering.modes.commit(session, this.#recovering.publishing, context),
        context,
      ),
    )
  }

  /** Drop the publishes and acks since the last commit (tx.rollback). */
  txRollback(options: CallOptions = NONE): Promise<void> {
    return this.#method(placeOfCall(), 'tx.rollback', undefined, options, CALL, context => {
      // The broker rolled it back when the connection was lost.
      if (this.#recovering.modes.transaction === 'lost' && !this.#recovering.isOver) {
        this.#recovering.transactionTo('idle')
        return Promise.resolve()
      }
      return this.#recovering.useBehindPublishes(
        session => session.order(TxRollback, {}, context, () => this.#recovering.transactionTo('idle')),
        context,
      )
    })
  }

  /**
   * Run `work` in a transaction. It is committed when `work` is done, and rolled back when `work` throws; then this
   * rejects with that error. The channel stays transactional. It can do one at a time: while one is under way, another
   * one rejects.
   */
  async transaction<T>(work: (channel: Channel) => Promise<T> | T): Promise<T> {
    const site = placeOfCall()
    if (typeof work !== 'function') throw atCallSite(badValue('transaction', 'work', 'a function', work), site)
    if (this.#inTransaction) {
      const text = `transaction failed: another one is under way on channel ${this.channelId}, which would be committed or rolled back with it; await that one first, or use protocol.transaction()`
      throw atCallSite(new ProtocolError(text), site)
    }
    const { modes, publishing } = this.#recovering
    this.#inTransaction = true
    try {
      if (modes.transaction === 'none') await fromCallSite(site, () => this.txSelect())
      const result = await work(this)
      await fromCallSite(site, () => this.txCommit())
      return result
    } catch (error) {
      // One that has done nothing needs no rolling back, nor the broker for it. Publishes that wait are rolled back in
      // their turn.
      const { transaction } = modes
      if (transaction === 'open' || transaction === 'lost') await this.txRollback().catch(ignore)
      else if (transaction === 'idle' && publishing.waiting > 0) void this.txRollback().catch(ignore)
      throw error
    } finally {
      this.#inTransaction = false
    }
  }

  // ---- the channel itself

  /**
   * Ask the server to stop deliveries, or to go on (channel.flow). RabbitMQ refuses false: it closes the connection with
   * 540.
   */
  flow(active: boolean, options: CallOptions = NONE): Promise<{ readonly active: boolean }> {
    return this.#method(placeOfCall(), 'channel.flow', undefined, options, CALL, async context => {
      const reply = await this.#recovering.use(session => session.call(ChannelFlow, { active }, context), context)
      return { active: reply?.active ?? active }
    })
  }

  /**
   * Close the channel (channel.close). Calls and publishes that are pending on it reject. A second call gets the same
   * promise. It resolves also if the broker answers nothing: once a call before it, or the close itself, has had no answer for
   * `rpcTimeout`.
   */
  close(options: CloseOptions = NONE): Promise<void> {
    try {
      checkOptions('channel.close', options, ['replyCode', 'replyText'])
      const replyCode = integerOption('channel.close', 'replyCode', options.replyCode, 0, 65_535) ?? 200
      const replyText = shortStringOption('channel.close', 'replyText', options.replyText) ?? 'Normal Shutdown'
      this.#closed ??= this.#recovering.closeByProgram(replyCode, replyText)
      // It rejects only if nothing was sent, from a getter of a message for instance: the channel is open, and can be closed.
      this.#closed.catch(() => {
        this.#closed = undefined
      })
      return this.#closed
    } catch (error) {
      return Promise.reject(showing(error, this.close))
    }
  }

  /** Resolves once the program has closed the channel; rejects with the reason if it ended otherwise. */
  waitClosed(): Promise<void> {
    return this.#recovering.waitClosed()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Have `callback` called whenever the server cancels a consumer of this channel: its queue was deleted, for instance. */
  addCancellationCallback(callback: CancellationCallback): void {
    if (typeof callback !== 'function') {
      throw showing(
        badValue('addCancellationCallback', 'callback', 'a function', callback),
        this.addCancellationCallback,
      )
    }
    this.#makeCallbacks().addOnCancellation(callback)
  }

  /** `queueDeclare`, by aioamqp's short name. */
  declare queue: Channel['queueDeclare']
  /** `exchangeDeclare`, by aioamqp's short name. */
  declare exchange: Channel['exchangeDeclare']

  // ---- used by the methods

  get #topology(): TopologyRecorder | undefined {
    return this.#recovering.topology
  }

  /** Check the options, and make of whatever is thrown a rejection. */
  #method<T>(
    site: CallSite,
    method: string,
    name: string | undefined,
    options: CallOptions & { readonly requeue?: boolean | undefined },
    known: readonly string[],
    run: (context: CallContext) => Promise<T>,
  ): Promise<T> {
    try {
      checkOptions(method, options, known)
      // Read once: a getter of the program may return anything the next time.
      const { signal, timeout } = options
      checkCall(method, signal, timeout)
      const what = describeCall(method, name)
      const names = name === undefined ? undefined : [name]
      const context = { what, site, signal, timeout, since: this.#callTime(timeout), names }
      if (!METHOD_CALL.active) return run(context)
      const traced = new TracedCall(this.#recovering, method, name, this.channelId, options)
      return METHOD_CALL.promise(traced, () => run(context))
    } catch (error) {
      return Promise.reject(rejection(error, site))
    }
  }

  /** When a timeout starts to run. */
  #callTime(timeout: number | undefined): number | undefined {
    return timeout === undefined ? undefined : (this.#calledAt ?? this.#recovering.host.clock.now())
  }

  #makeCallbacks(): ChannelCallbacks<Channel> {
    const callbacks = this.#callbacks ?? new ChannelCallbacks<Channel>(this, this.#recovering.host)
    this.#callbacks = callbacks
    this.#recovering.callbacks = callbacks
    return callbacks
  }

  /**
   * Send a method whose effect the ledger keeps. Both functions are called when it is written: its meaning is fixed then,
   * in the order of the calls.
   */
  #change<M extends SyncMethod, R>(
    method: M,
    context: CallContext,
    args: (wireName: (queueName: string) => string, named: (queueName: string) => QueueReference) => ArgumentsOf<M>,
    change?: (named: (queueName: string) => QueueReference) => (ledger: Ledger) => void,
  ): Promise<R> {
    const { names } = this.#recovering
    const sent = this.#recovering.record(method, context, session => {
      const named = (queueName: string): QueueReference => names.meant(queueName)
      const given = args(queueName => names.wireName(session, queueName), named)
      const noWait = 'noWait' in given && given.noWait === true
      return {
        args: given,
        written: () => {
          const apply = change?.(named)
          return (apply === undefined ? undefined : this.#topology?.written(apply, noWait)) ?? NO_EFFECT
        },
      }
    })
    // The public types say which fields the reply has, and whether there is one.
    return sent as Promise<unknown> as Promise<R>
  }

  /** With neither a queue nor a key, the key is the name with which the queue declared last was declared: no recovery changes it. */
  #changeBinding(
    method: typeof QueueBind | typeof QueueUnbind,
    context: CallContext,
    queueName: string,
    exchangeName: string,
    routingKey: string,
    { noWait, arguments: given }: BindOptions,
  ): Promise<void> {
    const args = argumentsOf(method.name, given)
    const keyOf = ({ name = '' }: QueueReference): string => (queueName === '' && routingKey === '' ? name : routingKey)
    return this.#change(
      method,
      { ...context, names: [queueName, exchangeName] },
      (wireName, named) => {
        const wire = wireName(queueName)
        // The broker knows the last queue of this life, and its name for the key, before its name is known here.
        const key = wire === '' ? routingKey : keyOf(named(queueName))
        return { queueName: wire, exchangeName, routingKey: key, noWait, arguments: args }
      },
      named => {
        const queue = named(queueName)
        return ledger => {
          const definition = binding('queue', exchangeName, queue.name ?? '', keyOf(queue), args)
          if (method === QueueBind) ledger.bound(definition)
          else ledger.unbound(definition)
        }
      },
    )
  }

  /** Send a method that puts the channel into a mode. */
  #lasting<M extends SyncMethod>(
    method: M,
    context: CallContext,
    args: ArgumentsOf<M>,
    written: () => Effect,
    behindPublishes = false,
  ): Promise<void> {
    const sent = this.#recovering.record(method, context, () => ({ args, written }), behindPublishes)
    return sent as Promise<unknown> as Promise<void>
  }
}

Channel.prototype.queue = Channel.prototype.queueDeclare
Channel.prototype.exchange = Channel.prototype.exchangeDeclare

let consumerTags = 0

/** Unique in this process, and short: it comes with every delivery. */
function newConsumerTag(): string {
  consumerTags++
  return `ctag-${consumerTags}`
}

/** A copy: the program may change its own later, and the ledger keeps these. */
function argumentsOf(method: string, args: FieldTable | undefined): FieldTable | undefined {
  try {
    return copyTable(args, `${method}: arguments`)
  } catch (error) {
    if (error instanceof EncodeError) throw error
    throw new EncodeError(`${method} cannot be encoded: ${asError(error).message}`, { cause: error })
  }
}

const NO_EFFECT: Effect = { accept: ignore, refuse: ignore }

// Made here, since a change keeps all that is in scope in memory until the reply.

function used(queue: QueueReference): (ledger: Ledger) => void {
  return ledger => ledger.queueUsed(queue.name ?? '')
}

function declaredAs(queue: QueueReference, definition: QueueDefinition, recovers: boolean): (ledger: Ledger) => void {
  return ledger => ledger.queueDeclared(queue.name ?? '', definition, recovers)
}

function checkCall(method: string, signal: unknown, timeout: unknown): void {
  signalOption(method, 'signal', signal)
  durationOption(method, 'timeout', timeout)
}

function binding(
  kind: BindingDefinition['kind'],
  source: string,
  destination: string,
  routingKey: string,
  args: BindingDefinition['arguments'],
): BindingDefinition {
  return { kind, source, destination, routingKey, arguments: args }
}
