import type { Consumer, Receiver } from './consumer.ts'

/** The consumers of a queue in turn: those of the highest priority that can take a message, one after the other. */
export class QueueConsumers {
  /** Highest priority first; of one priority, whose turn it is first. */
  #ready: Consumer[] = []
  /** Set aside since they could take nothing more. */
  #blocked: Consumer[] = []

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
  }

  /** Whose turn it is; it goes to the end of those of its priority. */
  next(): Consumer | undefined {
    for (let consumer = this.#ready.shift(); consumer !== undefined; consumer = this.#ready.shift()) {
      if (consumer.isReady) {
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

  /** Let those of a channel back in that can take messages again. */
  unblock(receiver: Receiver): void {
    const blocked = this.#blocked
    this.#blocked = []
    for (const consumer of blocked) {
      if (consumer.receiver === receiver && consumer.isReady) this.add(consumer)
      else this.#blocked.push(consumer)
    }
  }
}
