import { attemptOf, deliveryCount, retriesOf } from '../protocol/delivery-count.ts'
import type { Envelope } from '../protocol/envelope.ts'
import type { Properties } from '../protocol/received-properties.ts'
import type { FieldTable } from '../protocol/values.ts'
import { Operation } from './operation.ts'
import { type EndpointSource, ServerContext } from './server-context.ts'

/**
 * How the work on a message ended:
 *
 * - `'acked'`: basic.ack was sent.
 * - `'requeued'`: it was given back to its queue.
 * - `'rejected'`: it was refused for good, to the dead-letter exchange of its queue, if there is one.
 * - `'copied'`: a copy went to the error destination of `onFailure`, and it was acked.
 * - `'noAck'`: it needed no settlement.
 * - `'lost'`: its channel or connection ended before it was settled: the broker delivers it again.
 * - `'unsettled'`: a callback of `basicConsume` threw, and had not settled it.
 */
export type ProcessResult = 'acked' | 'requeued' | 'rejected' | 'copied' | 'noAck' | 'lost' | 'unsettled'

/**
 * Who works on a message: a callback of `basicConsume`, the handler of a `consumer()` or of an `rpcServer()`, a loop over a
 * consumer, or whoever called its `next()`.
 */
export type ProcessKind = 'callback' | 'handler' | 'loop' | 'next'

/** @internal One life of a channel. */
export interface ProcessSource extends EndpointSource {
  readonly channelId: number
}

/**
 * What subscribers to `asyncamqp:process` get: the work on one message, from when the program gets it until that has ended
 * and the message is settled.
 */
export class ProcessContext extends ServerContext {
  readonly kind: ProcessKind
  /** As the program named it; `''` is the last queue declared on the channel. */
  readonly queueName: string
  readonly consumerTag: string
  /** Where it was published to; `''` is the default exchange. */
  readonly exchangeName: string
  readonly routingKey: string
  readonly channelId: number
  readonly deliveryTag: number
  /** The broker has delivered it before, to this consumer or another. */
  readonly redelivered: boolean
  /** Bytes. */
  readonly bodySize: number
  /** It needs no settlement. */
  readonly noAck: boolean
  /** What the publisher said of it. */
  readonly properties: Properties
  /** Undefined until it has ended. */
  outcome: ProcessResult | undefined = undefined

  /** @internal */
  constructor(
    source: ProcessSource,
    kind: ProcessKind,
    queueName: string,
    body: Buffer,
    envelope: Envelope,
    properties: Properties,
    noAck: boolean,
  ) {
    super(source)
    this.kind = kind
    this.queueName = queueName
    this.consumerTag = envelope.consumerTag
    this.exchangeName = envelope.exchangeName
    this.routingKey = envelope.routingKey
    this.channelId = source.channelId
    this.deliveryTag = envelope.deliveryTag
    this.redelivered = envelope.isRedeliver
    this.bodySize = body.length
    this.noAck = noAck
    this.properties = properties
  }

  /** Its headers; undefined if it has none. They are the message's own: not to be changed. */
  get headers(): Readonly<FieldTable> | undefined {
    return this.properties.headers
  }

  get messageId(): string | undefined {
    return this.properties.messageId
  }

  get correlationId(): string | undefined {
    return this.properties.correlationId
  }

  get replyTo(): string | undefined {
    return this.properties.replyTo
  }

  /** How often it was delivered before, as far as the broker says: as `Message.deliveryCount`. */
  get deliveryCount(): number {
    return deliveryCount(this.properties, this.redelivered)
  }

  /** Which attempt to handle it this is, as far as its headers say: as `Message.attempt`. */
  get attempt(): number {
    return attemptOf(this.properties, retriesOf(this.properties))
  }

  /** @internal Known by `outcome`. */
  succeeded(): void {}

  /** @internal */
  failed(error: unknown): void {
    this.error = error
  }
}

/** @internal */
export const PROCESS = new Operation<ProcessContext>('process')

/**
 * @internal The work on one message, which ends once it is done and the message is settled, whichever comes last:
 *
 *     working ──done──▶ waiting for the settlement ──settled, lost──▶ ended
 *        └──────────────────done, and settled────────────────────────▲
 */
export class ProcessTrace {
  readonly context: ProcessContext
  #state: 'working' | 'waiting' | 'ended' = 'working'

  constructor(context: ProcessContext) {
    this.context = context
  }

  /** Call the program's code with it. */
  run<A extends unknown[]>(call: (...args: A) => unknown, ...args: A): unknown {
    return PROCESS.begin(this.context, () => call(...args))
  }

  /** The program has it, and works on it until it settles it. */
  handedOver(): void {
    PROCESS.begin(this.context, ignore)
    this.done()
  }

  /** A copy of it went to the error destination, and it was acked. */
  copied(): void {
    this.context.outcome = 'copied'
  }

  /** Its work failed. It has not ended yet. */
  failed(error: unknown): void {
    PROCESS.failed(this.context, error)
  }

  /** Nobody works on it any more. */
  done(): void {
    if (this.#state !== 'working') return
    if (this.context.outcome === undefined) this.#state = 'waiting'
    else this.#end()
  }

  /**
   * It is settled, or will never be. Where nobody works on it any more it ends in a microtask: this is called from within the
   * settlement.
   */
  settled(outcome: ProcessResult): void {
    this.context.outcome ??= outcome
    if (this.#state === 'waiting') queueMicrotask(() => this.#end())
  }

  #end(): void {
    if (this.#state === 'ended') return
    this.#state = 'ended'
    PROCESS.finish(this.context)
  }
}

function ignore(): void {}

/** @internal The traced deliveries of one life of a channel that are not settled, by their tags. */
export class TracedDeliveries {
  readonly #byTag = new Map<number, ProcessTrace>()
  /** They are in the order of their tags. */
  #ascending = true
  #lastTag = 0

  add(trace: ProcessTrace): void {
    const { deliveryTag } = trace.context
    if (this.#byTag.size === 0) this.#ascending = true
    else if (deliveryTag < this.#lastTag) this.#ascending = false
    this.#lastTag = deliveryTag
    this.#byTag.set(deliveryTag, trace)
  }

  get(tag: number): ProcessTrace | undefined {
    return this.#byTag.get(tag)
  }

  /** Nobody will settle it. */
  forget(tag: number): void {
    this.#byTag.delete(tag)
  }

  /** One is settled, or with `multiple` all up to it; 0 stands for all. */
  settled(outcome: ProcessResult, tag: number, multiple: boolean): void {
    if (!multiple) {
      const trace = this.#byTag.get(tag)
      this.#byTag.delete(tag)
      trace?.settled(outcome)
      return
    }
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
    for (const trace of this.#byTag.values()) trace.settled('lost')
    this.#byTag.clear()
  }
}
