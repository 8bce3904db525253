import type { FailedMessages } from '../consume/failed-messages.ts'
import type { Message } from '../consume/message.ts'
import { type BufferOwner, type HandOutBuffer, MessageBuffer } from '../consume/message-buffer.ts'
import type { Decoder } from './decoder.ts'

/**
 * Messages in the order of their delivery, each of which is decoded when there is a place for it: not before, since what it is
 * decoded to may be much larger. What does not decode fails, as if its handler had.
 *
 *     waiting ──a place──▶ decoding ──▶ decoded ──shift──▶
 *                             └──▶ failed
 */
export class DecodingBuffer implements HandOutBuffer {
  readonly #waiting = new MessageBuffer()
  readonly #decoder: Decoder
  readonly #failed: FailedMessages
  /** The messages that are being decoded or are decoded, by their numbers, in the order of their delivery. */
  readonly #taken = new Map<Message, number>()
  #numbers = 0
  /** Those that are decoded, in the same order. */
  #decoded: { readonly message: Message; readonly number: number }[] = []
  #owner: BufferOwner | undefined

  constructor(decoder: Decoder, failed: FailedMessages) {
    this.#decoder = decoder
    this.#failed = failed
  }

  attach(owner: BufferOwner): void {
    this.#owner = owner
  }

  get length(): number {
    return this.#waiting.length + this.#taken.size
  }

  get decoding(): number {
    return this.#taken.size
  }

  push(message: Message): void {
    this.#waiting.push(message)
  }

  isReady(places: number): boolean {
    while (this.#taken.size < places) {
      const message = this.#waiting.shift()
      if (message === undefined) break
      this.#taken.set(message, this.#numbers++)
      void this.#decode(message)
    }
    return this.#decoded.length > 0
  }

  async #decode(message: Message): Promise<void> {
    try {
      await this.#decoder.decode(message)
      const number = this.#taken.get(message)
      // Unless it was given back meanwhile, or the broker has taken it.
      if (number !== undefined) this.#decoded.splice(this.#placeOf(number), 0, { message, number })
    } catch (error) {
      if (!this.#taken.delete(message)) return
      const trace = this.#owner?.failing(message)
      this.#failed.report([message], 'decoding', error)
      this.#failed.settle(message, trace, 'decoding', error)
    }
    this.#owner?.decoded()
  }

  /** The place of a number among those that are decoded. */
  #placeOf(number: number): number {
    let [low, high] = [0, this.#decoded.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#decoded[middle]?.number ?? number) < number) low = middle + 1
      else high = middle
    }
    return low
  }

  shift(): Message | undefined {
    const first = this.#decoded.shift()
    if (first !== undefined) this.#taken.delete(first.message)
    return first?.message
  }

  takeAll(): Message[] {
    const all = [...this.#taken.keys(), ...this.#waiting.takeAll()]
    this.#taken.clear()
    this.#decoded = []
    return all
  }
}
