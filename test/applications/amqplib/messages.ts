import type { BasicProperties, Envelope, GetEnvelope, Properties, ReturnEnvelope } from 'asyncamqp'
import { fromTable, toTable } from './values.ts'

/** A message as amqplib gives it to a program. */
export interface Message {
  readonly content: Buffer
  readonly fields: Readonly<Record<string, unknown>> & { readonly deliveryTag: number }
  readonly properties: Readonly<Record<string, unknown>>
}

/** Options of `publish` and `sendToQueue`. */
export interface PublishOptions
  extends Pick<
    BasicProperties,
    'contentType' | 'contentEncoding' | 'priority' | 'correlationId' | 'replyTo' | 'messageId' | 'userId' | 'appId'
  > {
  readonly type?: string
  readonly headers?: object
  readonly CC?: unknown
  readonly BCC?: unknown
  readonly persistent?: boolean
  readonly deliveryMode?: number | boolean
  readonly expiration?: number | string
  readonly timestamp?: number
  readonly mandatory?: boolean
}

/** The properties of a message that may be sent. */
export function checked(content: Buffer, options: PublishOptions = {}): BasicProperties {
  if (!Buffer.isBuffer(content)) throw new TypeError('content is not a buffer')
  return toProperties(options)
}

export function mandatory(options: PublishOptions | undefined): { readonly mandatory: true } | undefined {
  return options?.mandatory ? { mandatory: true } : undefined
}

// One literal, and no spread in it: that makes an object with which everything is ten times as slow.
function toProperties(options: PublishOptions): BasicProperties {
  const { CC, BCC, expiration, timestamp } = options
  const headers = toTable(options.headers)
  if (CC !== undefined) headers['CC'] = [CC].flat().map(String)
  if (BCC !== undefined) headers['BCC'] = [BCC].flat().map(String)
  return {
    contentType: options.contentType,
    contentEncoding: options.contentEncoding,
    headers,
    deliveryMode: deliveryModeOf(options),
    priority: options.priority,
    correlationId: options.correlationId,
    replyTo: options.replyTo,
    expiration: expiration === undefined ? undefined : String(expiration),
    messageId: options.messageId,
    timestamp: timestamp === undefined ? undefined : new Date(timestamp * 1000),
    messageType: options.type,
    userId: options.userId,
    appId: options.appId,
  }
}

function deliveryModeOf({ persistent, deliveryMode }: PublishOptions): number | undefined {
  if (persistent !== undefined) return persistent ? 2 : 1
  if (typeof deliveryMode === 'number') return deliveryMode
  return deliveryMode ? 2 : undefined
}

export function delivered(content: Buffer, envelope: Envelope | GetEnvelope, properties: Properties): Message {
  const { deliveryTag, isRedeliver: redelivered, exchangeName: exchange, routingKey } = envelope
  const fields =
    'consumerTag' in envelope
      ? { consumerTag: envelope.consumerTag, deliveryTag, redelivered, exchange, routingKey }
      : { deliveryTag, redelivered, exchange, routingKey }
  return { fields, properties: fromProperties(properties), content }
}

export function returned(content: Buffer, envelope: ReturnEnvelope, properties: Properties): object {
  const { replyCode, replyText, exchangeName: exchange, routingKey } = envelope
  return { fields: { replyCode, replyText, exchange, routingKey }, properties: fromProperties(properties), content }
}

/** amqplib's have all fourteen members. */
function fromProperties(properties: Properties): Record<string, unknown> {
  const { timestamp } = properties
  return {
    contentType: properties.contentType,
    contentEncoding: properties.contentEncoding,
    headers: fromTable(properties.headers),
    deliveryMode: properties.deliveryMode,
    priority: properties.priority,
    correlationId: properties.correlationId,
    replyTo: properties.replyTo,
    expiration: properties.expiration,
    messageId: properties.messageId,
    timestamp: timestamp === undefined ? undefined : Math.floor(timestamp.getTime() / 1000),
    type: properties.messageType,
    userId: properties.userId,
    appId: properties.appId,
    clusterId: properties.clusterId,
  }
}
