import type { PendingPublish } from '../../channel/publish/message.ts'
import { Fifo } from '../../lib/fifo.ts'
import { Oldest } from '../../lib/oldest.ts'

/** Up to this many removed messages are left where they are. */
const FEW = 64

/**
 * Messages of one publisher that wait to be written: first those that were written before and whose fate is unknown, in
 * their first order, then the new ones. Putting one in or taking it out takes constant time on average.
 */
export class OutgoingQueue {
  #again = new Set<PendingPublish>()
  #firstAgain = new Oldest<PendingPublish>(this.#again)
  /** A removed message stays here until its turn comes: no caller waits for it (`resolve` is undefined). */
  readonly #fresh = new Fifo<PendingPublish>()
  #removed = 0

  get length(): number {
    return this.#again.size + this.#fresh.length - this.#removed
  }

  /** Add a new message at the end. */
  push(message: PendingPublish): void {
    this.#fresh.push(message)
  }

  /** These were published before everything that is here. */
  putBack(messages: readonly PendingPublish[]): void {
    if (messages.length > 0) this.#setAgain([...messages, ...this.#again])
  }

  #setAgain(messages: readonly PendingPublish[]): void {
    this.#again = new Set(messages)
    this.#firstAgain = new Oldest(this.#again)
    for (const message of messages) this.#firstAgain.added(message)
  }

  /** Whether a message that no caller has given up is here: else it is written. */
  has(message: PendingPublish): boolean {
    return message.writes === 0 || this.#again.has(message)
  }

  peek(): PendingPublish | undefined {
    const again = this.#firstAgain.key
    if (again !== undefined) return again
    let first = this.#fresh.peek()
    while (first !== undefined && first.resolve === undefined) {
      this.#fresh.shift()
      this.#removed--
      first = this.#fresh.peek()
    }
    return first
  }

  /** Take out what `peek` returned, unless it was removed since then. */
  shift(first: PendingPublish): void {
    if (this.#again.delete(first) || this.#fresh.peek() !== first) return
    this.#fresh.shift()
  }

  /** Take out a message that will be rejected next. Returns false if it is not here: it is written. */
  remove(message: PendingPublish): boolean {
    if (this.#again.delete(message)) return true
    if (message.writes > 0) return false
    this.#removed++
    if (this.#removed > FEW && this.#removed * 2 > this.#fresh.length) {
      for (const each of this.#fresh.takeAll()) {
        if (each.resolve !== undefined && each !== message) this.#fresh.push(each)
      }
      this.#removed = 0
    }
    return true
  }

  /** Every message, in order; the queue is empty then. */
  takeAll(): PendingPublish[] {
    const all = [...this.#again, ...this.#fresh.takeAll().filter(({ resolve }) => resolve !== undefined)]
    this.#setAgain([])
    this.#removed = 0
    return all
  }
}
