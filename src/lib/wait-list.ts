import { abortedBy, type PublishOutcome, TimeoutError } from '../errors.ts'
import { type AbortRegistration, onAbort } from './abort-listeners.ts'
import { atCallSite, type CallSite } from './call-site.ts'
import type { Timer, TimerSource } from './clock.ts'

/** The limits of a wait, and its name in errors. */
export interface WaitBounds {
  /** What waits, for errors: `channel.open`. A function is asked only when there is an error. */
  readonly what: string | (() => string)
  /** Milliseconds from the call on. */
  readonly timeout?: number | undefined
  /** Milliseconds that are left of it. Default: all. */
  readonly timeLeft?: number | undefined
  readonly signal?: AbortSignal | undefined
  /** Where the program called it: an error shows that line. */
  readonly site?: CallSite | undefined
  /** For a publish: the outcome in its error. */
  readonly outcome?: PublishOutcome | undefined
  /** What it waits for, if it is not what its list says. Asked only when there is an error. */
  goal?(): string
}

/** Someone who waits. Exactly one of the two is called, once, unless it leaves. */
export interface Waiter {
  /** For `wakeReady`: whether it could take what it waits for. Left out: always. */
  isReady?(): boolean
  /**
   * It is its turn. Take the resource here, not after the promise: no other waiter can come in between, and none is lost.
   * If this throws, `failed` is called, and the turn goes to the next.
   */
  granted(): void
  failed(error: Error): void
}

/** A place in a list. Plain fields, since each wait makes one. */
export class Place {
  readonly waiter: Waiter
  readonly bounds: WaitBounds
  previous: Place | undefined
  next: Place | undefined
  list: WaitList | undefined
  timer: Timer | undefined
  aborted: AbortRegistration | undefined

  constructor(list: WaitList, waiter: Waiter, bounds: WaitBounds) {
    this.list = list
    this.waiter = waiter
    this.bounds = bounds
  }

  /** Wait no more: neither method of the waiter is called. Harmless when the wait is over. */
  leave(): void {
    this.list?.remove(this)
  }
}

/**
 * The waiters for one thing, first in, first out. Each wait is bounded by its timeout and its signal from the call on, and
 * leaving takes constant time.
 *
 * A turn is never lost: `wakeNext` runs the waiter's own code, which takes what there is at once; waiters that were
 * aborted or timed out are not in the list any more.
 */
export class WaitList {
  readonly #timers: TimerSource
  readonly #goal: string | (() => string)
  #first: Place | undefined
  #last: Place | undefined
  #length = 0

  /**
   * `timers` is a `Clock`, or `Deadlines` if there are many waits with a timeout. `goal` is the awaited thing, for the
   * errors of timeouts: `a free channel number`. A function is asked only when there is an error.
   */
  constructor(timers: TimerSource, goal: string | (() => string) = '') {
    this.#timers = timers
    this.#goal = goal
  }

  get length(): number {
    return this.#length
  }

  /**
   * Wait at the end of the list.
   *
   * @param take runs when it is its turn, at once and alone; the promise resolves to what it returns. If it throws, the
   * promise rejects with that, and the turn goes to the next.
   * @throws AbortError or TimeoutError by the bounds.
   */
  wait<T>(bounds: WaitBounds, take: () => T): Promise<Awaited<T>>
  wait(bounds: WaitBounds): Promise<void>
  wait<T>(bounds: WaitBounds, take?: () => T): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.enter({ granted: () => resolve(take?.()), failed: reject }, bounds)
    })
  }

  /** The same without a promise. `failed` may be called within this call: the signal may be aborted already. */
  enter(waiter: Waiter, bounds: WaitBounds): Place {
    const place = new Place(this, waiter, bounds)
    const { signal, timeout, timeLeft = timeout } = bounds
    if (signal?.aborted) {
      place.list = undefined
      waiter.failed(this.#error(bounds, 'aborted'))
      return place
    }
    if (timeLeft !== undefined) place.timer = this.#timers.after(timeLeft, () => this.#fail(place, 'timeout'))
    if (signal !== undefined) place.aborted = onAbort(signal, () => this.#fail(place, 'aborted'))
    place.previous = this.#last
    if (this.#last === undefined) this.#first = place
    else this.#last.next = place
    this.#last = place
    this.#length++
    return place
  }

  /** Give the first one its turn. Returns whether a waiter took it. */
  wakeNext(): boolean {
    for (let place = this.#first; place !== undefined; place = this.#first) {
      this.remove(place)
      try {
        place.waiter.granted()
        return true
      } catch (error) {
        place.waiter.failed(error as Error)
      }
    }
    return false
  }

  /** Give turns for as long as the first one is ready, which is asked before each. */
  wakeReady(): void {
    while (this.#first !== undefined && this.#first.waiter.isReady?.() !== false) this.wakeNext()
  }

  /** Give each of the present waiters a turn, in order. One that comes back meanwhile waits for the next time. */
  wakeAll(): void {
    for (let left = this.#length; left > 0 && this.wakeNext(); left--);
  }

  /** End all waits, each with an error of its own. */
  failAll(makeError: (bounds: WaitBounds) => Error): void {
    for (let left = this.#length; left > 0 && this.#first !== undefined; left--) {
      const place = this.#first
      this.remove(place)
      place.waiter.failed(atCallSite(makeError(place.bounds), place.bounds.site))
    }
  }

  /** @internal */
  remove(place: Place): void {
    if (place.list !== this) return
    place.list = undefined
    place.timer?.cancel()
    place.aborted?.cancel()
    if (place.previous === undefined) this.#first = place.next
    else place.previous.next = place.next
    if (place.next === undefined) this.#last = place.previous
    else place.next.previous = place.previous
    place.previous = undefined
    place.next = undefined
    this.#length--
  }

  #fail(place: Place, why: 'timeout' | 'aborted'): void {
    this.remove(place)
    place.waiter.failed(this.#error(place.bounds, why))
  }

  #error(bounds: WaitBounds, why: 'timeout' | 'aborted'): Error {
    const { timeout, signal, site, outcome } = bounds
    const what = describeWait(bounds)
    const awaited = bounds.goal?.() ?? (typeof this.#goal === 'string' ? this.#goal : this.#goal())
    const goal = awaited === '' ? '' : ` for ${awaited}`
    const error =
      why === 'aborted' && signal !== undefined
        ? abortedBy(signal, what, outcome)
        : new TimeoutError(`${what} timed out: it waited ${Math.ceil(timeout ?? 0)} ms${goal}`, { outcome })
    return atCallSite(error, site)
  }
}

/** What `bounds.what` says. */
export function describeWait(bounds: WaitBounds): string {
  return typeof bounds.what === 'string' ? bounds.what : bounds.what()
}
