/** Misses in a row after which comparing stops. */
const MISSES = 4
/** Hits after which a kept entry counts as useful. */
const USEFUL = 64
const MOST_PATIENCE = 1024

/**
 * Decides whether comparing with a kept entry is worthwhile, and when to replace the entry: at once in a run of similar
 * items, rarely when all items differ.
 */
export class Patience {
  #alike = 0
  /** Misses in a row. */
  #misses = 0
  /** Misses after which the entry is replaced: twice as many each time, until an entry is useful. */
  #patience = 1

  get compares(): boolean {
    return this.#misses <= MISSES
  }

  /** The item was like the kept entry. */
  alike(): void {
    if (++this.#alike === USEFUL) this.#patience = 1
    this.#misses = 0
  }

  /** The item was not like the kept entry. Returns whether to keep it instead. */
  missed(): boolean {
    if (++this.#misses < this.#patience) return false
    this.#patience = Math.min(2 * this.#patience, MOST_PATIENCE)
    this.#alike = 0
    this.#misses = 0
    return true
  }
}
