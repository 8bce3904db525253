import { builtin } from '../lib/platform.ts'
import { copyBytes, newView } from './bytes.ts'

/**
 * Memory to which small pieces of what comes in are copied, one after the other. A retained piece pins one small slab,
 * never the 64 KiB read buffer.
 *
 * A piece may reach the program, which may not transfer the memory that other pieces are in to a worker.
 */
export class Slab {
  readonly #size: number
  buffer: Buffer = Buffer.alloc(0)
  /** The memory of `buffer`. */
  memory: ArrayBufferLike = this.buffer.buffer
  #view = newView(this.buffer)
  #used = 0

  /** `size` is that of a slab in bytes. A full slab lives as long as a piece of it is retained. */
  constructor(size: number) {
    this.#size = size
    this.#renew()
  }

  #renew(): void {
    this.buffer = Buffer.allocUnsafeSlow(this.#size)
    this.memory = this.buffer.buffer
    this.#view = newView(this.buffer)
    this.#used = 0
    protect(this.memory)
  }

  /** Copy the bytes from `start` to `end`, a quarter of a slab at most. Returns where they are in `buffer`. */
  copyIn(source: Buffer, start: number, end: number): number {
    const length = end - start
    // The length of a slab that was transferred all the same, by ArrayBuffer.transfer(), is 0.
    if (this.#used + length > this.buffer.length) this.#renew()
    const at = this.#used
    copyBytes(source, start, end, this.buffer, this.#view, at)
    // A program may lay an array of other elements over a piece.
    this.#used = (at + length + 7) & ~7
    return at
  }
}

const markAsUntransferable = builtin('node:worker_threads')?.markAsUntransferable

/** Have postMessage() and structuredClone() leave the memory where it is, as Node does for its own pool. */
function protect(memory: ArrayBufferLike): void {
  try {
    markAsUntransferable?.(memory)
  } catch {
    // Other runtimes have the function, and do not implement it.
  }
}
