import { attemptOf, deliveryCount, retriesOf } from '../protocol/delivery-count.ts'
import type { Envelope } from '../protocol/envelope.ts'
import type { Properties } from '../protocol/received-properties.ts'
import type { FieldTable } from '../protocol/values.ts'
import { type EndpointSource, ServerContext } from './server-context.ts'

/** @internal One life of a channel. */
export interface IncomingSource extends EndpointSource {
  readonly channelId: number
}

/** A message that the program has got. */
export abstract class IncomingContext extends ServerContext {
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
  /** What the publisher said of it. */
  readonly properties: Properties

  /** @internal */
  constructor(source: IncomingSource, queueName: string, body: Buffer, envelope: Envelope, properties: Properties) {
    super(source)
    this.queueName = queueName
    this.consumerTag = envelope.consumerTag
    this.exchangeName = envelope.exchangeName
    this.routingKey = envelope.routingKey
    this.channelId = source.channelId
    this.deliveryTag = envelope.deliveryTag
    this.redelivered = envelope.isRedeliver
    this.bodySize = body.length
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
}
