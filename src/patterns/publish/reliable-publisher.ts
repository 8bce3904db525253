import type { CallOptions } from '../../channel/call-options.ts'
import type { Channel } from '../../channel/channel.ts'
import type { CloseReason } from '../../channel/close-reason.ts'
import type { ConfirmWindow, PublishOwner } from '../../channel/publish/confirm-window.ts'
import {
  assertNotAborted,
  type BoundedPublisher,
  boundPublish,
  defaultBounds,
  describeMessage,
  outcomeOf,
  type PendingPublish,
  type PublishBounds,
  pendingPublish,
  promiseOf,
  refuse,
  tracedPublish,
  withDefaults,
  withOutcome,
} from '../../channel/publish/message.ts'
import type { ChannelSource, Closable } from '../../connection/channel-source.ts'
import { PUBLISH, PublishContext, type PublishSource, tracesPublish } from '../../diagnostics/publish.ts'
import type { Endpoint } from '../../diagnostics/server-context.ts'
import type { PartStats, PublisherStats } from '../../diagnostics/stats.ts'
import { type AmqpError, BufferFullError, EncodeError } from '../../errors.ts'
import { atMost } from '../../lib/at-most.ts'
import type { TimerSource } from '../../lib/clock.ts'
import { ignore } from '../../lib/ignore.ts'
import { nextTick } from '../../lib/platform.ts'
import { WaitList } from '../../lib/wait-list.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { closedError } from '../closed-error.ts'
import { OutgoingQueue } from './outgoing-queue.ts'
import { PoisonSearch } from './poison-search.ts'
import { PublisherChannel } from './publisher-channel.ts'

export interface ReliablePublisherOptions {
  /** Milliseconds for a message without a timeout of its own. Default: no limit. */
  readonly publishTimeout?: number | undefined
  /** The only exchange that it publishes to. Default: several. */
  readonly exchangeName?: string | undefined
  /** Messages that may be unconfirmed at a time. Default: no limit. */
  readonly maxInFlight?: number | undefined
  /** Whether a message that the broker nacked is sent again. Default: only soon after a recovery. */
  readonly retriesNacks?: boolean | undefined
  /** What the timeouts of messages run by. Default: the connection. */
  readonly timers?: TimerSource | undefined
  /** Called, not within a read, with the number of messages that were written again. */
  readonly resent?: ((count: number) => void) | undefined
}

/**
 * Publishes messages until the broker has confirmed them, on a confirm channel that is opened when it is needed and
 * replaced when it is lost. Each message is in one of two places, both in the order of the publishes:
 *
 *     publish ──▶ queue: not written (again) ──write──▶ the channel's window ──ack, nack, return──▶ settled
 *                   ▲                                        │
 *                   └──── unknown fates, to the front ───────┴── channel or connection ended ──▶ refused
 */
export class ReliablePublisher implements PublishOwner, Closable, PublishSource, BoundedPublisher {
  readonly #source: ChannelSource
  readonly #exchangeName: string | undefined
  readonly #maxInFlight: number
  readonly #sentAgain: (count: number) => void
  #resent = 0
  /** How often the broker nacked a message that is sent again. */
  readonly #nacks = new WeakMap<PendingPublish, number>()
  readonly #queue = new OutgoingQueue()
  /** Payloads that are being encoded, and come then. */
  #encoding = 0
  readonly #channel: PublisherChannel
  readonly #search = new PoisonSearch<PendingPublish>()
  readonly bounds: WaitList
  /** The timeout of messages that have none of their own. */
  readonly #default: CallOptions | undefined
  /** Set with the first message: until then the connection need not know of this publisher. */
  #forgetEnd: (() => void) | undefined
  #emptied: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(source: ChannelSource, options: ReliablePublisherOptions = {}) {
    this.#source = source
    this.#exchangeName = options.exchangeName
    this.#maxInFlight = options.maxInFlight ?? Number.POSITIVE_INFINITY
    this.#sentAgain = options.resent ?? ignore
    this.#channel = new PublisherChannel(source, this, () => this.#ready(), options.retriesNacks ?? false)
    this.bounds = new WaitList(options.timers ?? source)
    this.#default = defaultBounds(options.publishTimeout)
  }

  /** Messages whose fate is not known yet. */
  get pending(): number {
    return this.#encoding + this.#unsettled
  }

  get #unsettled(): number {
    return this.#queue.length + this.#inFlight()
  }

  get endpoint(): Endpoint {
    return this.#source.endpoint
  }

  get channelId(): number | undefined {
    return this.#channel.channelId
  }

  #inFlight(): number {
    return this.#channel.window?.unsettled ?? 0
  }

  /** A payload is being encoded, to be published then; or with -1, no longer. */
  encodes(change: 1 | -1): void {
    this.#encoding += change
    if (this.#closing === undefined) this.#register()
  }

  /** Resolves when the message is safe. Payload and properties are kept as they are until then. May throw. */
  publish(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    bounds: PublishBounds | undefined,
  ): Promise<void> {
    if (tracesPublish(exchange, routingKey))
      return this.#traced(payload, exchange, routingKey, properties, mandatory, bounds)
    return this.#publish(pendingPublish(payload, exchange, routingKey, properties, mandatory, true), payload, bounds)
  }

  /** Like `publish`, with a context for tracing. It is separate, since it would slow down each publish. */
  #traced(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    bounds: PublishBounds | undefined,
  ): Promise<void> {
    const context = new PublishContext(this, payload, exchange, routingKey, properties, mandatory, true)
    return PUBLISH.promise(context, ReliablePublisher.#publishTraced, this, payload, bounds)
  }

  static #publishTraced(
    publisher: ReliablePublisher,
    context: PublishContext,
    payload: Uint8Array | string,
    bounds: PublishBounds | undefined,
  ): Promise<void> {
    return publisher.#publish(tracedPublish(context, payload), payload, bounds)
  }

  #publish(message: PendingPublish, payload: Uint8Array | string, own: PublishBounds | undefined): Promise<void> {
    const bounds = withDefaults(own, this.#default)
    const promise = promiseOf(message)
    assertNotAborted(message, bounds)
    this.#accept(message, payload)
    if (bounds !== undefined) boundPublish(message, this, bounds)
    return promise
  }

  #accept(message: PendingPublish, payload: Uint8Array | string): void {
    this.#assertUsable(message)
    if (this.#queue.length === 0 && this.#write(message)) return
    const { exchange, routingKey, mandatory, properties } = message
    this.#source.publishes.check(exchange, routingKey, mandatory, properties, payload)
    // Code of the program has run, which may have closed it: nothing would end the wait.
    this.#assertUsable(message)
    this.#register()
    this.#queue.push(message)
    this.#open()
    // Opened at once, it was written.
    if (this.#queue.length <= this.#source.maxWaiting || !this.#queue.remove(message)) return
    const waiting = `${this.#queue.length} publishes wait already, the limit set by maxWaiting`
    refuse(message, new BufferFullError(`${describeMessage(message)} was refused: ${waiting}`))
    this.progressed()
  }

  #assertUsable(message: PendingPublish): void {
    const isOver = this.#channel.state === 'closed' || this.#closing !== undefined || this.#source.ending !== undefined
    if (isOver) throw this.#closedError(message)
  }

  #register(): void {
    if (this.#forgetEnd !== undefined) return
    this.#forgetEnd = this.#source.onEnded(() => void this.#end())
    this.#source.register(this)
  }

  goalOf(message: PendingPublish): string {
    return this.#queue.has(message) ? this.#source.publishGoal : "the broker's confirm"
  }

  /** It is not sent (again). */
  giveUp(message: PendingPublish, error: Error): void {
    if (this.#queue.remove(message)) refuse(message, error)
    else this.#channel.window?.abandon(message, error)
    this.progressed()
  }

  /** Returns false if it may not be written now. */
  #write(message: PendingPublish): boolean {
    const { state, window } = this.#channel
    if (state !== 'open' || window === undefined) return false
    const limit = this.#search.state === 'none' ? this.#maxInFlight : 1
    return window.unsettled < limit && window.write(message)
  }

  /** Write waiting messages, as far as possible now. */
  #drain(): void {
    let again = 0
    let nacked = 0
    for (let first = this.#queue.peek(); first !== undefined; first = this.#queue.peek()) {
      const { writes } = first
      try {
        if (!this.#write(first)) break
        this.#queue.shift(first)
        if (writes > 0) again++
        // Each copy of it was refused.
        if (writes > 0 && this.#nacks.get(first) === writes) nacked++
      } catch (error) {
        this.#queue.shift(first)
        // An earlier copy of it may have arrived.
        refuse(first, error instanceof EncodeError ? withOutcome(error, outcomeOf(first)) : (error as Error))
      }
    }
    // Programs' listeners are called: not in the middle of a read.
    this.#resent += again
    if (again > 0) nextTick(() => this.#wereResent(again, nacked))
  }

  #wereResent(count: number, nacked: number): void {
    const exchangeName = this.#exchangeName
    this.#source.occurred('publisher.resent', { exchangeName, count, nacked }, () => this.#sentAgain(count))
  }

  /** Its figures at the moment. */
  stats(): PublisherStats {
    const waiting = this.#encoding + this.#queue.length
    return { exchangeName: this.#exchangeName, unconfirmed: this.#inFlight(), waiting, resent: this.#resent }
  }

  addStats({ publishers }: PartStats): void {
    publishers.push(this.stats())
  }

  // ---- what becomes of messages

  /** Messages were settled or given up, or more may be written. */
  progressed(): void {
    if (this.#channel.window?.isGuarded === true) {
      this.#progressLater()
      return
    }
    if (this.#search.state !== 'none' && this.#inFlight() === 0) this.#searched()
    this.#channel.progressed()
    if (this.#queue.length > 0) this.#drain()
    if (this.#unsettled > 0) return
    this.#emptied?.()
    this.#channel.stopOpening()
    if (this.#source.channelWanted) this.#channel.giveUp()
  }

  /** Of its own, since a closure has what it captures allocated at each call. */
  #progressLater(): void {
    queueMicrotask(() => this.progressed())
  }

  /** Nothing is in flight: the search may be over. */
  #searched(): void {
    this.#search.settled(this.#queue.peek())
    if (this.#search.state === 'none') this.#channel.endTurn()
  }

  nacked(message: PendingPublish): boolean {
    if (!this.#channel.nacked()) return false
    this.#nacks.set(message, (this.#nacks.get(message) ?? 0) + 1)
    return true
  }

  ended(window: ConfirmWindow, unsettled: readonly PendingPublish[], ending: CloseReason): void {
    if (window !== this.#channel.window) {
      // Of a publisher that a getter of theirs has closed: they were in neither place then.
      for (const message of unsettled) refuse(message, this.#closedError(message))
      return
    }
    const { atFault, again, certain } = this.#search.channelEnded(unsettled, ending, isAwaited)
    this.#channel.ended(atFault.length > 0 || window.lastTag > unsettled.length)
    this.#queue.putBack(again)
    for (const message of atFault) {
      const outcome = certain && message.writes === 1 ? 'refused' : 'unknown'
      refuse(message, ending.errorFor(describeMessage(message), true, outcome))
    }
    this.#ready()
  }

  // ---- the channel

  #open(): void {
    this.#channel.open(this.#search.state === 'alone')
  }

  /** There is a channel, or none any more. */
  #ready(): void {
    // A publisher that no longer searches neither waits for a turn to publish alone nor keeps one.
    this.#searched()
    if (this.#queue.length > 0 && this.#source.ending === undefined) this.#open()
    this.progressed()
  }

  /** Close the channel if nothing is pending on it; the next message opens another. Returns whether it was open. */
  giveUpChannel(): boolean {
    return this.#unsettled === 0 && this.#channel.giveUp()
  }

  // ---- the end

  /** Reject everything. Returns the channel there is, which is for the caller to close. */
  #end(): Channel | undefined {
    if (this.#channel.state === 'closed') return undefined
    const messages = [...(this.#channel.window?.takeUnsettled() ?? []), ...this.#queue.takeAll()]
    const channel = this.#channel.end()
    this.#forgetEnd?.()
    this.#source.unregister(this)
    for (const message of messages) refuse(message, this.#closedError(message))
    this.#emptied?.()
    return channel
  }

  #closedError(message: PendingPublish): AmqpError {
    const what = describeMessage(message)
    const outcome = outcomeOf(message)
    const { ending } = this.#source
    if (ending !== undefined) return ending.errorFor(what, false, outcome)
    return closedError(this.#source, what, 'publisher', outcome)
  }

  /** Wait for pending messages, but no longer than `timeout` milliseconds; then reject the rest. Never rejects itself. */
  close({ timeout }: { readonly timeout: number }): Promise<void> {
    this.#closing ??= this.#close(timeout)
    return this.#closing
  }

  async #close(timeout: number): Promise<void> {
    const { clock } = this.#source
    const end = clock.now() + timeout
    // A getter of a message may have called it: that message is pending then, and the channel can be closed.
    await undefined
    if (this.#unsettled > 0) {
      const emptied = new Promise<void>(resolve => {
        this.#emptied = resolve
      })
      await atMost(this.#source, timeout, emptied)
    }
    const channel = this.#end()
    if (channel !== undefined) await atMost(this.#source, end - clock.now(), channel.close())
  }
}

/** A message whose timeout has passed, or that was aborted, has no caller that waits. */
function isAwaited({ resolve }: PendingPublish): boolean {
  return resolve !== undefined
}
