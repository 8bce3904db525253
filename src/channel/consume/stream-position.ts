import { ChannelClosedError } from '../../errors.ts'

/** A delivery of a stream that the program has not settled, or that comes after one that it has not. */
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

/** Milliseconds of the units of an offset such as `7D`. */
const UNITS: ReadonlyMap<string, number> = new Map([
  ['Y', 31_536_000_000],
  ['M', 2_592_000_000],
  ['D', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
])

/** How long before its start a consumer wants messages from; undefined if its offset is the same at any time. */
function ageOf(offset: unknown): number | undefined {
  if (offset === undefined || offset === 'next' || offset === 'last') return 0
  if (typeof offset !== 'string') return undefined
  const unit = UNITS.get(offset.slice(-1))
  return unit === undefined ? undefined : Number(offset.slice(0, -1)) * unit
}

/** Settled deliveries at the front that are kept before the list is copied. */
const MOST_DONE = 1_024

/**
 * How far a consumer of a stream has come: a stream keeps its messages, so a consumer that starts again must say from
 * which offset. That is the first message that is not settled, so that none is left out; those after it come again. If
 * none has come, it is the place at which the consumer began.
 */
export class StreamPosition {
  /**
   * Whether the queue is a stream. If another connection declared it, this is undefined until a message shows that it is
   * not one, or the broker grants an offset. Messages with offsets do not prove it: they may be forwarded from a stream.
   */
  isStream: boolean | undefined
  /** In the order of delivery; from `#head` on, the first that is not settled. */
  #seen: Seen[] = []
  #head = 0
  #next: bigint | undefined
  /** Milliseconds before its start from which on the consumer wants messages; undefined if its place does not move with time. */
  readonly #age: number | undefined
  /** When that was. */
  #began: Date | undefined

  /** `offset` is the argument `x-stream-offset`. */
  constructor(isStream: boolean | undefined, offset?: unknown) {
    this.isStream = isStream
    this.#age = ageOf(offset)
  }

  /**
   * The broker has agreed to send, at `now` (milliseconds since 1970). A timestamp of AMQP is a whole second: earlier
   * messages of the same second may come, too, but none is left out.
   */
  began(now: number): void {
    if (this.#age === undefined || this.isStream === false) return
    this.#began ??= new Date(Math.max(0, Math.floor((now - this.#age) / 1000) * 1000))
  }

  /** A message came: `offset` is its header `x-stream-offset`. Returns whether it is a stream's, or looks so. */
  delivered(tag: number, offset: unknown, isRedeliver = false): boolean {
    const counts = typeof offset === 'number' || typeof offset === 'bigint'
    // All messages of a stream have the header, and it redelivers nothing.
    if (this.isStream === undefined && (!counts || isRedeliver)) {
      this.isStream = false
      this.#clear()
    }
    if (!counts || this.isStream === false) return false
    this.#seen.push({ tag, offset, settled: false })
    return true
  }

  /**
   * The broker refused to consume (`error`) from an offset: the queue is not a stream, and its messages have the header
   * from where they were before. Returns whether there is another way to consume, without an offset.
   */
  refused(error: Error): boolean {
    const another = this.resumeOffset !== undefined && isNoStream(error)
    if (another) this.isStream = false
    return another
  }

  /** Whether this delivery, or one up to it with `multiple`, came from the stream and is not settled. */
  has(tag: number, multiple: boolean): boolean {
    const first = this.#seen[this.#head]
    if (first === undefined) return false
    if (multiple) return tag === 0 || first.tag <= tag
    return this.#seen[this.#find(tag)]?.tag === tag
  }

  /** The tag of the last delivery that is not settled, or 0. */
  get lastUnsettled(): number {
    for (let at = this.#seen.length - 1; at >= this.#head; at--) {
      const each = this.#seen[at]
      if (each?.settled === false) return each.tag
    }
    return 0
  }

  /** Its messages look like a stream's, and nothing has proved it yet. */
  get isUncertain(): boolean {
    return this.isStream === undefined && (this.#next !== undefined || !this.isSettled)
  }

  /** The broker has granted the offset that it was asked for. */
  granted(): void {
    this.isStream ??= true
  }

  /** Whatever came from the stream is settled. */
  get isSettled(): boolean {
    return this.#head === this.#seen.length
  }

  /** The program settled one delivery, or all up to it. */
  settled(tag: number, multiple: boolean): void {
    const seen = this.#seen
    if (multiple) {
      for (let at = this.#head; at < seen.length; at++) {
        const each = seen[at]
        if (each === undefined || (tag !== 0 && each.tag > tag)) break
        each.settled = true
      }
    } else {
      const found = seen[this.#find(tag)]
      if (found?.tag === tag) found.settled = true
    }
    let head = this.#head
    let last: Seen | undefined
    for (let first = seen[head]; first?.settled === true; first = seen[++head]) last = first
    if (last === undefined) return
    this.#next = BigInt(last.offset) + 1n
    this.#head = head
    if (head === seen.length) this.#clear()
    else if (head >= MOST_DONE && head * 2 > seen.length) {
      this.#seen = seen.slice(head)
      this.#head = 0
    }
  }

  /** The place of a tag, or the one that it would have: tags only rise. */
  #find(tag: number): number {
    let [low, high] = [this.#head, this.#seen.length]
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#seen[middle]?.tag ?? tag) < tag) low = middle + 1
      else high = middle
    }
    return low
  }

  #clear(): void {
    this.#seen = []
    this.#head = 0
  }

  /** Where to go on from; undefined if the program's own argument holds. */
  get resumeOffset(): bigint | Date | undefined {
    if (this.isStream === false) return undefined
    const first = this.#seen[this.#head]
    return first === undefined ? (this.#next ?? this.#began) : BigInt(first.offset)
  }

  /** The life is over: unsettled messages come again, with other tags. */
  restarted(): void {
    const first = this.#seen[this.#head]
    if (first !== undefined) this.#next = BigInt(first.offset)
    this.#clear()
  }
}

/** Of a queue that is not a stream nothing is kept: its consumers have one position. */
const NO_STREAM = new StreamPosition(false)

/** The position of a consumer that begins. */
export function positionOf(isStream: boolean | undefined, offset: unknown): StreamPosition {
  return isStream === false ? NO_STREAM : new StreamPosition(isStream, offset)
}
