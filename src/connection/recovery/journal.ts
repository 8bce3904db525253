import type { Effect } from '../../channel/written-effects.ts'
import { Fifo } from '../../lib/fifo.ts'

/** Changes that may wait after one that has no reply, before that one is taken for done. */
const MOST_WAITING = 1_000

class Entry<T> implements Effect {
  readonly change: (target: T) => void
  readonly provisional: boolean
  state: 'written' | 'accepted' | 'refused' = 'written'
  readonly #decided: () => void

  constructor(change: (target: T) => void, provisional: boolean, decided: () => void) {
    this.change = change
    this.provisional = provisional
    this.#decided = decided
  }

  accept(): void {
    this.#decide('accepted')
  }

  refuse(): void {
    this.#decide('refused')
  }

  #decide(state: 'accepted' | 'refused'): void {
    if (this.state !== 'written') return
    this.state = state
    this.#decided()
  }
}

/** Applies changes in the order in which they were written, each once it and all before it are decided. */
export class Journal<T> {
  readonly #target: T
  readonly #entries = new Fifo<Entry<T>>()

  constructor(target: T) {
    this.#target = target
  }

  /** @param provisional nothing will reply to it, so that it may stay undecided for long. */
  written(change: (target: T) => void, provisional: boolean): Effect {
    const entry = new Entry(change, provisional, this.#apply)
    this.#entries.push(entry)
    return entry
  }

  readonly #apply = (): void => {
    for (let head = this.#entries.peek(); head !== undefined; head = this.#entries.peek()) {
      if (head.state === 'written' && !(head.provisional && this.#entries.length > MOST_WAITING)) return
      this.#entries.shift()
      const done = head.state !== 'refused'
      head.state = done ? 'accepted' : 'refused'
      if (done) head.change(this.#target)
    }
  }
}
