import { FrameError, ProtocolError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import {
  bodyFrame,
  contentFrames,
  deliverFrame,
  delivery,
  headerFrame,
  heartbeatFrame,
  methodFrame,
  rawFrame,
  returnFrames,
} from '../support/fake-broker.ts'
import { FRAME_MAX } from '../support/hostile-session.ts'

const [METHOD, HEADER, BODY, HEARTBEAT] = [1, 2, 3, 8]

/** What a server sends to a client in the middle of its work, and what comes of it. */
export interface MalformedCase {
  readonly name: string
  readonly bytes: readonly Uint8Array[]
  /** How the connection ends; undefined if it goes on. */
  readonly ends: { readonly kind: typeof FrameError | typeof ProtocolError; readonly replyCode: number } | undefined
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

function refused(kind: typeof FrameError | typeof ProtocolError, replyCode: number) {
  return (name: string, ...bytes: readonly Uint8Array[]): MalformedCase => ({ name, bytes, ends: { kind, replyCode } })
}

const frameError = refused(FrameError, 501)
const syntaxError = refused(FrameError, 502)
const commandInvalid = refused(ProtocolError, 503)
const channelError = refused(ProtocolError, 504)
const unexpectedFrame = refused(ProtocolError, 505)
const notImplemented = refused(ProtocolError, 540)

function tolerated(name: string, ...bytes: readonly Uint8Array[]): MalformedCase {
  return { name, bytes, ends: undefined }
}

/** Only the header of a frame. */
function announced(type: number, channel: number, size: number): Buffer {
  const header = Buffer.alloc(7)
  header.writeUInt8(type, 0)
  header.writeUInt16BE(channel, 1)
  header.writeUInt32BE(size, 3)
  return header
}

/** A content header with these flags and property values. */
function header(bodySize: number | bigint, list: string, classId = 60, weight = 0): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(classId, 0)
  head.writeUInt16BE(weight, 2)
  head.writeBigUInt64BE(BigInt(bodySize), 4)
  return rawFrame(HEADER, 1, Buffer.concat([head, hex(list)]))
}

/** A delivery whose headers are these octets after the table's length. */
function withHeaders(table: Buffer, length = table.length): Uint8Array[] {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(length)
  return [deliver, header(1, `2000${size.toString('hex')}${table.toString('hex')}`), bodyFrame(1, 'x')]
}

/** Tables, or arrays, one in the other. */
function nested(depth: number, type: 'F' | 'A'): Buffer {
  let inner = Buffer.alloc(0)
  for (let i = 0; i < depth; i++) {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(inner.length)
    const name = i === depth - 1 || type === 'F' ? Buffer.from('\x01a') : Buffer.alloc(0)
    inner = Buffer.concat([name, Buffer.from(type), length, inner])
  }
  return inner
}

/** A method frame with the payload cut, or grown, by `change` octets. */
function resized(frame: Buffer, change: number): Buffer {
  const payload = frame.subarray(7, frame.length - 1)
  const next = change < 0 ? payload.subarray(0, change) : Buffer.concat([payload, Buffer.alloc(change)])
  return rawFrame(frame[0] ?? 0, frame.readUInt16BE(1), next)
}

function method(key: string, args = '', channel = 1): Buffer {
  return rawFrame(METHOD, channel, hex(key + args))
}

const deliver = deliverFrame(1, 'c', 1)
const declareOk = methodFrame(1, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
const ack = methodFrame(1, methods.BasicAck, { deliveryTag: 1 })
const GET_OK = { deliveryTag: 1, redelivered: false, exchangeName: '', routingKey: 'q', messageCount: 0 }
const CLOSE = { replyCode: 200, replyText: '', classId: 0, methodId: 0 }

export const MALFORMED: readonly MalformedCase[] = [
  // Frames (§4.2.3)
  frameError('a method without its end octet', rawFrame(METHOD, 1, hex('0014 000b 00000000'), 0)),
  frameError('a content header without its end octet', deliver, rawFrame(HEADER, 1, Buffer.alloc(14), 0xcd)),
  frameError('a body without its end octet', deliver, headerFrame(1, 1), rawFrame(BODY, 1, hex('01'), 0xcf)),
  frameError('a heartbeat without its end octet', rawFrame(HEARTBEAT, 0, hex(''), 1)),
  frameError('a frame of type 0', rawFrame(0, 0, hex(''))),
  frameError('a frame of type 4', rawFrame(4, 1, hex('00'))),
  frameError('a frame of type 255', rawFrame(255, 1, hex('00'))),
  frameError('a method one octet above the size agreed', announced(METHOD, 1, FRAME_MAX - 7)),
  frameError('a body of 1 MiB in one frame', deliver, headerFrame(1, 1_048_576), announced(BODY, 1, 1_048_576)),
  frameError(
    'a whole body frame above the size agreed',
    deliver,
    headerFrame(1, 9000),
    bodyFrame(1, Buffer.alloc(9000)),
  ),
  frameError(
    'a whole content header above the size agreed, and its body',
    deliver,
    header(1, `2000 00002006 0161 53 00001fff ${'00'.repeat(0x1fff)}`),
    bodyFrame(1, 'x'),
  ),
  frameError('a frame of 2 GiB', announced(METHOD, 1, 0x7fff_ffff)),
  frameError('a frame of 4 GiB', announced(BODY, 1, 0xffff_ffff)),
  frameError('a heartbeat on channel 5', rawFrame(HEARTBEAT, 5, hex(''))),
  frameError('a heartbeat with a payload', rawFrame(HEARTBEAT, 0, hex('00'))),
  frameError('a heartbeat that announces a payload', announced(HEARTBEAT, 0, 1)),
  frameError('an HTTP response', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')),
  frameError('a TLS alert', hex('15 03 03 0002 0250')),
  frameError('a protocol header', Buffer.from('AMQP\x00\x00\x09\x01')),
  frameError('zeros', Buffer.alloc(1000)),
  frameError('octets of 0xff', Buffer.alloc(1000, 0xff)),

  // Methods
  syntaxError('a method frame without a payload', method('')),
  syntaxError('a method frame of three octets', method('003c00')),
  notImplemented('a class that does not exist', method('0063 000a')),
  notImplemented('a method that does not exist', method('003c 03e7')),
  notImplemented('class and method 0', method('0000 0000')),
  notImplemented('a class that does not exist on channel 0', method('0063 000a', '', 0)),
  channelError('a method on a channel that is not open', methodFrame(7, methods.BasicQosOk, {})),
  channelError('a method on channel 65535', methodFrame(65_535, methods.ChannelOpenOk, {})),
  channelError('a channel.close on a channel that is not open', methodFrame(7, methods.ChannelClose, CLOSE)),
  channelError('a content header on a channel that is not open', headerFrame(7, 1)),
  channelError('a body on a channel that is not open', bodyFrame(7, 'x')),
  channelError('a content header on channel 0', headerFrame(0, 1)),
  channelError('a body on channel 0', bodyFrame(0, 'x')),
  channelError('a delivery on a channel that is not open', delivery(7, 'c', 1, 'x')),
  commandInvalid(
    'a method of a channel on channel 0',
    methodFrame(0, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 }),
  ),
  commandInvalid(
    'a delivery on channel 0',
    methodFrame(0, methods.BasicDeliver, {
      consumerTag: 'c',
      deliveryTag: 1,
      redelivered: false,
      exchangeName: '',
      routingKey: '',
    }),
  ),
  commandInvalid('a connection.close on channel 1', methodFrame(1, methods.ConnectionClose, CLOSE)),
  commandInvalid('a connection.tune on channel 1', methodFrame(1, methods.ConnectionTune, {})),
  commandInvalid('a second connection.start', methodFrame(0, methods.ConnectionStart, { serverProperties: {} })),
  commandInvalid('a second connection.tune', methodFrame(0, methods.ConnectionTune, {})),
  commandInvalid('a second connection.open-ok', methodFrame(0, methods.ConnectionOpenOk, {})),
  commandInvalid('a connection.secure after the login', methodFrame(0, methods.ConnectionSecure, { challenge: '' })),
  commandInvalid('a connection.close-ok that nobody asked for', methodFrame(0, methods.ConnectionCloseOk, {})),
  commandInvalid(
    'a connection.start-ok from the server',
    methodFrame(0, methods.ConnectionStartOk, { clientProperties: {}, mechanism: 'PLAIN', response: '' }),
  ),

  // Replies to nothing
  commandInvalid('a qos-ok that nobody asked for', methodFrame(1, methods.BasicQosOk, {})),
  commandInvalid('a second declare-ok', declareOk, declareOk),
  commandInvalid('a second channel.open-ok', methodFrame(1, methods.ChannelOpenOk, {})),
  commandInvalid('a channel.close-ok that nobody asked for', methodFrame(1, methods.ChannelCloseOk, {})),
  commandInvalid(
    'a consume-ok for a tag that was never asked for',
    methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'x' }),
  ),
  commandInvalid('a second consume-ok', methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' })),
  commandInvalid('a cancel-ok that nobody asked for', methodFrame(1, methods.BasicCancelOk, { consumerTag: 'c' })),
  commandInvalid('a get-empty that nobody asked for', methodFrame(1, methods.BasicGetEmpty, {})),
  commandInvalid('a get-ok that nobody asked for', methodFrame(1, methods.BasicGetOk, GET_OK)),
  commandInvalid('a confirm.select-ok that nobody asked for', methodFrame(1, methods.ConfirmSelectOk, {})),
  commandInvalid('a tx.commit-ok on a channel without a transaction', methodFrame(1, methods.TxCommitOk, {})),
  commandInvalid('a basic.publish from the server', methodFrame(1, methods.BasicPublish, {})),
  commandInvalid('a queue.declare from the server', methodFrame(1, methods.QueueDeclare, {})),
  commandInvalid('a channel.open from the server', methodFrame(1, methods.ChannelOpen, {})),
  commandInvalid('a delivery for a consumer tag that was never asked for', delivery(1, 'x', 1, 'body')),
  commandInvalid('a delivery for a consumer of another channel', delivery(2, 'c', 1, 'body')),

  // Content (§4.2.6)
  unexpectedFrame('a content header without a method', headerFrame(1, 1)),
  unexpectedFrame('a body without a method', bodyFrame(1, 'x')),
  unexpectedFrame('a body without a content header', deliver, bodyFrame(1, 'x')),
  unexpectedFrame('a body on the wrong channel', deliver, headerFrame(1, 1), bodyFrame(2, 'x')),
  unexpectedFrame('a content header on the wrong channel', deliver, headerFrame(2, 1)),
  unexpectedFrame('a method behind a method with content', deliver, ack),
  unexpectedFrame('a second delivery before the content of the first', deliver, deliver),
  unexpectedFrame('a method between content header and body', deliver, headerFrame(1, 1), declareOk),
  unexpectedFrame('a method in the middle of a body', deliver, headerFrame(1, 2), bodyFrame(1, 'x'), ack),
  unexpectedFrame(
    'a channel.close in the middle of a body',
    deliver,
    headerFrame(1, 2),
    bodyFrame(1, 'x'),
    methodFrame(1, methods.ChannelClose, CLOSE),
  ),
  unexpectedFrame('a second content header', deliver, headerFrame(1, 1), headerFrame(1, 1)),
  unexpectedFrame('a body longer than announced', deliver, headerFrame(1, 2), bodyFrame(1, 'xyz')),
  unexpectedFrame(
    'a body longer than announced in its second frame',
    deliver,
    headerFrame(1, 2),
    bodyFrame(1, 'x'),
    bodyFrame(1, 'yz'),
  ),
  unexpectedFrame('a body where none was announced', deliver, headerFrame(1, 0), bodyFrame(1, 'x')),
  frameError('a content header of another class', deliver, header(1, '0000', 50)),
  frameError('a content header with a weight', deliver, header(1, '0000', 60, 1)),
  syntaxError('a content header that is empty', deliver, rawFrame(HEADER, 1, hex(''))),
  syntaxError('a content header of five octets', deliver, rawFrame(HEADER, 1, hex('003c000000'))),
  syntaxError(
    'a content header without flags',
    deliver,
    rawFrame(HEADER, 1, Buffer.concat([hex('003c0000'), Buffer.alloc(8)])),
  ),
  syntaxError('a body of 2^63 - 1 bytes', deliver, header(2n ** 63n - 1n, '0000')),
  syntaxError('a body of 2^64 - 1 bytes', deliver, header(2n ** 64n - 1n, '0000')),
  syntaxError('property flags that go on', deliver, header(1, '0001 0000'), bodyFrame(1, 'x')),
  syntaxError('a property that does not exist', deliver, header(1, '0002'), bodyFrame(1, 'x')),
  syntaxError('a property that is missing', deliver, header(1, '8000'), bodyFrame(1, 'x')),
  syntaxError('a property that is cut', deliver, header(1, '8000 ff61'), bodyFrame(1, 'x')),
  syntaxError('a timestamp that is cut', deliver, header(1, '0040 00000000'), bodyFrame(1, 'x')),
  syntaxError('octets behind the properties', deliver, header(1, '0000 00'), bodyFrame(1, 'x')),

  // Tables (§4.2.5.5)
  syntaxError('a table that is cut', ...withHeaders(hex('0161 49 000000'))),
  syntaxError('a table longer than its frame', ...withHeaders(hex('0161 49 00000001'), 1000)),
  syntaxError('a table of 4 GiB', ...withHeaders(hex('0161 49 00000001'), 0xffff_ffff)),
  syntaxError('a table whose name is cut', ...withHeaders(hex('ff61'))),
  syntaxError('a table whose value is missing', ...withHeaders(hex('0161'))),
  syntaxError('a field type that does not exist', ...withHeaders(hex('0161 7a 00'))),
  syntaxError('a string in a table longer than it', ...withHeaders(hex('0161 53 000000ff 62'))),
  syntaxError('a string of 4 GiB in a table', ...withHeaders(hex('0161 53 ffffffff'))),
  syntaxError('a decimal that is cut', ...withHeaders(hex('0161 44 02 0000'))),
  syntaxError('an array that is cut', ...withHeaders(hex('0161 41 00000005 74 01'))),
  syntaxError('tables in tables, 1,100 deep, past the end of the table', ...withHeaders(nested(1_100, 'F'), 1_000)),
  syntaxError('arrays in arrays, 60 deep, that are cut', ...withHeaders(nested(60, 'A').subarray(0, -3))),
  syntaxError('a table that is cut in a connection.start', method('000a 000a', '0009 00000001 ff', 0)),

  // Arguments
  syntaxError('a declare-ok that is cut', resized(declareOk, -1)),
  syntaxError('a declare-ok with octets behind it', resized(declareOk, 1)),
  syntaxError('a declare-ok whose name is longer than it', method('0032 000b', 'ff 71')),
  syntaxError('a delivery that is cut', resized(deliver, -1)),
  syntaxError('a delivery with octets behind it', resized(deliver, 1)),
  syntaxError('a delivery of four octets', method('003c 003c')),
  syntaxError('an ack that is cut', resized(ack, -1)),
  syntaxError('an ack with octets behind it', resized(ack, 1)),
  syntaxError('a basic.cancel that is cut', method('003c 001e', '01')),
  syntaxError('a channel.close that is cut', method('0014 0028', '0194')),
  syntaxError('a connection.close that is cut', method('000a 0032', '0140', 0)),
  syntaxError('a connection.blocked that is cut', method('000a 003c', 'ff', 0)),
  syntaxError('a get-ok whose tag is past 2^53', method('003c 0047', 'ffffffffffffffff 00 00 00 00000000', 2)),
  syntaxError('a delivery whose tag is past 2^53', method('003c 003c', '01 63 0020000000000000 00 00 00')),
  syntaxError('a basic.return that is cut', method('003c 0032', '0138')),

  // Confirms of what was not published
  commandInvalid('an ack of a tag that was never used', methodFrame(1, methods.BasicAck, { deliveryTag: 1000 })),
  commandInvalid(
    'an ack of everything up to a tag that was never used',
    methodFrame(1, methods.BasicAck, { deliveryTag: 1000, multiple: true }),
  ),
  commandInvalid('an ack of tag 0', methodFrame(1, methods.BasicAck, { deliveryTag: 0 })),
  commandInvalid('an ack of tag 2^64 - 1', method('003c 0050', 'ffffffffffffffff 00')),
  commandInvalid('a nack of a tag that was never used', methodFrame(1, methods.BasicNack, { deliveryTag: 7 })),
  commandInvalid('an ack on a channel without confirms', methodFrame(2, methods.BasicAck, { deliveryTag: 1 })),

  // What a client can live with
  tolerated('10,000 heartbeats', ...Array.from({ length: 10_000 }, () => heartbeatFrame)),
  tolerated('a returned message that was never sent', returnFrames(1, 'nowhere', 'x')),
  tolerated(
    'a basic.cancel of a consumer that does not exist',
    methodFrame(1, methods.BasicCancel, { consumerTag: 'x', noWait: true }),
  ),
  tolerated('an unblocked connection that was not blocked', methodFrame(0, methods.ConnectionUnblocked, {})),
  tolerated(
    'a connection blocked twice, then unblocked',
    methodFrame(0, methods.ConnectionBlocked, { reason: 'a' }),
    methodFrame(0, methods.ConnectionBlocked, { reason: 'b' }),
    methodFrame(0, methods.ConnectionUnblocked, {}),
  ),
  tolerated('a channel.flow that changes nothing', methodFrame(1, methods.ChannelFlow, { active: true })),
  tolerated(
    '10,000 empty body frames',
    deliver,
    headerFrame(1, 1),
    ...Array.from({ length: 10_000 }, () => bodyFrame(1, '')),
    bodyFrame(1, 'x'),
  ),
  tolerated('a header named __proto__', ...withHeaders(hex('09 5f5f70726f746f5f5f 46 00000004 0178 7400'))),
  tolerated('a header name that comes twice', ...withHeaders(hex('0161 7400 0161 7401'))),
  tolerated('text that is no UTF-8', ...withHeaders(hex('02fffe 53 00000002 fffe'))),
  tolerated('a delivery with tag 0', delivery(1, 'c', 0, 'x')),
  tolerated('the same delivery tag twice', delivery(1, 'c', 5, 'x'), delivery(1, 'c', 5, 'x')),
  tolerated(
    'a message of 8 GiB that is only announced',
    deliverFrame(1, 'c', 1),
    headerFrame(1, 2 ** 33),
    bodyFrame(1, Buffer.alloc(5000)),
  ),
  tolerated(
    'a get-ok with its content on the channel that asked',
    methodFrame(2, methods.BasicGetOk, GET_OK),
    contentFrames(2, 'x'),
  ),
]
