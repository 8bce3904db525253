/** Misses in a row after which the next ones are not compared. */
const MISSES = 4
/** What is kept is of use when it was found alike this often. */
const USEFUL = 64
const MOST_PATIENCE = 1024

/**
 * Whether it pays to compare with what was kept, and when to keep something else: in a run of things that are alike at
 * once, and where all are different hardly ever.
 */
export class Patience {
  #alike = 0
  /** Misses in a row. */
  #misses = 0
  /** After how many of those something else is kept: twice as many each time, until it is of use. */
  #patience = 1

  get compares(): boolean {
    return this.#misses <= MISSES
  }

  /** What came is like what is kept. */
  alike(): void {
    if (++this.#alike === USEFUL) this.#patience = 1
    this.#misses = 0
  }

  /** What came is not like what is kept. Returns whether it is to be kept instead. */
  missed(): boolean {
    if (++this.#misses < this.#patience) return false
    this.#patience = Math.min(2 * this.#patience, MOST_PATIENCE)
    this.#alike = 0
    this.#misses = 0
    return true
  }
}
