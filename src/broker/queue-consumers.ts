import type { Consumer, Receiver } from './consumer.ts'

/** Messages of one classic queue that may be on their way to one channel. */
const MOST_ON_THEIR_WAY = 200
/** Those that a channel reports at once when they have left for the client. */
const REPORTED_TOGETHER = 50

/** What is on its way to one channel. */
interface OnTheirWay {
  count: number
  unreported: number
}

/** The consumers of a queue in turn: those of the highest priority that can take a message, one after the other. */
export class QueueConsumers {
  /** Highest priority first; of one priority, whose turn it is first. */
  #ready: Consumer[] = []
  /** Set aside since they could take nothing more. */
  #blocked: Consumer[] = []
  /** Channels whose limit was in the way of a message: they get nothing until they say that there is room. */
  readonly #suspended = new Set<Receiver>()

  readonly #onTheirWay = new WeakMap<Receiver, OnTheirWay>()

  get count(): number {
    return this.#ready.length + this.#blocked.length
  }

  get all(): readonly Consumer[] {
    return [...this.#ready, ...this.#blocked]
  }

  add(consumer: Consumer): void {
    const at = this.#ready.findIndex(other => other.options.priority < consumer.options.priority)
    if (at === -1) this.#ready.push(consumer)
    else this.#ready.splice(at, 0, consumer)
  }

  remove(consumer: Consumer): void {
    this.#ready = this.#ready.filter(other => other !== consumer)
    this.#blocked = this.#blocked.filter(other => other !== consumer)
    if (!this.all.some(({ receiver }) => receiver === consumer.receiver)) this.#suspended.delete(consumer.receiver)
  }

  /** Whether it can take a message that is there. */
  canTake(consumer: Consumer): boolean {
    if (this.#isBlocked(consumer.receiver)) return false
    if (consumer.isHeldByChannel) this.#suspended.add(consumer.receiver)
    return consumer.isReady
  }

  /** Whose turn it is; it goes to the end of those of its priority. */
  next(): Consumer | undefined {
    for (let consumer = this.#ready.shift(); consumer !== undefined; consumer = this.#ready.shift()) {
      if (this.canTake(consumer)) {
        this.add(consumer)
        return consumer
      }
      this.#blocked.push(consumer)
    }
    return undefined
  }

  /** Set one aside at once that can take nothing more, and not when it is its turn. */
  block(consumer: Consumer): void {
    if (consumer.isReady) return
    this.#ready = this.#ready.filter(other => other !== consumer)
    this.#blocked.push(consumer)
  }

  /** A channel has room again. */
  resume(receiver: Receiver): void {
    this.#suspended.delete(receiver)
    this.unblock(receiver)
  }

  /** A message is on its way to a channel. */
  sent(receiver: Receiver): void {
    const way = this.#onTheirWay.get(receiver) ?? { count: 0, unreported: 0 }
    way.count++
    this.#onTheirWay.set(receiver, way)
  }

  /** A channel has got one. Returns whether it reports that when it has been written. */
  reports(receiver: Receiver): boolean {
    const way = this.#onTheirWay.get(receiver)
    if (way === undefined || ++way.unreported < REPORTED_TOGETHER) return false
    way.unreported = 0
    return true
  }

  /** A channel reports what has been written. */
  written(receiver: Receiver): void {
    const way = this.#onTheirWay.get(receiver)
    if (way !== undefined) way.count -= REPORTED_TOGETHER
    this.unblock(receiver)
  }

  /** Let those of a channel back in that can take messages again. */
  unblock(receiver: Receiver): void {
    if (this.#isBlocked(receiver)) return
    const blocked = this.#blocked
    this.#blocked = []
    for (const consumer of blocked) {
      if (consumer.receiver === receiver && consumer.isReady) this.add(consumer)
      else this.#blocked.push(consumer)
    }
  }

  #isBlocked(receiver: Receiver): boolean {
    return this.#suspended.has(receiver) || (this.#onTheirWay.get(receiver)?.count ?? 0) >= MOST_ON_THEIR_WAY
  }
}
