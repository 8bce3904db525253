import type { ProcessTrace } from '../../diagnostics/process.ts'
import type { Message } from './message.ts'

/** Whose messages a buffer keeps. */
export interface BufferOwner {
  /** A message may have become ready. */
  decoded(): void
  /** A message leaves the buffer without being handed out, since it cannot be decoded. Returns what traces the work on it. */
  failing(message: Message): ProcessTrace | undefined
}

/** Messages that are not handed out yet, in the order of their delivery. */
export interface HandOutBuffer {
  readonly length: number
  /** Those that are being decoded: messages that came after them may be handed out before. */
  readonly decoding: number
  attach(owner: BufferOwner): void
  push(message: Message): void
  /** Whether `shift` returns a message. `places` is the number of messages that are wanted. */
  isReady(places: number): boolean
  shift(): Message | undefined
  /** Every message, in order; the buffer is empty then. */
  takeAll(): Message[]
}

/** A ring, which costs no allocation for a message that comes and goes. */
export class MessageBuffer implements HandOutBuffer {
  readonly decoding = 0
  #ring: (Message | undefined)[] = new Array(64).fill(undefined)
  #head = 0
  #length = 0

  get length(): number {
    return this.#length
  }

  attach(): void {}

  isReady(): boolean {
    return this.#length > 0
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

  /** The buffer is as small as a new one then. */
  takeAll(): Message[] {
    const all: Message[] = []
    for (let message = this.shift(); message !== undefined; message = this.shift()) all.push(message)
    if (this.#ring.length > 1_024) this.#ring = new Array(64).fill(undefined)
    this.#head = 0
    return all
  }
}
