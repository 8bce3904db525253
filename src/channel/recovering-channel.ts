import { type AmqpError, atCallSite, ConnectionLostError, ConsumerCancelledError } from '../errors.ts'
import type { Clock } from '../lib/clock.ts'
import { type ArgumentsOf, BasicQos, TxSelect } from '../protocol/methods.ts'
import type { CallOptions } from './call-options.ts'
import type { CallContext } from './calls.ts'
import { type ChannelEvents, ChannelSession } from './channel-session.ts'
import { type CloseReason, closedByClient } from './close-reason.ts'
import type { Settlement } from './consume/acker.ts'
import type { ReturnedMessage } from './consume/delivery.ts'
import { RecordedConsumers, type RecordedConsumersHost } from './consume/recorded-consumers.ts'
import { DeferredOperations } from './deferred.ts'
import type { ChannelPort, Deadline, ErrorReporter } from './port.ts'
import type { Publishing } from './publish/publishing.ts'
import type { WaitingPublish } from './publish/waiting-publishes.ts'
import type { TopologyRecorder } from './topology-recorder.ts'

/** What a channel knows of the long life it is a part of. */
export interface ChannelHost extends ErrorReporter {
  /** Undefined where nothing is recovered. */
  readonly topology: TopologyRecorder | undefined
  readonly maxWaiting: number
  readonly clock: Clock
  after(milliseconds: number, expired: () => void): Deadline
  /** Whether a new connection will follow the one that ended so. */
  recovers(ending: CloseReason): boolean
  /** A channel has set one limit for all its consumers (basic.qos with connectionGlobal). */
  globalQosSet(): void
  /** The channel is closed for good. */
  forget(lives: RecoveringChannel): void
}

/** What the public channel learns. */
export interface RecoveringChannelEvents {
  returned(message: ReturnedMessage, told: boolean): void
  cancelled(error: ConsumerCancelledError): void
}

/**
 * Milliseconds between the last acks and a close. A channel of RabbitMQ hands a quorum queue 32 settlements at a time,
 * and forgets the rest when it is closed: what was acked would come again. Nothing tells when the queue has all.
 */
const LEAST_SETTLING = 50

/** Where a transaction of the channel stands; `lost` where its connection broke in the middle of it. */
type Transaction = 'none' | 'idle' | 'open' | 'lost'

/**
 * The lives of one channel, one after the other: a `ChannelSession` on each connection. It keeps what the next one
 * needs (modes, consumers, where the tags ended), and what the program asks for in between.
 *
 *     open ──connection lost──▶ recovering ──begin, revived──▶ open
 *       └──closed by anybody──▶ closed ◀──recovery gave up──┘
 */
export class RecoveringChannel implements ChannelEvents, RecordedConsumersHost {
  readonly #host: ChannelHost
  readonly #events: RecoveringChannelEvents
  readonly #deferred: DeferredOperations
  readonly subscriptions: RecordedConsumers
  /** basic.qos by what it is for: all that still hold. */
  readonly #qos = new Map<boolean, ArgumentsOf<typeof BasicQos>>()
  #state: 'open' | 'recovering' | 'closed' = 'recovering'
  #session: ChannelSession | undefined
  #confirming = false
  #transaction: Transaction = 'none'
  #waiting: WaitingPublish[] = []
  #ending: CloseReason | undefined
  #reported = false
  #closedWaiters: { resolve(): void; reject(error: Error): void }[] = []
  #offsets = { delivery: 0, publish: 0 }
  /** Where publishes go straight to: set while the channel is open and no transaction is to be kept track of. */
  publishing: Publishing | undefined
  /** The queue that '' means: the last one declared on the channel. */
  lastQueue = ''
  #livesBegun = 0
  /** Ends the wait of `drain` for the broker's queues. */
  #stopSettling: () => void = ignore

  constructor(host: ChannelHost, events: RecoveringChannelEvents) {
    this.#host = host
    this.#events = events
    this.subscriptions = new RecordedConsumers(this)
    this.#deferred = new DeferredOperations(host.maxWaiting, (ms, expired) => host.after(ms, expired))
  }

  get topology(): TopologyRecorder | undefined {
    return this.#host.topology
  }

  get host(): ChannelHost {
    return this.#host
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

  // ---- a life begins

  /** Start a life: channel.open and the modes the channel had are written at once. Resolves when the broker agrees. */
  begin(port: ChannelPort, id: number, options: CallOptions = {}): Promise<void> {
    const session = new ChannelSession(port, id, this, this.#offsets)
    this.#session = session
    this.#livesBegun++
    port.adopt(session)
    const opened = session.open(options)
    const hasModes = this.#confirming || this.#transaction !== 'none' || this.#qos.size > 0
    return hasModes ? this.#restoreModes(session, opened, options) : opened
  }

  async #restoreModes(session: ChannelSession, opened: Promise<void>, options: CallOptions): Promise<void> {
    const steps: Promise<unknown>[] = [opened]
    const context = { ...options, site: undefined }
    if (this.#confirming) steps.push(session.confirmSelect(false, { ...context, what: 'confirm.select' }))
    if (this.#transaction !== 'none') steps.push(session.call(TxSelect, {}, { ...context, what: 'tx.select' }))
    for (const args of this.#qos.values()) steps.push(session.call(BasicQos, args, { ...context, what: 'basic.qos' }))
    await allSettledFirstError(steps)
  }

  /** A consumer could not be recovered. */
  abandonConsumer(tag: string, queueName: string, error: Error): void {
    this.subscriptions
      .consumers()
      .find(consumer => consumer.tag === tag)
      ?.sink.cancelled()
    const text = `consumer "${tag}" of queue "${queueName}" could not be recovered: ${error.message}`
    this.cancelled(new ConsumerCancelledError(text, { queueName, consumerTag: tag, cause: error }))
  }

  /** The life that began may be used: what waited goes first. */
  revived(): void {
    const session = this.#session
    if (session === undefined || this.#state === 'closed') return
    if (session.ending !== undefined) {
      // The server closed it while others were still being recovered.
      this.close(session.ending)
      return
    }
    this.#state = 'open'
    this.#setPublishing()
    session.publishing.addWaiting(this.#waiting)
    this.#waiting = []
    session.resume()
    this.#deferred.runAll()
  }

  #setPublishing(): void {
    const usable = this.#state === 'open' && this.isOpen && this.#transaction === 'none'
    this.publishing = usable ? this.#session?.publishing : undefined
  }

  /** The name that a queue has now. */
  currentName(queueName: string): string {
    return this.#host.topology?.currentName(queueName) ?? queueName
  }

  /** What to send for a queue's name: after a recovery, '' no longer means to the broker what it meant before. */
  queueName(queueName: string): string {
    if (typeof queueName !== 'string') return queueName
    if (queueName === '') return this.#livesBegun > 1 ? this.currentName(this.lastQueue) : ''
    return this.currentName(queueName)
  }

  // ---- operations

  /** Do `operation` with the life there is, or with the next one. */
  use<T>(
    operation: (session: ChannelSession) => Promise<T>,
    context: CallContext,
    endsTransaction = false,
  ): Promise<T> {
    if (this.#transaction === 'lost' && !endsTransaction) {
      return Promise.reject(
        new ConnectionLostError(
          `${context.what} failed: the connection was lost in the middle of a transaction, which is over; call txRollback() and do its work again`,
          { reason: 'socket', outcome: context.outcome },
        ),
      )
    }
    const session = this.#session
    if (this.#state === 'open' && session !== undefined) {
      try {
        return operation(session)
      } catch (error) {
        return Promise.reject(error)
      }
    }
    if (this.#state === 'closed') return Promise.reject(this.#closedError(context))
    return this.#deferred.add(() => this.use(operation, context, endsTransaction), context)
  }

  #closedError({ what, site, outcome }: CallContext): AmqpError {
    const ending = this.#ending
    if (ending === undefined) throw new Error('a channel is closed without an ending')
    return atCallSite(ending.errorFor(what, false, outcome), site)
  }

  /** Settle a delivery; resolves to whether anything was sent. */
  settle(how: Settlement, tag: number, multiple: boolean, requeue: boolean): Promise<boolean> {
    try {
      const session = this.#session
      // What came before is the broker's again; what comes while consumers are recovered is not.
      if (this.#state === 'recovering' && session?.state !== 'open') return STALE
      if (session === undefined || this.#state === 'closed') {
        throw this.#closedError({ what: `basic.${how}`, site: undefined })
      }
      session.assertOpen({ what: `basic.${how}`, site: undefined })
      if (this.#transaction === 'idle') this.#transaction = 'open'
      return session.acker.settle(how, tag, multiple, requeue) ? SENT : STALE
    } catch (error) {
      return this.forgotten(error)
    }
  }

  /**
   * A rejection of a method that the program need not await: where the channel is over, that is told once, to
   * `onError`, and not for each of them.
   */
  forgotten<T>(error: unknown): Promise<T> {
    const rejected = Promise.reject<T>(error)
    if (this.#state === 'closed' || this.#session?.state === 'closing') {
      rejected.catch(ignore)
      if (!this.#reported) {
        this.#reported = true
        this.#host.report(error, 'warn')
      }
    }
    return rejected
  }

  // ---- modes

  confirmSelect(noWait: boolean, context: CallContext): Promise<void> {
    return this.use(session => {
      const selected = session.confirmSelect(noWait, context)
      this.#confirming = true
      return selected
    }, context)
  }

  /** Open the next lives in confirm mode, too: for a channel whose first life has not begun. */
  startConfirming(): void {
    this.#confirming = true
  }

  get transaction(): Transaction {
    return this.#transaction
  }

  set transaction(transaction: Transaction) {
    this.#transaction = transaction
    this.#setPublishing()
  }

  rememberQos(args: ArgumentsOf<typeof BasicQos>): void {
    const isGlobal = args.connectionGlobal === true
    this.#qos.set(isGlobal, args)
    if (isGlobal) this.#host.globalQosSet()
  }

  // ---- consumers

  cancelled(error: ConsumerCancelledError): void {
    this.subscriptions.remove(error.consumerTag)
    this.#events.cancelled(error)
  }

  returned(message: ReturnedMessage, told: boolean): void {
    this.#events.returned(message, told)
  }

  // ---- a life ends

  closing(): void {
    this.publishing = undefined
  }

  adopted(waiting: WaitingPublish[], ending: CloseReason): boolean {
    if (!this.#host.recovers(ending)) return false
    this.#waiting = waiting
    return true
  }

  after(milliseconds: number, expired: () => void): Deadline {
    return this.#host.after(milliseconds, expired)
  }

  giveUp(publish: WaitingPublish, makeError: (outcome: 'notSent' | 'unknown') => Error): void {
    const at = this.#waiting.indexOf(publish)
    if (at === -1) {
      this.#session?.publishing.giveUp(publish, makeError)
      return
    }
    this.#waiting.splice(at, 1)
    publish.reject(makeError('notSent'))
  }

  ended(session: ChannelSession, ending: CloseReason): void {
    const lost = ending.scope === 'connection'
    this.#stopSettling()
    this.#offsets = { delivery: session.acker.lastTag, publish: session.publishing.lastTag }
    this.publishing = undefined
    if (this.#transaction === 'open' && lost) this.#transaction = 'lost'
    const recovers = this.#state === 'recovering' || (lost && this.#host.recovers(ending))
    session.endDeliveries(ending, recovers)
    // Closed by the server while it is being recovered: whoever recovers it decides what comes of that.
    if (this.#state === 'recovering') return
    if (recovers) {
      this.#state = 'recovering'
      return
    }
    this.close(ending)
  }

  /** Whether `drain` has anything to do. */
  get isBusy(): boolean {
    const session = this.#session
    if (this.#state !== 'open' || session === undefined) return false
    return this.subscriptions.size > 0 || session.publishing.unsettled > 0 || session.acker.sent > 0
  }

  /**
   * Finish what is under way: stop the consumers, let the callbacks end that run, wait until publishes are settled.
   * Never rejects; the caller bounds it.
   */
  async drain(): Promise<void> {
    const session = this.#session
    if (this.#state !== 'open' || session === undefined) return
    const consumers = this.subscriptions.consumers()
    const started = this.#host.clock.now()
    await Promise.all(
      consumers.map(({ tag, sink }) => {
        sink.cancelled()
        return session.cancel(tag, false).catch(ignore)
      }),
    )
    const cancelled = this.#host.clock.now()
    await Promise.all(consumers.map(({ sink }) => sink.idle()))
    await session.publishing.waitForConfirms(undefined).catch(ignore)
    if (session.acker.sent === 0 || session.state !== 'open') return
    const settling = Math.max(LEAST_SETTLING, 3 * (cancelled - started))
    await new Promise<void>(resolve => {
      const deadline = this.#host.after(settling, resolve)
      this.#stopSettling = () => {
        deadline.cancel()
        resolve()
      }
    })
  }

  /** Close the life there is, or what waits for the next one. */
  async closeByProgram(replyCode: number, replyText: string): Promise<void> {
    if (this.#state === 'recovering') this.close(closedByClient(this.id))
    // Also of one that is being recovered: its consumers may be the broker's already.
    await this.#session?.close(replyCode, replyText)
  }

  /** It is over for good. */
  close(ending: CloseReason): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#ending = ending
    this.publishing = undefined
    for (const { tag, sink } of this.subscriptions.consumers()) {
      // What came without acks is gone at the broker: only the program may say that it is not wanted.
      if (ending.error === undefined) sink.discard()
      this.subscriptions.remove(tag)
    }
    for (const { exchange, routingKey, reject } of this.#waiting) {
      reject(ending.errorFor(`publish to exchange "${exchange}" with routing key "${routingKey}"`, false, 'notSent'))
    }
    this.#waiting = []
    this.#deferred.failAll(({ what, outcome }) => ending.errorFor(what, false, outcome))
    this.#host.forget(this)
    const { error } = ending
    // The end of a connection is reported once, by that.
    if (error !== undefined && ending.scope === 'channel' && !ending.told && this.#closedWaiters.length === 0) {
      this.#reported = true
      this.#host.report(error, 'warn')
    }
    for (const waiter of this.#closedWaiters) {
      if (error === undefined) waiter.resolve()
      else waiter.reject(error)
    }
    this.#closedWaiters = []
  }

  /** Resolves when the program closed the channel; rejects with the reason where it was not asked for. */
  waitClosed(): Promise<void> {
    if (this.#ending !== undefined) {
      return this.#ending.error === undefined ? Promise.resolve() : Promise.reject(this.#ending.error)
    }
    return new Promise((resolve, reject) => this.#closedWaiters.push({ resolve, reject }))
  }
}

const SENT = Promise.resolve(true)
const STALE = Promise.resolve(false)

/** Wait for all; the first error says more than those that follow from it. */
async function allSettledFirstError(promises: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(promises)
  for (const result of results) if (result.status === 'rejected') throw result.reason
}

function ignore(): void {}
