import { Oldest } from '../lib/oldest.ts'

/** Confirms of one channel that are not sent yet, and what they may be sent together with. */
export class Confirms {
  /** Published, and not yet known to be taken or not. */
  readonly #open = new Set<number>()
  readonly #oldestOpen = new Oldest<number>(this.#open)
  #taken: number[] = []
  #refused: number[] = []

  get isIdle(): boolean {
    return this.#open.size === 0
  }

  opened(tag: number): void {
    this.#open.add(tag)
    this.#oldestOpen.added(tag)
  }

  settled(tag: number, taken: boolean): void {
    this.#open.delete(tag)
    const list = taken ? this.#taken : this.#refused
    list.push(tag)
  }

  /** Everything that is not sent yet, the acks before the nacks. */
  take(send: (taken: boolean, tag: number, multiple: boolean) => void): void {
    const [taken, refused] = [this.#taken, this.#refused]
    this.#taken = []
    this.#refused = []
    const [only] = taken
    if (only !== undefined && taken.length === 1) send(true, only, false)
    else this.#sendAll(taken, refused, (tag, multiple) => send(true, tag, multiple))
    this.#sendAll(refused, taken, (tag, multiple) => send(false, tag, multiple))
  }

  /** Grouped as in RabbitMQ: one for all tags up to the oldest unconfirmed one, then one for each further tag. */
  #sendAll(tags: readonly number[], others: readonly number[], send: (tag: number, multiple: boolean) => void): void {
    if (tags.length === 0) return
    const sorted = [...tags].sort((one, other) => one - other)
    const end = others.reduce((least, tag) => Math.min(least, tag), this.#oldestOpen.key ?? Number.POSITIVE_INFINITY)
    const together = sorted.filter(tag => tag < end)
    const last = together.at(-1)
    if (last !== undefined) send(last, true)
    for (const tag of sorted) if (tag >= end) send(tag, false)
  }
}
