import type { Settlement } from '../channel/consume/acker.ts'
import type { Envelope } from '../channel/consume/delivery.ts'
import { type AbortRegistration, onAbort } from '../lib/abort-listeners.ts'
import { Message } from '../patterns/consume/message.ts'
import { isEncoded, type Payload, toJson, withJsonType } from '../patterns/publish/payload.ts'
import { checkOptions, signalOption } from '../protocol/option-check.ts'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../protocol/properties.ts'
import { PublishEncoder } from '../protocol/publish-encoder.ts'
import { Properties } from '../protocol/received-properties.ts'
import { Writer } from '../protocol/writer.ts'

/** How a handler settled a message. */
export interface MessageSettlement {
  readonly how: 'ack' | 'nack' | 'reject'
  /** Whether it goes back to its queue. */
  readonly requeue: boolean
}

/** Options of `createMessage()`. */
export interface CreateMessageOptions {
  readonly properties?: BasicProperties | undefined
  /** Where it seems to come from. Default: the default exchange, first delivery. */
  readonly envelope?: Partial<Envelope> | undefined
  /** Aborts the message's `signal`, as a lost connection does: the message can no longer be settled. */
  readonly signal?: AbortSignal | undefined
}

const CREATE = 'createMessage'
const ENVELOPE = ['consumerTag', 'deliveryTag', 'exchangeName', 'routingKey', 'isRedeliver']

/** A message without a broker, which remembers how it was settled. */
export class CreatedMessage<Content = unknown> extends Message<Content> {
  #settlement: MessageSettlement | undefined
  #loss: AbortRegistration | undefined

  /** @internal It is lost when this is aborted. */
  lostBy(signal: AbortSignal): void {
    const controller = new AbortController()
    this.controller = controller
    const lose = (): void => controller.abort(signal.reason)
    if (signal.aborted) lose()
    else this.#loss = onAbort(signal, lose)
  }

  /** How it was settled first; undefined while it is not. */
  get settlement(): MessageSettlement | undefined {
    return this.#settlement
  }

  /** @internal */
  override toJSON(): object {
    return { ...super.toJSON(), settlement: this.#settlement }
  }

  /** @internal */
  override settle(how: Settlement, requeue: boolean): boolean {
    if (this.#settlement !== undefined || this.isLost) return false
    this.#settlement = { how, requeue: how !== 'ack' && requeue }
    this.#loss?.cancel()
    return true
  }
}

/**
 * Make a message, to call a handler with in a test that has no broker. The body is a payload as of `publish`: an object
 * becomes JSON, and has that `contentType`.
 *
 * @throws EncodeError for what `publish` would refuse, and for an unknown option.
 */
export function createMessage<Content = unknown>(
  body: Payload,
  options: CreateMessageOptions = {},
): CreatedMessage<Content> {
  checkOptions(CREATE, options, ['properties', 'envelope', 'signal'])
  checkOptions(`${CREATE}, "envelope"`, options.envelope, ENVELOPE)
  const signal = signalOption(CREATE, 'signal', options.signal)
  const payload = isEncoded(body) ? body : toJson(CREATE, body)
  const properties = payload === body ? options.properties : withJsonType(options.properties)
  const envelope = envelopeOf(options.envelope)
  const received = read(properties ?? {})
  publishes.check(envelope.exchangeName, envelope.routingKey, false, properties, payload)
  const message = new CreatedMessage<Content>(Buffer.from(payload as string), envelope, received, undefined)
  if (signal !== undefined) message.lostBy(signal)
  return message
}

const publishes = new PublishEncoder(new Writer(), Number.POSITIVE_INFINITY)

function envelopeOf({
  consumerTag = 'test',
  deliveryTag = 1,
  exchangeName = '',
  routingKey = '',
  isRedeliver = false,
}: Partial<Envelope> = {}): Envelope {
  return { consumerTag, deliveryTag, exchangeName, routingKey, isRedeliver }
}

/** Encoded and decoded, as on the wire. @throws EncodeError if they cannot be sent. */
function read(properties: BasicProperties): Properties {
  const bytes = Writer.encode(writer => {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    writeProperties(writer, properties)
  })
  return Properties.read(bytes, 0, bytes.length)
}
