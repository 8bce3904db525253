import type { Consumer, Receiver } from './consumer.ts'

/** The consumers of a queue in turn: those of the highest priority that can take a message, one after the other. */
export class QueueConsumers {
  /** Highest priority first; of one priority, whose turn it is first. */
  #ready: Consumer[] = []
  /** Set aside since they could take nothing more. */
  #blocked: Consumer[] = []
  /** Channels whose limit was in the way of a message: they get nothing until they say that there is room. */
  readonly #suspended = new Set<Receiver>()

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
    if (this.#suspended.has(consumer.receiver)) return false
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

  /** Let those of a channel back in that can take messages again. */
  unblock(receiver: Receiver): void {
    if (this.#suspended.has(receiver)) return
    const blocked = this.#blocked
    this.#blocked = []
    for (const consumer of blocked) {
      if (consumer.receiver === receiver && consumer.isReady) this.add(consumer)
      else this.#blocked.push(consumer)
    }
  }
}
