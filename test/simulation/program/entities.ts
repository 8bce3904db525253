/** What a program makes and undoes at the broker. */
interface Entity {
  /** Undefined while it is not known for sure: two calls at once, or a fault. */
  there: boolean | undefined
  running: number
  /** Calls that have begun so far. */
  calls: number
  /** What it looks like at the broker, if that is judged. */
  look: string
}

/** Queues, exchanges and bindings, as one program knows them. */
export class Entities {
  readonly #entities = new Map<string, Entity>()

  /** A call has begun that makes it, or undoes it. Resolves when that has ended. */
  change(key: string, undo: boolean, done: Promise<unknown>, look = ''): Promise<void> {
    const entity = this.#entities.get(key) ?? { there: undefined, running: 0, calls: 0, look }
    this.#entities.set(key, entity)
    const alone = entity.running++ === 0
    const call = ++entity.calls
    entity.there = undefined
    return done.then(
      () => {
        if (--entity.running === 0 && alone && entity.calls === call) entity.there = !undo
      },
      () => {
        entity.running--
      },
    )
  }

  /** It may be gone. */
  unsure(key: string): void {
    const entity = this.#entities.get(key)
    if (entity === undefined) return
    entity.there = undefined
    entity.calls++
  }

  look(key: string): string {
    return this.#entities.get(key)?.look ?? ''
  }

  get keys(): Iterable<string> {
    return this.#entities.keys()
  }

  /** Undefined if it is not known, null if the program never had to do with it. */
  isThere(key: string): boolean | undefined | null {
    const entity = this.#entities.get(key)
    return entity === undefined ? null : entity.there
  }
}
