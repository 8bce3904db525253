import type { Stored } from './consumer.ts'

/** Messages in the order of their places, of which most are added at the end and taken from the front. */
class Lane {
  #items: Stored[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  get first(): Stored | undefined {
    return this.#items[this.#head]
  }

  get all(): readonly Stored[] {
    return this.#items.slice(this.#head)
  }

  push(stored: Stored): void {
    this.#items.push(stored)
  }

  shift(): Stored | undefined {
    const first = this.#items[this.#head]
    if (first === undefined) return undefined
    this.#head++
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return first
  }

  /** Puts a message back in its place. */
  insert(stored: Stored): void {
    let low = this.#head
    let high = this.#items.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#items[middle]?.position ?? 0) < stored.position) low = middle + 1
      else high = middle
    }
    this.#items.splice(low, 0, stored)
  }

  keep(which: (stored: Stored) => boolean): void {
    this.#items = this.all.filter(which)
    this.#head = 0
  }
}

/** The messages of a queue that no consumer has. */
export interface ReadyMessages {
  readonly length: number
  /** What they count toward a limit of bytes. */
  readonly bytes: number
  readonly first: Stored | undefined
  /** The first of all, and those that are first of their kind. */
  readonly heads: readonly Stored[]
  /** In the order of delivery. */
  readonly all: readonly Stored[]
  push(stored: Stored): void
  shift(): Stored | undefined
  /** Skips one of the heads. */
  drop(head: Stored): void
  /** Back from the consumer that had it. */
  takeBack(stored: Stored): void
  /** The others are gone; these stay where they are. */
  keep(which: (stored: Stored) => boolean): void
}

/** For a classic queue: by priority, and within one priority in the order of arrival. Returned messages keep that order. */
export class PrioritizedMessages implements ReadyMessages {
  /** The highest priority last. */
  readonly #lanes: readonly Lane[]
  readonly #usual: number
  length = 0
  bytes = 0

  /** `usual` is the priority of messages that have none. */
  constructor(maxPriority: number, usual = 0) {
    this.#usual = usual
    this.#lanes = Array.from({ length: maxPriority + 1 }, () => new Lane())
  }

  get first(): Stored | undefined {
    return this.#lanes.findLast(lane => lane.length > 0)?.first
  }

  get heads(): readonly Stored[] {
    return this.#lanes.flatMap(({ first }) => first ?? []).reverse()
  }

  get all(): readonly Stored[] {
    return this.#lanes.toReversed().flatMap(lane => lane.all)
  }

  push(stored: Stored): void {
    this.#count(stored, 1)
    this.#laneOf(stored).push(stored)
  }

  takeBack(stored: Stored): void {
    this.#count(stored, 1)
    this.#laneOf(stored).insert(stored)
  }

  shift(): Stored | undefined {
    const { first } = this
    if (first !== undefined) this.drop(first)
    return first
  }

  drop(head: Stored): void {
    this.#laneOf(head).shift()
    this.#count(head, -1)
  }

  keep(which: (stored: Stored) => boolean): void {
    for (const lane of this.#lanes) lane.keep(which)
    this.length = 0
    this.bytes = 0
    for (const stored of this.all) this.#count(stored, 1)
  }

  #laneOf({ message }: Stored): Lane {
    return this.#lanes[Math.min(message.priority ?? this.#usual, this.#lanes.length - 1)] as Lane
  }

  #count({ size }: Stored, change: 1 | -1): void {
    this.length += change
    this.bytes += change * size
  }
}

/** For a quorum queue: returned messages go first, in the order in which they were returned. */
export class ReturnedFirst implements ReadyMessages {
  readonly #returned = new Lane()
  readonly #fresh: ReadyMessages
  bytes = 0

  constructor(fresh: ReadyMessages) {
    this.#fresh = fresh
  }

  get length(): number {
    return this.#returned.length + this.#fresh.length
  }

  get first(): Stored | undefined {
    return this.#returned.first ?? this.#fresh.first
  }

  get heads(): readonly Stored[] {
    const { first } = this.#returned
    return first === undefined ? this.#fresh.heads : [first, ...this.#fresh.heads]
  }

  get all(): readonly Stored[] {
    return [...this.#returned.all, ...this.#fresh.all]
  }

  push(stored: Stored): void {
    this.bytes += stored.size
    this.#fresh.push(stored)
  }

  takeBack(stored: Stored): void {
    this.bytes += stored.size
    this.#returned.push(stored)
  }

  shift(): Stored | undefined {
    const { first } = this
    if (first !== undefined) this.drop(first)
    return first
  }

  drop(head: Stored): void {
    if (head === this.#returned.first) this.#returned.shift()
    else this.#fresh.drop(head)
    this.bytes -= head.size
  }

  keep(which: (stored: Stored) => boolean): void {
    this.#returned.keep(which)
    this.#fresh.keep(which)
    this.bytes = this.all.reduce((sum, { size }) => sum + size, 0)
  }
}
