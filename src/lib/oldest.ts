import { Fifo } from './fifo.ts'

/** Number of removed keys that are always tolerated. */
const FEW = 64

/**
 * The oldest key of a Map, or member of a Set, in constant time on average: an iteration from the start steps over all
 * deleted keys, and a kept iterator keeps every table in memory that the Map has outgrown.
 */
export class Oldest<K> {
  readonly #of: { readonly size: number; has(key: K): boolean }
  /** In the order in which they were added. */
  readonly #keys = new Fifo<K>()

  /** `of.has` may exclude more keys than those that were deleted. A key that was removed is never added again. */
  constructor(of: { readonly size: number; has(key: K): boolean }) {
    this.#of = of
  }

  /** It was added. */
  added(key: K): void {
    this.#keys.push(key)
    if (this.#keys.length <= 2 * this.#of.size + FEW) return
    for (const each of this.#keys.takeAll()) if (this.#of.has(each)) this.#keys.push(each)
  }

  get key(): K | undefined {
    let first = this.#keys.peek()
    while (first !== undefined && !this.#of.has(first)) {
      this.#keys.shift()
      first = this.#keys.peek()
    }
    return first
  }
}
