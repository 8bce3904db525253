import { Fifo } from '../lib/fifo.ts'

/** The highest number a channel can have: its number is a short in the frame header. §4.2.3 */
const HIGHEST_CHANNEL = 65_535

/**
 * The numbers of one connection's channels. A released number is given again, the one released longest ago first. A
 * number whose frames may still arrive is given last, so that they have the most time to arrive.
 */
export class ChannelIds {
  readonly channelMax: number
  /** How many are taken. */
  inUse = 0
  #highest = 0
  // Each is made for the first.
  #released: Fifo<number> | undefined
  #unsafe: Fifo<number> | undefined

  /** @param channelMax the negotiated limit; 0 means that neither side has one. */
  constructor(channelMax: number) {
    this.channelMax = channelMax === 0 ? HIGHEST_CHANNEL : Math.min(channelMax, HIGHEST_CHANNEL)
  }

  /** A free number from 1 to `channelMax`, or undefined if all are in use. */
  take(): number | undefined {
    const id = this.#released?.shift() ?? this.#fresh() ?? this.#unsafe?.shift()
    if (id !== undefined) this.inUse++
    return id
  }

  /** Whether `take` has one to give. */
  get available(): boolean {
    return this.inUse < this.channelMax
  }

  /** Give back one that was taken; `unsafe` if frames of the channel that had it may still come. */
  release(id: number, unsafe = false): void {
    this.inUse--
    if (unsafe) {
      this.#unsafe ??= new Fifo()
      this.#unsafe.push(id)
    } else {
      this.#released ??= new Fifo()
      this.#released.push(id)
    }
  }

  #fresh(): number | undefined {
    return this.#highest < this.channelMax ? ++this.#highest : undefined
  }
}
