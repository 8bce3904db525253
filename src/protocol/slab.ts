import { copyBytes, newView } from './bytes.ts'

/**
 * Memory to which the property lists of what comes in are copied, one after the other, for all connections ("consume
 * 16 B, properties, none read": 0.66 µs instead of 0.78 with a buffer for each). A retained list pins one small slab,
 * never the 64 KiB read buffer.
 */
export class Slab {
  readonly #size: number
  buffer: Buffer = Buffer.alloc(0)
  #view = newView(this.buffer)
  #used = 0

  /** `size` is that of a slab in bytes. A full slab lives as long as a piece of it is retained. */
  constructor(size: number) {
    this.#size = size
  }

  /** Copy the bytes from `start` to `end`, a quarter of a slab at most. Returns where they are in `buffer`. */
  copyIn(source: Buffer, start: number, end: number): number {
    const length = end - start
    if (this.#used + length > this.buffer.length) {
      this.buffer = Buffer.allocUnsafeSlow(this.#size)
      this.#view = newView(this.buffer)
      this.#used = 0
    }
    const at = this.#used
    copyBytes(source, start, end, this.buffer, this.#view, at)
    this.#used = at + length
    return at
  }
}
