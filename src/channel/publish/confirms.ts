import type { CallSite } from '../../errors.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import type { ReturnedMessage } from '../consume/delivery.ts'
import { findReturned, type TaggedPublish } from './returns.ts'

/** One publish of a channel in confirm mode that somebody waits for, or that may come back. */
export interface PendingPublish {
  readonly exchange: string
  readonly routingKey: string
  readonly mandatory: boolean
  readonly properties: BasicProperties | undefined
  /** Kept of a mandatory message, to know it when it comes back, and of one that may be sent again. */
  readonly payload: Uint8Array | string | undefined
  returned: ReturnedMessage | undefined
  /** Undefined where nobody waits (any more). */
  resolve: (() => void) | undefined
  reject: ((error: Error) => void) | undefined
}

/** How the broker settles publishes; tags are those that the program sees. */
export interface ConfirmOutcome {
  makeNackError(tag: number, publish: PendingPublish | undefined): Error
  makeReturnError(tag: number, publish: PendingPublish, returned: ReturnedMessage): Error
  /** Whether a publish that the broker nacked is to be sent again: until it is taken, it counts as unsettled. */
  keepsNacked(): boolean
  /** One operation less (1) or more (-1) waits for the broker. */
  settled(count: 1 | -1): void
}

/** A publish nobody waits for: only its tag counts. */
const UNTRACKED: PendingPublish = {
  exchange: '',
  routingKey: '',
  mandatory: false,
  properties: undefined,
  payload: undefined,
  returned: undefined,
  resolve: undefined,
  reject: undefined,
}

interface Waiter {
  readonly upTo: number
  readonly site: CallSite | undefined
  resolve(): void
  reject(error: Error): void
}

const SMALLEST_RING = 256

/**
 * Publishes that the broker has not confirmed: a ring indexed by delivery tag.
 *
 *     tags     settled | floor ... unsettled, with gaps ... | next
 */
export class Confirms {
  readonly #outcome: ConfirmOutcome
  /** Made with the first publish: most channels have none. */
  #ring: (PendingPublish | undefined)[] = []
  #mask = -1
  #floor: number
  #next: number
  /** The tag of the last message that came back: they do so in their order. */
  #lastReturned: number
  #waiters: Waiter[] = []
  /** Nacked, and kept. */
  #nacked: TaggedPublish[] = []
  #nack: Error | undefined

  /** Tags go on behind `offset`, the last of the channel's earlier life. */
  constructor(offset: number, outcome: ConfirmOutcome) {
    this.#floor = offset + 1
    this.#next = offset + 1
    this.#lastReturned = offset
    this.#outcome = outcome
  }

  /** Publishes not settled yet, and those between them that are. */
  get unsettled(): number {
    return this.#next - this.#floor + this.#nacked.length
  }

  /** The last tag given. */
  get lastTag(): number {
    return this.#next - 1
  }

  /** Count a publish whose bytes were just written. Returns its delivery tag. */
  add(publish: PendingPublish | undefined): number {
    const tag = this.#next++
    if (tag - this.#floor > this.#mask) this.#resize(this.#ring.length * 2 || SMALLEST_RING, tag)
    this.#ring[tag & this.#mask] = publish ?? UNTRACKED
    return tag
  }

  #resize(length: number, end: number): void {
    const ring = new Array<PendingPublish | undefined>(length)
    const mask = length - 1
    for (let tag = this.#floor; tag < end; tag++) ring[tag & mask] = this.#ring[tag & this.#mask]
    this.#ring = ring
    this.#mask = mask
  }

  /** The broker settled one publish, or all up to it. A tag that is settled already, or was never given, is ignored. */
  settle(tag: number, multiple: boolean, acked: boolean): void {
    const last = multiple && tag === 0 ? this.#next - 1 : tag
    if (last >= this.#next || last < this.#floor) return
    if (multiple) for (let each = this.#floor; each <= last; each++) this.#settleOne(each, acked)
    else this.#settleOne(last, acked)
    let floor = this.#floor
    while (floor < this.#next && this.#ring[floor & this.#mask] === undefined) floor++
    this.#floor = floor
    if (floor === this.#next && this.#ring.length > 16 * SMALLEST_RING) this.#resize(SMALLEST_RING, floor)
    if (this.#waiters.length > 0) this.#wake()
  }

  #settleOne(tag: number, acked: boolean): void {
    const publish = this.#ring[tag & this.#mask]
    if (publish === undefined) return
    this.#ring[tag & this.#mask] = undefined
    const { resolve, returned } = publish
    if (!acked && publish.reject !== undefined && this.#outcome.keepsNacked()) {
      this.#nacked.push({ tag, publish })
    } else if (!acked) {
      const error = this.#outcome.makeNackError(tag, publish === UNTRACKED ? undefined : publish)
      this.#nack ??= error
      this.#end(publish, error)
    } else if (returned !== undefined) {
      this.#end(publish, this.#outcome.makeReturnError(tag, publish, returned))
    } else if (resolve !== undefined) {
      this.#outcome.settled(1)
      resolve()
    }
  }

  #end(publish: PendingPublish, error: Error): void {
    const { reject } = publish
    if (reject === undefined) return
    publish.resolve = undefined
    publish.reject = undefined
    this.#outcome.settled(1)
    reject(error)
  }

  /** Nobody waits for this publish any more: `error` tells its caller. The tag goes on counting. */
  abandon(publish: PendingPublish, error: Error): void {
    this.#end(publish, error)
  }

  /**
   * A message came back, which the broker says before it settles it (and in the order of the publishes): find the
   * publish it belongs to. Undefined where it was none that is known.
   */
  matchReturn(returned: ReturnedMessage): PendingPublish | undefined {
    const found = findReturned(this.#returnable(), returned)
    if (found === undefined) return undefined
    found.publish.returned = returned
    this.#lastReturned = found.tag
    return found.publish
  }

  /** What may come back: first what was published behind the last that did. */
  *#returnable(): Generator<TaggedPublish> {
    const middle = Math.max(this.#floor, this.#lastReturned + 1)
    yield* this.#returnableIn(middle, this.#next)
    yield* this.#returnableIn(this.#floor, middle)
  }

  *#returnableIn(start: number, end: number): Generator<TaggedPublish> {
    for (let tag = start; tag < end; tag++) {
      const publish = this.#ring[tag & this.#mask]
      if (publish?.mandatory === true && publish.returned === undefined) yield { tag, publish }
    }
  }

  /** Resolves when all that was published so far is settled; rejects if one was nacked since the last call. */
  wait(site: CallSite | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#outcome.settled(-1)
      this.#waiters.push({ upTo: this.#next - 1, site, resolve, reject })
      this.#wake()
    })
  }

  #wake(): void {
    const waiting: Waiter[] = []
    for (const waiter of this.#waiters) {
      if (waiter.upTo >= this.#floor) {
        waiting.push(waiter)
        continue
      }
      this.#outcome.settled(1)
      const error = this.#nack
      this.#nack = undefined
      if (error === undefined) waiter.resolve()
      else waiter.reject(error)
    }
    this.#waiters = waiting
  }

  /**
   * What is not settled, oldest first, and no longer here; also what nobody waits for any more. What has come back is
   * rejected instead.
   */
  takeAll(): PendingPublish[] {
    const all = this.#nacked
    this.#nacked = []
    for (let tag = this.#floor; tag < this.#next; tag++) {
      const publish = this.#ring[tag & this.#mask]
      if (publish === undefined) continue
      this.#ring[tag & this.#mask] = undefined
      all.push({ tag, publish })
    }
    all.sort((a, b) => a.tag - b.tag)
    const taken: PendingPublish[] = []
    for (const { tag, publish } of all) {
      if (publish.returned !== undefined) {
        this.#end(publish, this.#outcome.makeReturnError(tag, publish, publish.returned))
      } else {
        if (publish.reject !== undefined) this.#outcome.settled(1)
        taken.push(publish)
      }
    }
    this.#floor = this.#next
    return taken
  }

  /** Reject everything. Returns how many promises there were. */
  failAll(
    makeError: (tag: number, publish: PendingPublish) => Error,
    makeWaiterError: (site: CallSite | undefined) => Error,
  ): number {
    let rejected = 0
    for (let tag = this.#floor; tag < this.#next; tag++) {
      const publish = this.#ring[tag & this.#mask]
      if (publish?.reject === undefined) continue
      rejected++
      this.#end(
        publish,
        publish.returned === undefined
          ? makeError(tag, publish)
          : this.#outcome.makeReturnError(tag, publish, publish.returned),
      )
    }
    for (const waiter of this.#waiters) {
      rejected++
      this.#outcome.settled(1)
      waiter.reject(makeWaiterError(waiter.site))
    }
    this.#waiters = []
    this.#floor = this.#next
    this.#ring = []
    return rejected
  }
}
