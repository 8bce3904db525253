import { AsyncResource } from '../lib/platform.ts'
import type { Envelope } from '../protocol/envelope.ts'
import type { Properties } from '../protocol/received-properties.ts'
import { IncomingContext, type IncomingSource } from './incoming.ts'
import { Operation } from './operation.ts'

/**
 * How the work on a message ended:
 *
 * - `'acked'`: basic.ack was sent.
 * - `'requeued'`: it was given back to its queue.
 * - `'rejected'`: it was refused for good, to the dead-letter exchange of its queue, if there is one.
 * - `'copied'`: a copy went to the error destination of `onFailure`, and it was acked.
 * - `'retried'`: a copy went to the queue in which it waits for its next attempt, and it was acked.
 * - `'noAck'`: it needed no settlement.
 * - `'lost'`: its channel or connection ended before it was settled: the broker delivers it again.
 * - `'unsettled'`: a callback of `basicConsume` threw, and had not settled it.
 */
export type ProcessResult = 'acked' | 'requeued' | 'rejected' | 'copied' | 'retried' | 'noAck' | 'lost' | 'unsettled'

/**
 * What works on a message: a callback of `basicConsume`, the handler of a `consumer()` or of an `rpcServer()`, a loop over a
 * consumer, or the caller of its `next()`.
 */
export type ProcessKind = 'callback' | 'handler' | 'loop' | 'next'

/**
 * What subscribers to `asyncamqp:process` get: the work on one message, from when the program gets it until that has ended
 * and the message is settled.
 */
export class ProcessContext extends IncomingContext {
  readonly kind: ProcessKind
  /** It needs no settlement. */
  readonly noAck: boolean
  /** Undefined until it is settled. */
  outcome: ProcessResult | undefined = undefined

  /** @internal */
  constructor(
    source: IncomingSource,
    kind: ProcessKind,
    queueName: string,
    body: Buffer,
    envelope: Envelope,
    properties: Properties,
    noAck: boolean,
  ) {
    super(source, queueName, body, envelope, properties)
    this.kind = kind
    this.noAck = noAck
  }

  /** @internal Known by `outcome`. */
  succeeded(): void {}
}

/** @internal */
export const PROCESS = new Operation<ProcessContext>('process')

/**
 * @internal The work on one message, which ends once it is done and the message is settled, whichever comes last, and not
 * before its call has returned:
 *
 *     working ──done──▶ waiting for the settlement ──settled, lost──▶ ended
 *      │ ▲  └───────────done, and settled────────────────────────────▲
 *     run └──returned── calling ──done──▶ calling and done ──returned──▶ as from working
 */
export class ProcessTrace {
  readonly context: ProcessContext
  // A plain field, since one is made for each message.
  state: 'calling' | 'callingAndDone' | 'working' | 'waiting' | 'ended' = 'working'

  constructor(context: ProcessContext) {
    this.context = context
  }

  /**
   * Call the program's code, and do in this call what belongs to the work after it: that is seen in the context of the
   * call, with what subscribers have bound to it, and what waits for a promise stays there.
   */
  run<T>(call: () => T): T {
    return new AsyncResource('asyncamqp').runInAsyncScope(begun<T>, undefined, this, call)
  }

  /** The program has it, and works on it until it settles it. */
  handedOver(): void {
    PROCESS.begin(this.context, ignore, undefined, undefined, undefined)
    this.done()
  }

  /** A copy of it was published, and it was acked. */
  copied(outcome: 'retried' | 'copied'): void {
    this.context.outcome = outcome
  }

  /** Its work failed. It has not ended yet. */
  failed(error: unknown): void {
    PROCESS.failed(this.context, error)
  }

  /** A callback has failed: its message can no longer be settled. */
  callbackFailed(error: unknown): void {
    this.failed(error)
    this.settled('unsettled')
  }

  /** The work on it is over. */
  done(): void {
    if (this.state === 'calling') this.state = 'callingAndDone'
    else if (this.state === 'working') {
      if (this.context.outcome === undefined) this.state = 'waiting'
      else this.end()
    }
  }

  /** The call has returned. */
  returned(): void {
    const isDone = this.state === 'callingAndDone'
    this.state = 'working'
    if (isDone) this.done()
  }

  /**
   * It is settled, or will never be. If the work on it is over, it ends in a microtask: this is called from within the
   * settlement.
   */
  settled(outcome: ProcessResult): void {
    this.context.outcome ??= outcome
    if (this.state === 'waiting') queueMicrotask(() => this.end())
  }

  end(): void {
    if (this.state === 'ended') return
    this.state = 'ended'
    PROCESS.finish(this.context)
  }
}

function begun<T>(trace: ProcessTrace, call: () => T): T {
  trace.state = 'calling'
  try {
    return PROCESS.begin(trace.context, called<T>, call, undefined, undefined)
  } finally {
    trace.returned()
  }
}

function called<T>(call: () => T): T {
  return call()
}

function ignore(): void {}

/** @internal The traced deliveries of one life of a channel that are not settled, by their tags. */
export class TracedDeliveries {
  /**
   * The last one that was added. A message that is settled within its call never enters the map, which would cost more
   * than everything else.
   */
  #newest: ProcessTrace | undefined
  readonly #byTag = new Map<number, ProcessTrace>()
  /** They are in the order of their tags. */
  #ascending = true
  #lastTag = 0

  add(trace: ProcessTrace): void {
    this.#keepNewest()
    this.#newest = trace
  }

  #keepNewest(): void {
    const newest = this.#newest
    if (newest === undefined) return
    this.#newest = undefined
    const { deliveryTag } = newest.context
    if (this.#byTag.size === 0) this.#ascending = true
    else if (deliveryTag < this.#lastTag) this.#ascending = false
    this.#lastTag = deliveryTag
    this.#byTag.set(deliveryTag, newest)
  }

  get(tag: number): ProcessTrace | undefined {
    return this.#newest?.context.deliveryTag === tag ? this.#newest : this.#byTag.get(tag)
  }

  /** One is settled, or with `multiple` all up to it; 0 stands for all. */
  settled(outcome: ProcessResult, tag: number, multiple: boolean): void {
    if (multiple) this.#settledUpTo(outcome, tag)
    else if (this.#newest?.context.deliveryTag === tag) {
      const newest = this.#newest
      this.#newest = undefined
      newest.settled(outcome)
    } else {
      const trace = this.#byTag.get(tag)
      this.#byTag.delete(tag)
      trace?.settled(outcome)
    }
  }

  #settledUpTo(outcome: ProcessResult, tag: number): void {
    this.#keepNewest()
    for (const [each, trace] of this.#byTag) {
      if (tag !== 0 && each > tag) {
        if (this.#ascending) break
        continue
      }
      this.#byTag.delete(each)
      trace.settled(outcome)
    }
  }

  /** None of them can be settled any more. */
  lost(): void {
    this.#keepNewest()
    for (const trace of this.#byTag.values()) trace.settled('lost')
    this.#byTag.clear()
  }
}
