import { FrameError } from '../errors.ts'
import { viewOf } from './bytes.ts'
import { FRAME_END, FRAME_OVERHEAD, FrameType } from './constants.ts'
import { CONTENT_FLAGS_OFFSET, FRAME_CHANNEL_OFFSET, FRAME_HEADER_SIZE, FRAME_SIZE_OFFSET } from './layouts.ts'

/** Takes the frames that a parser finds. `buffer` is only valid until the call returns. */
export interface FrameSink {
  /**
   * The payload of a whole method frame. The bytes from there to `limit` may be read as well. Returns where the next frame
   * starts: after this one, or after its content if the sink has taken that too.
   */
  methodFrame(channel: number, buffer: Buffer, start: number, end: number, limit: number): number
  /** The payload of a content header frame, of `length` bytes. If that is more than 16 MiB, only its fixed part is given. */
  headerFrame(channel: number, buffer: Buffer, start: number, end: number, length: number): void
  /** A piece of the payload of a body frame; `ended` once the whole frame is in and sound. */
  bodyFrame(channel: number, buffer: Buffer, start: number, end: number, ended: boolean): void
  heartbeatFrame(): void
}

/** Bytes of the largest method that is read: the longest of RabbitMQ takes a thousandth of that. */
const MAX_METHOD = 1_048_576
/** Bytes of the largest content header that is read. Of a larger one, the fixed part is. */
const MAX_HEADER = 16_777_216
/** Bytes that are reserved when a frame is announced; more are reserved as they come. */
const TRUSTED_SIZE = 131_072

/**
 * Cuts a stream of bytes into frames (§4.2.3), in pieces of any size. Bodies go on as they come, without being
 * gathered here; a method or a header split over two reads is put together once, in a buffer sized from its frame
 * header. It throws a `FrameError` at the first byte that cannot be AMQP, and cannot be used after that.
 */
export class FrameParser {
  readonly #sink: FrameSink
  #maxPayload: number
  // A frame that the last piece did not end: first its header is gathered, then its payload and end octet.
  readonly #header = Buffer.alloc(FRAME_HEADER_SIZE)
  #headerBytes = 0
  #type = 0
  #channel = 0
  #size = 0
  /** Bytes of payload and end octet still to come. */
  #missing = 0
  /** The start of the payload, of which `#kept` bytes are wanted. */
  #gathered: Buffer | undefined
  #kept = 0

  constructor(sink: FrameSink, frameMax: number) {
    this.#sink = sink
    this.#maxPayload = frameMax - FRAME_OVERHEAD
  }

  /** The size agreed with the server: from now on a larger frame is refused by its header. */
  set frameMax(bytes: number) {
    this.#maxPayload = bytes - FRAME_OVERHEAD
  }

  /** Take the bytes from 0 to `end` of `buffer`. */
  push(buffer: Buffer, end: number): void {
    let at = this.#headerBytes === 0 ? 0 : this.#resume(buffer, end)
    const view = viewOf(buffer)
    while (end - at >= FRAME_HEADER_SIZE) {
      const type = view.getUint8(at)
      const channel = view.getUint16(at + FRAME_CHANNEL_OFFSET)
      const size = view.getUint32(at + FRAME_SIZE_OFFSET)
      const start = at + FRAME_HEADER_SIZE
      const stop = start + size
      if (stop >= end || size > this.#maxPayload || size > MAX_METHOD) {
        at = this.#begin(type, channel, size, buffer, start, end)
        continue
      }
      if (view.getUint8(stop) !== FRAME_END) throw badFrameEnd(type, channel, view.getUint8(stop))
      at = stop + 1
      if (type === FrameType.METHOD) at = this.#sink.methodFrame(channel, buffer, start, stop, end)
      else if (type === FrameType.HEADER) this.#sink.headerFrame(channel, buffer, start, stop, size)
      else if (type === FrameType.BODY) this.#sink.bodyFrame(channel, buffer, start, stop, true)
      else this.#heartbeat(type, channel, size)
    }
    if (at < end) this.#headerBytes = buffer.copy(this.#header, 0, at, end)
  }

  /** A frame whose end is not in this piece, or one of an unusual size. Returns where the next frame starts. */
  #begin(type: number, channel: number, size: number, buffer: Buffer, start: number, end: number): number {
    if (type !== FrameType.METHOD && type !== FrameType.HEADER && type !== FrameType.BODY) {
      this.#heartbeat(type, channel, size, false)
    }
    if (size > this.#maxPayload) {
      throw new FrameError(
        `a frame of ${size + FRAME_OVERHEAD} bytes on channel ${channel} is larger than the ${
          this.#maxPayload + FRAME_OVERHEAD
        } bytes agreed`,
      )
    }
    if (type === FrameType.METHOD && size > MAX_METHOD) {
      throw new FrameError(`a method of ${size} bytes on channel ${channel} is larger than any that this client reads`)
    }
    this.#headerBytes = FRAME_HEADER_SIZE
    this.#type = type
    this.#channel = channel
    this.#size = size
    this.#missing = size + 1
    if (type !== FrameType.BODY) {
      this.#kept = type === FrameType.HEADER && size > MAX_HEADER ? CONTENT_FLAGS_OFFSET : size
      this.#gathered = Buffer.allocUnsafeSlow(Math.min(this.#kept, TRUSTED_SIZE))
    }
    return this.#take(buffer, start, end)
  }

  /** Continue the frame that the last piece did not end. Returns where the next frame starts. */
  #resume(buffer: Buffer, end: number): number {
    let at = 0
    if (this.#headerBytes < FRAME_HEADER_SIZE) {
      const copied = buffer.copy(
        this.#header,
        this.#headerBytes,
        0,
        Math.min(end, FRAME_HEADER_SIZE - this.#headerBytes),
      )
      this.#headerBytes += copied
      if (this.#headerBytes < FRAME_HEADER_SIZE) return end
      const header = this.#header
      const size = header.readUInt32BE(FRAME_SIZE_OFFSET)
      this.#begin(header[0] as number, header.readUInt16BE(FRAME_CHANNEL_OFFSET), size, buffer, end, end)
      at = copied
    }
    return this.#take(buffer, at, end)
  }

  /** Take the bytes of the open frame from `start` on. Returns where they end. */
  #take(buffer: Buffer, start: number, end: number): number {
    const stop = Math.min(end, start + this.#missing)
    const taken = stop - start
    if (taken === 0) return stop
    this.#missing -= taken
    const ended = this.#missing === 0
    const type = this.#type
    const channel = this.#channel
    if (type === FrameType.BODY) {
      if (ended && buffer[stop - 1] !== FRAME_END) throw badFrameEnd(type, channel, buffer[stop - 1] as number)
      if (ended) this.#headerBytes = 0
      this.#sink.bodyFrame(channel, buffer, start, ended ? stop - 1 : stop, ended)
      return stop
    }
    const size = this.#size
    this.#gather(buffer, start, size + 1 - this.#missing - taken, taken)
    if (!ended) return stop
    const gathered = this.#gathered as Buffer
    this.#headerBytes = 0
    this.#gathered = undefined
    const last = buffer[stop - 1] as number
    if (last !== FRAME_END) throw badFrameEnd(type, channel, last)
    if (type === FrameType.METHOD) this.#sink.methodFrame(channel, gathered, 0, size, size + 1)
    else if (type === FrameType.HEADER) this.#sink.headerFrame(channel, gathered, 0, this.#kept, size)
    else this.#sink.heartbeatFrame()
    return stop
  }

  /** Keep the wanted ones of `length` bytes from `start` on, which are at `offset` of the payload. */
  #gather(buffer: Buffer, start: number, offset: number, length: number): void {
    const stop = Math.min(offset + length, this.#kept)
    if (offset >= stop) return
    let gathered = this.#gathered as Buffer
    if (stop > gathered.length) {
      const larger = Buffer.allocUnsafeSlow(Math.min(this.#kept, 2 * stop))
      gathered.copy(larger, 0, 0, offset)
      gathered = larger
      this.#gathered = larger
    }
    buffer.copy(gathered, offset, start, start + stop - offset)
  }

  /** The only other type is the heartbeat, which is empty and on channel 0 (§4.2.7). */
  #heartbeat(type: number, channel: number, size: number, whole = true): void {
    if (type !== FrameType.HEARTBEAT) throw new FrameError(`${type} is not a frame type`)
    if (channel !== 0) throw new FrameError(`a heartbeat came on channel ${channel} instead of 0`)
    if (size !== 0) throw new FrameError(`a heartbeat came with a payload of ${size} bytes`)
    if (whole) this.#sink.heartbeatFrame()
  }
}

function badFrameEnd(type: number, channel: number, octet: number): FrameError {
  return new FrameError(
    `a frame of type ${type} on channel ${channel} ends with the octet 0x${octet.toString(16)} instead of 0xce`,
  )
}
