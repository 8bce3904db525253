import type { Settlement } from '../channel/consume/acker.ts'
import type { Envelope } from '../channel/consume/delivery.ts'
import { Message } from '../patterns/consume/message.ts'
import { isEncoded, type Payload, toJson, withJsonType } from '../patterns/publish/payload.ts'
import { checkOptions } from '../protocol/option-check.ts'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../protocol/properties.ts'
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
  /** Aborts the message's `signal`, as a lost connection does. */
  readonly signal?: AbortSignal | undefined
}

const CREATE = 'createMessage'
const ENVELOPE = ['consumerTag', 'deliveryTag', 'exchangeName', 'routingKey', 'isRedeliver']

/** A message without a broker, which remembers how it was settled. */
export class CreatedMessage<Content = unknown> extends Message<Content> {
  #settlement: MessageSettlement | undefined

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
    if (this.#settlement !== undefined) return false
    this.#settlement = { how, requeue: how !== 'ack' && requeue }
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
  const encoded = isEncoded(body)
  const bytes = Buffer.from(encoded ? body : toJson(CREATE, body))
  const properties = encoded ? (options.properties ?? {}) : withJsonType(options.properties)
  const envelope: Envelope = {
    consumerTag: 'test',
    deliveryTag: 1,
    exchangeName: '',
    routingKey: '',
    isRedeliver: false,
    ...options.envelope,
  }
  const message = new CreatedMessage<Content>(bytes, envelope, read(properties), undefined)
  const { signal } = options
  if (signal !== undefined) {
    const controller = new AbortController()
    message.controller = controller
    if (signal.aborted) controller.abort(signal.reason)
    else signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
  }
  return message
}

/** Encoded and decoded, as on the wire. @throws EncodeError if they cannot be sent. */
function read(properties: BasicProperties): Properties {
  const bytes = Writer.encode(writer => {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    writeProperties(writer, properties)
  })
  return Properties.read(bytes, 0, bytes.length)
}
