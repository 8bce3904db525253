import { Oldest } from '../../lib/oldest.ts'
import { type PendingPublish, pendingPublish } from './message.ts'

/** A publish without a caller that waits: only its tag counts. */
export const UNTRACKED: PendingPublish = pendingPublish(undefined, '', '', undefined, false, false)

const SMALLEST_RING = 256

/**
 * The publishes that the broker has not settled, by delivery tag: a ring, and older tags that the broker left unsettled
 * while it settled newer ones.
 *
 *     tags     settled, stragglers | floor ... unsettled, with gaps ... | next
 */
export class Unconfirmed {
  /** Made with the first publish: most channels have none. */
  #ring: (PendingPublish | undefined)[] = []
  #mask = -1
  #floor: number
  #next: number
  /** In the ring. */
  #count = 0
  /** Older than the ring, in the order of their tags. */
  readonly #stragglers = new Map<number, PendingPublish>()
  readonly #oldestStraggler = new Oldest<number>(this.#stragglers)

  /** Tags go on after `offset`. */
  constructor(offset: number) {
    this.#floor = offset + 1
    this.#next = offset + 1
  }

  get size(): number {
    return this.#count + this.#stragglers.size
  }

  /** The last tag given. */
  get lastTag(): number {
    return this.#next - 1
  }

  /** The tag of the oldest, or the next tag if there is none. */
  get oldest(): number {
    return this.#oldestStraggler.key ?? this.#floor
  }

  /** The first tag of the ring. */
  get floor(): number {
    return this.#floor
  }

  /** Returns the tag given. */
  add(publish: PendingPublish): number {
    const tag = this.#next++
    if (tag - this.#floor > this.#mask) this.#makeRoom(tag)
    this.#ring[tag & this.#mask] = publish
    this.#count++
    return tag
  }

  /** Memory grows with the unsettled publishes, and not with all publishes since the oldest one. */
  #makeRoom(end: number): void {
    const { length } = this.#ring
    if (this.#count < length / 2) {
      for (const half = this.#floor + length / 2; this.#floor < half; this.#floor++) {
        const at = this.#floor & this.#mask
        const publish = this.#ring[at]
        if (publish === undefined) continue
        this.#ring[at] = undefined
        this.#count--
        this.#stragglers.set(this.#floor, publish)
        this.#oldestStraggler.added(this.#floor)
      }
      this.#raiseFloor(end)
    } else this.#resize(length * 2 || SMALLEST_RING, end)
  }

  #resize(length: number, end: number): void {
    const ring = new Array<PendingPublish | undefined>(length)
    const mask = length - 1
    for (let tag = this.#floor; tag < end; tag++) ring[tag & mask] = this.#ring[tag & this.#mask]
    this.#ring = ring
    this.#mask = mask
  }

  /** The publish of this tag, if it is in the ring. */
  at(tag: number): PendingPublish | undefined {
    return tag < this.#floor || tag >= this.#next ? undefined : this.#ring[tag & this.#mask]
  }

  /** Take one out; undefined if it is settled already. */
  take(tag: number): PendingPublish | undefined {
    if (tag < this.#floor) {
      const straggler = this.#stragglers.get(tag)
      this.#stragglers.delete(tag)
      return straggler
    }
    const at = tag & this.#mask
    const publish = this.#ring[at]
    if (publish === undefined) return undefined
    this.#ring[at] = undefined
    this.#count--
    if (tag === this.#floor) this.#raiseFloor(this.#next)
    return publish
  }

  /** Take out all up to `last`, the oldest first. */
  takeUpTo(last: number, take: (publish: PendingPublish, tag: number) => void): void {
    for (let tag = this.oldest; tag < this.#floor && tag <= last; tag = this.oldest) {
      const straggler = this.#stragglers.get(tag)
      this.#stragglers.delete(tag)
      if (straggler !== undefined) take(straggler, tag)
    }
    for (let tag = this.#floor; tag <= last; tag++) {
      const at = tag & this.#mask
      const publish = this.#ring[at]
      if (publish === undefined) continue
      this.#ring[at] = undefined
      this.#count--
      take(publish, tag)
    }
    if (last >= this.#floor) {
      this.#floor = last + 1
      this.#raiseFloor(this.#next)
    }
  }

  /** Up to the oldest in the ring, or to `end` if there is none. */
  #raiseFloor(end: number): void {
    let floor = this.#floor
    while (floor < end && this.#ring[floor & this.#mask] === undefined) floor++
    this.#floor = floor
    if (floor === this.#next && this.#ring.length > 16 * SMALLEST_RING) this.#resize(SMALLEST_RING, floor)
  }
}
