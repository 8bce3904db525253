import type { Acker, Settlement } from '../../channel/consume/acker.ts'
import type { Envelope } from '../../channel/consume/delivery.ts'
import type { ProcessTrace } from '../../diagnostics/process.ts'
import { SETTLE, SettleContext } from '../../diagnostics/settle.ts'
import { DecodeError } from '../../errors.ts'
import { INSPECT, type InspectArguments, inspected } from '../../lib/inspect.ts'
import { attemptOf, deliveryCount, retriesOf } from '../../protocol/delivery-count.ts'
import type { Properties } from '../../protocol/received-properties.ts'

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

/**
 * A message that a consumer got; `Content` is what `json()` returns. Made once per message, so its fields are plain ones.
 */
export class Message<Content = unknown> {
  /** For the compiler alone, which distinguishes types of messages by it. No message has it: the content is `body`, `text()` or `json()`. */
  declare readonly '~contentParameter'?: Content
  /**
   * The bytes that were published, the program's own to keep and to change. If the handler throws after that, retries and
   * copies of `onFailure` have the changed bytes.
   */
  readonly body: Buffer
  /** Where it came from: exchange, routing key, delivery tag. */
  readonly envelope: Envelope
  /** What the publisher said of it: content type, headers, correlation id and so on. */
  readonly properties: Properties
  /** @internal Settles it; undefined once it is settled, and if it needs no settlement. */
  acker: Acker | undefined
  /** @internal */
  controller: AbortController | undefined

  /** @internal */
  constructor(body: Buffer, envelope: Envelope, properties: Properties, acker: Acker | undefined) {
    this.body = body
    this.envelope = envelope
    this.properties = properties
    this.acker = acker
    this.controller = undefined
  }

  /**
   * How often it was delivered before, as far as the broker says: quorum queues count (`x-delivery-count`, and since
   * RabbitMQ 4.3 `x-acquired-count`); for other queues it is only known whether it was delivered before, which counts as 1.
   */
  get deliveryCount(): number {
    return deliveryCount(this.properties, this.envelope.isRedeliver)
  }

  /**
   * Which attempt to handle it this is, from 1 up: one more for each retry of `onFailure`, and for each time that a quorum
   * queue says it was put back (`x-delivery-count`). Other queues do not count what is requeued.
   */
  get attempt(): number {
    return attemptOf(this.properties, this.retries)
  }

  /** @internal How often it was handled again by a retry policy. */
  get retries(): number {
    return retriesOf(this.properties)
  }

  /**
   * Aborts when the channel or the connection it came by is gone, or its consumer was cancelled: the broker delivers
   * the message again, and this work on it will not count. Never aborts once the message is settled, nor with `noAck`.
   */
  get signal(): AbortSignal {
    this.controller ??= this.acker?.watch() ?? new AbortController()
    return this.controller.signal
  }

  /** The body without its content encoding, if its consumer has a `schema` or `codecs`; else the body as it is. */
  bytes(): Buffer {
    return this.body
  }

  /**
   * The body as text.
   *
   * @throws DecodeError, which names the message, if it is not UTF-8.
   */
  text(): string {
    try {
      return utf8.decode(this.bytes())
    } catch (error) {
      throw new DecodeError(`the body of ${nameOf(this)} is not UTF-8`, { cause: error })
    }
  }

  /**
   * The value of the body: what the consumer's `schema` made of it. Without a schema it is the value of a body in JSON, whose
   * type is the caller's claim: nothing checks it.
   *
   * @throws DecodeError, which names the message, if it is not JSON. Never if there is a schema: what does not fit it does
   * not come.
   */
  json(): Content
  /** The same with a type that the caller claims. */
  json<T>(): T
  json(): unknown {
    const text = this.text()
    try {
      return JSON.parse(text)
    } catch (error) {
      // Without what V8 quotes of the body, which does not belong into a log.
      const why = (error instanceof Error ? error.message : String(error)).replace(/, (?:\.\.\.)?"[\s\S]*$/, '')
      throw new DecodeError(`the body of ${nameOf(this)} is not JSON: ${why}`, { cause: error })
    }
  }

  /**
   * Acknowledge the message: the broker may forget it (basic.ack). Never throws. Returns whether that was sent: a message
   * is settled once, and not after the connection it came by was lost.
   */
  ack(): boolean {
    return SETTLE.active ? this.#settleTraced('ack', false) : this.settle('ack', false)
  }

  /** @internal Acknowledge it, and all that came before it by the same channel. */
  ackAll(): boolean {
    return SETTLE.active ? this.#settleTraced('ack', false, true) : this.settle('ack', false, true)
  }

  /**
   * Give it back, or drop it if `requeue` is false (basic.nack). It does not count as a failed attempt in quorum
   * queues of RabbitMQ 4.3. Never throws; returns as `ack`.
   *
   * @param options requeue: default true.
   */
  nack(options?: { readonly requeue?: boolean | undefined }): boolean {
    const requeue = options?.requeue ?? true
    return SETTLE.active ? this.#settleTraced('nack', requeue) : this.settle('nack', requeue)
  }

  /**
   * Refuse it (basic.reject): to the dead-letter exchange of its queue, if there is one, else it is gone. With `requeue` it
   * goes back, which counts toward a quorum queue's delivery limit. Never throws; returns as `ack`.
   *
   * @param options requeue: default false.
   */
  reject(options?: { readonly requeue?: boolean | undefined }): boolean {
    const requeue = options?.requeue ?? false
    return SETTLE.active ? this.#settleTraced('reject', requeue) : this.settle('reject', requeue)
  }

  /** @internal What `JSON.stringify` shows of it. */
  toJSON(): object {
    const { body, envelope, properties } = this
    return { body, envelope, properties }
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    return inspected(this, this.toJSON(), args)
  }

  #settleTraced(how: Settlement, requeue: boolean, multiple = false): boolean {
    const { acker } = this
    // Settled already, or made for a test, which keeps how it is settled.
    if (acker === undefined) return this.settle(how, requeue, multiple)
    const context = new SettleContext(acker, how, this.envelope.deliveryTag, multiple, requeue)
    return context.settle(settleMessage, this)
  }

  /** @internal Like that, without calling subscribers. `multiple` settles all before it too. */
  settle(how: Settlement, requeue: boolean, multiple = false): boolean {
    const { acker } = this
    // What is lost is not settled: `signal` must still abort.
    if (acker === undefined || acker.over) return false
    this.acker = undefined
    try {
      const sent = acker.settle(how, this.envelope.deliveryTag, multiple, requeue)
      if (this.controller !== undefined) acker.unwatch(this.controller)
      return sent
    } catch {
      // Called from within the encoding of another message, by a getter for instance: it can be settled after that.
      this.acker = acker
      return false
    }
  }

  /** @internal It counts as settled: another settlement includes it. */
  release(): Acker | undefined {
    const { acker, controller } = this
    this.acker = undefined
    if (controller !== undefined) acker?.unwatch(controller)
    return acker
  }

  /** @internal What traces the work on it, while it is not settled. */
  get trace(): ProcessTrace | undefined {
    return this.acker?.traced?.get(this.envelope.deliveryTag)
  }

  /** @internal It can still be settled. */
  get isHeld(): boolean {
    return this.acker !== undefined && !this.acker.over
  }

  /** @internal It was given to another consumer, or will be. */
  get isLost(): boolean {
    return this.acker?.over === true || this.controller?.signal.aborted === true
  }

  /** @internal The broker may give it to another consumer, because of `reason`. Does nothing if it is settled. */
  giveBack(reason: Error): void {
    if (!this.isHeld) return
    this.settle('nack', true)
    this.controller ??= new AbortController()
    this.controller.abort(reason)
  }
}

/** @internal A message of a stream: one that is requeued is handed out again here, since a stream takes nothing back. */
export class StreamMessage extends Message {
  readonly handOutAgain: (message: StreamMessage) => boolean
  /** How often it was handed out before. */
  readonly again: number

  constructor(
    body: Buffer,
    envelope: Envelope,
    properties: Properties,
    acker: Acker,
    handOutAgain: (message: StreamMessage) => boolean,
    again: number,
  ) {
    super(body, envelope, properties, acker)
    this.handOutAgain = handOutAgain
    this.again = again
  }

  override get retries(): number {
    return this.again
  }

  /** It is known to be of a stream, not of another queue beside one. */
  get isOfStream(): boolean {
    return this.acker?.isOfStream(this.envelope.deliveryTag, false) === true
  }

  override settle(how: Settlement, requeue: boolean, multiple = false): boolean {
    const { acker } = this
    if (acker === undefined || acker.over) return false
    if (how === 'ack' || !requeue || !acker.isOfStream(this.envelope.deliveryTag, multiple)) {
      return super.settle(how, requeue, multiple)
    }
    acker.traced?.settled('requeued', this.envelope.deliveryTag, false)
    this.release()
    const envelope = { ...this.envelope, isRedeliver: true }
    return this.handOutAgain(
      new StreamMessage(this.body, envelope, this.properties, acker, this.handOutAgain, this.again + 1),
    )
  }
}

function settleMessage(message: Message, { how, requeue, multiple }: SettleContext): boolean {
  return message.settle(how, requeue, multiple)
}

/** @internal */
export function nameOf(message: Message): string {
  const { exchangeName, routingKey, deliveryTag } = message.envelope
  const { messageId } = message.properties
  const name = messageId === undefined ? 'a message' : `message "${messageId}"`
  const place = exchangeName === '' ? 'the default exchange' : `exchange "${exchangeName}"`
  return `${name} from ${place} with routing key "${routingKey}" (delivery tag ${deliveryTag})`
}
