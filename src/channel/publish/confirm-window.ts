import { ProtocolError } from '../../errors.ts'
import { ignore } from '../../lib/ignore.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { type CallContext, timeLeft } from '../calls.ts'
import type { CloseReason } from '../close-reason.ts'
import type { ReturnedMessage } from '../consume/delivery.ts'
import type { ChannelPort, FlushWaiter } from '../port.ts'
import { PLAIN_ROUTES, type PublishRoutes } from '../publish-routes.ts'
import { ConfirmWaiters, type Unheard } from './confirm-waiters.ts'
import {
  describeMessage,
  fulfil,
  isForgettable,
  type PendingPublish,
  pendingPublish,
  promiseOf,
  refuse,
} from './message.ts'
import { nackError, returnError, suspects, unsettledError } from './publish-errors.ts'
import { Returns } from './returns.ts'
import { UNTRACKED, Unconfirmed } from './unconfirmed.ts'

/** A publisher that owns the channel. It keeps unconfirmed messages and decides about them. */
export interface PublishOwner {
  /** Publishes were settled, or more may be written. */
  progressed(): void
  /** The broker nacked a message. Returns whether it will be sent again: then it stays among the unsettled messages. */
  nacked(publish: PendingPublish): boolean
  /**
   * That life of the channel is over. These were not settled, oldest first, and are the owner's now; if `resolve` is
   * undefined, no caller waits for it any more.
   */
  ended(window: ConfirmWindow, unsettled: readonly PendingPublish[], ending: CloseReason): void
}

/** The publishes of one life of a channel: their bytes, their delivery tags, and the answers of the broker. */
export class ConfirmWindow {
  readonly port: ChannelPort
  readonly #channelId: number
  readonly #routes: PublishRoutes
  /** The last tag of the channel's earlier lives: the wire's tags count from there. */
  readonly offset: number
  /** Made when delivery tags begin to count; most channels never are in confirm mode. */
  #unconfirmed: Unconfirmed | undefined
  #returns: Returns | undefined
  /** Made when there is something to wait for, or to report. */
  #waiters: ConfirmWaiters | undefined
  #flowing = true
  #owner: PublishOwner | undefined
  /** Nacked, and kept for the owner; made for the first. */
  #kept: PendingPublish[] | undefined

  /** Delivery tags of publishes go on after `offset`; `unheard` is the loss that the last life did not report. */
  constructor(port: ChannelPort, channelId: number, offset: number, routes = PLAIN_ROUTES, unheard?: Unheard) {
    this.port = port
    this.#channelId = channelId
    this.offset = offset
    this.#routes = routes
    if (unheard !== undefined) this.#waiters = new ConfirmWaiters(port, unheard)
  }

  /** confirm.select was written: from the next publish on, delivery tags count. */
  startCounting(): void {
    if (this.#unconfirmed !== undefined) return
    this.#unconfirmed = new Unconfirmed(this.offset)
    this.#returns = new Returns(this.#unconfirmed, this.#routes)
  }

  get counting(): boolean {
    return this.#unconfirmed !== undefined
  }

  get lastTag(): number {
    return this.#unconfirmed?.lastTag ?? this.offset
  }

  /** Publishes that were written and that the broker has not settled. */
  get unconfirmed(): number {
    return this.#unconfirmed?.size ?? 0
  }

  /** The delivery tag of the oldest publish that the broker has not settled, or the next tag. */
  get oldest(): number {
    return this.#unconfirmed?.oldest ?? this.offset + 1
  }

  /** Publishes, of this life and earlier ones, that the broker has settled or will not settle any more. */
  get settled(): number {
    return this.lastTag - this.unconfirmed
  }

  /** Messages that are counted, and messages whose nack their owner handles. */
  get unsettled(): number {
    return this.unconfirmed + (this.#kept?.length ?? 0)
  }

  get unheard(): Unheard | undefined {
    return this.#waiters?.unheard
  }

  /** Whether a publish may be written now: nothing is in its way, and what it needs is there. */
  mayWrite(exchange: string, routingKey: string): boolean {
    const routes = this.#routes
    return this.#flowing && this.port.publishable && (routes.plain || routes.isBack(exchange, routingKey))
  }

  /** A getter of a message is running, which may have ended others: these are not written in there, but right after it. */
  get isGuarded(): boolean {
    return this.port.writer.isGuarded
  }

  /** The server asked to stop or to go on (channel.flow). */
  flow(active: boolean): void {
    this.#flowing = active
  }

  /** From now on the owner has every message of this life. */
  ownedBy(owner: PublishOwner): void {
    this.#owner = owner
  }

  /** More may be written. */
  resumed(): void {
    this.#owner?.progressed()
  }

  // ---- writing

  /**
   * Write a message whose caller waits only until it is written: undefined if that is so at once.
   *
   * @throws EncodeError; nothing has changed then.
   */
  send(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
  ): Promise<void> | undefined {
    const byReference = this.#encode(payload, exchange, routingKey, properties, mandatory)
    if (this.#unconfirmed !== undefined) this.#count(exchange, routingKey, properties, mandatory)
    const turn = byReference ? 'full' : this.port.outgoing.publishWritten()
    if (turn !== 'full') return turn
    const publish = pendingPublish(undefined, exchange, routingKey, properties, mandatory, false)
    const promise = promiseOf(publish)
    promise.catch(ignore)
    this.#leave(publish, byReference)
    return promise
  }

  /**
   * Write a message that a caller waits for. It is settled when the broker has confirmed it, or without confirm mode when
   * it has left. False if it may not be written now.
   *
   * @throws EncodeError; nothing has changed then.
   */
  write(publish: PendingPublish): boolean {
    const { payload = '', exchange, routingKey, properties, mandatory } = publish
    if (!this.mayWrite(exchange, routingKey)) return false
    const { port } = this
    let byReference: boolean
    // Before a getter of the message can give it up: its bytes leave all the same.
    publish.writes++
    try {
      byReference = this.#encode(payload, exchange, routingKey, properties, mandatory)
    } catch (error) {
      publish.writes--
      throw error
    }
    if (publish.confirmed && this.#unconfirmed !== undefined) {
      publish.tag = this.#unconfirmed.add(publish)
      if (!mandatory && this.#owner === undefined) publish.payload = undefined
      if (publish.resolve !== undefined) port.operationStarted()
      void port.outgoing.publishWritten()
      return true
    }
    publish.payload = undefined
    if (this.#unconfirmed !== undefined) this.#count(exchange, routingKey, properties, mandatory)
    const turn = byReference ? 'full' : port.outgoing.publishWritten()
    if (turn === 'full') this.#leave(publish, byReference)
    else fulfil(publish, turn)
    return true
  }

  /** Returns whether the payload is sent by reference. */
  #encode(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
  ): boolean {
    const routes = this.#routes
    const key = routes.plain ? routingKey : routes.routingKey(exchange, routingKey)
    return this.port.publishes.publish(this.#channelId, exchange, key, mandatory, properties, payload)
  }

  /** No caller waits for its confirm. It may come back, though: that return must not be matched to another message. */
  #count(exchange: string, routingKey: string, properties: BasicProperties | undefined, mandatory: boolean): void {
    this.#unconfirmed?.add(
      mandatory ? pendingPublish(undefined, exchange, routingKey, properties, true, false) : UNTRACKED,
    )
  }

  /** Settle a message when its own bytes have left, or if they were copied, when more may be written. */
  #leave(publish: PendingPublish, byReference: boolean): void {
    const { port } = this
    const waiter: FlushWaiter = {
      sent: () => {
        port.operationEnded()
        fulfil(publish)
      },
      lost: ending => {
        port.operationEnded()
        if (publish.resolve === undefined) return
        const what = describeMessage(publish)
        if (isForgettable(publish)) refuse(publish, ending.errorForForgotten(what, 'unknown'))
        else refuse(publish, ending.errorFor(what, false, 'unknown'))
      },
    }
    port.operationStarted()
    if (!byReference) port.outgoing.whenWritable(waiter)
    else {
      port.outgoing.whenFlushed(waiter)
      void port.outgoing.publishWritten()
    }
  }

  // ---- settling

  /**
   * The broker settled one publish, or all up to it. One that is settled already does no harm.
   *
   * @throws ProtocolError if there is no such publish.
   */
  settle(tag: number, multiple: boolean, acked: boolean): void {
    const unconfirmed = this.#unconfirmed
    const { lastTag } = this
    if (unconfirmed === undefined || tag > lastTag || (tag === 0 && !multiple)) {
      throw new ProtocolError(
        `${acked ? 'basic.ack' : 'basic.nack'} of delivery tag ${tag} came on channel ${this.#channelId}, but nothing was published under it`,
      )
    }
    if (multiple) this.#settleUpTo(unconfirmed, tag === 0 ? lastTag : tag, acked)
    else {
      const publish = unconfirmed.take(tag)
      if (publish === undefined) return
      this.#settleOne(publish, tag, acked)
    }
    this.#waiters?.settled(unconfirmed.oldest)
    this.#owner?.progressed()
  }

  #settleUpTo(unconfirmed: Unconfirmed, last: number, acked: boolean): void {
    unconfirmed.takeUpTo(last, (publish, tag) => this.#settleOne(publish, tag, acked))
  }

  #settleOne(publish: PendingPublish, tag: number, acked: boolean): void {
    if (!acked) this.#nacked(publish, tag)
    else if (publish.returned !== undefined) this.#refuse(publish, returnError(publish.returned, publish))
    else if (publish.resolve !== undefined) {
      this.port.operationEnded()
      fulfil(publish)
    }
  }

  #nacked(publish: PendingPublish, tag: number): void {
    if (publish.resolve !== undefined && this.#owner?.nacked(publish) === true) {
      this.#kept ??= []
      this.#kept.push(publish)
      return
    }
    this.#allWaiters.lost({ tag, makeError: () => nackError(publish, tag) })
    if (publish.resolve !== undefined) this.#refuse(publish, nackError(publish, tag))
  }

  #refuse(publish: PendingPublish, error: Error): void {
    if (publish.resolve === undefined) return
    this.port.operationEnded()
    refuse(publish, error)
  }

  /** A message came back: the broker sends basic.return before the ack. Returns whether a promise will report it. */
  returned(message: ReturnedMessage): boolean {
    return this.#returns?.match(message)?.resolve !== undefined
  }

  /** No caller waits for this publish any more: it rejects with `error`. The tag goes on counting. */
  abandon(publish: PendingPublish, error: Error): void {
    if (publish.tag === 0) refuse(publish, error)
    else this.#refuse(publish, error)
  }

  /** Resolves when all that was written so far is settled; rejects if one was nacked or lost since the last call. */
  wait(context: CallContext): Promise<void> {
    try {
      const left = timeLeft(context, this.port.clock.now())
      const waiters = this.#allWaiters
      const waiting = waiters.wait(this.lastTag, { ...context, timeLeft: left })
      waiters.settled(this.oldest)
      return waiting
    } catch (error) {
      return Promise.reject(error)
    }
  }

  get #allWaiters(): ConfirmWaiters {
    this.#waiters ??= new ConfirmWaiters(this.port, undefined)
    return this.#waiters
  }

  // ---- the end

  /**
   * Takes out all unsettled messages, oldest first, also those that no caller waits for. What has come back is
   * rejected instead.
   */
  takeUnsettled(): PendingPublish[] {
    const taken = this.#kept ?? []
    this.#kept = undefined
    this.#unconfirmed?.takeUpTo(this.lastTag, publish => {
      if (publish.returned !== undefined) this.#refuse(publish, returnError(publish.returned, publish))
      else taken.push(publish)
    })
    for (const { resolve } of taken) if (resolve !== undefined) this.port.operationEnded()
    return taken.sort((a, b) => a.tag - b.tag)
  }

  /** This life is over: reject everything. */
  fail(ending: CloseReason): void {
    const { unsettled } = this
    if (unsettled === 0 && this.#waiters === undefined && this.#owner === undefined) return
    if (unsettled > 0) {
      const makeError = (): Error => ending.errorFor('waitForConfirms', false)
      this.#allWaiters.lost({ tag: this.lastTag, makeError })
    }
    const left = this.takeUnsettled()
    this.#waiters?.failAll(() => ending.errorFor('waitForConfirms', false))
    if (this.#owner !== undefined) {
      if (left.length > 0) ending.takenCareOf()
      this.#owner.ended(this, left, ending)
      return
    }
    // If one of them has no caller that waits, it may have been that one.
    const meant = ending.scope === 'channel' && !left.includes(UNTRACKED) ? suspects(ending, left) : []
    const [only] = meant.length === 1 ? meant : []
    for (const publish of left) {
      if (publish.resolve !== undefined) refuse(publish, unsettledError(ending, publish, publish === only))
    }
  }
}
