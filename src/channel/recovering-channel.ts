import type { LifecycleSink } from '../diagnostics/lifecycle-reporter.ts'
import type { Endpoint } from '../diagnostics/server-context.ts'
import { SETTLE, SettleContext } from '../diagnostics/settle.ts'
import type { ConsumerStats } from '../diagnostics/stats.ts'
import {
  type AmqpError,
  BufferFullError,
  type ChannelClosedError,
  ConnectionLostError,
  ConsumerCancelledError,
} from '../errors.ts'
import { atCallSite, atNoCall, rejection } from '../lib/call-site.ts'
import { ignore } from '../lib/ignore.ts'
import type { ArgumentsOf, ReplyOf, SyncMethod } from '../protocol/methods.ts'
import type { CallOptions } from './call-options.ts'
import type { CallContext } from './calls.ts'
import type { ChannelCallbacks } from './channel-callbacks.ts'
import { ChannelModes, type QosArguments, type TransactionState } from './channel-modes.ts'
import { type ChannelEvents, ChannelSession, NO_EARLIER_LIFE } from './channel-session.ts'
import { ChannelWork, type ChannelWorkHost } from './channel-work.ts'
import { type CloseReason, closedByClient } from './close-reason.ts'
import type { Settlement } from './consume/acker.ts'
import type { GetResult, ReturnedMessage } from './consume/delivery.ts'
import type { Consumer } from './consume/delivery-sink.ts'
import type { LeavingSinks } from './consume/leaving-sinks.ts'
import { RecordedConsumers, type RecordedConsumersHost } from './consume/recorded-consumers.ts'
import { isNoStream } from './consume/stream-position.ts'
import { FinalEnd } from './final-end.ts'
import type { ChannelPort } from './port.ts'
import { returnError } from './publish/publish-errors.ts'
import { Publishing, type PublishingConnection, type PublishingHost } from './publish/publishing.ts'
import type { PublishRoutes } from './publish-routes.ts'
import { QueueNames } from './queue-names.ts'
import type { TopologyRecorder } from './topology-recorder.ts'
import { type Effect, WrittenEffects } from './written-effects.ts'

/** What a channel knows of the long life it is a part of. */
export interface ChannelHost extends PublishingConnection, LifecycleSink {
  /** Undefined if nothing is recovered. */
  readonly topology: TopologyRecorder | undefined
  /** Its own recovery makes that again; false if it is another connection's. */
  readonly keepsTopology: boolean
  readonly routes: PublishRoutes
  readonly leaving: LeavingSinks
  /** Whether a new connection will follow the one that ended so. */
  recovers(ending: CloseReason): boolean
  /** A channel has set one limit for all its consumers (basic.qos with connectionGlobal). */
  globalQosSet(): void
  /** The channel is closed for good. */
  forget(channel: RecoveringChannel): void
}

/** How a channel is opened. */
export interface RecoveringChannelOptions {
  readonly publisherConfirms?: boolean | undefined
  /** Milliseconds for a publish without a timeout of its own. Default: no limit. */
  readonly publishTimeout?: number | undefined
  /** Whether the channel comes back with the next connection. Default: true. */
  readonly recover?: boolean | undefined
  /** When the program made the one call that the channel is for, whose timeout runs from there. Default: each call begins now. */
  readonly calledAt?: number | undefined
}

/** A method whose effect lasts longer than the life of the channel that writes it. */
export interface LastingMethod<M extends SyncMethod> {
  readonly args: ArgumentsOf<M>
  /** It is written: its meaning is fixed now. Returns the change that follows if the broker does it. */
  written(): Effect
}

/**
 * The lives of one channel, one after the other: a `ChannelSession` on each connection. It keeps what the next one
 * needs (modes, consumers, the last of the tags), and what the program asks for in between.
 *
 *     open ──connection lost──▶ recovering ──reopened──▶ reopened ──resumed──▶ open
 *       └──closed by anybody──▶ closed ◀──recovery gave up──┘
 *
 * Once it is reopened, with its modes and consumers, publishes and calls go out in order, each as soon as what it needs
 * is back. Once it is open, nothing is waited for.
 */
export class RecoveringChannel implements ChannelEvents, RecordedConsumersHost, PublishingHost, ChannelWorkHost {
  readonly host: ChannelHost
  // These are made when they are first needed: many channels are idle, or do one thing.
  callbacks: Pick<ChannelCallbacks<never>, 'returned' | 'cancelled'> | undefined
  /** Read `publishing`, unless a getter is too slow. */
  madePublishing: Publishing | undefined
  #modes: ChannelModes | undefined
  #recordedConsumers: RecordedConsumers | undefined
  #names: QueueNames | undefined
  #state: 'recovering' | 'reopened' | 'open' | 'closed' = 'recovering'
  /** Whether the next connection has it too. */
  readonly #recovers: boolean
  #session: ChannelSession | undefined
  /** Of the methods that the present life has written. */
  #effects: WrittenEffects | undefined
  #final: FinalEnd | undefined
  #reported = false
  #inheritance = NO_EARLIER_LIFE
  #work: ChannelWork | undefined

  constructor(host: ChannelHost, options: RecoveringChannelOptions) {
    const { publisherConfirms = false, publishTimeout, recover = true } = options
    this.host = host
    this.#recovers = recover
    if (publishTimeout !== undefined) this.madePublishing = new Publishing(this, host, publishTimeout)
    if (publisherConfirms) {
      this.publishing.confirmSelects++
      this.modes.confirming = true
    }
  }

  /** What it publishes, and all that waits until it can be done. */
  get publishing(): Publishing {
    if (this.madePublishing !== undefined) return this.madePublishing
    const session = this.#usable()
    this.madePublishing = new Publishing(this, this.host)
    if (session !== undefined) this.madePublishing.begin(session.window)
    return this.madePublishing
  }

  /** The life that may be written to now. */
  #usable(): ChannelSession | undefined {
    const { window } = this.madePublishing ?? {}
    const isUsable =
      this.madePublishing === undefined ? this.#state !== 'recovering' && this.isOpen : window !== undefined
    return isUsable ? this.#session : undefined
  }

  /** How many publishes and calls wait. */
  get waiting(): number {
    return this.madePublishing?.waiting ?? 0
  }

  get modes(): ChannelModes {
    this.#modes ??= new ChannelModes()
    return this.#modes
  }

  get recordedConsumers(): RecordedConsumers {
    this.#recordedConsumers ??= new RecordedConsumers(this)
    return this.#recordedConsumers
  }

  get consumers(): readonly Consumer[] {
    return this.#recordedConsumers?.consumers() ?? NO_CONSUMERS
  }

  /** Beside them, those that are being cancelled with noWait. */
  get receivers(): Iterable<Consumer> {
    return new Set([...this.consumers, ...(this.#session?.consumers ?? NO_CONSUMERS)])
  }

  get names(): QueueNames {
    this.#names ??= new QueueNames(queueName => this.host.topology?.currentName(queueName) ?? queueName)
    return this.#names
  }

  get topology(): TopologyRecorder | undefined {
    return this.host.topology
  }

  get channelId(): number {
    return this.id
  }

  get endpoint(): Endpoint {
    return this.host.endpoint
  }

  get routes(): PublishRoutes {
    return this.host.routes
  }

  get isOpen(): boolean {
    return this.#state !== 'closed' && this.#session?.state !== 'closing'
  }

  /** It is closed for good. */
  get isOver(): boolean {
    return this.#state === 'closed'
  }

  get id(): number {
    return this.#session?.id ?? 0
  }

  get session(): ChannelSession | undefined {
    return this.#session
  }

  /** The life there is, unless something has to be made again first. */
  get openSession(): ChannelSession | undefined {
    return this.#state === 'open' ? this.#session : undefined
  }

  // ---- a life begins

  /** Start a life: channel.open and the modes the channel had are written at once. Resolves when the broker agrees. */
  begin(port: ChannelPort, id: number, options: CallOptions = {}): Promise<void> {
    const session = new ChannelSession(port, id, this, this.#inheritance)
    this.#session = session
    this.#effects = undefined
    port.attach(session)
    const opened = session.open(options)
    return this.#modes?.isPlain === false ? this.#modes.restore(session, opened, options) : opened
  }

  /** A consumer could not be recovered. */
  abandonConsumer(tag: string, queueName: string, error: Error): void {
    const consumer = this.consumers.find(consumer => consumer.tag === tag)
    consumer?.sink.cancelled()
    this.recordedConsumers.remove(tag)
    const text = `consumer "${tag}" of queue "${queueName}" could not be recovered: ${error.message}`
    const cancelled = new ConsumerCancelledError(text, { queueName, consumerTag: tag, cause: error })
    this.cancelled(atNoCall(cancelled), consumer)
  }

  /** The life that began has the channel's modes and consumers: publishes may go, what waited first. */
  reopened(): void {
    if (this.#state !== 'recovering') return
    const session = this.#session
    if (session === undefined) return
    const { ending } = session
    if (ending !== undefined) {
      // The server closed it while others were still being recovered. With a connection that was lost, it waits for the next one.
      if (ending.scope === 'channel') this.close(ending)
      return
    }
    this.#state = 'reopened'
    this.madePublishing?.begin(session.window)
  }

  /** The topology is back: everything may be used. */
  resumed(): void {
    if (this.#state !== 'reopened') return
    this.#state = 'open'
    this.madePublishing?.allowOperations()
  }

  /** More of what publishes need is back. */
  routesChanged(): void {
    if (this.#state === 'reopened' || this.#state === 'open') this.#session?.resume()
  }

  // ---- operations

  /** After every publish that waits to be written. */
  useBehindPublishes<T>(operation: (session: ChannelSession) => Promise<T>, context: CallContext): Promise<T> {
    return this.use(operation, context, this.waiting > 0)
  }

  /** Do `operation` with the life there is, or with the next one. */
  use<T>(
    operation: (session: ChannelSession) => Promise<T>,
    context: CallContext,
    behindPublishes = false,
  ): Promise<T> {
    try {
      this.assertUsable(context)
      const mayGo = this.#state === 'open' || this.waiting === 0
      const session = mayGo && !behindPublishes ? this.#sessionFor(context) : undefined
      if (session !== undefined) return operation(session)
      return this.publishing.defer(() => this.#do(operation, context), context, behindPublishes)
    } catch (error) {
      return Promise.reject(rejection(error, context.site))
    }
  }

  /** Its turn has come. */
  #do<T>(operation: (session: ChannelSession) => Promise<T>, context: CallContext): Promise<T> {
    this.assertUsable(context)
    const session = this.#sessionFor(context)
    return session === undefined ? this.use(operation, context) : operation(session)
  }

  /** The life there is, if the call may go now. Another connection of the protocol may be the one that makes what it names. */
  #sessionFor(context: CallContext): ChannelSession | undefined {
    return this.isBack(context) ? this.#usable() : undefined
  }

  isBack({ names = [] }: CallContext): boolean {
    const { routes } = this
    return routes.plain || routes.areBack(names.map(name => this.names.meant(name).name ?? ''))
  }

  assertUsable(context: CallContext): void {
    if (this.#state === 'closed') throw this.#closedError(context)
    if (this.#modes?.transaction === 'lost') throw this.#transactionLost(context)
    // One that is being closed takes nothing more; one that is being recovered will.
    if (this.#state !== 'recovering') this.#session?.assertOpen(context)
  }

  /** Send a method whose effect the ledger or the channel's next lives keep. */
  record<M extends SyncMethod>(
    method: M,
    context: CallContext,
    prepare: (session: ChannelSession) => LastingMethod<M>,
    behindPublishes = false,
  ): Promise<ReplyOf<M> | undefined> {
    const record = (session: ChannelSession): Promise<ReplyOf<M> | undefined> => {
      const { args, written } = prepare(session)
      const noWait = 'noWait' in args && args.noWait === true
      return session.call(method, args, context, () => this.effects.written(method.key, written(), noWait))
    }
    return behindPublishes ? this.useBehindPublishes(record, context) : this.use(record, context)
  }

  /** Fetch one message (basic.get), which keeps a queue that expires alive. */
  get(session: ChannelSession, queueName: string, noAck: boolean, context: CallContext): Promise<GetResult | null> {
    const queue = this.names.meant(queueName)
    const effect = this.topology?.written(ledger => ledger.queueUsed(queue.name ?? ''))
    const got = session.get(this.names.wireName(session, queueName), noAck, context)
    effect?.accept()
    return got
  }

  #transactionLost({ what, site, outcome }: CallContext): AmqpError {
    return atCallSite(
      new ConnectionLostError(
        `${what} failed: the connection was lost in the middle of a transaction, which is over; call txRollback() and do its work again`,
        { reason: 'socket', outcome },
      ),
      site,
    )
  }

  get effects(): WrittenEffects {
    this.#effects ??= new WrittenEffects()
    return this.#effects
  }

  /** Why it is closed for good; undefined while it is not. */
  get ending(): CloseReason | undefined {
    return this.#final?.reason
  }

  #closedError({ what, site, outcome }: CallContext): AmqpError {
    const { ending } = this
    if (ending === undefined) throw new Error('a channel was closed without a reason')
    return atCallSite(ending.errorFor(what, false, outcome), site)
  }

  /** Settle a delivery; resolves to whether anything was sent. Throws what is for `forgotten`. */
  settle(how: Settlement, tag: number, multiple: boolean, requeue: boolean): Promise<boolean> {
    const publishing = this.madePublishing
    // It must not overtake the rollback or the commit of another transaction. Consumers that are recovered deliver before those go.
    const mayDeliver = this.#state !== 'recovering' || this.#session?.state === 'open'
    if (publishing?.transactional === true && publishing.waiting > 0 && mayDeliver) {
      return this.#settleInTurn(how, tag, multiple, requeue)
    }
    return this.#settle(how, tag, multiple, requeue) ? SENT : STALE
  }

  #settle(how: Settlement, tag: number, multiple: boolean, requeue: boolean): boolean {
    return SETTLE.active ? this.#settleTraced(how, tag, multiple, requeue) : this.settleNow(how, tag, multiple, requeue)
  }

  /** After every publish that waits to be written, and what waits with them. */
  #settleInTurn(how: Settlement, tag: number, multiple: boolean, requeue: boolean): Promise<boolean> {
    const context = { what: `basic.${how}`, site: undefined }
    return this.forgettable(this.useBehindPublishes(async () => this.#settle(how, tag, multiple, requeue), context))
  }

  #settleTraced(how: Settlement, tag: number, multiple: boolean, requeue: boolean): boolean {
    const context = new SettleContext(this, how, tag, multiple, requeue)
    return context.settle(settleOn, this)
  }

  /** @internal Like `settle`, for callers that trace it and handle its errors themselves. */
  settleNow(how: Settlement, tag: number, multiple: boolean, requeue: boolean): boolean {
    const session = this.#session
    // The broker has the earlier deliveries back. Deliveries that come while consumers are recovered are valid.
    if (this.#state === 'recovering' && session?.state !== 'open') return false
    if (session === undefined || this.#state === 'closed') {
      throw this.#closedError({ what: `basic.${how}`, site: undefined })
    }
    session.assertOpen({ what: `basic.${how}`, site: undefined })
    if (this.madePublishing?.transactional !== true) return session.acker.settle(how, tag, multiple, requeue)
    // The txRollback that is due would undo it.
    if (this.modes.transaction === 'lost') throw this.#transactionLost({ what: `basic.${how}`, site: undefined })
    const sent = session.acker.settle(how, tag, multiple, requeue)
    if (sent) this.transactionBegun()
    return sent
  }

  /**
   * A rejection of a method that the program need not await: if the channel is over, that is reported once, to
   * `onError`, and not for each of them.
   */
  forgotten<T>(error: unknown): Promise<T> {
    const rejected = Promise.reject<T>(error)
    if (this.#isTakenCareOf(error)) rejected.catch(ignore)
    return rejected
  }

  /** The same of a method that may have to wait. */
  forgettable<T>(sent: Promise<T>): Promise<T> {
    const result = sent.catch((error: unknown): never => {
      if (this.#isTakenCareOf(error)) result.catch(ignore)
      throw error
    })
    return result
  }

  #isTakenCareOf(error: unknown): boolean {
    if (this.#state === 'closed' || this.#session?.state === 'closing') {
      if (!this.#reported) {
        this.#reported = true
        this.host.report(error, 'warn')
      }
      return true
    }
    if (error instanceof BufferFullError) {
      this.publishing.reportFirst(error)
      return true
    }
    // That of a transaction which was lost: the next call says so. It may be rolled back by now.
    return error instanceof ConnectionLostError
  }

  // ---- modes

  confirmSelect(noWait: boolean, context: CallContext): Promise<void> {
    const { modes, publishing } = this
    publishing.confirmSelects++
    const selected = this.use(session => {
      const selected = session.confirmSelect(noWait, context)
      // Unless nothing was written, since its signal was aborted.
      modes.confirming ||= session.window.counting
      return selected
    }, context)
    selected.catch(() => {
      if (!modes.confirming) publishing.confirmSelects--
    })
    return selected
  }

  /** The transaction is at another point: publishes that belong to one are kept track of. */
  transactionTo(state: TransactionState): void {
    if (this.modes.transactionTo(state)) this.publishing.transactional = this.modes.transaction !== 'none'
  }

  transactionBegun(): void {
    this.transactionTo('open')
  }

  qosWritten(args: QosArguments): Effect {
    const effect = this.modes.qosWritten(args)
    const accept = (): void => {
      effect.accept()
      if (args.connectionGlobal === true) this.host.globalQosSet()
    }
    return { ...effect, accept }
  }

  // ---- consumers

  consumerGone(consumerTag: string): void {
    this.recordedConsumers.remove(consumerTag)
  }

  /** The intent level looks after its own. */
  left({ sink }: Consumer): void {
    if (sink.isRestarted !== true) void this.host.leaving.add(this, sink)
  }

  cancelled(error: ConsumerCancelledError, consumer: Consumer | undefined): void {
    const { queueName, consumerTag } = error
    const emit = (): void => {
      if (this.callbacks?.cancelled(error) !== true) this.host.report(error, 'warn')
    }
    // Its owner, who consumes again, reports that.
    if (consumer?.sink.isRestarted === true) emit()
    else this.host.occurred('consumer.cancelled', { queueName, consumerTag, error, willResume: false }, emit)
  }

  closedByServer(channelId: number, error: ChannelClosedError): void {
    // A question whether a queue is a stream, which is asked again without an offset.
    if (isNoStream(error)) return
    const { replyCode = 0, replyText = '', method } = error
    this.host.occurred('channel.closed', { channelId, error, replyCode, replyText, method })
  }

  returned(message: ReturnedMessage, isReported: boolean): void {
    if (this.callbacks?.returned(message) !== true && !isReported) this.host.report(returnError(message), 'warn')
  }

  // ---- a life ends

  closing(ending: CloseReason): void {
    // A life that is given up while it is being recovered: its consumers, and what waits, go on in the next one.
    if (this.#state === 'recovering' && this.#recovers) return
    this.#failWaiting(ending)
    if (ending.error === undefined) this.#discardAll()
    // Nothing can be settled any more: the broker has the deliveries back that wait for callbacks.
    else for (const { sink } of this.consumers) if (!sink.noAck) sink.discard()
  }

  /** No callback starts any more. The broker no longer has messages without acks: only the program may drop them. */
  #discardAll(): void {
    for (const { sink } of this.receivers) sink.discard()
    this.host.leaving.discard(this)
  }

  #failWaiting(ending: CloseReason): void {
    if (this.madePublishing?.failAll(what => ending.errorFor(what, false, 'notSent')) === true) this.#reported = true
  }

  moreMayGo(): void {
    this.madePublishing?.resume()
  }

  ended(session: ChannelSession, ending: CloseReason): void {
    const lost = ending.scope === 'connection'
    this.#work?.stop()
    this.madePublishing?.end()
    this.#effects?.ended(ending.methodKey)
    const recovers = this.#recovers && (this.#state === 'recovering' || (lost && this.host.recovers(ending)))
    if (recovers) {
      this.#inheritance = session.inheritance
      this.#recordedConsumers?.lost()
    }
    // In a recovery the broker may close the channel over one of its consumers, and another message was acked by then.
    if (recovers && this.#modes?.transactionTo('lost') === true) {
      this.publishing.failAll(what => this.#transactionLost({ what, site: undefined, outcome: 'notSent' }))
    }
    session.endDeliveries(recovers)
    // Closed by the server while it is being recovered: its recovery decides what comes of that.
    if (this.#state === 'recovering' && this.#recovers) return
    if (recovers) {
      this.#state = 'recovering'
      return
    }
    this.close(ending)
  }

  // ---- figures

  /** Messages that are published and not confirmed. */
  get unconfirmed(): number {
    return this.#session?.unsettled ?? 0
  }

  /** Delivery tags that were given to publishes in confirm mode, in all lives. */
  get published(): number {
    return this.#session?.inheritance.publish ?? 0
  }

  /** Delivery tags that came, in all lives. */
  get delivered(): number {
    return this.#session?.inheritance.delivery ?? 0
  }

  /** Those of its consumers whose owners give none. */
  consumerStats(): ConsumerStats[] {
    const state = this.#state === 'recovering' ? 'recovering' : 'consuming'
    return this.consumers.flatMap(({ tag, sink: { queueName, noAck, figures } }) => {
      if (figures === undefined) return []
      const unacknowledged = noAck ? 0 : undefined
      return [{ queueName, consumerTag: tag, state, isPaused: false, unacknowledged, ...figures }]
    })
  }

  /** What it has under way, for a close of its connection. */
  get work(): ChannelWork {
    this.#work ??= new ChannelWork(this)
    return this.#work
  }

  /** Close the present life, or the operations that wait for the next one. */
  closeByProgram(replyCode: number, replyText: string): Promise<void> {
    const close = (): Promise<void> => this.#closeNow(replyCode, replyText)
    if (this.#state !== 'reopened' || this.waiting === 0) return close()
    // Earlier calls go first.
    const context = { what: `channel.close (channel ${this.id})`, site: undefined }
    return this.publishing.defer(async () => {}, context).then(close, close)
  }

  /** In a getter of a message nothing can be written: a life that there is goes on then, and so does the channel. */
  #closeNow(replyCode: number, replyText: string): Promise<void> {
    const session = this.#session
    // Also on a channel that is being recovered: the broker may already have its consumers.
    const closed = session?.close(replyCode, replyText) ?? Promise.resolve()
    const isAlive = session?.state === 'opening' || session?.state === 'open'
    if (this.#state === 'recovering' && !isAlive) this.close(closedByClient(this.id))
    if (this.#state === 'closed') this.host.leaving.discard(this)
    return closed
  }

  /** It is over for good. */
  close(ending: CloseReason): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    const final = this.#final ?? new FinalEnd()
    this.#final = final
    final.reason = ending
    this.#failWaiting(ending)
    if (ending.error === undefined) this.#discardAll()
    for (const { tag } of this.consumers) this.recordedConsumers.remove(tag)
    this.host.forget(this)
    const unheard = final.settle()
    // The end of a connection is reported once, by that.
    if (unheard !== undefined && ending.scope === 'channel') {
      this.#reported = true
      this.host.report(unheard, 'warn')
    }
  }

  /** Resolves when the program closed the channel; rejects with the reason if it was not asked for. */
  waitClosed(): Promise<void> {
    this.#final ??= new FinalEnd()
    return this.#final.wait()
  }
}

const NO_CONSUMERS: readonly Consumer[] = []
const SENT = Promise.resolve(true)
const STALE = Promise.resolve(false)

function settleOn(channel: RecoveringChannel, { how, deliveryTag, multiple, requeue }: SettleContext): boolean {
  return channel.settleNow(how, deliveryTag, multiple, requeue)
}
