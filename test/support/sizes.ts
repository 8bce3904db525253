/**
 * Fault tests come in two sizes: minutes for every run, and longer when `ASYNCAMQP_FAULTS=long` asks for it. What is
 * random in them comes from one seed, which a failure names and `ASYNCAMQP_FAULTS_SEED` gives again.
 */
export const long = process.env['ASYNCAMQP_FAULTS'] === 'long'

export const seed = Number(process.env['ASYNCAMQP_FAULTS_SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** What to add to the message of a failure. */
export const replay = `run again with ASYNCAMQP_FAULTS_SEED=${seed}`

/** `short` in every run, `more` in the long one. */
export function sized<T>(short: T, more: T): T {
  return long ? more : short
}

/** A source of random numbers that gives the same ones for the same seed (mulberry32). */
export class Random {
  #state: number

  constructor(start: number) {
    this.#state = start >>> 0
  }

  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** An integer from 0 to below `limit`. */
  below(limit: number): number {
    return Math.floor(this.next() * limit)
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new Error('nothing to pick from')
    return items[this.below(items.length)] as T
  }
}
