import { ignore } from '../lib/ignore.ts'
import { type AsyncScope, scopeOfCall } from '../lib/platform.ts'
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
  /** The program's code was called for it, and what follows that is in the context of this call. */
  hasCalled = false

  constructor(context: ProcessContext) {
    this.context = context
  }

  /**
   * Call the program's code, and do in this call what belongs to the work after it: it runs in the context of the call,
   * with the stores that subscribers have bound, and continuations of promises stay in it.
   */
  run<S, A, T>(scope: AsyncScope, call: Work<S, A, T>, self: S, argument: A): T {
    this.hasCalled = true
    return scopeOfCall(scope).runInAsyncScope(begun<S, A, T>, undefined, this, call, self, argument)
  }

  /** The work on it begins, in no call of its own: it ends with `done`. */
  begin(): void {
    PROCESS.begin(this.context, ignore, undefined, undefined, undefined)
  }

  /** The program has it, and works on it until it settles it. */
  handedOver(): void {
    this.begin()
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

/** Work on a message, with parameters in the place of a closure. */
type Work<S, A, T> = (self: S, context: ProcessContext, argument: A, trace: ProcessTrace) => T

function begun<S, A, T>(trace: ProcessTrace, call: Work<S, A, T>, self: S, argument: A): T {
  trace.state = 'calling'
  try {
    return PROCESS.begin(trace.context, call, self, argument, trace)
  } finally {
    trace.returned()
  }
}

/** Traces that are found without the map. */
const SLOTS = 256

/**
 * @internal The traced deliveries of one life of a channel that are not settled. Each has the slot that the last bits of its
 * tag name; one that is still there when the next one gets it goes into a map, which costs more than all else.
 */
export class TracedDeliveries {
  readonly #slots = new Array<ProcessTrace | undefined>(SLOTS).fill(undefined)
  readonly #older = new Map<number, ProcessTrace>()
  #lastTag = 0

  add(trace: ProcessTrace): void {
    const { deliveryTag } = trace.context
    const slot = deliveryTag % SLOTS
    const older = this.#slots[slot]
    if (older !== undefined) this.#older.set(older.context.deliveryTag, older)
    this.#slots[slot] = trace
    this.#lastTag = deliveryTag
  }

  get(tag: number): ProcessTrace | undefined {
    const trace = this.#slots[tag % SLOTS]
    return trace?.context.deliveryTag === tag ? trace : this.#older.get(tag)
  }

  /** One is settled, or with `multiple` all up to it; 0 stands for all. */
  settled(outcome: ProcessResult, tag: number, multiple: boolean): void {
    if (multiple) this.#settledUpTo(outcome, tag === 0 ? Number.POSITIVE_INFINITY : tag)
    else {
      const trace = this.get(tag)
      if (trace !== undefined) this.#remove(trace)
      trace?.settled(outcome)
    }
  }

  #remove(trace: ProcessTrace): void {
    const { deliveryTag } = trace.context
    const slot = deliveryTag % SLOTS
    if (this.#slots[slot] === trace) this.#slots[slot] = undefined
    else this.#older.delete(deliveryTag)
  }

  #settledUpTo(outcome: ProcessResult, tag: number): void {
    for (const trace of this.#inOrder()) {
      if (trace.context.deliveryTag > tag) continue
      this.#remove(trace)
      trace.settled(outcome)
    }
  }

  /** The oldest first. */
  #inOrder(): ProcessTrace[] {
    const traces = [...this.#older.values()]
    for (let i = 1; i <= SLOTS; i++) {
      const trace = this.#slots[(this.#lastTag + i) % SLOTS]
      if (trace !== undefined) traces.push(trace)
    }
    return traces
  }

  /** None of them can be settled any more. */
  lost(): void {
    this.#settledUpTo('lost', Number.POSITIVE_INFINITY)
  }
}
