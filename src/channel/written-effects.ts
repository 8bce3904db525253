import type { ReplyObserver } from './calls.ts'

/** What a method that was written changes, beyond its own promise. Exactly one of the two is called, once. */
export interface Effect {
  /** The broker has done it; `reply` is its answer, if it was to give one. */
  accept(reply?: unknown): void
  /** The broker has refused it, or never saw it. */
  refuse(): void
}

/** Methods without a reply that may be undecided; if there are more, the oldest counts as done. */
const MOST_PROVISIONAL = 1_000

/** One method that was written on a life of a channel and whose fate is not known. */
export class WrittenMethod implements ReplyObserver<unknown> {
  readonly sequence: number
  readonly methodKey: number
  readonly effect: Effect
  readonly #effects: WrittenEffects

  constructor(effects: WrittenEffects, sequence: number, methodKey: number, effect: Effect) {
    this.#effects = effects
    this.sequence = sequence
    this.methodKey = methodKey
    this.effect = effect
  }

  replied(reply?: unknown): void {
    this.#effects.answered(this, reply)
  }
}

/**
 * The effects of what one life of a channel has written, in order. RabbitMQ does the methods of a channel in order: a
 * reply to one says that all before it were done, also those that nothing replies to (noWait).
 */
export class WrittenEffects {
  #sequence = 0
  readonly #awaited = new Set<WrittenMethod>()
  /** Methods with noWait, oldest first. */
  #provisional: WrittenMethod[] = []

  /** A method was written. If it has a reply, what is returned waits for that. */
  written(methodKey: number, effect: Effect, noWait: boolean): WrittenMethod {
    const method = new WrittenMethod(this, this.#sequence++, methodKey, effect)
    if (!noWait) this.#awaited.add(method)
    else if (this.#provisional.push(method) > MOST_PROVISIONAL) this.#provisional.shift()?.effect.accept()
    return method
  }

  /** @internal The reply to a method came. */
  answered(method: WrittenMethod, reply: unknown): void {
    if (!this.#awaited.delete(method)) return
    let done = 0
    for (const each of this.#provisional) {
      if (each.sequence > method.sequence) break
      each.effect.accept()
      done++
    }
    if (done > 0) this.#provisional.splice(0, done)
    method.effect.accept(reply)
  }

  /**
   * That life of the channel is over, because the server refused a method of this key, or for another reason (0). A
   * method whose reply is missing counts as not done, and its caller gets an error. A method without a reply counts as
   * done, unless it was refused or was written after the refused one.
   */
  ended(refusedKey: number): void {
    const provisional = this.#provisional
    const awaited = [...this.#awaited]
    this.#provisional = []
    this.#awaited.clear()
    let refusedFrom = Number.POSITIVE_INFINITY
    if (refusedKey !== 0) {
      for (const { methodKey, sequence } of [...provisional, ...awaited]) {
        if (methodKey === refusedKey) refusedFrom = Math.min(refusedFrom, sequence)
      }
    }
    for (const { effect } of awaited) effect.refuse()
    for (const { effect, sequence } of provisional) {
      if (sequence < refusedFrom) effect.accept()
      else effect.refuse()
    }
  }
}
