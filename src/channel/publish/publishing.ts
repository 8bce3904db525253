import { PUBLISH, PublishContext, type PublishSource, tracesPublish, WRITTEN_ONCE } from '../../diagnostics/publish.ts'
import type { Endpoint, EndpointSource } from '../../diagnostics/server-context.ts'
import { BufferFullError, EncodeError } from '../../errors.ts'
import { rejection } from '../../lib/call-site.ts'
import type { Clock } from '../../lib/clock.ts'
import { ignore } from '../../lib/ignore.ts'
import { describeWait, type WaitBounds, type Waiter, WaitList } from '../../lib/wait-list.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import type { PublishEncoder } from '../../protocol/publish-encoder.ts'
import type { CallOptions } from '../call-options.ts'
import { type CallContext, timeLeft } from '../calls.ts'
import type { Deadline, ErrorReporter } from '../port.ts'
import type { ConfirmWindow } from './confirm-window.ts'
import {
  assertNotAborted,
  type BoundedPublisher,
  boundPublish,
  defaultBounds,
  describeMessage,
  enterBounds,
  isForgettable,
  notSent,
  outcomeOf,
  type PendingPublish,
  type PublishBounds,
  pendingPublish,
  promiseOf,
  refuse,
  tracedPublish,
  withDefaults,
} from './message.ts'

/** The shared promise of publishes that need none of their own while the socket takes more. */
const WRITTEN: Promise<void> = Promise.resolve()

/** The connection of the channel, in all its lives. */
export interface PublishingConnection extends ErrorReporter, EndpointSource {
  readonly clock: Clock
  after(milliseconds: number, expired: () => void): Deadline
  /** How many may wait before further ones are refused. */
  readonly maxWaiting: number
  /** What publishes wait for that are not written, for errors. */
  readonly publishGoal: string
  /** Checks messages before they wait. */
  readonly publishes: Pick<PublishEncoder, 'check'>
}

/** The parts of the channel that its publishes need. */
export interface PublishingHost {
  /** The number of the channel. */
  readonly id: number
  /** Throw if nothing may be asked of the channel any more. */
  assertUsable(context: CallContext): void
  /** Whether the queues and exchanges that a call names are there. */
  isBack(context: CallContext): boolean
  /** A message was written on a transactional channel. */
  transactionBegun(): void
}

/**
 * Everything that one channel publishes, in all its lives. What cannot go now waits in one list, in the order of the
 * calls: publishes, what must not overtake them, and what was asked of the channel while it had no life.
 *
 *     publish ──▶ ConfirmWindow ──▶ broker
 *        └──▶ list ──life begins, gate opens──▲
 */
export class Publishing implements PublishSource, BoundedPublisher {
  readonly #host: PublishingHost
  readonly #connection: PublishingConnection
  readonly #list: WaitList
  /** Nothing but timeouts and signals of publishes, which go on after the write; made for the first. */
  #boundsList: WaitList | undefined
  /** The timeout of publishes that have none of their own. */
  readonly #default: CallOptions | undefined
  #window: ConfirmWindow | undefined
  /** The window of the last life, also when nothing more may be written to it. */
  #life: ConfirmWindow | undefined
  /** Messages are part of a transaction, which is tracked. */
  transactional = false
  /** How often confirm.select was called for. It is written, or may still be. */
  confirmSelects = 0
  /** The list counts as one operation that waits for the broker: the frame that opens the gate must be read. */
  #awaiting = false
  /** In a pass over the list: a publish stays in it, and so do those after it. */
  #passedOver = false
  /** The first that was lost of those that the program need not have awaited. */
  #lost: Error | undefined
  /** `onError` has got the error that too many wait. It is reset when none waits. */
  #overflowing = false

  /** `timeout`: milliseconds for a publish without one of its own; undefined or `Infinity`: no limit. */
  constructor(host: PublishingHost, connection: PublishingConnection, timeout?: number) {
    this.#host = host
    this.#connection = connection
    this.#default = defaultBounds(timeout)
    this.#list = new WaitList(connection, () => connection.publishGoal)
  }

  /** What the life that the channel has publishes; undefined if it has none that may be used. */
  get window(): ConfirmWindow | undefined {
    return this.#window
  }

  /** What is published from now on will be confirmed, if its caller waits for that. */
  get confirming(): boolean {
    return this.confirmSelects > 0
  }

  /** How many wait. */
  get waiting(): number {
    return this.#list.length
  }

  get endpoint(): Endpoint {
    return this.#connection.endpoint
  }

  get channelId(): number {
    return this.#host.id
  }

  get bounds(): WaitList {
    this.#boundsList ??= new WaitList(this.#connection)
    return this.#boundsList
  }

  // ---- the gate

  /** A life of the channel may be used: waiting operations go first. */
  begin(window: ConfirmWindow): void {
    this.#window = window
    this.#life = window
    this.resume()
  }

  /** From now on calls may go that wait after publishes. */
  allowOperations(): void {
    if (this.#window === undefined) return
    this.#list.wakeAll()
    this.#passedOver = false
    this.resume()
  }

  /** Nothing more may be written in this life. */
  end(): void {
    if (this.#awaiting) this.#window?.port.operationEnded()
    this.#awaiting = false
    this.#window = undefined
  }

  /** The gate may have opened: write the waiting operations. */
  resume(): void {
    if (this.#window?.isGuarded === true) {
      queueMicrotask(() => this.resume())
      return
    }
    // In a pass, its end does that.
    if (!this.#passedOver) this.#list.wakeReady()
    this.#await()
  }

  #await(): void {
    if (this.#list.length === 0) this.#overflowing = false
    const awaiting = this.#window !== undefined && this.#list.length > 0
    if (awaiting === this.#awaiting) return
    this.#awaiting = awaiting
    if (awaiting) this.#window?.port.operationStarted()
    else this.#window?.port.operationEnded()
  }

  // ---- publishing

  /** Resolves when the message is on its way and more may be written. */
  basicPublish(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
  ): Promise<void> {
    if (tracesPublish(exchange, routingKey))
      return this.#traced(payload, exchange, routingKey, properties, mandatory, false, undefined)
    return this.#basicPublish(payload, exchange, routingKey, properties, mandatory, undefined) ?? WRITTEN
  }

  /** The same with a context, which would cost each message something in there. */
  #traced(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    confirmed: boolean,
    bounds: PublishBounds | undefined,
  ): Promise<void> {
    const context = new PublishContext(this, payload, exchange, routingKey, properties, mandatory, confirmed)
    if (confirmed || bounds !== undefined) {
      return PUBLISH.promise(context, Publishing.#publishTraced, this, payload, bounds)
    }
    return PUBLISH.forgettable(context, Publishing.#basicPublishTraced, this, payload, undefined) ?? WRITTEN
  }

  static #publishTraced(
    publishing: Publishing,
    context: PublishContext,
    payload: Uint8Array | string,
    bounds: CallOptions | undefined,
  ): Promise<void> {
    return publishing.#bounded(tracedPublish(context, payload), bounds)
  }

  static #basicPublishTraced(
    publishing: Publishing,
    context: PublishContext,
    payload: Uint8Array | string,
  ): Promise<void> | undefined {
    const { exchangeName, routingKey, sent, mandatory } = context
    const promise = publishing.#basicPublish(payload, exchangeName, routingKey, sent, mandatory, context)
    context.isSentAs(WRITTEN_ONCE)
    return promise
  }

  /** Undefined if it is written, and more may be. */
  #basicPublish(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    context: PublishContext | undefined,
  ): Promise<void> | undefined {
    const window = this.#window
    if (
      window !== undefined &&
      this.#list.length === 0 &&
      !this.transactional &&
      this.#default === undefined &&
      window.mayWrite(exchange, routingKey)
    ) {
      return window.send(payload, exchange, routingKey, properties, mandatory)
    }
    const publish = pendingPublish(payload, exchange, routingKey, properties, mandatory, false)
    context?.isSentAs(publish)
    const promise = promiseOf(publish)
    promise.catch(ignore)
    try {
      this.#publish(publish)
      if (this.#default !== undefined) this.#limit(publish, promise, this.#default)
    } catch (error) {
      // The call was not awaited: nothing else would report it.
      if (error instanceof EncodeError) this.#connection.report(notSent(error), 'unhandled')
      else if (error instanceof BufferFullError) this.reportFirst(error)
      else throw error
      refuse(publish, error)
    }
    return promise
  }

  /** End the wait of a publish that the program need not await. */
  #limit(publish: PendingPublish, promise: Promise<void>, bounds: CallOptions): void {
    if (publish.resolve === undefined) return
    const place = enterBounds(publish, this, bounds)
    const leave = (): void => place.leave()
    promise.then(leave, leave)
  }

  /** A loop that awaits nothing loses many: the first stands for them. */
  reportFirst(error: Error): void {
    if (this.#overflowing) return
    this.#overflowing = true
    this.#connection.report(error, 'warn')
  }

  /** The same; in confirm mode it resolves when the broker has confirmed the message. */
  publish(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    bounds: PublishBounds | undefined,
  ): Promise<void> {
    const { confirming } = this
    if (!confirming && bounds === undefined) {
      return this.basicPublish(payload, exchange, routingKey, properties, mandatory)
    }
    const all = withDefaults(bounds, this.#default)
    if (tracesPublish(exchange, routingKey))
      return this.#traced(payload, exchange, routingKey, properties, mandatory, confirming, all)
    return this.#bounded(pendingPublish(payload, exchange, routingKey, properties, mandatory, confirming), all)
  }

  #bounded(publish: PendingPublish, bounds: PublishBounds | undefined): Promise<void> {
    const promise = promiseOf(publish)
    assertNotAborted(publish, bounds)
    this.#publish(publish)
    if (bounds !== undefined) this.#bound(publish, bounds)
    return promise
  }

  #bound(publish: PendingPublish, bounds: PublishBounds): void {
    boundPublish(publish, this, bounds)
    bounds.withdrawnBy?.(makeError => this.giveUp(publish, makeError(outcomeOf(publish))))
  }

  #publish(publish: PendingPublish): void {
    if (this.#window === undefined || this.transactional) this.#assertUsable(publish)
    if (this.#list.length > 0 || !this.#write(publish)) this.#enqueue(publish)
  }

  #assertUsable(publish: PendingPublish): void {
    this.#host.assertUsable({ what: describeMessage(publish), site: undefined, outcome: 'notSent' })
  }

  /** False if it may not be written now. */
  #write(publish: PendingPublish): boolean {
    if (this.#window?.write(publish) !== true) return false
    if (this.transactional) this.#host.transactionBegun()
    return true
  }

  #enqueue(publish: PendingPublish): void {
    const { payload = '', exchange, routingKey, properties, mandatory } = publish
    this.#assertRoom(() => describeMessage(publish), 'publishes')
    // A message that cannot be encoded is refused now, not when its turn comes.
    this.#connection.publishes.check(exchange, routingKey, mandatory, properties, payload)
    // Code of the program has run, which may have closed the channel: nothing would end the wait.
    this.#assertUsable(publish)
    this.#enter(publish)
    this.#await()
  }

  #enter(publish: PendingPublish): void {
    const waiter: Waiter = {
      isReady: () => this.#window?.mayWrite(publish.exchange, publish.routingKey) === true,
      granted: () => this.#granted(publish),
      failed: error => this.#failed(publish, error),
    }
    publish.waiting = this.#list.enter(waiter, { what: () => describeMessage(publish) })
  }

  #granted(publish: PendingPublish): void {
    publish.waiting = undefined
    try {
      if (!this.#passedOver && this.#write(publish)) return
      this.#passedOver = true
      this.#enter(publish)
    } catch (thrown) {
      const error = notSent(thrown)
      if (isForgettable(publish)) this.#connection.report(error, 'unhandled')
      refuse(publish, error)
    }
  }

  #failed(publish: PendingPublish, error: Error): void {
    publish.waiting = undefined
    if (isForgettable(publish)) this.#lost ??= error
    refuse(publish, error)
  }

  goalOf({ waiting, confirmed }: PendingPublish): string {
    if (waiting !== undefined) return this.#connection.publishGoal
    return confirmed ? "the broker's confirm" : 'the socket to take more'
  }

  /** It is not written, or if it was, its confirm is dropped. */
  giveUp(publish: PendingPublish, error: Error): void {
    // Before it leaves: if it is the last, the next error is the first again.
    if (isForgettable(publish)) this.reportFirst(error)
    if (publish.waiting === undefined) {
      this.#life?.abandon(publish, error)
      return
    }
    publish.waiting.leave()
    publish.waiting = undefined
    refuse(publish, error)
    this.resume()
  }

  #assertRoom(what: () => string, kind: 'publishes' | 'operations'): void {
    const { length } = this.#list
    if (length < this.#connection.maxWaiting) return
    throw new BufferFullError(`${what()} was refused: ${length} ${kind} wait already, the limit set by maxWaiting`)
  }

  // ---- what waits with them

  /**
   * Do `operation` when its turn comes: when the channel has a life, and if it must stay `behindPublishes`, when those
   * that wait now are written. An operation that must stay after them is never refused for `maxWaiting`.
   */
  defer<T>(operation: () => Promise<T>, context: CallContext, behindPublishes = false): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!behindPublishes) this.#assertRoom(() => context.what, 'operations')
      const waiter: Waiter = {
        isReady: () => this.#window !== undefined && this.#host.isBack(context),
        granted: () => {
          try {
            if (behindPublishes && this.#passedOver) this.#list.enter(waiter, this.#left(context))
            else resolve(operation())
          } catch (error) {
            reject(rejection(error, context.site))
          }
        },
        failed: error => {
          reject(error)
          // Operations that waited after it may go.
          this.resume()
        },
      }
      this.#list.enter(waiter, this.#left(context))
      this.#await()
    })
  }

  #left(context: CallContext): WaitBounds {
    const unsent = { ...context, outcome: 'notSent' } as const
    return { ...unsent, timeLeft: timeLeft(unsent, this.#connection.clock.now()) }
  }

  /**
   * Reject all that waits. Returns whether `onError` got the error of a call that the program need not await. That
   * happens once.
   */
  failAll(makeError: (what: string) => Error): boolean {
    this.end()
    this.#list.failAll(bounds => makeError(describeWait(bounds)))
    const lost = this.#lost
    this.#lost = undefined
    if (lost !== undefined) this.#connection.report(lost, 'warn')
    return lost !== undefined
  }
}
