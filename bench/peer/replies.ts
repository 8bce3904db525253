import { Buffer } from 'node:buffer'
import * as wire from '../wire.ts'

const SERVER_PROPERTIES: { readonly [name: string]: wire.Field } = {
  product: 'synthetic peer',
  version: '1.0.0',
  capabilities: {
    publisher_confirms: true,
    exchange_exchange_bindings: true,
    'basic.nack': true,
    consumer_cancel_notify: true,
    'connection.blocked': true,
    consumer_priorities: true,
    authentication_failure_close: true,
    per_consumer_qos: true,
    direct_reply_to: true,
  },
}

export const CHANNEL_MAX = 2047
export const FRAME_MAX = 131_072

export const connectionStart = (): Buffer =>
  wire.method(
    0,
    10,
    10,
    wire.octet(0),
    wire.octet(9),
    wire.table(SERVER_PROPERTIES),
    wire.longstr('PLAIN AMQPLAIN'),
    wire.longstr('en_US'),
  )

export const connectionTune = (): Buffer =>
  wire.method(0, 10, 30, wire.short(CHANNEL_MAX), wire.long(FRAME_MAX), wire.short(0))

/** The short string at `offset` of a method frame. */
export const shortstrAt = (frame: Uint8Array, offset: number): string =>
  Buffer.from(frame.buffer, frame.byteOffset + offset + 1, frame[offset] ?? 0).toString()

let names = 0

function newName(): string {
  names += 1
  return `amq.gen-${names}`
}

/** The reply to a synchronous method whose reply needs nothing but its arguments; undefined when it has none. */
export function replyTo(channel: number, classId: number, methodId: number, frame: Uint8Array): Buffer | undefined {
  switch (classId * 1000 + methodId) {
    case 10_040: // connection.open
      return wire.method(0, 10, 41, wire.shortstr(''))
    case 10_050: // connection.close
      return wire.method(0, 10, 51)
    case 20_010: // channel.open
      return wire.method(channel, 20, 11, wire.longstr(''))
    case 50_010: // queue.declare
      return wire.method(channel, 50, 11, wire.shortstr(shortstrAt(frame, 13) || newName()), wire.long(0), wire.long(0))
    case 50_040: // queue.delete
      return wire.method(channel, 50, 41, wire.long(0))
    case 60_030: // basic.cancel
      return wire.method(channel, 60, 31, wire.shortstr(shortstrAt(frame, 11)))
    case 20_040: // channel.close
    case 40_010: // exchange.declare
    case 50_020: // queue.bind
    case 60_010: // basic.qos
    case 85_010: // confirm.select
      return wire.method(channel, classId, methodId + 1)
    default:
      return undefined
  }
}
