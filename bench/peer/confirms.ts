import { Buffer } from 'node:buffer'
import type { Socket } from 'node:net'
import * as wire from '../wire.ts'
import type { Workload } from './workload.ts'

const BLOCK_ACKS = 4096

/** Confirms of one channel, encoded once and written again with their tags put in. */
export class Confirms {
  readonly #socket: Socket
  readonly #work: Workload
  readonly #channel: number
  #published = 0
  #confirmed = 0

  constructor(socket: Socket, channel: number, work: Workload) {
    this.#socket = socket
    this.#channel = channel
    this.#work = work
  }

  /** Confirms what has come, when enough has. */
  publishes(count: number): void {
    this.#published += count
    if (this.#published - this.#confirmed < this.#work.confirmAfter) return
    if (this.#work.confirm === 'multiple') {
      this.#confirmed = this.#published
      this.#socket.write(wire.ack(this.#channel, this.#confirmed, true))
      return
    }
    while (this.#confirmed < this.#published) this.#confirmEach(Math.min(BLOCK_ACKS, this.#published - this.#confirmed))
  }

  #confirmEach(count: number): void {
    const template = wire.ack(this.#channel, 0, false)
    const block = Buffer.alloc(count * wire.ACK_SIZE, template)
    for (let at = wire.ACK_TAG_OFFSET; at < block.length; at += wire.ACK_SIZE) {
      this.#confirmed += 1
      block.writeUInt32BE(this.#confirmed, at)
    }
    this.#socket.write(block)
  }
}
