import { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import { bodyOfRow } from '../message.ts'
import * as wire from '../wire.ts'
import type { Workload } from './workload.ts'

const BLOCK_BYTES = 256 * 1024
const QUEUE_NAME = 'bench'

export interface Subscriber {
  readonly channel: number
  readonly consumerTag: string
  readonly noAck: boolean
}

/**
 * Deliveries encoded once in a block and written again and again, with the tags put in. A block is not touched before
 * the socket has taken it.
 */
export class Deliveries {
  delivered = 0
  readonly #socket: Socket
  readonly #block: Buffer
  readonly #tagOffsets: number[] = []
  readonly #ends: number[] = []
  readonly #tags: Uint32Array
  readonly #subscribers: readonly Subscriber[]
  /** What the client's prefetch still allows. */
  #credit: number
  /** What was asked for and not yet delivered. */
  #asked = 0
  #writing = false

  constructor(socket: Socket, subscribers: readonly Subscriber[], prefetch: number, work: Workload, frameMax: number) {
    this.#socket = socket
    this.#subscribers = subscribers
    this.#credit = subscribers.every(each => each.noAck) ? Number.POSITIVE_INFINITY : prefetch
    const { withProperties } = work
    const body = bodyOfRow(work)
    const messages: Buffer[] = []
    let end = 0
    for (let number = 0; end < BLOCK_BYTES || number % subscribers.length !== 0; number += 1) {
      const subscriber = subscribers[number % subscribers.length]
      if (subscriber === undefined) throw new Error('no consumer to deliver to')
      const { channel, consumerTag } = subscriber
      const content = { channel, routingKey: QUEUE_NAME, body, withProperties, frameMax, number }
      const message = wire.deliver(consumerTag, content)
      this.#tagOffsets.push(end + wire.deliveryTagOffset(consumerTag))
      end += message.length
      this.#ends.push(end)
      messages.push(message)
    }
    this.#block = Buffer.concat(messages)
    this.#tags = new Uint32Array(1 + Math.max(...subscribers.map(each => each.channel)))
  }

  settle(count: number): void {
    this.#credit += count
    if (!this.#writing) this.#write()
  }

  ask(count: number): void {
    this.#asked += count
    if (!this.#writing) this.#write()
  }

  #write = (): void => {
    const count = Math.min(this.#credit, this.#ends.length, this.#asked)
    this.#writing = count > 0 && !this.#socket.destroyed
    if (!this.#writing) return
    const block = this.#block
    const subscribers = this.#subscribers
    for (let at = 0; at < count; at += 1) {
      const channel = subscribers[at % subscribers.length]?.channel ?? 0
      const tag = (this.#tags[channel] ?? 0) + 1
      this.#tags[channel] = tag
      block.writeUInt32BE(tag, this.#tagOffsets[at] ?? 0)
    }
    this.#credit -= count
    this.#asked -= count
    this.delivered += count
    this.#socket.write(block.subarray(0, this.#ends[count - 1]), this.#write)
  }
}
