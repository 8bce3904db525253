import { DuplicateConsumerTagError, EncodeError, ProtocolError } from '../../errors.ts'
import { BASIC_ACK, BASIC_NACK, BASIC_REJECT, writeSettlement } from '../../protocol/basic-codec.ts'
import type { Envelope } from '../../protocol/envelope.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { ChannelPort } from '../port.ts'
import type { Consumer } from './consumers.ts'

const MULTIPLE = 1
const NACK_REQUEUE = 2
const REJECT_REQUEUE = 1
/** Elements that room is made for beforehand. */
const MOST_ROOM = 16_384

/** How a delivery is settled: with basic.ack, basic.nack or basic.reject. */
export type Settlement = 'ack' | 'nack' | 'reject'

/** Everything one life of a channel receives: its consumers, and the tags of what came. */
export class Deliveries {
  readonly #port: ChannelPort
  readonly #channelId: number
  /** The last tag of the channel's earlier life: this one's start behind it. */
  readonly offset: number
  #lastTag: number
  #settled = false
  #sealed = false
  readonly #consumers = new Map<string, Consumer>()
  /** Consumer, body, envelope and properties in turn: what this read brought, in the first `#readyLength` elements. */
  #ready: unknown[] = []
  #readyLength = 0
  /** What the last read brought: an array made with room for it costs less than one that grows. */
  #room = 0
  #lastConsumer: Consumer | undefined

  constructor(port: ChannelPort, channelId: number, offset: number) {
    this.#port = port
    this.#channelId = channelId
    this.offset = offset
    this.#lastTag = offset
  }

  /** Something was acknowledged or refused. */
  get hasSettled(): boolean {
    return this.#settled
  }

  get lastTag(): number {
    return this.#lastTag
  }

  consumer(tag: string): Consumer | undefined {
    return this.#consumers.get(tag)
  }

  consumers(): Consumer[] {
    return [...this.#consumers.values()]
  }

  add(consumer: Consumer): void {
    if (this.#consumers.has(consumer.tag)) {
      throw new DuplicateConsumerTagError(
        `basic.consume of "${consumer.options.queueName}" was not sent: consumer tag "${consumer.tag}" is in use on channel ${this.#channelId}`,
        { consumerTag: consumer.tag },
      )
    }
    this.#lastConsumer = undefined
    this.#consumers.set(consumer.tag, consumer)
  }

  /**
   * The broker sends a consumer nothing more. What no callback has seen goes back to the queue; what came without
   * acks is gone there, so its callbacks still run.
   */
  remove(tag: string): Consumer | undefined {
    const consumer = this.#consumers.get(tag)
    if (consumer !== undefined) {
      this.#consumers.delete(tag)
      this.#lastConsumer = undefined
      this.retire(consumer)
    }
    return consumer
  }

  /** Start no more callbacks of a consumer that is being cancelled, and give back what waits for one. */
  retire(consumer: Consumer): void {
    if (consumer.options.noAck) return
    for (const envelope of consumer.end()) this.#giveBack(envelope)
  }

  #giveBack(envelope: Envelope): void {
    this.settle('nack', envelope.deliveryTag, false, true)
  }

  /** A message is in; its callback runs at the end of this read, when the frames behind it have been looked at too. */
  received(envelope: Envelope, body: Buffer, properties: Properties): void {
    this.delivered(envelope.deliveryTag)
    // Deliveries come in runs.
    let consumer = this.#lastConsumer
    if (consumer === undefined || consumer.tag !== envelope.consumerTag) {
      consumer = this.#consumers.get(envelope.consumerTag)
      this.#lastConsumer = consumer
    }
    if (consumer === undefined) {
      throw new ProtocolError(
        `a delivery came on channel ${this.#channelId} for consumer tag "${envelope.consumerTag}", which was never asked for`,
      )
    }
    if (consumer.ended) {
      this.#giveBack(envelope)
      return
    }
    const at = this.#readyLength
    if (at === 0) {
      this.#port.afterRead(this.#dispatch)
      this.#ready = new Array(this.#room)
    }
    const ready = this.#ready
    ready[at] = consumer
    ready[at + 1] = body
    ready[at + 2] = envelope
    ready[at + 3] = properties
    this.#readyLength = at + 4
  }

  /** A delivery with this tag came. */
  delivered(tag: number): void {
    if (tag > this.#lastTag) this.#lastTag = tag
  }

  readonly #dispatch = (): void => {
    const ready = this.#ready
    const length = this.#readyLength
    this.#ready = []
    this.#readyLength = 0
    this.#room = Math.min(length, MOST_ROOM)
    for (let i = 0; i < length; i += 4) {
      const consumer = ready[i] as Consumer
      if (consumer.ended) this.#giveBack(ready[i + 2] as Envelope)
      else consumer.offer(ready[i + 1] as Buffer, ready[i + 2] as Envelope, ready[i + 3] as Properties)
    }
  }

  /** Nothing more may be sent on the channel: the broker takes back what is not settled. */
  seal(): void {
    this.#sealed = true
  }

  /**
   * Settle a delivery. Returns false, with nothing sent, where it came in an earlier life of the channel or this one is
   * over.
   */
  settle(how: Settlement, tag: number, multiple: boolean, requeue: boolean): boolean {
    if (!Number.isSafeInteger(tag) || tag < 0 || (tag === 0 && !multiple)) {
      throw new EncodeError(
        `basic.${how}: deliveryTag must be a positive integer${how === 'reject' ? '' : ', or 0 with multiple for all'}, not ${String(tag)}`,
      )
    }
    if (this.#sealed) return false
    let wireTag = 0
    if (tag !== 0) {
      wireTag = tag - this.offset
      if (wireTag <= 0) return false
    }
    this.#settled = true
    const { writer } = this.#port
    const bit = multiple ? MULTIPLE : 0
    if (how === 'ack') writeSettlement(writer, this.#channelId, BASIC_ACK, wireTag, bit)
    else if (how === 'nack') {
      writeSettlement(writer, this.#channelId, BASIC_NACK, wireTag, bit | (requeue ? NACK_REQUEUE : 0))
    } else writeSettlement(writer, this.#channelId, BASIC_REJECT, wireTag, requeue ? REJECT_REQUEUE : 0)
    this.#port.written()
    return true
  }

  /** The life is over: nothing more runs, and nothing is settled. Returns the consumers it had. */
  end(): Consumer[] {
    const consumers = this.consumers()
    this.#consumers.clear()
    this.#lastConsumer = undefined
    this.#ready = []
    this.#readyLength = 0
    return consumers
  }
}
