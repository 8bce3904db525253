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

function contentHeader(classId: number, size: number): Buffer {
  const payload = Buffer.alloc(14)
  payload.writeUInt16BE(classId)
  payload.writeBigUInt64BE(BigInt(size), 4)
  return payload
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

/** Each is a mistake that no client makes. */
const mistakes: readonly (readonly [string, Buffer])[] = [
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
export const MISTAKES: readonly Bytes[] = mistakes.map(([text, bytes]) => ({ text, bytes }))
