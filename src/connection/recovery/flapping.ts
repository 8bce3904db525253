/** A recovered connection lost within this many milliseconds counts as flapping. */
const FLAPPING_MS = 1_000
/** After this many in a row, the pauses grow as if attempts had been refused. */
const FLAPPING_AT_ONCE = 3

/** How many connections in a row were lost right after they were back. */
export class Flapping {
  /** When the last recovery ended, or a first connection was opened at the second attempt or later. */
  recoveredAt = Number.NEGATIVE_INFINITY
  #inARow = 0

  /** A connection is lost `now`. Returns how many refused attempts that counts as. */
  lost(now: number): number {
    this.#inARow = now - this.recoveredAt < FLAPPING_MS ? this.#inARow + 1 : 0
    return Math.max(0, this.#inARow - FLAPPING_AT_ONCE)
  }
}
