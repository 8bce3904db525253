import type { DecodedOf, QueueDeclareOk } from '../protocol/methods.ts'
import type { Effect } from './written-effects.ts'

/** The queue that a method means. Its name may come later: the server makes it in its reply. */
export interface QueueReference {
  /** Undefined until queue.declare-ok has come. */
  readonly name: string | undefined
}

/** A queue that a life of the channel has declared. */
export class DeclaredQueue implements QueueReference, Effect {
  name: string | undefined
  readonly life: object
  /** The last queue before it; undefined once the broker has agreed. */
  previous: DeclaredQueue | undefined
  /** The change of the ledger. */
  recorded: Effect | undefined
  readonly #names: QueueNames

  constructor(names: QueueNames, life: object, name: string | undefined, previous: DeclaredQueue | undefined) {
    this.#names = names
    this.life = life
    this.name = name
    this.previous = previous
  }

  accept(reply?: DecodedOf<typeof QueueDeclareOk>): void {
    if (reply !== undefined) this.name = reply.queue
    this.previous = undefined
    this.recorded?.accept()
  }

  refuse(): void {
    this.#names.refused(this)
    this.recorded?.refuse()
  }
}

/**
 * What queue names mean on one channel: '' is the queue declared last before it, in the order in which methods are
 * written, and a server-named queue is meant by each name it had.
 */
export class QueueNames {
  readonly #currentName: (queueName: string) => string
  #last: DeclaredQueue | undefined

  /** `currentName` knows the name that a server-named queue has now. */
  constructor(currentName: (queueName: string) => string) {
    this.#currentName = currentName
  }

  /** queue.declare is written on `life`. `name` is undefined if the server makes it. */
  declared(life: object, name: string | undefined): DeclaredQueue {
    this.#last = new DeclaredQueue(this, life, name, this.#last)
    return this.#last
  }

  /** @internal It was not declared: the earlier queue is the last one again. */
  refused(queue: DeclaredQueue): void {
    if (this.#last === queue) this.#last = queue.previous
    for (let later = this.#last; later !== undefined; later = later.previous) {
      if (later.previous === queue) later.previous = queue.previous
    }
  }

  /** The name to write on `life`: on another life than that of its declare, '' must become a name. */
  wireName(life: object, queueName: string): string {
    if (queueName !== '') return typeof queueName === 'string' ? this.#currentName(queueName) : queueName
    const last = this.#last
    return last === undefined || last.life === life ? '' : this.#currentName(last.name ?? '')
  }

  /** The queue that a method means which is written now. */
  meant(queueName: string): QueueReference {
    return queueName === '' ? (this.#last ?? { name: '' }) : { name: this.#currentName(queueName) }
  }
}
