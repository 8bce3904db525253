import { ChannelClosedError } from '../../errors.ts'

/** A delivery of a stream that the program has not settled, or behind one that it has not. */
interface Seen {
  readonly tag: number
  readonly offset: number | bigint
  settled: boolean
}

/** Whether that is why the broker refused to consume: `invalid arg 'x-stream-offset' for queue 'orders' ...`. */
export function isNoStream(error: Error): boolean {
  return (
    error instanceof ChannelClosedError &&
    error.replyCode === 406 &&
    error.replyText?.includes("invalid arg 'x-stream-offset'") === true
  )
}

/**
 * How far a consumer of a stream has come: a stream keeps its messages, so whoever consumes again must say from where.
 * That is the first message that is not settled, so that none is left out; those behind it come again.
 */
export class StreamPosition {
  /** Whether the queue is a stream; undefined until the first message tells, where somebody else declared the queue. */
  isStream: boolean | undefined
  /** In the order of delivery, from the first that is not settled. */
  #seen: Seen[] = []
  #next: bigint | undefined

  constructor(isStream: boolean | undefined) {
    this.isStream = isStream
  }

  /** A callback got a message: `offset` is its header `x-stream-offset`. */
  delivered(tag: number, offset: unknown): void {
    const counts = typeof offset === 'number' || typeof offset === 'bigint'
    this.isStream ??= counts
    if (counts && this.isStream) this.#seen.push({ tag, offset, settled: false })
  }

  /**
   * The broker refused to consume (`error`) from an offset: the queue is no stream, and its messages have the header
   * from where they were before. Returns whether there is another way to consume, without an offset.
   */
  refused(error: Error): boolean {
    const another = this.resumeOffset !== undefined && isNoStream(error)
    if (another) {
      this.isStream = false
      this.#seen = []
      this.#next = undefined
    }
    return another
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
