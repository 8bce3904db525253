import { FRAME_END, FrameType } from '../../src/protocol/constants.ts'
import { encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Writer } from '../../src/protocol/writer.ts'

export interface Bytes {
  /** What they are, to read. */
  readonly text: string
  readonly bytes: Buffer
}

const CLASS_BASIC = 60
/** More than any client agrees to here. */
const TOO_LARGE = 131_072

export function frame(type: number, channel: number, payload: Buffer, end: number = FRAME_END): Buffer {
  const header = Buffer.alloc(7)
  header.writeUInt8(type)
  header.writeUInt16BE(channel, 1)
  header.writeUInt32BE(payload.length, 3)
  return Buffer.concat([header, payload, Buffer.from([end])])
}

export function methodBytes<M extends methods.AnyMethod>(
  channel: number,
  method: M,
  args: methods.ArgumentsOf<M>,
): Buffer {
  return Writer.encode(writer => encodeMethod(writer, channel, method, args))
}

function contentHeader(classId: number, size: number, weight = 0): Buffer {
  const payload = Buffer.alloc(14)
  payload.writeUInt16BE(classId)
  payload.writeUInt16BE(weight, 2)
  payload.writeBigUInt64BE(BigInt(size), 4)
  return payload
}

/** A header with these flags of properties and these octets after them. */
function propertyHeader(flags: number, octets: readonly number[]): Buffer {
  const payload = contentHeader(CLASS_BASIC, 0)
  payload.writeUInt16BE(flags, 12)
  return frame(FrameType.HEADER, 1, Buffer.concat([payload, Buffer.from(octets)]))
}

const ids = (classId: number, methodId: number) => Buffer.from([0, classId, 0, methodId])
const publish = (exchangeName: string) => methodBytes(1, methods.BasicPublish, { exchangeName, routingKey: 'a' })

/** The last octet of a publish holds `mandatory` and `immediate`. */
function immediatePublish(): Buffer {
  const bytes = publish('')
  bytes.writeUInt8(2, bytes.length - 2)
  return Buffer.concat([bytes, frame(FrameType.HEADER, 1, contentHeader(CLASS_BASIC, 0))])
}

const QOS = methodBytes(1, methods.BasicQos, { prefetchCount: 1 })
const CLOSE = methodBytes(1, methods.ChannelClose, { replyCode: 200, classId: 0, methodId: 0 })
/** queue.declare of `a`, up to its table. */
const DECLARE = [...ids(50, 10), 0, 0, 1, 97, 0]
const HEADERS = 0x2000
const CONTENT_TYPE = 0x8000
const publishing = (header: Buffer) => Buffer.concat([publish(''), header])
const header = (size: number) => frame(FrameType.HEADER, 1, contentHeader(CLASS_BASIC, size))
const body = (text: string) => frame(FrameType.BODY, 1, Buffer.from(text))
const delivery = methodBytes(1, methods.BasicDeliver, {
  consumerTag: 't1',
  deliveryTag: 1,
  redelivered: false,
  exchangeName: '',
  routingKey: 'a',
})

/** Each is a mistake that no client makes. */
const mistakes: readonly (readonly [string, Uint8Array])[] = [
  ['a method on a channel that is not open', methodBytes(9, methods.BasicQos, { prefetchCount: 1 })],
  ['a second channel.open', methodBytes(1, methods.ChannelOpen, {})],
  ['channel.open of channel 3000', methodBytes(3000, methods.ChannelOpen, {})],
  ['channel.close-ok that nobody waits for', methodBytes(1, methods.ChannelCloseOk, {})],
  [
    'channel.close of a channel that is not open',
    methodBytes(9, methods.ChannelClose, { replyCode: 200, classId: 0, methodId: 0 }),
  ],
  ['a method of an unknown class', frame(FrameType.METHOD, 1, ids(99, 10))],
  ['an unknown method', frame(FrameType.METHOD, 1, ids(60, 99))],
  ['a method without its arguments', frame(FrameType.METHOD, 1, ids(60, 10))],
  ['a method of two octets', frame(FrameType.METHOD, 1, Buffer.from([0, 60]))],
  ['a method of servers', methodBytes(1, methods.BasicGetEmpty, {})],
  ['channel.flow-ok', methodBytes(1, methods.ChannelFlowOk, { active: true })],
  ['basic.cancel-ok', methodBytes(1, methods.BasicCancelOk, { consumerTag: 't1' })],
  ['a method of channels on channel 0', methodBytes(0, methods.BasicQos, { prefetchCount: 1 })],
  ['a method of connections on channel 1', methodBytes(1, methods.ConnectionOpen, {})],
  ['a second connection.open', methodBytes(0, methods.ConnectionOpen, {})],
  ['a second connection.tune-ok', methodBytes(0, methods.ConnectionTuneOk, { channelMax: 1, frameMax: 8192 })],
  ['a header without a publish', frame(FrameType.HEADER, 1, contentHeader(CLASS_BASIC, 0))],
  ['a body without a publish', frame(FrameType.BODY, 1, Buffer.from('body'))],
  ['a method where a header should be', Buffer.concat([publish(''), QOS])],
  ['a body where a header should be', Buffer.concat([publish(''), frame(FrameType.BODY, 1, Buffer.from('body'))])],
  [
    'a header of another class',
    Buffer.concat([publish(''), frame(FrameType.HEADER, 1, contentHeader(CLASS_BASIC + 1, 0))]),
  ],
  [
    'a method where a body should be',
    Buffer.concat([publish(''), frame(FrameType.HEADER, 1, contentHeader(CLASS_BASIC, 4)), QOS]),
  ],
  ['a publish that is immediate', immediatePublish()],
  ['a body that is longer than its header says', Buffer.concat([publishing(header(3)), body('12'), body('34')])],
  ['a body that is longer than anything', publishing(header(2 ** 40))],
  ['a body after a whole message', Buffer.concat([publishing(header(2)), body('12'), body('3')])],
  ['empty bodies', Buffer.concat([publishing(header(2)), body(''), body('12')])],
  ['an empty body after an empty message', Buffer.concat([publishing(header(0)), body('')])],
  ['a header with a weight', publishing(frame(FrameType.HEADER, 1, contentHeader(CLASS_BASIC, 1, 1)))],
  ['a header without flags', publishing(frame(FrameType.HEADER, 1, contentHeader(CLASS_BASIC, 0).subarray(0, 12)))],
  ['a header without the property that it has', publishing(propertyHeader(CONTENT_TYPE, []))],
  ['a header with more than its properties', publishing(propertyHeader(CONTENT_TYPE, [1, 97, 98]))],
  ['a header with more flags', publishing(propertyHeader(1, [0, 0]))],
  ['headers that are longer than their frame', publishing(propertyHeader(HEADERS, [0, 0, 0, 9, 1, 97, 116, 1]))],
  ['headers that end within an entry', publishing(propertyHeader(HEADERS, [0, 0, 0, 3, 5, 97, 98]))],
  ['a header of an unknown type', publishing(propertyHeader(HEADERS, [0, 0, 0, 3, 1, 97, 255]))],
  ['a table with an unknown type', frame(FrameType.METHOD, 1, Buffer.from([...DECLARE, 0, 0, 0, 3, 1, 97, 255]))],
  ['a table that is longer than its frame', frame(FrameType.METHOD, 1, Buffer.from([...DECLARE, 0, 0, 0, 9, 1]))],
  [
    'a name that is not UTF-8',
    frame(FrameType.METHOD, 1, Buffer.from([...ids(50, 10), 0, 0, 2, 255, 254, 0, 0, 0, 0, 0])),
  ],
  ['a name of a publish that is not UTF-8', publishing(header(0)).map(octet => (octet === 97 ? 255 : octet))],
  ['a delivery tag of 64 bits', frame(FrameType.METHOD, 1, Buffer.from([...ids(60, 80), ...Array(8).fill(255), 1]))],
  ['a delivery', delivery],
  ['a delivery with its message', Buffer.concat([delivery, header(1), body('x')])],
  ['a publish on channel 0', methodBytes(0, methods.BasicPublish, { exchangeName: '', routingKey: 'a' })],
  ['a method without its arguments on channel 0', frame(FrameType.METHOD, 0, ids(60, 10))],
  ['two closes of a channel', Buffer.concat([CLOSE, CLOSE])],
  ['channel.close and channel.open at once', Buffer.concat([CLOSE, methodBytes(1, methods.ChannelOpen, {})])],
  ['a long frame that does not end', frame(FrameType.BODY, 1, Buffer.from('a text of more than 16 octets'), 0)],
  ['a long frame of an unknown type', frame(7, 1, Buffer.from('a text of more than 16 octets'))],
  ['a frame that ends with 205', frame(FrameType.METHOD, 1, Buffer.from([...ids(60, 10), 0, 0, 0, 0, 0, 1, 0]), 205)],
  ['a frame of an unknown type', frame(7, 1, Buffer.from('odd'))],
  ['a frame of type 0', frame(0, 0, Buffer.alloc(0))],
  ['a frame that does not end', frame(FrameType.METHOD, 1, ids(60, 10), 0)],
  ['a heartbeat on channel 1', frame(FrameType.HEARTBEAT, 1, Buffer.alloc(0))],
  ['a heartbeat with a payload', frame(FrameType.HEARTBEAT, 0, Buffer.from('beat'))],
  ['a frame that is too large', frame(FrameType.BODY, 1, Buffer.alloc(TOO_LARGE, 'x'))],
  ['text', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  [
    'connection.update-secret',
    methodBytes(0, methods.ConnectionUpdateSecret, { newSecret: Buffer.from('new'), reason: 'a test' }),
  ],
]

/** Mistakes, each of which ends the connection in most cases. */
export const MISTAKES: readonly Bytes[] = mistakes.map(([text, bytes]) => ({ text, bytes: Buffer.from(bytes) }))
