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
  /** The messages that are being decoded or are decoded, and whether they are, in the order of their delivery. */
  readonly #taken = new Map<Message, boolean>()
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
      this.#taken.set(message, false)
      void this.#decode(message)
    }
    return this.#decoded !== undefined
  }

  async #decode(message: Message): Promise<void> {
    try {
      await this.#decoder.decode(message)
      // Unless it was given back meanwhile, or the broker has taken it.
      if (this.#taken.has(message)) this.#taken.set(message, true)
    } catch (error) {
      if (!this.#taken.delete(message)) return
      const trace = this.#owner?.failing(message)
      this.#failed.report([message], 'decoding', error)
      this.#failed.settle(message, trace, 'decoding', error)
    }
    this.#owner?.decoded()
  }

  get #decoded(): Message | undefined {
    for (const [message, isDecoded] of this.#taken) if (isDecoded) return message
    return undefined
  }

  shift(): Message | undefined {
    const message = this.#decoded
    if (message !== undefined) this.#taken.delete(message)
    return message
  }

  takeAll(): Message[] {
    const all = [...this.#taken.keys(), ...this.#waiting.takeAll()]
    this.#taken.clear()
    return all
  }
}
