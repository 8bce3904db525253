import { setImmediate as nextTurn } from 'node:timers/promises'
import { type Clock, type ClockTimer, checkDelay, type TimerOptions } from '../../src/lib/clock.ts'

interface VirtualTimer extends ClockTimer {
  readonly time: number
  keepsProcessAlive: boolean
  readonly run: () => void
}

/** Turns of the event loop that tests leave for I/O, at least. */
const TURNS = 8

/** Turns that are waited for here: a clock, or two, may be asked for them several times at once. */
let waitedFor = 0

/**
 * Turns of the event loop: `least`, and then as many as somebody waits for: writes, replies in memory, deadlines that let I/O
 * go first.
 */
export async function turns(least: number): Promise<void> {
  for (let turn = 1; turn <= least || immediates() > waitedFor; turn++) {
    waitedFor++
    await nextTurn()
    waitedFor--
  }
}

function immediates(): number {
  return process.getActiveResourcesInfo().filter(type => type === 'Immediate').length
}

/**
 * A clock whose time passes only when the test says so, and whose chance repeats itself.
 *
 *     const clock = new VirtualClock()
 *     const protocol = await connect({ clock, createTransport: ... })
 *     await clock.advance(20_000)
 */
export class VirtualClock implements Clock {
  #now: number
  #seed: number
  /** In order of time, then of making. */
  #timers: VirtualTimer[] = []

  readonly #turn: () => Promise<void>

  /** `turn` waits until the event loop has done what a timer set off. */
  constructor(options: { readonly start?: number; readonly seed?: number; readonly turn?: () => Promise<void> } = {}) {
    this.#now = options.start ?? 0
    this.#seed = options.seed ?? 1
    this.#turn = options.turn ?? (() => turns(TURNS))
  }

  now(): number {
    return this.#now
  }

  wallTime(): number {
    return 1_700_000_000_000 + this.#now
  }

  /** Mulberry32. */
  random(): number {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  after(milliseconds: number, run: () => void, options: TimerOptions = {}): ClockTimer {
    checkDelay(milliseconds)
    const timer: VirtualTimer = {
      time: this.#now + Math.max(0, milliseconds),
      keepsProcessAlive: options.keepsProcessAlive ?? false,
      run,
      cancel: () => {
        const at = this.#timers.indexOf(timer)
        if (at !== -1) this.#timers.splice(at, 1)
      },
      keepAlive: keeps => {
        timer.keepsProcessAlive = keeps
      },
    }
    if (timer.time === Number.POSITIVE_INFINITY) return timer
    let low = 0
    for (let high = this.#timers.length; low < high; ) {
      const middle = (low + high) >> 1
      if ((this.#timers[middle]?.time ?? 0) > timer.time) high = middle
      else low = middle + 1
    }
    this.#timers.splice(low, 0, timer)
    return timer
  }

  /** Timers that run. */
  get pending(): number {
    return this.#timers.length
  }

  /** Timers that keep the process alive. */
  get keeping(): number {
    return this.#timers.filter(timer => timer.keepsProcessAlive).length
  }

  /** Milliseconds until the next timer; `Infinity` if none runs. */
  get next(): number {
    return (this.#timers[0]?.time ?? Number.POSITIVE_INFINITY) - this.#now
  }

  /** Let time pass: each timer runs at its time, and its consequences have their turns before the next one. */
  async advance(milliseconds: number): Promise<void> {
    checkDelay(milliseconds)
    const end = this.#now + milliseconds
    await this.#turn()
    for (let first = this.#timers[0]; first !== undefined && first.time <= end; first = this.#timers[0]) {
      this.#run(first)
      await this.#turn()
    }
    this.#now = end
  }

  /** Let time pass without giving the event loop a turn, as in a process that is busy; no timer runs. */
  block(milliseconds: number): void {
    this.#now += milliseconds
  }

  /** Let time pass until `promise` is settled, and give its result. Throws if that takes longer than `most` milliseconds. */
  async until<T>(promise: Promise<T>, most = 3_600_000): Promise<T> {
    const end = this.#now + most
    let settled = false
    const settle = (): void => {
      settled = true
    }
    promise.then(settle, settle)
    for (;;) {
      await this.#turn()
      if (settled) return promise
      const first = this.#timers[0]
      if (first === undefined) throw new Error('the promise is pending, and no timer runs')
      if (first.time > end) throw new Error(`the promise is pending after ${most} ms`)
      this.#run(first)
    }
  }

  #run(first: VirtualTimer): void {
    this.#timers.shift()
    this.#now = Math.max(this.#now, first.time)
    first.run()
  }
}
