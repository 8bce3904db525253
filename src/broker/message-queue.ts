import type { Timer } from '../lib/clock.ts'
import type { FieldTable } from '../protocol/values.ts'
import type { QueueType } from './argument-tables.ts'
import { type Consumer, cancelAll, type Delivery, type Receiver, type Settlement, type Stored } from './consumer.ts'
import type { Message } from './message.ts'
import type { DeathReason, Queue, QueueHost, QueueIdentity, Receipt } from './queue.ts'
import { numberArgument } from './queue-arguments.ts'
import { QueueConsumers } from './queue-consumers.ts'
import { QueueLimits } from './queue-limits.ts'
import type { ReadyMessages } from './ready-messages.ts'
import { accessRefused, resource } from './refusals.ts'

/** How a message comes back: `lost` with its channel. */
export type Return = Settlement | 'lost'

/** What classic and quorum queues have in common: each message goes to one consumer. */
export abstract class MessageQueue implements Queue {
  abstract readonly type: QueueType
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly owner: object | undefined
  readonly arguments: FieldTable
  protected readonly host: QueueHost
  protected readonly messages: ReadyMessages
  protected readonly limits: QueueLimits
  protected readonly singleActive: boolean
  readonly #consumers = new QueueConsumers()
  /** The only consumer that gets messages: the single active one, or one that asked to be alone. */
  #holder: Consumer | undefined
  readonly #given = new Set<Delivery>()
  #position = 0
  #ordinal = 0
  #everConsumed = false
  /** Messages that came back, and are not ready before their time. */
  readonly #delayed = new Map<Stored, Timer>()
  /** Looks for messages that are not acknowledged in time. */
  #watch: Timer | undefined
  #watchedUntil = Number.POSITIVE_INFINITY
  #expiry: Timer | undefined
  #expiresNext = Number.POSITIVE_INFINITY
  #idle: Timer | undefined
  lost = 0
  #held = false
  #ended = false

  constructor(identity: QueueIdentity, host: QueueHost, messages: ReadyMessages) {
    this.name = identity.name
    this.durable = identity.durable
    this.autoDelete = identity.autoDelete
    this.owner = identity.owner
    this.arguments = identity.arguments
    this.host = host
    this.messages = messages
    this.limits = new QueueLimits(identity.arguments)
    this.singleActive = identity.arguments['x-single-active-consumer'] === true
    this.touch()
  }

  get messageCount(): number {
    return this.messages.length
  }
  get consumers(): readonly Consumer[] {
    return this.#consumers.all
  }
  get consumerCount(): number {
    return this.#consumers.count
  }
  /** The consumers that do not wait for the place of another one. */
  protected get served(): readonly Consumer[] {
    if (!this.singleActive) return this.consumers
    return this.#holder === undefined ? [] : [this.#holder]
  }
  get ready(): readonly Stored[] {
    return this.messages.all
  }
  get unacked(): readonly Delivery[] {
    return [...this.#given]
  }
  get delayed(): readonly Stored[] {
    return [...this.#delayed.keys()]
  }

  /**
   * Takes a returned message: to its place or to the end, unless it has been delivered too often. A number is that of
   * milliseconds until it is ready.
   */
  protected abstract takeBack(stored: Stored, how: Return): 'ready' | 'last' | 'dead' | number
  /** The message as it is sent. Queues that count deliveries add the count to its headers. `askedFor` is true for basic.get. */
  protected abstract outgoing(stored: Stored, askedFor: boolean): Message

  /** Whether the queue refuses a message because it is full. `publisher` is its channel; undefined for a dead letter. */
  protected refuses(message: Message, _publisher: object | undefined): boolean {
    const { length, bytes } = this.fill
    return this.limits.overflow !== 'drop-head' && this.limits.isExceeded(length + 1, bytes + this.sizeOf(message))
  }

  /** Those that expire first: the first of all, or of each priority. */
  protected get heads(): readonly Stored[] {
    const { first } = this.messages
    return first === undefined ? [] : [first]
  }

  /** Whether the first message may have expired since one has come, and maybe others were `dropped`. */
  protected looksAtHead(_dropped: boolean): boolean {
    return true
  }

  /** More or fewer messages are ready than before. */
  protected lengthChanged(): void {}

  /** The single active consumer from now on, one of all that there are. */
  protected nextActive(active: Consumer | undefined, consumers: readonly Consumer[]): Consumer | undefined {
    return active ?? consumers[0]
  }

  /** Takes the messages that a closed channel had. */
  protected inOrderOfReturn(given: readonly Delivery[]): readonly Delivery[] {
    return given
  }

  /** What counts toward the limits of the queue. */
  protected get fill(): { readonly length: number; readonly bytes: number } {
    if (this.#delayed.size === 0) return this.messages
    let { length, bytes } = this.messages
    for (const { size } of this.#delayed.keys()) {
      length++
      bytes += size
    }
    return { length, bytes }
  }

  /** The bytes that a message counts toward the limit of them. */
  protected sizeOf({ body }: Message): number {
    return body.length
  }

  /** The queue is read again, after it was closed `inOrder` or not. */
  protected restarted(_stored: Stored, _inOrder: boolean): void {}

  /** Milliseconds until a message must be acknowledged, by a consumer or after basic.get. */
  protected timeoutOf(_consumer: Consumer | undefined): number {
    return Number.POSITIVE_INFINITY
  }

  publish(message: Message, receipt: Receipt | undefined, publisher?: object): void {
    // Timers of several queues may be due at once: another queue may have come first.
    if (this.#expiresNext <= this.host.now()) this.#dropExpired(true)
    if (this.refuses(message, publisher)) {
      if (this.limits.overflow === 'reject-publish-dlx') this.host.deadLetter(this, message, 'maxlen', message.failures)
      // A channel knows of a full quorum queue before its commit begins to wait for answers, and forgets that.
      receipt?.settled(false, this.type === 'classic')
      return
    }
    const timeToLive = this.limits.timeToLive(message)
    const failed = message.failures > 0
    const stored: Stored = {
      message,
      position: this.#position++,
      size: this.sizeOf(message),
      expiresAt: this.host.now() + timeToLive,
      redelivered: failed && this.type === 'quorum',
      deliveryCount: message.failures,
      acquiredCount: 0,
    }
    this.messages.push(stored)
    receipt?.settled(true)
    // A consumer that waits for a message gets even one that expires at once.
    this.#give(false)
    // To a classic queue, a message that it delivers at once is new.
    stored.redelivered ||= failed
    const dropped = this.#dropExcess()
    if (this.looksAtHead(dropped)) this.#dropExpired()
    this.lengthChanged()
  }

  get(receiver: Receiver, noAck: boolean): Delivery | undefined {
    // A quorum queue looks at the message that it is to give, and goes on when that is settled; a classic one goes on.
    if (this.type === 'quorum') this.#dropExpired()
    const stored = this.messages.shift()
    if (this.type === 'classic' || noAck) this.#dropExpired()
    else this.#watchExpiry()
    this.lengthChanged()
    const delivery = stored === undefined ? undefined : this.#deliveryOf(stored, receiver, undefined, noAck)
    this.touch()
    return delivery
  }

  settle(deliveries: readonly Delivery[], settlement: Settlement): void {
    for (const delivery of deliveries) {
      if (!this.#given.delete(delivery)) continue
      const { consumer, stored } = delivery
      if (consumer !== undefined) consumer.unacked--
      if (settlement === 'reject-dead') this.#die(stored, 'rejected', stored.deliveryCount + 1)
      else if (settlement === 'nack-dead') this.#die(stored, 'rejected')
      else if (settlement !== 'ack') this.#takeBack(stored, settlement)
    }
    for (const { consumer } of deliveries) {
      if (consumer !== undefined) this.#consumers.unblock(consumer.receiver)
    }
    this.#chooseActive()
    if (settlement === 'nack' || settlement === 'reject') this.#giveReturned()
    else this.#give()
  }

  consume(consumer: Consumer, announce: () => void): void {
    // Quorum queues take no notice of it.
    const exclusive = this.type === 'classic' && consumer.options.exclusive
    const inUse = this.singleActive ? exclusive : this.#holder !== undefined || (exclusive && this.#consumers.count > 0)
    if (inUse) throw accessRefused(`${resource('queue', this.name, this.host.vhostName)} in exclusive use`)
    consumer.ordinal = this.#ordinal++
    this.#consumers.add(consumer)
    this.#everConsumed = true
    this.#idle?.cancel()
    if (exclusive) this.#holder = consumer
    this.#chooseActive()
    consumer.receiver.post(announce)
    this.#give()
  }

  cancel(consumer: Consumer, announce: () => void): void {
    this.#remove(consumer)
    consumer.receiver.post(announce)
    this.#afterConsumers()
    this.#give()
  }

  receiversGone(receivers: ReadonlySet<Receiver>): void {
    const theirs = this.#consumers.all.filter(consumer => receivers.has(consumer.receiver))
    const given = [...this.#given].filter(delivery => receivers.has(delivery.receiver))
    if (theirs.length + given.length === 0) return
    const { consumerCount } = this
    for (const consumer of theirs) this.#remove(consumer)
    for (const delivery of this.inOrderOfReturn(given)) {
      this.#given.delete(delivery)
      this.#takeBack(delivery.stored, 'lost')
    }
    if (this.consumerCount < consumerCount) this.#afterConsumers()
    this.#giveReturned()
  }

  receiverReady(receiver: Receiver): void {
    this.#consumers.resume(receiver)
    this.#give()
  }

  purge(): number {
    const { length } = this.fill
    this.messages.keep(() => false)
    this.#forgetDelayed(() => true)
    this.#watchExpiry()
    this.lengthChanged()
    return length
  }

  touch(): void {
    this.#idle?.cancel()
    const idle = numberArgument(this.arguments, 'x-expires')
    if (idle === undefined || this.#ended || this.consumerCount > 0) return
    this.#idle = this.host.timers.after(idle, () => {
      this.host.queueEnded(this)
      this.host.run()
    })
  }

  end(): void {
    this.#ended = true
    this.lost = this.messageCount + this.#given.size + this.#delayed.size
    this.#idle?.cancel()
    this.#expiry?.cancel()
    this.#watch?.cancel()
    this.#forgetDelayed(() => true)
    const consumers = this.#consumers.all
    for (const consumer of consumers) this.#remove(consumer)
    cancelAll(consumers)
    this.messages.keep(() => false)
    this.#given.clear()
  }

  restart(kept: (stored: Stored) => boolean, inOrder: boolean): void {
    for (const consumer of this.#consumers.all) this.#remove(consumer)
    for (const { stored } of this.#given) this.#takeBack(stored, 'lost')
    this.#given.clear()
    this.#forgetDelayed(one => !kept(one))
    this.messages.keep(kept)
    for (const stored of this.messages.all) this.restarted(stored, inOrder)
    // While the broker is down, its queues do not become older.
    this.#idle?.cancel()
    this.#dropExpired()
  }

  hold(held: boolean): void {
    this.#held = held
    this.#give()
  }

  #remove(consumer: Consumer): void {
    this.#consumers.remove(consumer)
    if (this.#holder === consumer) this.#holder = undefined
    this.#chooseActive()
  }

  #chooseActive(): void {
    if (this.singleActive) this.#holder = this.nextActive(this.#holder, this.#consumers.all)
  }

  #afterConsumers(): void {
    if (this.#consumers.count > 0) return
    if (this.autoDelete && this.#everConsumed) this.host.queueEnded(this)
    else this.touch()
  }

  #takeBack(stored: Stored, how: Return): void {
    stored.redelivered = true
    const where = this.takeBack(stored, how)
    if (where === 'ready') this.messages.takeBack(stored)
    else if (where === 'last') this.messages.push(stored)
    else if (where === 'dead') this.#die(stored, 'delivery_limit')
    else this.#delay(stored, where)
  }

  #delay(stored: Stored, milliseconds: number): void {
    const timer = this.host.timers.after(milliseconds, () => {
      this.#delayed.delete(stored)
      this.messages.takeBack(stored)
      this.#giveReturned()
      this.host.run()
    })
    this.#delayed.set(stored, timer)
  }

  #forgetDelayed(which: (stored: Stored) => boolean): void {
    for (const [stored, timer] of this.#delayed) {
      if (!which(stored)) continue
      timer.cancel()
      this.#delayed.delete(stored)
    }
  }

  #die(stored: Stored, reason: DeathReason, failures = stored.deliveryCount): void {
    this.host.deadLetter(this, stored.message, reason, failures)
  }

  /**
   * A quorum queue delivers returned messages first and then drops the surplus; a classic queue does it the other way
   * round.
   */
  #giveReturned(): void {
    if (this.type === 'classic') {
      this.#dropExcess()
      this.#dropExpired()
    }
    this.#give()
    if (this.type === 'quorum') this.#dropExcess()
  }

  /** New and returned messages may be more than the queue holds. Returns whether it was. */
  #dropExcess(): boolean {
    if (this.limits.overflow !== 'drop-head') return false
    let dropped = false
    while (this.messages.length > 0 && this.limits.isExceeded(this.fill.length, this.fill.bytes)) {
      const first = this.messages.shift()
      if (first !== undefined) this.#die(first, 'maxlen')
      dropped = true
    }
    return dropped
  }

  /** Give messages to consumers while there are both; without `expire` the first is given even if its time is over. */
  #give(expire = this.type === 'quorum'): void {
    if (this.#held || this.#ended) return
    if (expire) this.#dropExpired()
    for (; this.messages.length > 0; this.#dropExpired()) {
      const consumer = this.#nextConsumer()
      const stored = consumer === undefined ? undefined : this.messages.shift()
      if (consumer === undefined || stored === undefined) break
      const { options, receiver } = consumer
      const delivery = this.#deliveryOf(stored, receiver, consumer, options.noAck)
      if (this.#given.has(delivery)) consumer.unacked++
      if (!options.noAck && options.heedsChannel) receiver.took()
      if (this.type === 'quorum') this.#consumers.block(consumer)
      else this.#consumers.sent(receiver)
      receiver.post(() => {
        receiver.deliver(delivery)
        this.#arrived(delivery)
      })
    }
    this.lengthChanged()
  }

  /** A channel has got a message of a consumer. */
  #arrived(delivery: Delivery): void {
    const { receiver, noAck } = delivery
    if (this.type === 'quorum' && noAck) this.settle([delivery], 'ack')
    if (this.type === 'quorum' || !this.#consumers.reports(receiver)) return
    receiver.afterWriting(() => {
      this.#consumers.written(receiver)
      this.#give()
    })
  }

  #nextConsumer(): Consumer | undefined {
    if (!this.singleActive) return this.#consumers.next()
    return this.#holder !== undefined && this.#consumers.canTake(this.#holder) ? this.#holder : undefined
  }

  #deliveryOf(stored: Stored, receiver: Receiver, consumer: Consumer | undefined, noAck: boolean): Delivery {
    const { redelivered } = stored
    const timeout = noAck ? Number.POSITIVE_INFINITY : this.timeoutOf(consumer)
    const delivery: Delivery = {
      queue: this,
      stored,
      message: this.outgoing(stored, consumer === undefined),
      redelivered,
      receiver,
      consumer,
      ordinal: consumer?.ordinal ?? this.#ordinal++,
      noAck,
      timesOutAt: timeout === Number.POSITIVE_INFINITY ? timeout : this.host.now() + timeout,
    }
    if (!noAck || (this.type === 'quorum' && consumer !== undefined)) this.#given.add(delivery)
    this.#watchUntil(delivery.timesOutAt)
    return delivery
  }

  /** One timer for all: most messages are settled long before. */
  #watchUntil(time: number): void {
    if (time >= this.#watchedUntil) return
    this.#watchedUntil = time
    this.#watch?.cancel()
    this.#watch = this.host.timers.after(Math.max(0, time - this.host.now()), () => {
      this.#watchedUntil = Number.POSITIVE_INFINITY
      const now = this.host.now()
      for (const delivery of [...this.#given]) if (delivery.timesOutAt <= now) this.#timeOut(delivery)
      this.#watchUntil(
        this.unacked.reduce((next, { timesOutAt }) => Math.min(next, timesOutAt), Number.POSITIVE_INFINITY),
      )
      this.host.run()
    })
  }

  /** A consumer that is too slow to acknowledge is cancelled, and its messages come back. */
  #timeOut(delivery: Delivery): void {
    if (!this.#given.has(delivery)) return
    const { consumer, receiver } = delivery
    const theirs = [...this.#given].filter(other => other === delivery || (consumer && other.consumer === consumer))
    if (consumer !== undefined) this.#remove(consumer)
    // Before another consumer of the same channel gets its messages.
    receiver.post(() => receiver.timedOut(consumer))
    this.settle(theirs, 'nack')
  }

  /** Expired messages are dropped when they are next to be delivered: RabbitMQ looks at the head of a queue alone. */
  #dropExpired(ofAll = false): void {
    const now = this.host.now()
    const isOver = (stored: Stored | undefined) => stored !== undefined && stored.expiresAt <= now
    if (ofAll || isOver(this.messages.first)) {
      for (let over = this.heads.find(isOver); over !== undefined; over = this.heads.find(isOver)) {
        this.messages.drop(over)
        this.#die(over, 'expired')
      }
    }
    this.#watchExpiry()
  }

  #watchExpiry(): void {
    this.#expiry?.cancel()
    this.#expiresNext = Math.min(...this.heads.map(({ expiresAt }) => expiresAt))
    if (this.#expiresNext === Number.POSITIVE_INFINITY) return
    this.#expiry = this.host.timers.after(Math.max(0, this.#expiresNext - this.host.now()), () => {
      this.#dropExpired(true)
      this.lengthChanged()
      this.host.run()
    })
  }
}
