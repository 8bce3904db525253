import { EncodeError } from '../errors.ts'
import { BASIC_PUBLISH } from './basic-codec.ts'
import { copyWords, isBytes, isDetached, Slice } from './bytes.ts'
import { FRAME_END, FRAME_OVERHEAD, FrameType } from './constants.ts'
import { encodeError } from './encode-error.ts'
import { inspectShort } from './inspect-short.ts'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from './properties.ts'
import { PropertiesTemplate } from './properties-template.ts'
import { Properties } from './received-properties.ts'
import { hasLoneSurrogate, shortstrFault } from './text.ts'
import { Writer } from './writer.ts'

/** Bodies from this size on leave without being copied. */
export const REFERENCE_SIZE = 16_384

const BASIC_CLASS = 60
const FRAME_HEADER = 7
/** Frame header, class and method, reserved ticket, two short strings, bits, end octet. */
const MAX_PUBLISH_METHOD = FRAME_HEADER + 4 + 2 + 256 + 256 + 1 + 1
/** Frame header, class, weight, body size, flags, end octet: a content header without properties. */
const PLAIN_HEADER = FRAME_HEADER + 14 + 1
const MAX_PUBLISH = MAX_PUBLISH_METHOD + PLAIN_HEADER + MAX_SCALAR_PROPERTIES + FRAME_OVERHEAD
/** RabbitMQ takes 512 MiB at most; below 2^31 the upper half of a body size is always 0. */
const MAX_PAYLOAD = 0x7fff_ffff
/** Strings up to this many UTF-16 units are encoded in place, three bytes a unit at most. */
const INLINE_STRING = 5_000
/** Payloads up to this size are copied in a loop: faster than the call into C++, by 10 ns. */
const LOOPED = 16

let scratch: Writer | undefined

/**
 * Writes basic.publish with its content. The method frame of the last publish, and its content header where that had
 * no properties, is copied when exchange and routing key are the same: programs publish in runs.
 */
export class PublishEncoder {
  readonly #writer: Writer
  readonly #frameMax: number
  #channel = 0
  #exchange = ''
  #routingKey = ''
  #mandatory = false
  /** Where the last method frame stands in the writer's buffer, while `#generation` is the writer's. */
  #at = 0
  #methodSize = 0
  #plainHeader = false
  /** Bytes in front of the payload of the last publish, where that was one small body without properties; else 0. */
  #prefixSize = 0
  #payloadSize = 0
  #generation = -1
  readonly #template = new PropertiesTemplate()
  /** Encodes what is only to be checked. */
  #checker: PublishEncoder | undefined

  /** `frameMax` is the agreed size in bytes of a whole frame. */
  constructor(writer: Writer, frameMax: number) {
    this.#writer = writer
    this.#frameMax = frameMax
  }

  /**
   * Write a whole message, or nothing and throw an `EncodeError`. Returns true where `payload` is sent by reference:
   * it must then stay as it is until it has left.
   */
  publish(
    channel: number,
    exchange: string,
    routingKey: string,
    mandatory: boolean,
    properties: BasicProperties | undefined,
    payload: Uint8Array | string,
  ): boolean {
    if (
      properties === undefined &&
      this.#prefixSize > 0 &&
      this.#generation === this.#writer.generation &&
      routingKey === this.#routingKey &&
      exchange === this.#exchange &&
      channel === this.#channel &&
      mandatory === this.#mandatory &&
      payload instanceof Uint8Array &&
      this.#publishAgain(payload)
    ) {
      return false
    }
    this.#prefixSize = 0
    if (typeof payload === 'string') {
      if (payload.length > INLINE_STRING) {
        const bytes = Buffer.from(payload)
        checkText(payload, bytes.length)
        this.publish(channel, exchange, routingKey, mandatory, properties, bytes)
        return false
      }
    } else checkBytes(payload)
    const size = typeof payload === 'string' ? 0 : payload.length
    const writer = this.#writer
    writer.begin()
    writer.guard('basic.publish: the properties', this.#frameMax)
    try {
      const headerAt = this.#writeHead(channel, exchange, routingKey, mandatory, properties, size)
      writer.unguard()
      if (typeof payload === 'string') return this.#writeText(channel, payload, headerAt)
      if (payload.length !== size) throw detached()
      return this.#writeBody(channel, payload)
    } catch (error) {
      writer.unguard()
      writer.rollback()
      this.#generation = -1
      throw encodeError('basic.publish', error)
    }
  }

  /** Write the method and the content header. Returns where the header starts. */
  #writeHead(
    channel: number,
    exchange: string,
    routingKey: string,
    mandatory: boolean,
    properties: BasicProperties | undefined,
    size: number,
  ): number {
    const writer = this.#writer
    writer.reserve(MAX_PUBLISH)
    const repeated =
      this.#generation === writer.generation &&
      exchange === this.#exchange &&
      routingKey === this.#routingKey &&
      channel === this.#channel &&
      mandatory === this.#mandatory
    let headerAt: number
    if (repeated) {
      const { view, position } = writer
      const length = this.#methodSize + (this.#plainHeader && properties === undefined ? PLAIN_HEADER : 0)
      copyWords(view, this.#at, this.#at + length, view, position)
      this.#at = position
      headerAt = this.#methodSize
      writer.position = position + headerAt
    } else {
      this.#generation = -1
      this.#writeMethod(channel, exchange, routingKey, mandatory)
      headerAt = writer.offset
    }
    if (properties === undefined) this.#writePlainHeader(channel, size, repeated && this.#plainHeader)
    else this.#writeHeader(channel, size, properties)
    this.#channel = channel
    this.#exchange = exchange
    this.#routingKey = routingKey
    this.#mandatory = mandatory
    this.#methodSize = headerAt
    this.#at = writer.positionOf(0)
    this.#generation = writer.generation
    this.#plainHeader = properties === undefined
    return headerAt
  }

  /**
   * The last publish again, with another payload: one copy of everything in front of it. Returns false, with nothing
   * written, where it is not that simple.
   */
  #publishAgain(payload: Uint8Array): boolean {
    const writer = this.#writer
    const { buffer, view, position } = writer
    const length = lengthOf(payload)
    const prefixSize = this.#prefixSize
    if (length === 0 || length >= REFERENCE_SIZE || length > this.#frameMax - FRAME_OVERHEAD) return false
    if (position + prefixSize + length >= buffer.length) return false
    writer.begin()
    copyWords(view, this.#at, this.#at + prefixSize, view, position)
    this.#at = position
    let at = position + prefixSize
    if (length !== this.#payloadSize) {
      this.#payloadSize = length
      // The length of the body frame, and the body size in the content header, whose upper half is 0.
      view.setInt32(at - 4, length)
      view.setInt32(at - FRAME_HEADER - 3 - 4, length)
    }
    writePayload(buffer, view, at, payload)
    at += length
    buffer[at] = FRAME_END
    writer.position = at + 1
    return true
  }

  /** Throw the `EncodeError` that `publish` would, and write nothing. */
  check(
    exchange: string,
    routingKey: string,
    mandatory: boolean,
    properties: BasicProperties | undefined,
    payload: Uint8Array | string,
  ): void {
    scratch ??= new Writer()
    this.#checker ??= new PublishEncoder(scratch, this.#frameMax)
    if (typeof payload === 'string') checkText(payload)
    else checkBytes(payload)
    this.#checker.publish(0, exchange, routingKey, mandatory, properties, '')
    scratch.take()
    scratch.reuse()
  }

  #writeMethod(channel: number, exchange: string, routingKey: string, mandatory: boolean): void {
    const writer = this.#writer
    const start = writer.position
    writer.octet(FrameType.METHOD)
    writer.short(channel)
    writer.position += 4
    writer.long(BASIC_PUBLISH)
    writer.short(0)
    writeName(writer, 'exchangeName', exchange)
    writeName(writer, 'routingKey', routingKey)
    if (typeof mandatory !== 'boolean') {
      throw new EncodeError(`basic.publish: mandatory must be a boolean, not ${inspectShort(mandatory)}`)
    }
    writer.octet(mandatory ? 1 : 0)
    const end = writer.position
    writer.position = start + 3
    writer.long(end - start - FRAME_HEADER)
    writer.position = end
    writer.octet(FRAME_END)
  }

  /** `copied` where the bytes of the last header stand here already: only the body size differs. */
  #writePlainHeader(channel: number, size: number, copied: boolean): void {
    const writer = this.#writer
    if (copied) writer.position += FRAME_HEADER + 8
    else {
      writer.octet(FrameType.HEADER)
      writer.short(channel)
      writer.long(14)
      writer.short(BASIC_CLASS)
      writer.short(0)
      writer.long(0)
    }
    writer.long(size)
    writer.short(0)
    writer.octet(FRAME_END)
  }

  #writeHeader(channel: number, size: number, properties: BasicProperties): void {
    if (typeof properties !== 'object' || properties === null) {
      throw new EncodeError(`basic.publish: properties must be an object, not ${inspectShort(properties)}`)
    }
    const writer = this.#writer
    const start = writer.offset
    const { view, position } = writer
    view.setInt8(position, FrameType.HEADER)
    view.setInt16(position + 1, channel)
    view.setInt32(position + 7, BASIC_CLASS << 16)
    view.setInt32(position + 11, 0)
    view.setInt32(position + 15, size)
    writer.position = position + FRAME_HEADER + 12
    if (properties instanceof Properties) properties.write(writer)
    else if (!this.#template.write(writer, properties)) {
      writeProperties(writer, properties)
      const listAt = writer.positionOf(start + FRAME_HEADER + 12)
      this.#template.learn(properties, writer.buffer, listAt, writer.position)
    }
    const length = writer.offset - start - FRAME_HEADER
    if (length + FRAME_OVERHEAD > this.#frameMax) {
      throw new EncodeError(
        `basic.publish: the properties take ${length} bytes, which do not fit in one frame of ${this.#frameMax}`,
      )
    }
    writer.patchLong(start + 3, length)
    writer.reserve(1 + FRAME_OVERHEAD)
    writer.octet(FRAME_END)
  }

  /** A short string, whose length in bytes is known once it is written. */
  #writeText(channel: number, text: string, headerAt: number): boolean {
    if (text.length === 0) return false
    const writer = this.#writer
    const frameStart = writer.offset
    writer.reserve(FRAME_OVERHEAD + 3 * text.length)
    this.#at = writer.positionOf(0)
    this.#generation = writer.generation
    writer.octet(FrameType.BODY)
    writer.short(channel)
    writer.position += 4
    const size = writer.utf8(text)
    checkText(text, size)
    if (size + FRAME_OVERHEAD > this.#frameMax) {
      const bytes = Buffer.from(writer.buffer.subarray(writer.position - size, writer.position))
      writer.position = writer.positionOf(frameStart)
      writer.patchLong(headerAt + FRAME_HEADER + 8, size)
      return this.#writeBody(channel, bytes)
    }
    writer.octet(FRAME_END)
    writer.patchLong(frameStart + 3, size)
    writer.patchLong(headerAt + FRAME_HEADER + 8, size)
    return false
  }

  #writeBody(channel: number, payload: Uint8Array): boolean {
    const writer = this.#writer
    const { length } = payload
    if (length === 0) return false
    const most = this.#frameMax - FRAME_OVERHEAD
    if (length < REFERENCE_SIZE && length <= most) {
      if (writer.position + length + FRAME_OVERHEAD > writer.buffer.length) {
        writer.reserve(length + FRAME_OVERHEAD)
        this.#at = writer.positionOf(0)
        this.#generation = writer.generation
      }
      writeFrameHeader(writer, channel, length)
      const { buffer, view } = writer
      const at = writer.position
      if (this.#plainHeader) {
        this.#prefixSize = writer.offset
        this.#payloadSize = length
      }
      writePayload(buffer, view, at, payload)
      buffer[at + length] = FRAME_END
      writer.position = at + length + 1
      return false
    }
    const byReference = length >= REFERENCE_SIZE
    for (let start = 0; start < length; start += most) {
      const size = Math.min(most, length - start)
      const piece = new Slice(payload.buffer, payload.byteOffset + start, size)
      writer.reserve(FRAME_OVERHEAD + (byReference ? 0 : size))
      writeFrameHeader(writer, channel, size)
      if (byReference) writer.reference(piece)
      else writer.bytes(piece)
      writer.octet(FRAME_END)
    }
    this.#generation = -1
    return byReference
  }
}

/** 0 for what has the prototype of a `Uint8Array` and is none: `instanceof` costs less than to find out. */
function lengthOf(payload: Uint8Array): number {
  try {
    return payload.length
  } catch {
    return 0
  }
}

/** Programs publish one payload after the other: unlike what is read, each is another buffer. */
function writePayload(buffer: Buffer, view: DataView, at: number, payload: Uint8Array): void {
  const { length } = payload
  if (length > LOOPED) {
    buffer.set(payload, at)
    return
  }
  let i = 0
  for (const last = length - 3; i < last; i += 4) {
    const half = (payload[i] as number) | ((payload[i + 1] as number) << 8)
    view.setInt32(at + i, half | ((payload[i + 2] as number) << 16) | ((payload[i + 3] as number) << 24), true)
  }
  for (; i < length; i++) view.setInt8(at + i, payload[i] as number)
}

function writeFrameHeader(writer: Writer, channel: number, size: number): void {
  writer.octet(FrameType.BODY)
  writer.short(channel)
  writer.long(size)
}

function writeName(writer: Writer, name: string, value: string): void {
  if (typeof value !== 'string') {
    throw new EncodeError(`basic.publish: ${name} must be a string, not ${inspectShort(value)}`)
  }
  if (!writer.shortstr(value)) throw new EncodeError(`basic.publish: ${name} ${shortstrFault(value)}`)
}

/** `size` is what the text takes in UTF-8, if that is known. */
function checkText(payload: string, size?: number): void {
  if (size === undefined ? !payload.isWellFormed() : hasLoneSurrogate(payload, size)) {
    throw new EncodeError('basic.publish: payload has a lone surrogate, which has no UTF-8')
  }
}

function checkBytes(payload: unknown): void {
  if (!isBytes(payload)) {
    throw new EncodeError(`basic.publish: payload must be a Uint8Array or a string, not ${inspectShort(payload)}`)
  }
  const { length } = payload
  if (length > MAX_PAYLOAD) {
    throw new EncodeError(`basic.publish: a payload of ${length} bytes is above the limit of 2 GiB`)
  }
  if (length === 0 && isDetached(payload)) throw detached()
}

function detached(): EncodeError {
  return new EncodeError(
    'basic.publish: the memory of payload was transferred away (by postMessage or structuredClone) before it was sent; transfer a copy, or wait for the promise of the publish first',
  )
}
