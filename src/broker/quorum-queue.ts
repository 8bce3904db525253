import { int64 } from '../protocol/values.ts'
import { QUEUE_ARGUMENTS } from './argument-tables.ts'
import type { Consumer, Delivery, Receiver, Settlement, Stored } from './consumer.ts'
import type { Message } from './message.ts'
import { MessageQueue, type Return } from './message-queue.ts'
import type { QueueHost, QueueIdentity } from './queue.ts'
import { numberArgument, textArgument } from './queue-arguments.ts'
import { PrioritizedMessages, ReturnedFirst } from './ready-messages.ts'
import { notImplemented, resource, resourceLocked } from './refusals.ts'

const CONSUMER_TIMEOUT = 'x-consumer-timeout'
const RETRY_TYPE = 'x-delayed-retry-type'
const USUAL_PRIORITY = 4
/** Of the limit. */
const UNBLOCKED_BELOW = 0.8

const byAge = (one: Consumer, other: Consumer): number => one.ordinal - other.ordinal

/** The highest first; of one priority the one that may have most messages. */
const byPriority = (one: Consumer, other: Consumer): number =>
  other.options.priority - one.options.priority || other.options.most - one.options.most || byAge(one, other)

/** Counts deliveries, writes the counts into headers, and gives a message up that came back too often. */
export class QuorumQueue extends MessageQueue {
  readonly type = 'quorum'
  readonly #deliveryLimit: number
  /** Which returned messages are ready again only after a while: those whose delivery failed, the others, or both. */
  readonly #delays: { readonly failed: boolean; readonly others: boolean }
  /** Channels that have published, in the order of their first publish. */
  readonly #publishers = new WeakMap<object, number>()
  #events = 0
  /** When it last had too many messages; 0 if all may publish. */
  #blockedAt = 0

  constructor(identity: QueueIdentity, host: QueueHost) {
    super(identity, host, new ReturnedFirst(new PrioritizedMessages(host.release.quorumPriorities, USUAL_PRIORITY)))
    const limit = numberArgument(identity.arguments, 'x-delivery-limit') ?? host.release.deliveryLimit
    const unlimited = limit < 0 || (limit === 0 && !('x-delivery-limit' in identity.arguments))
    this.#deliveryLimit = unlimited ? Number.POSITIVE_INFINITY : limit
    const type = this.#knows(RETRY_TYPE) ? textArgument(identity.arguments, RETRY_TYPE) : undefined
    this.#delays = { failed: type === 'failed' || type === 'all', others: type === 'returned' || type === 'all' }
  }

  #knows(argument: string): boolean {
    return QUEUE_ARGUMENTS[this.host.release.name].quorum.includes(argument)
  }

  protected override sizeOf(message: Message): number {
    return super.sizeOf(message) + (this.host.release.sizesCountProperties ? message.propertiesSize : 0)
  }

  /** That of the consumer comes before that of the queue. */
  protected override timeoutOf(consumer: Consumer | undefined): number {
    if (!this.#knows(CONSUMER_TIMEOUT)) return Number.POSITIVE_INFINITY
    const own = consumer && numberArgument(consumer.options.arguments, CONSUMER_TIMEOUT)
    return own ?? numberArgument(this.arguments, CONSUMER_TIMEOUT) ?? Number.POSITIVE_INFINITY
  }

  /** With priorities, also messages that no consumer would get yet. */
  protected override get heads(): readonly Stored[] {
    return this.host.release.quorumPriorities > 0 ? this.messages.heads : super.heads
  }

  /**
   * A consumer that was cancelled counts while messages of it are not settled, and so does each basic.get; one that waits to
   * be the single active one does not.
   */
  override get consumerCount(): number {
    return new Set([...this.served, ...this.unacked.map(delivery => delivery.consumer ?? delivery)]).size
  }

  override consume(consumer: Consumer, announce: () => void): void {
    const what = resource('queue', this.name, this.host.vhostName)
    if (consumer.options.limited) throw notImplemented(`${what} does not support global qos`)
    super.consume(consumer, announce)
  }

  override settle(deliveries: readonly Delivery[], settlement: Settlement): void {
    const groups = this.#requeuesLast ? deliveries.map(delivery => [delivery]) : [deliveries]
    for (const group of groups) super.settle(group, settlement)
    this.touch()
  }

  override get(receiver: Receiver, noAck: boolean): Delivery | undefined {
    if (this.singleActive) {
      throw resourceLocked(
        `cannot obtain access to locked ${resource('queue', this.name, this.host.vhostName)}. basic.get operations are ` +
          `not supported by ${this.host.release.printedQuorum} queues with single active consumer`,
      )
    }
    return super.get(receiver, noAck)
  }

  /** Without a delivery limit, returned messages are published again, one by one. */
  get #requeuesLast(): boolean {
    return this.host.release.requeuesLast && this.#deliveryLimit === Number.POSITIVE_INFINITY
  }

  /**
   * Channels are asked to publish no more once there are too many messages, and to go on when few are left: at least one
   * message comes too many, and none for a while. A channel that publishes for the first time has not been asked.
   */
  protected override refuses(_message: Message, publisher: object | undefined): boolean {
    if (this.limits.overflow === 'drop-head' || publisher === undefined) return false
    let cameAt = this.#publishers.get(publisher)
    if (cameAt === undefined) {
      cameAt = ++this.#events
      this.#publishers.set(publisher, cameAt)
      const { length, bytes } = this.fill
      if (this.limits.isExceeded(length, bytes)) this.#blockedAt = ++this.#events
    }
    return cameAt < this.#blockedAt
  }

  /** A channel hears of it after what it has already got: messages that were sent together are taken together. */
  protected override lengthChanged(): void {
    if (this.limits.overflow === 'drop-head') return
    const { length, bytes } = this.fill
    const isFull = this.limits.isExceeded(length, bytes)
    if (!isFull && this.limits.isExceeded(length, bytes, UNBLOCKED_BELOW)) return
    this.host.post(() => {
      this.#blockedAt = isFull ? ++this.#events : 0
    })
  }

  /**
   * The oldest; in later releases one of the highest priority, which takes the place of another one as soon as that has
   * nothing left to settle.
   */
  protected override nextActive(active: Consumer | undefined, consumers: readonly Consumer[]): Consumer | undefined {
    const first = consumers.toSorted(this.host.release.activeByPriority ? byPriority : byAge)[0]
    if (active === undefined || first === undefined) return first
    const outranked = this.host.release.activeByPriority && first.options.priority > active.options.priority
    if (!outranked && !active.quiescing) return active
    active.quiescing = active.unacked > 0
    return active.quiescing ? active : first
  }

  /** By consumers: in the order of their tags, or in that in which they came. */
  protected override inOrderOfReturn(given: readonly Delivery[]): readonly Delivery[] {
    const byTag = this.host.release.ordersConsumersByTag
    return given.toSorted((one, other) => {
      // Consumers first, by their age; then basic.get.
      const asked = Number(one.consumer === undefined) - Number(other.consumer === undefined)
      if (!byTag) return asked || one.ordinal - other.ordinal
      const [tag, otherTag] = [one.consumer?.tag ?? '', other.consumer?.tag ?? '']
      return tag < otherTag ? -1 : tag > otherTag ? 1 : 0
    })
  }

  protected takeBack(stored: Stored, how: Return): 'ready' | 'last' | 'dead' | number {
    const failed = how !== 'nack' || this.host.release.nackCounts
    stored.acquiredCount++
    if (failed) stored.deliveryCount++
    if (stored.deliveryCount > this.#deliveryLimit) return 'dead'
    if (failed ? this.#delays.failed : this.#delays.others) {
      const delay = this.#delayOf(stored)
      if (delay > 0) return delay
    }
    return this.#requeuesLast && how !== 'lost' ? 'last' : 'ready'
  }

  /** Longer with each delivery that failed, up to the longest. */
  #delayOf({ deliveryCount }: Stored): number {
    const least = numberArgument(this.arguments, 'x-delayed-retry-min') ?? 0
    const most = numberArgument(this.arguments, 'x-delayed-retry-max') ?? 0
    return Math.min(least * Math.max(1, deliveryCount), most > 0 ? most : least)
  }

  protected outgoing({ message, deliveryCount, acquiredCount }: Stored, askedFor: boolean): Message {
    const { release } = this.host
    const tells = deliveryCount > 0 || (askedFor && release.getTellsDeliveryCount)
    if (acquiredCount === 0 && !tells) return message
    return message.withHeaders({
      // A message that failed elsewhere says that until this queue has counted itself.
      ...(release.acquiredCount ? { 'x-acquired-count': int64(acquiredCount || deliveryCount) } : {}),
      ...(tells ? { 'x-delivery-count': int64(deliveryCount) } : {}),
    })
  }
}
