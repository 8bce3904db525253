import { ProtocolError } from '../errors.ts'
import { BASIC_ACK, BASIC_DELIVER, BASIC_NACK, readDeliver, readTag } from '../protocol/basic-codec.ts'
import { viewOf } from '../protocol/bytes.ts'
import type { Envelope } from '../protocol/envelope.ts'
import { decodeMethod } from '../protocol/method-codec.ts'
import {
  type AnyMethod,
  type ArgumentsOf,
  BasicCancel,
  BasicCancelOk,
  BasicConsumeOk,
  BasicGetEmpty,
  BasicGetOk,
  BasicReturn,
  ChannelClose,
  ChannelFlow,
} from '../protocol/methods.ts'
import type { Properties } from '../protocol/received-properties.ts'
import type { Calls, ReplyKey } from './calls.ts'
import type { Acker } from './consume/acker.ts'
import { Assembler, type ContentReceiver } from './consume/assembler.ts'
import type { ConsumeCalls } from './consume/consume-calls.ts'
import type { GetEnvelope, ReturnEnvelope, ReturnedMessage } from './consume/delivery.ts'
import type { ChannelPort, FrameReceiver } from './port.ts'
import type { ConfirmWindow } from './publish/confirm-window.ts'

const EMPTY = Buffer.alloc(0)

/** What the content being assembled belongs to. */
type Content =
  | { readonly kind: 'get'; readonly envelope: GetEnvelope; readonly messageCount: number }
  | { readonly kind: 'return'; readonly envelope: ReturnEnvelope }
  | (Envelope & { readonly kind?: undefined })

/** The part of one life of a channel that takes its frames, and hands on replies, confirms and messages. */
export abstract class ChannelFrames implements FrameReceiver, ContentReceiver<Content> {
  readonly port: ChannelPort
  readonly id: number
  isSuccessor = false
  /** Made for the first content. */
  #contents: Assembler<Content> | undefined
  abstract readonly window: ConfirmWindow
  abstract readonly acker: Acker
  abstract readonly consuming: ConsumeCalls
  abstract readonly calls: Calls | undefined
  abstract readonly state: 'opening' | 'open' | 'closing' | 'closed'

  constructor(port: ChannelPort, id: number) {
    this.port = port
    this.id = id
  }

  protected abstract serverClosed(close: ArgumentsOf<typeof ChannelClose>): void
  protected abstract flowAsked(active: boolean): void
  protected abstract serverCancelled(cancel: ArgumentsOf<typeof BasicCancel>): void
  protected abstract returned(message: ReturnedMessage): void

  /** No getter: V8 calls a private one by its runtime ("consume 16 B": 0.04 µs). */
  #assembler(): Assembler<Content> {
    this.#contents ??= new Assembler(this.id, this.port.frameMax, this.port.maxMessageSize, this)
    return this.#contents
  }

  methodFrame(buffer: Buffer, start: number, end: number, limit: number): number {
    if (this.#contents?.idle === false) {
      throw new ProtocolError(`a method came on channel ${this.id} in the middle of a message`, { replyCode: 505 })
    }
    const size = end - start
    const view = viewOf(buffer)
    const key = size >= 4 ? view.getUint32(start) : 0
    if (key === BASIC_DELIVER && size > 13) {
      const envelope = readDeliver(buffer, start + 4, end, this.acker.offset)
      if (envelope !== undefined) return this.#assembler().take(envelope, buffer, end + 1, limit)
    }
    if ((key === BASIC_ACK || key === BASIC_NACK) && size === 13) {
      const tag = readTag(view, start + 4)
      const { window } = this
      window.settle(tag === 0 ? 0 : tag + window.offset, (view.getUint8(start + 12) & 1) !== 0, key === BASIC_ACK)
      return end + 1
    }
    const { method, args } = decodeMethod(buffer, start, end)
    this.#method(method, args)
    return end + 1
  }

  headerFrame(buffer: Buffer, start: number, end: number, length: number): void {
    this.#assembler().header(buffer, start, end, length)
  }

  bodyFrame(buffer: Buffer, start: number, end: number, ended: boolean): void {
    this.#assembler().body(buffer, start, end, ended)
  }

  #method(method: AnyMethod, args: Record<string, unknown>): void {
    switch (method.key) {
      case ChannelClose.key:
        this.serverClosed(args as unknown as ArgumentsOf<typeof ChannelClose>)
        return
      case ChannelFlow.key:
        this.flowAsked((args as unknown as ArgumentsOf<typeof ChannelFlow>).active === true)
        return
      case BasicCancel.key:
        this.serverCancelled(args as unknown as ArgumentsOf<typeof BasicCancel>)
        return
      case BasicReturn.key: {
        const { replyCode, replyText, exchangeName, routingKey } = args as unknown as Required<ReturnEnvelope>
        this.#assembler().expect({ kind: 'return', envelope: { replyCode, replyText, exchangeName, routingKey } })
        return
      }
      case BasicGetOk.key: {
        if (this.calls?.expects(BasicGetOk.key) !== true && this.state !== 'closing') throw this.#unasked(method)
        const { deliveryTag, redelivered, exchangeName, routingKey, messageCount } = args as unknown as GetOk
        const visible = deliveryTag + this.acker.offset
        const envelope = { deliveryTag: visible, exchangeName, routingKey, isRedeliver: redelivered }
        this.acker.lastTag = Math.max(this.acker.lastTag, visible)
        this.#assembler().expect({ kind: 'get', envelope, messageCount })
        return
      }
      case BasicGetEmpty.key:
        this.#reply(method, BasicGetOk.key, null)
        return
      case BasicConsumeOk.key:
      case BasicCancelOk.key:
        this.#reply(method, `${method.key} ${String(args['consumerTag'])}`, args)
        return
      default:
        this.#reply(method, method.key, method.order.length === 0 ? undefined : args)
    }
  }

  #reply(method: AnyMethod, key: ReplyKey, reply: unknown): void {
    // A reply to a call that was given up before this channel was closed is dropped.
    if (this.calls?.settle(key, reply) !== true && this.state !== 'closing') throw this.#unasked(method)
  }

  #unasked(method: AnyMethod): ProtocolError {
    return new ProtocolError(`${method.name} came on channel ${this.id}, but no call waits for it`)
  }

  contentReceived(content: Content, body: Buffer, properties: Properties): void {
    // Deliveries after a close of our own go back to the queue.
    if (content.kind === undefined) {
      if (this.state === 'closing' || (this.isSuccessor && this.#isOfOther(content))) return
      this.consuming.deliveries.received(content, body, properties)
    } else if (content.kind === 'get') {
      const { envelope, messageCount } = content
      this.calls?.settle(BasicGetOk.key, { body, envelope, properties, messageCount })
    } else {
      this.returned({ body, envelope: content.envelope, properties })
    }
  }

  /** It is a delivery of the channel that had the number before. */
  #isOfOther({ consumerTag }: Envelope): boolean {
    return this.consuming.deliveries.consumer(consumerTag) === undefined
  }

  contentRefused(content: Content, size: number, properties: Properties, reason: string): void {
    if (content.kind === 'return') {
      this.returned({ body: EMPTY, refused: { size, reason }, envelope: content.envelope, properties })
      return
    }
    if (content.kind === undefined && this.isSuccessor && this.#isOfOther(content)) return
    const error = new ProtocolError(reason, { replyCode: 311 })
    let isReported = false
    if (content.kind === undefined) isReported = this.consuming.deliveries.refused(content, properties, error)
    else if (content.kind === 'get') {
      const { deliveryTag } = content.envelope
      isReported = this.calls?.refuse<RefusedGet>(BasicGetOk.key, { refused: deliveryTag }, error) === true
    }
    if (!isReported) this.port.report(error, 'warn')
  }
}

/** A message that answers a basic.get, and that this client does not take. */
export interface RefusedGet {
  /** Its delivery tag. */
  readonly refused: number
}

interface GetOk {
  readonly deliveryTag: number
  readonly redelivered: boolean
  readonly exchangeName: string
  readonly routingKey: string
  readonly messageCount: number
}
