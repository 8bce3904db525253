import { FrameError, ProtocolError } from '../errors.ts'
import { FRAME_END, FRAME_OVERHEAD, FrameType, ReplyCode } from '../protocol/constants.ts'
import {
  CONTENT_FLAGS_OFFSET,
  FRAME_CHANNEL_OFFSET,
  FRAME_HEADER_SIZE,
  FRAME_SIZE_OFFSET,
  PROTOCOL_HEADER_SIZE,
  protocolHeader,
} from '../protocol/layouts.ts'
import { decodeMethod } from '../protocol/method-codec.ts'
import { checkOptions, integerOption } from '../protocol/option-check.ts'
import { Reader } from '../protocol/reader.ts'
import { Properties } from '../protocol/received-properties.ts'
import { bufferOf } from './encode.ts'
import type { Frame, MethodFrame } from './frames.ts'

const BASIC_CLASS_WEIGHT_0 = 0x003c0000
/** RabbitMQ's default. */
const DEFAULT_FRAME_MAX = 131_072
/** The first octet of `AMQP`. It is not a frame type. */
const LETTER_A = 0x41

/** Options of a `FrameReader`. */
export interface FrameReaderOptions {
  /**
   * Bytes of the largest frame that is read, its header and end octet included; 0 sets no limit. Default: 131,072, as
   * RabbitMQ's.
   */
  readonly frameMax?: number | undefined
}

/**
 * Makes frames of the bytes of one direction of a connection, which come in chunks of any size.
 *
 *     for (const frame of reader.push(chunk)) console.log(frame.type)
 *
 * It keeps the bytes of an unfinished frame, and frames that were not taken: never more than was pushed. A size that is
 * only announced costs nothing. `bytes` and `payload` of a frame are views: of a chunk that holds the frame whole, or of memory
 * that is not used again. So a chunk may be written over when its frames are not needed any more.
 */
export class FrameReader implements Iterable<Frame> {
  #frameMax: number
  /** Bytes from `#at` to `#end` were not taken yet. */
  #buffer: Buffer = Buffer.alloc(0)
  #at = 0
  #end = 0
  /** Whether `#buffer` is this reader's, which may write after `#end`. */
  #own = false
  #offset = 0
  #broken: FrameError | undefined

  /** @throws EncodeError for an option that is unknown or out of range. */
  constructor(options: FrameReaderOptions = {}) {
    checkOptions('FrameReader', options, ['frameMax'])
    this.#frameMax = integerOption('FrameReader', 'frameMax', options.frameMax) ?? DEFAULT_FRAME_MAX
  }

  /**
   * Bytes of the largest frame that is read; 0 sets no limit. It can be set to what connection.tune-ok has agreed.
   *
   * @throws EncodeError when it is set to anything but an integer of 0 or more.
   */
  get frameMax(): number {
    return this.#frameMax
  }

  set frameMax(bytes: number) {
    this.#frameMax = integerOption('FrameReader', 'frameMax', bytes) ?? DEFAULT_FRAME_MAX
  }

  /** Bytes of the stream that were taken as frames. */
  get offset(): number {
    return this.#offset
  }

  /**
   * Add a chunk. Returns this reader, which gives the whole frames that it has when it is iterated over: frames that are
   * left in it, by a `break` for instance, are given the next time.
   *
   * @throws EncodeError if `chunk` is not a `Uint8Array`.
   */
  push(chunk: Uint8Array): this {
    const bytes = bufferOf('FrameReader.push: chunk', chunk)
    if (this.#broken !== undefined) return this
    const { length } = bytes
    const waiting = this.#end - this.#at
    if (waiting === 0) {
      this.#buffer = bytes
      this.#at = 0
      this.#end = length
      this.#own = false
      return this
    }
    if (!this.#own || this.#end + length > this.#buffer.length) this.#keep(waiting, waiting + length)
    this.#buffer.set(bytes, this.#end)
    this.#end += length
    return this
  }

  /** Copy the bytes that wait to memory of its own, with room for `size`. */
  #keep(waiting: number, size: number): void {
    // Twice the room: a frame of many small chunks is copied twice at most.
    const buffer = Buffer.allocUnsafeSlow(2 * size)
    this.#buffer.copy(buffer, 0, this.#at, this.#end)
    this.#buffer = buffer
    this.#at = 0
    this.#end = waiting
    this.#own = true
  }

  /**
   * The next whole frame; undefined while there is none. What has the form of a frame and cannot be decoded is a frame of type
   * `malformed`.
   *
   * @throws FrameError at bytes that are not frames of AMQP, or larger than `frameMax`; `offset` is where. Nothing can be read
   * after that: each further call throws the same error.
   */
  read(): Frame | undefined {
    const frame = this.#read()
    const waiting = this.#end - this.#at
    // The program needs no frame of the chunk any more, and may write over it.
    if (frame === undefined && waiting > 0 && !this.#own) this.#keep(waiting, waiting)
    return frame
  }

  #read(): Frame | undefined {
    if (this.#broken !== undefined) throw this.#broken
    const buffer = this.#buffer
    const at = this.#at
    const waiting = this.#end - at
    if (waiting === 0) return undefined
    if (this.#offset === 0 && buffer[at] === LETTER_A) return this.#protocolHeader(waiting)
    if (waiting < FRAME_HEADER_SIZE) return undefined
    const type = buffer.readUInt8(at)
    const channel = buffer.readUInt16BE(at + FRAME_CHANNEL_OFFSET)
    const total = buffer.readUInt32BE(at + FRAME_SIZE_OFFSET) + FRAME_OVERHEAD
    if (
      type !== FrameType.METHOD &&
      type !== FrameType.HEADER &&
      type !== FrameType.BODY &&
      type !== FrameType.HEARTBEAT
    ) {
      throw this.#break(`${type} is not a frame type`)
    }
    if (this.#frameMax !== 0 && total > this.#frameMax) {
      throw this.#break(
        `a frame of ${total} bytes on channel ${channel} is larger than the frameMax of ${this.#frameMax}`,
      )
    }
    if (waiting < total) return undefined
    const last = buffer.readUInt8(at + total - 1)
    if (last !== FRAME_END) {
      throw this.#break(
        `a frame of type ${type} on channel ${channel} ends with the octet 0x${last.toString(16)} instead of 0xce`,
      )
    }
    const offset = this.#offset
    const bytes = this.#take(total)
    try {
      return decode(type, channel, bytes, offset)
    } catch (thrown) {
      if (!(thrown instanceof FrameError) && !(thrown instanceof ProtocolError)) throw thrown
      const { message, replyCode } = thrown
      const error = new FrameError(`${message} (in the frame at byte ${offset})`, { replyCode, offset, cause: thrown })
      return { type: 'malformed', channel, error, offset, bytes }
    }
  }

  /** The whole frames that it has. @throws FrameError as `read()` does. */
  *[Symbol.iterator](): IterableIterator<Frame> {
    for (let frame = this.read(); frame !== undefined; frame = this.read()) yield frame
  }

  #protocolHeader(waiting: number): Frame | undefined {
    if (waiting < PROTOCOL_HEADER_SIZE) return undefined
    const { literal, protocolId, major, minor, revision } = protocolHeader.decode(this.#buffer, this.#at)
    if (literal.toString('latin1') !== 'AMQP') throw this.#break('the stream starts with neither AMQP nor a frame')
    const bytes = this.#take(PROTOCOL_HEADER_SIZE)
    return { type: 'protocol-header', protocolId, major, minor, revision, offset: 0, bytes }
  }

  #take(length: number): Buffer {
    const bytes = this.#buffer.subarray(this.#at, this.#at + length)
    this.#at += length
    this.#offset += length
    return bytes
  }

  #break(message: string): FrameError {
    const offset = this.#offset
    this.#broken = new FrameError(`${message} (at byte ${offset})`, { offset })
    this.#buffer = Buffer.alloc(0)
    this.#at = 0
    this.#end = 0
    return this.#broken
  }
}

function decode(type: number, channel: number, bytes: Buffer, offset: number): Frame {
  const end = bytes.length - 1
  if (type === FrameType.METHOD) {
    const { method, args } = decodeMethod(bytes, FRAME_HEADER_SIZE, end)
    const { name } = method
    return { type: 'method', channel, name, method, args, offset, bytes } as MethodFrame
  }
  if (type === FrameType.BODY) {
    return { type: 'body', channel, payload: bytes.subarray(FRAME_HEADER_SIZE, end), offset, bytes }
  }
  if (type === FrameType.HEADER) return header(channel, bytes, end, offset)
  if (channel !== 0) throw new FrameError(`a heartbeat came on channel ${channel} instead of 0`)
  if (end > FRAME_HEADER_SIZE)
    throw new FrameError(`a heartbeat came with a payload of ${end - FRAME_HEADER_SIZE} bytes`)
  return { type: 'heartbeat', offset, bytes }
}

function header(channel: number, bytes: Buffer, end: number, offset: number): Frame {
  const reader = new Reader(bytes, FRAME_HEADER_SIZE, end)
  if (reader.long() !== BASIC_CLASS_WEIGHT_0) {
    throw new FrameError('a content header is not of the class basic with the weight 0', {
      replyCode: ReplyCode.SYNTAX_ERROR,
    })
  }
  const bodySize = reader.longlong()
  const properties = Properties.read(bytes, FRAME_HEADER_SIZE + CONTENT_FLAGS_OFFSET, end)
  if (properties.isTooDeep) {
    throw new FrameError('the headers of a message are nested too deep', { replyCode: ReplyCode.SYNTAX_ERROR })
  }
  return { type: 'header', channel, bodySize, properties, offset, bytes }
}
