import { EncodeError, FrameError, ProtocolError } from '../errors.ts'
import { FRAME_END, FRAME_OVERHEAD, FrameType, ReplyCode } from './constants.ts'
import { encodeError } from './encode-error.ts'
import { checkBit } from './fields.ts'
import { FRAME_CHANNEL_OFFSET, FRAME_HEADER_SIZE, FRAME_SIZE_OFFSET } from './layouts.ts'
import { type AnyMethod, type ArgumentsOf, type DecodedOf, methodByKey, methodName } from './methods.ts'
import { Reader } from './reader.ts'
import type { Writer } from './writer.ts'

/** Frame header, class and method id. */
const HEAD = FRAME_HEADER_SIZE + 4

/** A received method. The type of `args` is `DecodedOf` the method. */
export interface DecodedMethod {
  readonly method: AnyMethod
  readonly args: Record<string, unknown>
}

/**
 * Write a method as a whole frame, or nothing. `frameMax` is the agreed size in bytes of a whole frame; 0 sets no limit.
 *
 * @throws EncodeError naming the argument that cannot be written, or saying that the frame is too large.
 */
export function encodeMethod<M extends AnyMethod>(
  writer: Writer,
  channel: number,
  method: M,
  args: ArgumentsOf<M>,
  frameMax = 0,
): void {
  writer.begin()
  writer.guard(`${method.name}: the arguments`, frameMax === 0 ? Number.POSITIVE_INFINITY : frameMax)
  try {
    writer.reserve(HEAD)
    const { buffer, view, position } = writer
    buffer[position] = FrameType.METHOD
    view.setInt16(position + FRAME_CHANNEL_OFFSET, channel)
    view.setInt32(position + FRAME_HEADER_SIZE, method.key)
    writer.position = position + HEAD
    encodeArguments(writer, method, args as Record<string, unknown>)
    const size = writer.offset - FRAME_HEADER_SIZE
    if (frameMax !== 0 && size + FRAME_OVERHEAD > frameMax) {
      throw new EncodeError(
        `${method.name} takes a frame of ${size + FRAME_OVERHEAD} bytes, more than the ${frameMax} agreed with the server`,
      )
    }
    writer.reserve(1)
    writer.view.setInt32(writer.positionOf(FRAME_SIZE_OFFSET), size)
    writer.buffer[writer.position++] = FRAME_END
  } catch (error) {
    writer.rollback()
    throw encodeError(method.name, error)
  } finally {
    writer.unguard()
  }
}

function encodeArguments(writer: Writer, method: AnyMethod, args: Record<string, unknown>): void {
  let bits = 0
  let count = 0
  for (const { name, where, field } of method.order) {
    const given = field.presence === 'reserved' ? undefined : args[name]
    const value = given === undefined ? field.fallback : given
    if (field.kind === 'bit') {
      // The widest method, exchange.declare, has five in a row: an octet never overflows (§4.2.5.2).
      bits |= checkBit(value, where) << count++
      continue
    }
    if (count > 0) {
      writeBits(writer, bits)
      bits = 0
      count = 0
    }
    if (value === undefined) {
      if (field.presence === 'required') throw new EncodeError(`${where} is missing`)
      field.encode(writer, {}, where)
    } else field.encode(writer, value, where)
  }
  if (count > 0) writeBits(writer, bits)
}

function writeBits(writer: Writer, bits: number): void {
  writer.reserve(1)
  writer.octet(bits)
}

/**
 * Read the payload of a method frame, from the class id at `start` to `end`.
 *
 * @throws FrameError (502) if its arguments are cut short, do not decode, or are followed by further bytes.
 * @throws ProtocolError (540) for a class or method that does not exist.
 */
export function decodeMethod(buffer: Buffer, start: number, end: number): DecodedMethod {
  const reader = new Reader(buffer, start, end)
  const key = reader.long()
  const method = methodByKey.get(key)
  if (method === undefined) {
    // 540 means not implemented; 503, command invalid, is for methods out of sequence.
    throw new ProtocolError(`${methodName(key >>> 16, key & 0xffff)} is not known`, {
      replyCode: ReplyCode.NOT_IMPLEMENTED,
    })
  }
  return { method, args: decodeArguments(method, reader) as Record<string, unknown> }
}

/** Read the arguments of `method`, which must end where `reader` does. @throws FrameError (502) */
export function decodeArguments<M extends AnyMethod>(method: M, reader: Reader): DecodedOf<M> {
  const args: Record<string, unknown> = {}
  try {
    let bits = 0
    let left = 0
    for (const { name, field } of method.order) {
      let value: unknown
      if (field.kind === 'bit') {
        if (left === 0) {
          bits = reader.octet()
          left = 8
        }
        value = (bits & 1) !== 0
        bits >>= 1
        left--
      } else {
        left = 0
        // That of channel.open-ok: a copy would be dropped.
        if (field.presence === 'reserved' && field.kind === 'longstr') reader.skip(reader.long(), 'a long string')
        else value = field.decode(reader)
      }
      if (field.presence !== 'reserved') args[name] = value
    }
  } catch (error) {
    if (!(error instanceof FrameError)) throw error
    throw new FrameError(`${method.name}: ${error.message}`, { replyCode: error.replyCode, cause: error })
  }
  if (reader.remaining > 0) {
    throw new FrameError(`${method.name} has ${reader.remaining} bytes too many`, { replyCode: ReplyCode.SYNTAX_ERROR })
  }
  return args as DecodedOf<M>
}
