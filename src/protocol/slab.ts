import { copyBytes, newView } from './bytes.ts'

/**
 * Memory that small pieces of what comes in are copied to, one behind the other. Who keeps a piece keeps one slab with
 * it, and not what was read.
 */
export class Slab {
  readonly #size: number
  buffer: Buffer
  /** Of `buffer`. */
  memory: ArrayBufferLike
  #view: DataView
  #used = 0

  /** `size` is that of a slab, in bytes; when one is full, another is made. */
  constructor(size: number) {
    this.#size = size
    this.buffer = Buffer.allocUnsafeSlow(size)
    this.memory = this.buffer.buffer
    this.#view = newView(this.buffer)
  }

  /** Copy the bytes from `start` to `end`, a quarter of a slab at most. Returns where they stand in `buffer`. */
  copyIn(source: Buffer, start: number, end: number): number {
    const length = end - start
    if (this.#used + length > this.#size) {
      this.buffer = Buffer.allocUnsafeSlow(this.#size)
      this.memory = this.buffer.buffer
      this.#view = newView(this.buffer)
      this.#used = 0
    }
    const at = this.#used
    copyBytes(source, start, end, this.buffer, this.#view, at)
    // A program may lay an array of other elements over a body.
    this.#used = (at + length + 7) & ~7
    return at
  }
}
