const NOTHING: ReadonlySet<never> = new Set()

/** Sets by a key; an empty set is none. */
export class SetIndex<T> {
  /** Made for the first member. */
  #sets: Map<string, Set<T>> | undefined

  add(key: string, member: T): void {
    this.#sets ??= new Map()
    const set = this.#sets.get(key)
    if (set === undefined) this.#sets.set(key, new Set([member]))
    else set.add(member)
  }

  remove(key: string, member: T): void {
    const set = this.#sets?.get(key)
    set?.delete(member)
    if (set?.size === 0) this.#sets?.delete(key)
  }

  of(key: string): ReadonlySet<T> {
    return this.#sets?.get(key) ?? NOTHING
  }
}
