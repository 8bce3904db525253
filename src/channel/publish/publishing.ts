import { abortedBy, atCallSite, type CallSite } from '../../errors.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import type { CallOptions } from '../call-options.ts'
import { type CallContext, timeLeft } from '../calls.ts'
import type { CloseReason } from '../close-reason.ts'
import type { ReturnedMessage } from '../consume/delivery.ts'
import type { ChannelPort, Departure } from '../port.ts'
import type { PublishRoutes } from '../publish-routes.ts'
import { Confirms, type PendingPublish } from './confirms.ts'
import { type KeptPublish, type PublishKeeper, promiseOf } from './kept-publish.ts'
import { describePublish, nackError, returnError, unsettledError } from './publish-errors.ts'
import { boundPublish, type PublishBounds, type WaitingPublish, WaitingPublishes } from './waiting-publishes.ts'

/** What a publish without a promise of its own returns while the socket takes more. */
const WRITTEN: Promise<void> = Promise.resolve()

/** Everything one life of a channel publishes. */
export class Publishing {
  readonly #port: ChannelPort
  readonly #channelId: number
  readonly #bounds: PublishBounds
  readonly #routes: PublishRoutes
  readonly #confirms: Confirms
  readonly #waiting: WaitingPublishes
  #counting = false
  #flowing = true
  #keeper: PublishKeeper | undefined
  #ending: CloseReason | undefined

  /** Delivery tags of publishes go on behind `offset`. */
  constructor(port: ChannelPort, channelId: number, offset: number, bounds: PublishBounds, routes: PublishRoutes) {
    this.#routes = routes
    this.#port = port
    this.#channelId = channelId
    this.#bounds = bounds
    this.#waiting = new WaitingPublishes(port.maxWaiting)
    this.#confirms = new Confirms(offset, {
      makeNackError: (tag, publish) => nackError(publish, tag),
      makeReturnError: (tag, publish, returned) => returnError(publish, returned, tag),
      keepsNacked: () => this.#keeper?.nacked() ?? false,
      settled: count => port.awaiting(count === 1 ? -1 : 1),
    })
  }

  /** confirm.select was written: from the next publish on, delivery tags count. */
  startCounting(): void {
    this.#counting = true
  }

  get lastTag(): number {
    return this.#confirms.lastTag
  }

  /** Publishes that nobody knows the fate of, or that are not even written. */
  get unsettled(): number {
    return this.#confirms.unsettled + this.#waiting.length
  }

  #mayWrite(exchange: string, routingKey: string): boolean {
    const routes = this.#routes
    return this.#flowing && this.#port.publishable && (routes.plain || routes.isBack(exchange, routingKey))
  }

  /** Resolves when the message is on its way and more may be written. */
  basicPublish(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
  ): Promise<void> {
    if (this.#waiting.length > 0 || !this.#mayWrite(exchange, routingKey)) {
      return this.#wait(payload, exchange, routingKey, properties, mandatory)
    }
    let pending: PendingPublish | undefined
    if (mandatory && this.#counting) pending = untracked(exchange, routingKey, properties, payload)
    return this.#write(payload, exchange, routingKey, properties, mandatory, pending) ?? WRITTEN
  }

  /** The same; in confirm mode it resolves when the broker has confirmed the message. */
  publish(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    bounds: CallOptions | CallContext | undefined,
  ): Promise<void> {
    if (bounds !== undefined) return this.#bounded(payload, exchange, routingKey, properties, mandatory, bounds)
    if (!this.#counting) return this.basicPublish(payload, exchange, routingKey, properties, mandatory)
    const pending: PendingPublish = {
      exchange,
      routingKey,
      mandatory,
      properties,
      payload: mandatory ? payload : undefined,
      returned: undefined,
      resolve: undefined,
      reject: undefined,
    }
    const promise = promiseOf(pending)
    if (this.#waiting.length > 0 || !this.#mayWrite(exchange, routingKey)) {
      // The waiting list has resolvers of its own: a message that is written is settled by its confirm only.
      const resolve = (): void => pending.resolve?.()
      const reject = (error: Error): void => pending.reject?.(error)
      this.#enqueue({ payload, exchange, routingKey, properties, mandatory, pending, resolve, reject })
      return promise
    }
    void this.#write(payload, exchange, routingKey, properties, mandatory, pending)
    return promise
  }

  /** From now on every message of this life is the keeper's, which writes it by `write`. */
  keptBy(keeper: PublishKeeper): void {
    this.#keeper = keeper
  }

  /** Write a message of the keeper's. False where that may not be now: the keeper is told when to try again. */
  write(publish: KeptPublish): boolean {
    const { exchange, routingKey, mandatory, properties, payload } = publish
    if (!this.#mayWrite(exchange, routingKey)) return false
    const port = this.#port
    const key = this.#routes.plain ? routingKey : this.#routes.routingKey(exchange, routingKey)
    port.publishes.publish(this.#channelId, exchange, key, mandatory, properties, payload)
    this.#confirms.add(publish)
    port.awaiting(1)
    void port.publishWritten()
    return true
  }

  /** Nobody waits for this publish of the keeper's any more: `error` tells its caller. */
  abandon(publish: KeptPublish, error: Error): void {
    this.#confirms.abandon(publish, error)
  }

  /** What is not settled, oldest first: nobody will settle it. */
  takeUnsettled(): PendingPublish[] {
    return this.#confirms.takeAll()
  }

  /** Write one message. Returns how its caller is to wait, where it is not to go on at once. */
  #write(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    pending: PendingPublish | undefined,
  ): Promise<void> | undefined {
    const port = this.#port
    const key = this.#routes.plain ? routingKey : this.#routes.routingKey(exchange, routingKey)
    const byReference = port.publishes.publish(this.#channelId, exchange, key, mandatory, properties, payload)
    if (this.#counting) {
      this.#confirms.add(pending)
      if (pending?.resolve !== undefined) {
        port.awaiting(1)
        void port.publishWritten()
        return undefined
      }
    }
    const left = (wait: (waiter: Departure) => void): Promise<void> => {
      const promise = new Promise<void>((resolve, reject) => {
        const messageId = properties?.messageId
        const lost = (ending: CloseReason): void =>
          reject(ending.errorFor(describePublish(exchange, routingKey, messageId), false, 'unknown'))
        wait({ sent: resolve, lost })
      })
      promise.catch(ignore)
      return promise
    }
    if (byReference) {
      const promise = left(waiter => port.departure(waiter))
      void port.publishWritten()
      return promise
    }
    const turn = port.publishWritten()
    return turn === 'full' ? left(waiter => port.drained(waiter)) : turn
  }

  #wait(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
  ): Promise<void> {
    const promise = new Promise<void>((resolve, reject) => {
      const pending = mandatory && this.#counting ? untracked(exchange, routingKey, properties, payload) : undefined
      this.#enqueue({ payload, exchange, routingKey, properties, mandatory, pending, resolve, reject })
    })
    promise.catch(ignore)
    return promise
  }

  #enqueue(publish: WaitingPublish): void {
    // Written and forgotten: a message that cannot be encoded is refused now, not when its turn comes.
    this.#port.publishes.check(
      publish.exchange,
      publish.routingKey,
      publish.mandatory,
      publish.properties,
      publish.payload,
    )
    this.#waiting.add(publish, () =>
      describePublish(publish.exchange, publish.routingKey, publish.properties?.messageId),
    )
  }

  #bounded(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    bounds: CallOptions | CallContext,
  ): Promise<void> {
    const { signal, timeout } = bounds
    const messageId = properties?.messageId
    const what = (): string => describePublish(exchange, routingKey, messageId)
    if (signal?.aborted) return Promise.reject(abortedBy(signal, what(), 'notSent'))
    return new Promise((resolve, reject) => {
      const left = 'what' in bounds ? timeLeft(bounds, this.#port.clock.now()) : timeout
      const pending: PendingPublish | undefined = this.#counting
        ? {
            exchange,
            routingKey,
            mandatory,
            properties,
            payload: mandatory ? payload : undefined,
            returned: undefined,
            resolve: () => {
              unbind()
              resolve()
            },
            reject: error => {
              unbind()
              reject(error)
            },
          }
        : undefined
      const waiting: WaitingPublish = {
        payload,
        exchange,
        routingKey,
        properties,
        mandatory,
        pending,
        resolve: written => {
          unbind()
          resolve(written)
        },
        reject: error => {
          unbind()
          reject(error)
        },
      }
      if (this.#waiting.length > 0 || !this.#mayWrite(exchange, routingKey)) this.#enqueue(waiting)
      else {
        const written = this.#write(payload, exchange, routingKey, properties, mandatory, pending)
        if (pending === undefined) {
          resolve(written)
          return
        }
      }
      const unbind = boundPublish(
        signal,
        timeout,
        (ms, expired) => this.#bounds.after(left ?? ms, expired),
        what,
        makeError => this.#bounds.giveUp(waiting, makeError),
      )
    })
  }

  /** Nobody waits for it any more: it is not written, or where it was, its confirm is for nobody. */
  giveUp(publish: WaitingPublish, makeError: (outcome: 'notSent' | 'unknown') => Error): void {
    if (this.#waiting.remove(publish)) publish.reject(makeError('notSent'))
    else if (publish.pending !== undefined) this.#confirms.abandon(publish.pending, makeError('unknown'))
  }

  /** The gate may have opened: write what waits. */
  resume(): void {
    this.#keeper?.progressed()
    if (this.#waiting.length === 0) return
    this.#waiting.drain(
      ({ exchange, routingKey }) => this.#mayWrite(exchange, routingKey),
      publish => {
        const { payload, exchange, routingKey, properties, mandatory, pending } = publish
        try {
          const written = this.#write(payload, exchange, routingKey, properties, mandatory, pending)
          if (pending?.resolve === undefined) publish.resolve(written)
        } catch (error) {
          publish.reject(error as Error)
        }
      },
    )
  }

  /** The server asked to stop or to go on (channel.flow). */
  flow(active: boolean): void {
    this.#flowing = active
    if (active) this.resume()
  }

  /** Resolves when no publish waits to be written. */
  written(): Promise<void> {
    return this.#waiting.empty()
  }

  settle(tag: number, multiple: boolean, acked: boolean): void {
    this.#confirms.settle(tag, multiple, acked)
    this.#keeper?.progressed()
  }

  /** A message came back. Returns whether a promise will tell. */
  returned(message: ReturnedMessage): boolean {
    const publish = this.#counting ? this.#confirms.matchReturn(message) : undefined
    return publish?.reject !== undefined
  }

  /** Resolves when all that was published so far is settled; rejects where one was nacked. */
  async waitForConfirms(site: CallSite | undefined): Promise<void> {
    await this.#waiting.empty()
    // What waited may have gone on to the next life.
    if (this.#ending !== undefined) throw atCallSite(this.#ending.errorFor('waitForConfirms', false), site)
    await this.#confirms.wait(site)
  }

  /** What waits and is not written, for the channel's next life. */
  takeWaiting(): WaitingPublish[] {
    return this.#waiting.takeAll()
  }

  /** Publishes that waited in the channel's last life. */
  addWaiting(publishes: readonly WaitingPublish[]): void {
    for (const publish of publishes) this.#waiting.add(publish, () => 'publish')
  }

  /** Reject everything. */
  failAll(ending: CloseReason): void {
    this.#ending = ending
    this.#waiting.failAll(({ exchange, routingKey, properties }) =>
      ending.errorFor(describePublish(exchange, routingKey, properties?.messageId), false, 'notSent'),
    )
    if (this.#keeper !== undefined) {
      const unsettled = this.#confirms.takeAll()
      if (unsettled.length > 0) ending.takenCareOf()
      this.#keeper.ended(this, unsettled, ending)
    }
    this.#confirms.failAll(
      (tag, publish) => unsettledError(ending, publish, tag),
      site => atCallSite(ending.errorFor('waitForConfirms', false), site),
    )
  }
}

function untracked(
  exchange: string,
  routingKey: string,
  properties: BasicProperties | undefined,
  payload: Uint8Array | string,
): PendingPublish {
  const nobody = { returned: undefined, resolve: undefined, reject: undefined }
  return { exchange, routingKey, mandatory: true, properties, payload, ...nobody }
}

function ignore(): void {}
