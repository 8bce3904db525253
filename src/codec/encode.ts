import { EncodeError, FrameError } from '../errors.ts'
import { isBytes, isDetached } from '../protocol/bytes.ts'
import { FRAME_END, FRAME_OVERHEAD, FrameType, HEARTBEAT_FRAME, PROTOCOL_HEADER } from '../protocol/constants.ts'
import { encodeError } from '../protocol/encode-error.ts'
import * as fieldTable from '../protocol/field-table.ts'
import { inspectShort } from '../protocol/inspect-short.ts'
import { FRAME_HEADER_SIZE } from '../protocol/layouts.ts'
import * as methodCodec from '../protocol/method-codec.ts'
import { type AnyMethod, type ArgumentsOf, methodByKey } from '../protocol/methods.ts'
import { checkOptions } from '../protocol/option-check.ts'
import { pieceOf, sizeOf } from '../protocol/payload-bytes.ts'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../protocol/properties.ts'
import { Reader } from '../protocol/reader.ts'
import { Properties } from '../protocol/received-properties.ts'
import { hasLoneSurrogate } from '../protocol/text.ts'
import type { FieldTable, FieldValue } from '../protocol/values.ts'
import { Writer } from '../protocol/writer.ts'

const BASIC_CLASS = 60
const CONTENT_HEADER = 12
const MAX_PAYLOAD = 0xffff_ffff

const METHODS: ReadonlySet<unknown> = new Set(methodByKey.values())

let writer: Writer | undefined

/** The bytes of what `write` writes, in memory of their own. */
function encoded(write: (writer: Writer) => void): Buffer {
  writer ??= new Writer()
  write(writer)
  const bytes = Buffer.concat(writer.take())
  writer.reuse()
  return bytes
}

/** @throws EncodeError for anything but an integer from `least` to `most`. */
function checkInteger(what: string, value: unknown, most: number, least = 0): void {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return
  throw new EncodeError(`${what} must be an integer from ${least} to ${most}, not ${inspectShort(value)}`)
}

const MAX_CHANNEL = 0xffff

/** @throws EncodeError for anything but a size of frames: a number of bytes, or 0. */
function checkFrameMax(what: string, frameMax: number): void {
  if (frameMax !== 0) checkInteger(`${what}: frameMax, unless it is 0,`, frameMax, MAX_PAYLOAD, FRAME_OVERHEAD + 1)
}

/**
 * The same memory as a buffer: a subclass of the program may have getters in the place of what the engine knows.
 *
 * @throws EncodeError for anything but a `Uint8Array` that has its memory.
 */
export function bufferOf(what: string, chunk: unknown): Buffer {
  if (!isBytes(chunk)) throw new EncodeError(`${what} must be a Uint8Array, not ${inspectShort(chunk)}`)
  const size = sizeOf(chunk)
  if (size === 0 && isDetached(chunk)) throw new EncodeError(`the memory of ${what} was transferred away`)
  const { buffer, byteOffset } = pieceOf(chunk, 0, size)
  return Buffer.from(buffer, byteOffset, size)
}

/** The protocol header that a client sends first: AMQP 0-9-1 (§4.2.2). */
export function encodeProtocolHeader(): Buffer {
  return Buffer.from(PROTOCOL_HEADER)
}

/** A heartbeat (§4.2.7). */
export function encodeHeartbeat(): Buffer {
  return Buffer.from(HEARTBEAT_FRAME)
}

/**
 * A frame of any type and payload (§4.2.3), of which nothing is checked but that the type has 8 bits and the channel 16.
 *
 * @throws EncodeError
 */
export function encodeFrame(type: number, channel: number, payload: Uint8Array): Buffer {
  checkInteger('encodeFrame: type', type, 0xff)
  checkInteger('encodeFrame: channel', channel, MAX_CHANNEL)
  const given = bufferOf('encodeFrame: payload', payload)
  const bytes = Buffer.allocUnsafeSlow(given.length + FRAME_OVERHEAD)
  bytes[0] = type
  bytes.writeUInt16BE(channel, 1)
  bytes.writeUInt32BE(given.length, 3)
  bytes.set(given, FRAME_HEADER_SIZE)
  bytes[bytes.length - 1] = FRAME_END
  return bytes
}

/**
 * A method in its frame. `frameMax` is the agreed size in bytes of a whole frame; 0, the default, sets no limit.
 *
 *     encodeMethod(1, QueueDeclare, { queueName: 'orders', durable: true })
 *
 * @throws EncodeError naming the argument that is missing, unknown or cannot be written, or saying that the frame is too large.
 */
export function encodeMethod<M extends AnyMethod>(
  channel: number,
  method: M,
  args: ArgumentsOf<M>,
  frameMax = 0,
): Buffer {
  if (!METHODS.has(method)) {
    throw new EncodeError(`encodeMethod: method must be one of the table of methods, not ${inspectShort(method)}`)
  }
  checkInteger(`${method.name}: channel`, channel, MAX_CHANNEL)
  checkFrameMax(method.name, frameMax)
  const known = method.order.filter(({ field }) => field.presence !== 'reserved').map(({ name }) => name)
  checkOptions(method.name, args ?? null, known)
  return encoded(writer => methodCodec.encodeMethod(writer, channel, method, args, frameMax))
}

/**
 * A content header (§4.2.6.1) in its frame: the properties of a message, and the bytes that its body has. It follows a method that has
 * content, on the same channel. Received properties are written as they came.
 *
 * @throws EncodeError naming the property that cannot be written, or saying that the frame is too large for `frameMax`.
 */
export function encodeContentHeader(
  channel: number,
  bodySize: number,
  properties: BasicProperties = {},
  frameMax = 0,
): Buffer {
  checkInteger('encodeContentHeader: channel', channel, MAX_CHANNEL)
  checkInteger('encodeContentHeader: bodySize', bodySize, Number.MAX_SAFE_INTEGER)
  checkFrameMax('encodeContentHeader', frameMax)
  if (typeof properties !== 'object' || properties === null) {
    throw new EncodeError(`encodeContentHeader: properties must be an object, not ${inspectShort(properties)}`)
  }
  const payload = guarded('encodeContentHeader', writer => {
    writer.reserve(CONTENT_HEADER + 2 + MAX_SCALAR_PROPERTIES)
    writer.short(BASIC_CLASS)
    writer.short(0)
    writer.longlong(bodySize)
    if (properties instanceof Properties) properties.write(writer)
    else writeProperties(writer, properties)
  })
  const size = payload.length + FRAME_OVERHEAD
  if (frameMax !== 0 && size > frameMax) {
    throw new EncodeError(`encodeContentHeader: a frame of ${size} bytes is larger than the frameMax of ${frameMax}`)
  }
  return encodeFrame(FrameType.HEADER, channel, payload)
}

/**
 * The frames of a body, of at most `frameMax` bytes each; of an empty body none, as AMQP has it. A string goes as UTF-8.
 *
 * @throws EncodeError if `body` is neither bytes nor text that has UTF-8.
 */
export function encodeBody(channel: number, body: Uint8Array | string, frameMax = 0): Buffer {
  checkInteger('encodeBody: channel', channel, MAX_CHANNEL)
  checkFrameMax('encodeBody', frameMax)
  const bytes = typeof body === 'string' ? Buffer.from(body) : bufferOf('encodeBody: body', body)
  if (typeof body === 'string' && hasLoneSurrogate(body, bytes.length)) {
    throw new EncodeError('encodeBody: body has a lone surrogate, which has no UTF-8')
  }
  const most = (frameMax === 0 ? MAX_PAYLOAD : frameMax) - FRAME_OVERHEAD
  const frames: Buffer[] = []
  for (let start = 0; start < bytes.length; start += most) {
    frames.push(encodeFrame(FrameType.BODY, channel, bytes.subarray(start, start + most)))
  }
  const [first] = frames
  return first !== undefined && frames.length === 1 ? first : Buffer.concat(frames)
}

/**
 * A field table (§4.2.5.5), its length first.
 *
 * @throws EncodeError naming the entry that has no place in a table.
 */
export function encodeTable(table: FieldTable | ReadonlyMap<string, FieldValue | undefined>): Buffer {
  return guarded('encodeTable', writer => fieldTable.encodeTable(writer, table, 'table'))
}

/**
 * The field table that `bytes` are, from its length on. Its values are the program's own. Published again, they keep their wire types.
 *
 * @throws EncodeError if `bytes` is not a `Uint8Array`.
 * @throws FrameError (502) if it is cut short, has a type that does not exist, is nested more than 64 deep, or ends before `bytes` do.
 */
export function decodeTable(bytes: Uint8Array): FieldTable {
  const buffer = bufferOf('decodeTable: bytes', bytes)
  const reader = new Reader(buffer, 0, buffer.length)
  const table = fieldTable.decodeTable(reader)
  if (reader.remaining > 0) {
    throw new FrameError(`a field table is followed by ${reader.remaining} bytes`, { replyCode: 502 })
  }
  return table
}

/** The bytes of what `write` writes, during which getters and iterators of the program may run. */
function guarded(what: string, write: (writer: Writer) => void): Buffer {
  return encoded(writer => {
    writer.begin()
    writer.guard(what, Number.POSITIVE_INFINITY)
    try {
      write(writer)
    } catch (error) {
      writer.rollback()
      throw encodeError(what, error)
    } finally {
      writer.unguard()
    }
  })
}
