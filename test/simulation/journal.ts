import type { ConsumeWay, PublishWay } from './steps.ts'

/** What became of a publish, as its program learned it. */
export type Outcome = 'pending' | 'ok' | 'notSent' | 'refused' | 'unknown' | 'no outcome'

export interface Published {
  readonly id: string
  readonly client: number
  readonly way: PublishWay | 'batch'
  readonly queue: string
  /** Its place among those that the same publisher sent to the same queue. */
  readonly sequence: number
  outcome: Outcome
  error: Error | undefined
}

export interface Handled {
  readonly id: string
  readonly consumer: number
  readonly redelivered: boolean
}

export interface Consuming {
  readonly number: number
  readonly way: ConsumeWay
  readonly queue: string
  /** Its `close()` has resolved, or it has told of its end. */
  closed: boolean
}

/** All that the programs of one history did and saw: what the judge goes by. */
export class Journal {
  readonly published = new Map<string, Published>()
  readonly handled: Handled[] = []
  /** Messages that a program settled for good: acked, rejected without requeue, or taken without acks. */
  readonly settled = new Set<string>()
  readonly consumers: Consuming[] = []
  /** What is wrong for sure, at the moment it is seen. */
  readonly violations: string[] = []
  readonly #pending = new Map<number, string>()
  readonly #sequences = new Map<string, number>()
  #promises = 0
  readonly #trace: ((line: string) => void) | undefined

  constructor(trace?: (line: string) => void) {
    this.#trace = trace
  }

  publishing(client: number, way: PublishWay | 'batch', queue: string): Published {
    const stream = `${client} ${way} ${queue}`
    const sequence = (this.#sequences.get(stream) ?? 0) + 1
    this.#sequences.set(stream, sequence)
    const id = `${client}-${way}-${queue}-${sequence}`
    const published: Published = { id, client, way, queue, sequence, outcome: 'pending', error: undefined }
    this.published.set(id, published)
    return published
  }

  consuming(way: ConsumeWay, queue: string): Consuming {
    const consumer: Consuming = { number: this.consumers.length, way, queue, closed: false }
    this.consumers.push(consumer)
    return consumer
  }

  /** A handler, callback or loop has a message. */
  seen(consumer: Consuming, id: string, redelivered: boolean): void {
    if (consumer.closed) this.violations.push(`consumer ${consumer.number} got ${id} after it had closed`)
    this.#trace?.(`consumer ${consumer.number} has ${id}`)
    this.handled.push({ id, consumer: consumer.number, redelivered })
  }

  /** Watch a promise: it must end. */
  track<T>(what: string, promise: Promise<T>): Promise<T> {
    const number = this.#promises++
    this.#pending.set(number, what)
    const ended = (how: string): void => {
      this.#pending.delete(number)
      this.#trace?.(`${what} ${how}`)
    }
    promise.then(
      () => ended('done'),
      () => ended('failed'),
    )
    return promise
  }

  /** What has not ended. */
  get pending(): string[] {
    return [...this.#pending.values()]
  }
}
