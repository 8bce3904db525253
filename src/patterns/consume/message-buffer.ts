import type { Message } from './message.ts'

/** Messages in the order of their delivery: a ring, which costs no allocation for a message that comes and goes. */
export class MessageBuffer {
  #ring: (Message | undefined)[] = new Array(64).fill(undefined)
  #head = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  push(message: Message): void {
    const ring = this.#ring
    if (this.#length === ring.length) {
      this.#ring = [...ring.slice(this.#head), ...ring.slice(0, this.#head), ...new Array(ring.length).fill(undefined)]
      this.#head = 0
    }
    this.#ring[(this.#head + this.#length++) & (this.#ring.length - 1)] = message
  }

  shift(): Message | undefined {
    const message = this.#ring[this.#head]
    if (message === undefined) return undefined
    this.#ring[this.#head] = undefined
    this.#head = (this.#head + 1) & (this.#ring.length - 1)
    this.#length--
    return message
  }

  /** Every message, in order; the buffer is empty then, and as small as a new one. */
  takeAll(): Message[] {
    const all: Message[] = []
    for (let message = this.shift(); message !== undefined; message = this.shift()) all.push(message)
    if (this.#ring.length > 1_024) this.#ring = new Array(64).fill(undefined)
    this.#head = 0
    return all
  }
}
