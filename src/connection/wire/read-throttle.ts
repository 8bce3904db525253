import type { Transport } from './transport.ts'

/**
 * Whether a connection reads. It stops while more than `most` bytes of deliveries wait for their callbacks, but never
 * while the program waits for the broker: the callbacks may be what waits.
 */
export class ReadThrottle {
  readonly #transport: Transport
  readonly #most: number
  #held = 0
  #awaiting = 0
  #paused = false
  #once = false

  constructor(transport: Transport, most: number) {
    this.#transport = transport
    this.#most = most
  }

  /** Bytes that wait for their callbacks, added or taken away. */
  held(bytes: number): void {
    this.#held += bytes
    if (this.#paused || this.#held > this.#most) this.#decide()
  }

  /** Operations that wait for the broker, one more or one less. */
  awaiting(change: 1 | -1): void {
    this.#awaiting += change
    if (this.#paused || this.#held > this.#most) this.#decide()
  }

  #decide(): void {
    const pause = this.#awaiting === 0 && this.#held > (this.#paused ? this.#most / 2 : this.#most)
    if (pause === this.#paused) return
    this.#paused = pause
    if (pause) this.#transport.pause()
    else this.#transport.resume()
  }

  /** Read what is there, once, in spite of the pause. */
  readOnce(): void {
    if (!this.#paused) return
    this.#once = true
    this.#transport.resume()
  }

  /** Bytes were read. */
  wasRead(): void {
    if (!this.#once) return
    this.#once = false
    if (this.#paused) this.#transport.pause()
  }
}
