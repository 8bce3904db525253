/**
 * AMQP 0-9-1 bytes for the other end and for the floor. Written apart from the library, so that the benchmark does not
 * measure the library against itself.
 */
import { Buffer } from 'node:buffer'
import { type MessageProperties, messageProperties } from './message.ts'

export const FRAME_METHOD = 1
export const FRAME_HEADER = 2
export const FRAME_BODY = 3
export const FRAME_END = 0xce
/** Bytes of a frame that are not its payload (§4.2.3). */
export const FRAME_OVERHEAD = 8
export const PROTOCOL_HEADER = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1')

export const octet = (value: number): Buffer => Buffer.of(value)

export function short(value: number): Buffer {
  const bytes = Buffer.alloc(2)
  bytes.writeUInt16BE(value)
  return bytes
}

export function long(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function longlong(value: number): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(value))
  return bytes
}

export const shortstr = (value: string): Buffer => Buffer.concat([octet(Buffer.byteLength(value)), Buffer.from(value)])
export const longstr = (value: string): Buffer => Buffer.concat([long(Buffer.byteLength(value)), Buffer.from(value)])

export type Field = string | number | boolean | { readonly [name: string]: Field }

function field(value: Field): Buffer {
  if (typeof value === 'string') return Buffer.concat([Buffer.from('S'), longstr(value)])
  if (typeof value === 'boolean') return Buffer.concat([Buffer.from('t'), octet(value ? 1 : 0)])
  if (typeof value === 'number') return Buffer.concat([Buffer.from('I'), long(value)])
  return Buffer.concat([Buffer.from('F'), table(value)])
}

export function table(fields: { readonly [name: string]: Field }): Buffer {
  const rows = Buffer.concat(Object.entries(fields).flatMap(([name, value]) => [shortstr(name), field(value)]))
  return Buffer.concat([long(rows.length), rows])
}

export function frame(type: number, channel: number, payload: Uint8Array): Buffer {
  return Buffer.concat([octet(type), short(channel), long(payload.length), payload, octet(FRAME_END)])
}

export function method(channel: number, classId: number, methodId: number, ...fields: Buffer[]): Buffer {
  return frame(FRAME_METHOD, channel, Buffer.concat([short(classId), short(methodId), ...fields]))
}

function contentHeader(channel: number, bodySize: number, properties: MessageProperties | undefined): Buffer {
  const start = [short(60), short(0), longlong(bodySize)]
  if (properties === undefined) return frame(FRAME_HEADER, channel, Buffer.concat([...start, short(0)]))
  const flags = (1 << 15) | (1 << 13) | (1 << 12) | (1 << 10) | (1 << 7) | (1 << 3)
  const values = [
    shortstr(properties.contentType),
    table(properties.headers),
    octet(properties.deliveryMode),
    shortstr(properties.correlationId),
    shortstr(properties.messageId),
    shortstr(properties.appId),
  ]
  return frame(FRAME_HEADER, channel, Buffer.concat([...start, short(flags), ...values]))
}

export interface Content {
  readonly channel: number
  readonly routingKey: string
  readonly body: Uint8Array
  readonly withProperties: boolean
  /** Which message it is, by its properties. */
  readonly number?: number
  readonly frameMax: number
}

function contentFrames(content: Content): Buffer[] {
  const { channel, body, withProperties, frameMax, number = 0 } = content
  const frames = [contentHeader(channel, body.length, withProperties ? messageProperties(number) : undefined)]
  const most = frameMax - FRAME_OVERHEAD
  for (let at = 0; at < body.length; at += most) frames.push(frame(FRAME_BODY, channel, body.subarray(at, at + most)))
  return frames
}

/** basic.publish with its content. */
export function publish(content: Content): Buffer {
  const start = method(content.channel, 60, 40, short(0), shortstr(''), shortstr(content.routingKey), octet(0))
  return Buffer.concat([start, ...contentFrames(content)])
}

/** basic.publish on channel 1 of a small request that wants a reply. */
export function request(routingKey: string, body: Uint8Array, replyTo: string): Buffer {
  const start = method(1, 60, 40, short(0), shortstr(''), shortstr(routingKey), octet(0))
  const properties = [short((1 << 10) | (1 << 9)), shortstr('1'), shortstr(replyTo)]
  const header = Buffer.concat([short(60), short(0), longlong(body.length), ...properties])
  return Buffer.concat([start, frame(FRAME_HEADER, 1, header), frame(FRAME_BODY, 1, body)])
}

/** basic.deliver with its content; `deliveryTagOffset` says where its tag stands. */
export function deliver(consumerTag: string, content: Content): Buffer {
  const fields = [shortstr(consumerTag), longlong(0), octet(0), shortstr(''), shortstr(content.routingKey)]
  return Buffer.concat([method(content.channel, 60, 60, ...fields), ...contentFrames(content)])
}

/** Where the low half of the delivery tag stands in what `deliver` returns. */
export const deliveryTagOffset = (consumerTag: string): number => 7 + 4 + 1 + Buffer.byteLength(consumerTag) + 4

export const ack = (channel: number, deliveryTag: number, multiple: boolean): Buffer =>
  method(channel, 60, 80, longlong(deliveryTag), octet(multiple ? 1 : 0))

/** Bytes of a basic.ack frame. */
export const ACK_SIZE = 21
/** Where the low half of the delivery tag stands in a basic.ack frame. */
export const ACK_TAG_OFFSET = 15
