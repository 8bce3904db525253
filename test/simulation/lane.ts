import type { Timer } from '../../src/lib/clock.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import type { Random } from './random.ts'

/** How a link treats bytes. */
export interface LinkConditions {
  /** Milliseconds from one end to the other, at least and at most. */
  readonly delay: readonly [least: number, most: number]
  /** Most bytes of one chunk; what is longer is split at random places. */
  readonly chunk: number
  /** Bytes a millisecond that one side can send; `Infinity` for no limit. */
  readonly rate: number
}

export const GOOD_LINK: LinkConditions = { delay: [0, 1], chunk: 65_536, rate: Number.POSITIVE_INFINITY }

/**
 * One way of a link: bytes leave in order, each after its delay and never before those before it. `arrived` is called after
 * all that has arrived at the same time was delivered.
 */
export class Lane {
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #deliver: (chunk: Buffer | 'end', written: number) => void
  readonly #arrived: () => void
  readonly #left: (bytes: number) => void
  conditions: LinkConditions
  /** Nothing arrives until it thaws. */
  frozen = false
  /** Bytes after which the link is cut; undefined for never. */
  cutAfter: number | undefined
  onCut: () => void = () => {}
  #arrival = 0
  #free = 0
  #line: { chunk: Buffer | 'end'; written: number; time: number; sent: (() => void) | undefined }[] = []
  #armed: Timer | undefined
  #closed = false

  constructor(
    clock: VirtualClock,
    random: Random,
    conditions: LinkConditions,
    deliver: (chunk: Buffer | 'end', written: number) => void,
    arrived: () => void,
    left: (bytes: number) => void,
  ) {
    this.#clock = clock
    this.#random = random
    this.conditions = conditions
    this.#deliver = deliver
    this.#arrived = arrived
    this.#left = left
  }

  send(bytes: Buffer, sent?: () => void): void {
    const { chunk } = this.conditions
    for (let at = 0; at < bytes.length; ) {
      const size = Math.min(bytes.length - at, chunk <= 1 ? 1 : this.#random.between(Math.ceil(chunk / 8), chunk))
      at += size
      this.#put(bytes.subarray(at - size, at), at === bytes.length ? sent : undefined)
    }
    if (bytes.length === 0) sent?.()
  }

  end(): void {
    this.#put('end', undefined)
  }

  close(): void {
    this.#closed = true
    this.#line = []
  }

  thaw(): void {
    this.frozen = false
    this.#arm()
  }

  /** All is well again: what is on its way is there. */
  heal(): void {
    this.cutAfter = undefined
    this.conditions = GOOD_LINK
    const now = this.#clock.now()
    this.#free = now
    this.#arrival = now
    for (const each of this.#line) each.time = Math.min(each.time, now)
    this.#armed?.cancel()
    this.#armed = undefined
    this.#arm()
  }

  #put(chunk: Buffer | 'end', sent: (() => void) | undefined): void {
    const { delay, rate } = this.conditions
    const now = this.#clock.now()
    this.#free = Math.max(this.#free, now) + (chunk === 'end' ? 0 : chunk.length / rate)
    this.#arrival = Math.max(this.#arrival, this.#free + this.#random.between(delay[0], delay[1]))
    this.#line.push({ chunk, written: now, time: this.#arrival, sent })
    this.#arm()
  }

  #arm(): void {
    const first = this.#line[0]
    if (first === undefined || this.#armed !== undefined || this.frozen || this.#closed) return
    this.#armed = this.#clock.after(Math.max(0, first.time - this.#clock.now()), () => {
      this.#armed = undefined
      this.#arrive()
    })
  }

  #arrive(): void {
    while (!this.frozen && !this.#closed) {
      const first = this.#line[0]
      if (first === undefined || first.time > this.#clock.now()) break
      this.#line.shift()
      const { chunk, written } = first
      if (chunk !== 'end') {
        if (this.cutAfter !== undefined && chunk.length >= this.cutAfter) {
          this.#deliver(chunk.subarray(0, this.cutAfter), written)
          this.cutAfter = undefined
          this.#arrived()
          this.onCut()
          return
        }
        if (this.cutAfter !== undefined) this.cutAfter -= chunk.length
        this.#left(chunk.length)
      }
      this.#deliver(chunk, written)
      first.sent?.()
    }
    this.#arrived()
    this.#arm()
  }
}
