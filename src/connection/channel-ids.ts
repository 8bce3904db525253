/** The highest number a channel can have: its number is a short in the frame header. §4.2.3 */
const HIGHEST_CHANNEL = 65_535

/**
 * The numbers of one connection's channels. A released number is given again, the one released longest ago first:
 * late frames of a channel's old life then have the longest time to pass.
 */
export class ChannelIds {
  readonly channelMax: number
  readonly #used = new Set<number>()
  #highest = 0
  #released: number[] = []
  #next = 0

  /** @param channelMax the negotiated limit; 0 means that neither side has one. */
  constructor(channelMax: number) {
    this.channelMax = channelMax === 0 ? HIGHEST_CHANNEL : Math.min(channelMax, HIGHEST_CHANNEL)
  }

  get inUse(): number {
    return this.#used.size
  }

  /** A free number from 1 to `channelMax`, or undefined where all are in use. */
  take(): number | undefined {
    const id = this.#oldestReleased() ?? this.#fresh()
    if (id !== undefined) this.#used.add(id)
    return id
  }

  release(id: number): void {
    if (this.#used.delete(id)) this.#released.push(id)
  }

  #fresh(): number | undefined {
    return this.#highest < this.channelMax ? ++this.#highest : undefined
  }

  #oldestReleased(): number | undefined {
    const id = this.#released[this.#next]
    if (id === undefined) return undefined
    this.#next++
    if (this.#next === this.#released.length) {
      this.#released.length = 0
      this.#next = 0
    } else if (this.#next >= 1024 && this.#next * 2 >= this.#released.length) {
      this.#released = this.#released.slice(this.#next)
      this.#next = 0
    }
    return id
  }
}
