/** A delivery of a stream that the program has not settled, or behind one that it has not. */
interface Seen {
  readonly tag: number
  readonly offset: number | bigint
  settled: boolean
}

/**
 * How far a consumer of a stream has come: a stream keeps its messages, so whoever consumes again must say from where.
 * That is the first message that is not settled, so that none is left out; those behind it come again.
 */
export class StreamPosition {
  /** In the order of delivery, from the first that is not settled. */
  #seen: Seen[] = []
  #next: bigint | undefined

  /** A callback got a message: `offset` is its header `x-stream-offset`. */
  delivered(tag: number, offset: unknown): void {
    if (typeof offset !== 'number' && typeof offset !== 'bigint') return
    this.#seen.push({ tag, offset, settled: false })
  }

  /** The program settled one delivery, or all up to it. */
  settled(tag: number, multiple: boolean): void {
    for (const seen of this.#seen) {
      if (multiple ? seen.tag <= tag || tag === 0 : seen.tag === tag) seen.settled = true
      else if (seen.tag > tag && tag !== 0) break
    }
    let done = 0
    for (const seen of this.#seen) {
      if (!seen.settled) break
      this.#next = BigInt(seen.offset) + 1n
      done++
    }
    if (done > 0) this.#seen.splice(0, done)
  }

  /** The offset to go on from; undefined where nothing came yet, and the program's own argument holds. */
  get resumeOffset(): bigint | undefined {
    const [first] = this.#seen
    return first === undefined ? this.#next : BigInt(first.offset)
  }

  /** The connection was lost: what was seen and not settled comes again, with other tags. */
  restarted(): void {
    const resume = this.resumeOffset
    this.#seen = []
    this.#next = resume
  }
}
