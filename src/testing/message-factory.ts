import type { Settlement } from '../channel/consume/acker.ts'
import type { Envelope } from '../channel/consume/delivery.ts'
import { Message } from '../patterns/consume/message.ts'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../protocol/properties.ts'
import { Properties } from '../protocol/received-properties.ts'
import { Writer } from '../protocol/writer.ts'

/** How a handler settled a message. */
export interface MessageSettlement {
  readonly how: 'ack' | 'nack' | 'reject'
  /** Whether it goes back to its queue. */
  readonly requeue: boolean
}

export interface CreateMessageOptions {
  readonly properties?: BasicProperties | undefined
  /** Where it seems to come from. Default: the default exchange, first delivery. */
  readonly envelope?: Partial<Envelope> | undefined
  /** Aborts the message's `signal`, as a lost connection does. */
  readonly signal?: AbortSignal | undefined
}

/** A message without a broker, which remembers how it was settled. */
export class CreatedMessage extends Message {
  #settlement: MessageSettlement | undefined

  /** How it was settled first; undefined while it is not. */
  get settlement(): MessageSettlement | undefined {
    return this.#settlement
  }

  /** @internal */
  override settle(how: Settlement, requeue: boolean): boolean {
    if (this.#settlement !== undefined) return false
    this.#settlement = { how, requeue: how !== 'ack' && requeue }
    return true
  }
}

/**
 * Make a message, to call a handler with in a test that has no broker. What is no string or bytes is sent as JSON, as
 * publishers do.
 */
export function createMessage(body: unknown, options: CreateMessageOptions = {}): CreatedMessage {
  const envelope: Envelope = {
    consumerTag: 'test',
    deliveryTag: 1,
    exchangeName: '',
    routingKey: '',
    isRedeliver: false,
    ...options.envelope,
  }
  const message = new CreatedMessage(bytesOf(body), envelope, read(options.properties ?? {}), undefined)
  const { signal } = options
  if (signal !== undefined) {
    const controller = new AbortController()
    message.controller = controller
    if (signal.aborted) controller.abort(signal.reason)
    else signal.addEventListener('abort', () => controller.abort(signal.reason), { once: true })
  }
  return message
}

function bytesOf(body: unknown): Buffer {
  if (typeof body === 'string') return Buffer.from(body)
  if (body instanceof Uint8Array) return Buffer.from(body)
  return Buffer.from(JSON.stringify(body) ?? '')
}

/** As they would come: through their bytes. @throws EncodeError where they cannot be sent. */
function read(properties: BasicProperties): Properties {
  const bytes = Writer.encode(writer => {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    writeProperties(writer, properties)
  })
  return Properties.read(bytes, 0, bytes.length)
}
