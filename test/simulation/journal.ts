import { MessageReturnedError, PublishError } from '../../src/index.ts'
import { wrongError } from './errors.ts'
import { describeConsumer, isByKey, NOWHERE } from './names.ts'
import type { ConsumeWay, PublishWay } from './steps.ts'

/** What became of a publish, as its program learned it. */
export type Outcome = 'pending' | 'ok' | 'notSent' | 'refused' | 'unknown' | 'no outcome' | 'rolled back'

export interface Published {
  readonly id: string
  readonly client: number
  readonly way: PublishWay | 'batch' | 'unit'
  readonly queue: string
  /** The publisher of those that one program has one after the other. */
  readonly publisher: number
  /** Its place among those that the program sent to the same queue in the same way. */
  readonly sequence: number
  outcome: Outcome
  error: Error | undefined
  /** When its promise was settled, if that says that it will not be written again. */
  ended: number | undefined
}

export interface Handled {
  readonly id: string
  readonly consumer: number
  readonly taker: number
  readonly redelivered: boolean
}

export interface Consuming {
  readonly number: number
  readonly way: ConsumeWay
  readonly queue: string
  /** What the broker knows of it. */
  readonly look: string
  /** Handlers or callbacks that may run at the same time. */
  readonly concurrency: number
  /** How many run. */
  active: number
  isPaused: boolean
  /** Its `close()` was called: nothing begins any more. */
  closing: boolean
  /** Its `close()` has resolved, or it has emitted its end. */
  closed: boolean
  /** It took messages without acks, and the program did not end it: what had come is gone at the broker, and is run to the last. */
  runsOn: boolean
}

/** Reply codes that say that a client has broken the protocol, or has settled what is not its own. */
const CLIENT_AT_FAULT: ReadonlySet<unknown> = new Set([406, 501, 502, 503, 504, 505, 530, 540])

/** All that the programs of one history did and saw. The judge decides by it. */
export class Journal {
  readonly published = new Map<string, Published>()
  readonly handled: Handled[] = []
  /** Messages that a program settled for good: acked, rejected without requeue, or taken without acks. */
  readonly settled = new Set<string>()
  readonly consumers: Consuming[] = []
  /** Queues out of which a message was asked for without acks, and no answer came. */
  readonly lostGets = new Set<string>()
  /** What handlers threw, and what `onError` got. */
  readonly thrown = new Set<Error>()
  readonly reported = new Set<unknown>()
  /** Messages of one transaction each. */
  readonly units: (readonly Published[])[] = []
  /** What is wrong for sure, at the moment it is seen. */
  readonly violations: string[] = []
  readonly #pending = new Map<number, string>()
  readonly #sequences = new Map<string, number>()
  #promises = 0
  readonly #trace: ((line: string) => void) | undefined

  constructor(trace?: (line: string) => void) {
    this.#trace = trace
  }

  publishing(client: number, way: Published['way'], queue: string, publisher = 0): Published {
    const stream = `${client} ${way} ${queue}`
    const sequence = (this.#sequences.get(stream) ?? 0) + 1
    this.#sequences.set(stream, sequence)
    const id = `${client}-${way}-${queue}-${sequence}`
    const published: Published = {
      id,
      client,
      way,
      queue,
      publisher,
      sequence,
      outcome: 'pending',
      error: undefined,
      ended: undefined,
    }
    this.published.set(id, published)
    return published
  }

  /** A publish has rejected. */
  failed(published: Published, error: unknown): void {
    const { id, queue } = published
    const { name, message, outcome } = error as Error & { outcome?: Outcome }
    published.error = error as Error
    published.outcome = outcome ?? 'no outcome'
    if (error instanceof PublishError && outcome === undefined) {
      this.violations.push(`${id} failed without an outcome: ${message}`)
    }
    if (name === 'MessageReturnedError' && !((queue === NOWHERE || isByKey(queue)) && isReturnOf(error, published))) {
      this.violations.push(`${id} was taken for a message that came back: ${message}`)
    }
  }

  consuming(way: ConsumeWay, queue: string, prefetch: number, concurrency: number, priority = 0): Consuming {
    const consumer: Consuming = {
      number: this.consumers.length,
      way,
      queue,
      look: describeConsumer(prefetch, way === 'no-ack', priority),
      concurrency,
      active: 0,
      isPaused: false,
      closing: false,
      closed: false,
      runsOn: false,
    }
    this.consumers.push(consumer)
    return consumer
  }

  /** A handler, callback or loop has a message: `taker` is which one of several that share its consumer. */
  seen(consumer: Consuming, id: string, redelivered: boolean, taker = 0): void {
    const { number, way, closed, runsOn, closing, isPaused, active, concurrency } = consumer
    const owned = way === 'handler' || way === 'loop' || way === 'next'
    if (closed && !runsOn) this.violations.push(`consumer ${number} got ${id} after it had closed`)
    else if (closing && owned) this.violations.push(`consumer ${number} got ${id} while it closed`)
    if (isPaused) this.violations.push(`consumer ${number} got ${id} during a pause`)
    if (active >= concurrency) this.violations.push(`consumer ${number} got ${id} beside ${active} others`)
    this.#trace?.(`consumer ${consumer.number} has ${id}`)
    this.handled.push({ id, consumer: consumer.number, taker, redelivered })
  }

  /** A program learned of an error, from a promise or an event. */
  learned(what: string, error: unknown): void {
    const { name, replyCode, message } = error as { name?: string; replyCode?: number; message?: string }
    const wrong = wrongError(error)
    if (wrong !== undefined) this.violations.push(`${what}: ${name} ${wrong}: ${message}`)
    const broken = name === 'ProtocolError' || name === 'FrameError' || CLIENT_AT_FAULT.has(replyCode)
    // The client asks whether a queue is a stream by an offset.
    const isQuestion = message?.includes("invalid arg 'x-stream-offset'") === true
    if (
      broken &&
      !isQuestion &&
      !/^(bad declare|channel bad)/.test(what) &&
      !message?.includes('partial tx completion')
    )
      this.violations.push(`${what}: ${name}: ${message}`)
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
      (error: unknown) => {
        ended('failed')
        this.learned(what, error)
      },
    )
    return promise
  }

  /** What has not ended. */
  get pending(): string[] {
    return [...this.#pending.values()]
  }
}

/** What a return says, if it is the message's own. */
function isReturnOf(error: unknown, { id }: Published): boolean {
  return error instanceof MessageReturnedError && error.properties.messageId === id
}
