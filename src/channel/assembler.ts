import { FrameError, ProtocolError } from '../errors.ts'
import { FRAME_END, FRAME_OVERHEAD, FrameType } from '../protocol/constants.ts'
import { readLong } from '../protocol/hot.ts'
import { FRAME_HEADER_SIZE, FRAME_SIZE_OFFSET } from '../protocol/layouts.ts'
import { Properties } from '../protocol/properties.ts'
import { copyBytes, newView } from '../protocol/words.ts'

/** Bodies up to this size get a buffer of their announced size at once; a larger one, when this much has come. */
const TRUSTED_SIZE = 1_048_576
const BASIC_CLASS_WEIGHT_0 = 0x003c0000
/** Class, weight and body size, before the property flags (§4.2.6.1). */
const FIXED_HEADER = 12
const EMPTY = Buffer.alloc(0)

/** Takes whole messages; `content` is what the method before them said. */
export interface ContentReceiver<Content> {
  contentReceived(content: Content, body: Buffer, properties: Properties): void
  /** A message above the limit, whose bytes were skipped as they came. */
  contentTooLarge(content: Content, size: number, properties: Properties): void
}

/**
 * Puts the content of one channel together (§4.2.6).
 *
 *     idle ──deliver, get-ok, return──▶ header ──content header──▶ body ──all bytes──▶ idle
 *                                          └────────── size 0 ─────────────────────────▲
 */
export class Assembler<Content> {
  readonly #receiver: ContentReceiver<Content>
  readonly #channelId: number
  readonly #maxMessageSize: number
  readonly #maxPayload: number
  /** The largest body that comes in one frame and is wanted. */
  readonly #maxWhole: number
  #state: 'idle' | 'header' | 'body' = 'idle'
  #content: Content | undefined
  #properties: Properties | undefined
  #body: Buffer | undefined
  #size = 0
  #received = 0

  constructor(channelId: number, frameMax: number, maxMessageSize: number, receiver: ContentReceiver<Content>) {
    this.#maxPayload = frameMax - FRAME_OVERHEAD
    this.#maxWhole = Math.min(this.#maxPayload, maxMessageSize)
    this.#channelId = channelId
    this.#maxMessageSize = maxMessageSize
    this.#receiver = receiver
  }

  get idle(): boolean {
    return this.#state === 'idle'
  }

  /** A method that carries content came: its header must be next. */
  expect(content: Content): void {
    this.#content = content
    this.#state = 'header'
  }

  /**
   * The same, where header and body mostly stand right behind it, from `start` on, and end before `limit`: takes them at
   * once. Returns where to go on, which is `start` where they are not that simple.
   */
  take(content: Content, buffer: Buffer, start: number, limit: number): number {
    const payload = start + FRAME_HEADER_SIZE
    const headerEnd = payload + FIXED_HEADER + 2
    // Everything that may stop short of `limit` is looked at in the frame headers first.
    if (headerEnd < limit && this.#isFrame(FrameType.HEADER, buffer, start)) {
      const end = payload + readLong(buffer, start + FRAME_SIZE_OFFSET)
      const bodyStart = end + 1
      const size = readLong(buffer, payload + 8)
      const bodyEnd = bodyStart + FRAME_HEADER_SIZE + size
      if (
        bodyEnd < limit &&
        end >= headerEnd &&
        end - payload <= this.#maxPayload &&
        size > 0 &&
        size <= this.#maxWhole &&
        buffer[end] === FRAME_END &&
        readLong(buffer, payload) === BASIC_CLASS_WEIGHT_0 &&
        readLong(buffer, payload + 4) === 0 &&
        this.#isFrame(FrameType.BODY, buffer, bodyStart) &&
        readLong(buffer, bodyStart + FRAME_SIZE_OFFSET) === size &&
        buffer[bodyEnd] === FRAME_END
      ) {
        const properties = Properties.read(buffer, payload + FIXED_HEADER, end)
        const body = copyOf(buffer, bodyStart + FRAME_HEADER_SIZE, bodyEnd)
        this.#receiver.contentReceived(content, body, properties)
        return bodyEnd + 1
      }
    }
    this.expect(content)
    return start
  }

  #isFrame(type: number, buffer: Buffer, start: number): boolean {
    const id = this.#channelId
    return buffer[start] === type && buffer[start + 1] === id >>> 8 && buffer[start + 2] === (id & 0xff)
  }

  header(buffer: Buffer, start: number, end: number): void {
    if (this.#state !== 'header') {
      throw new ProtocolError(`a content header came on channel ${this.#channelId} without its method`, {
        replyCode: 505,
      })
    }
    if (end - start < FIXED_HEADER + 2) throw new FrameError('a content header is cut short', { replyCode: 502 })
    const classAndWeight = readLong(buffer, start)
    if (classAndWeight !== BASIC_CLASS_WEIGHT_0) {
      throw new FrameError(
        `a content header on channel ${this.#channelId} is of class ${classAndWeight >>> 16} and weight ${classAndWeight & 0xffff}, not of class 60 and weight 0`,
      )
    }
    const high = readLong(buffer, start + 4)
    if (high > 0x1f_ffff) throw new FrameError('a content header announces 2^53 bytes or more', { replyCode: 502 })
    const low = readLong(buffer, start + 8)
    this.#size = high === 0 ? low : high * 0x1_0000_0000 + low
    this.#properties = Properties.read(buffer, start + FIXED_HEADER, end)
    this.#received = 0
    this.#state = 'body'
    if (this.#size === 0) this.#complete(EMPTY)
  }

  body(buffer: Buffer, start: number, end: number, frameEnded: boolean): void {
    if (this.#state !== 'body') {
      throw new ProtocolError(`a body frame came on channel ${this.#channelId} where none was due`, { replyCode: 505 })
    }
    const size = this.#size
    const received = this.#received + end - start
    if (received > size) {
      throw new ProtocolError(`a body on channel ${this.#channelId} is longer than the ${size} bytes announced`, {
        replyCode: 505,
      })
    }
    if (size <= this.#maxMessageSize) this.#copy(buffer, start, end)
    this.#received = received
    if (received === size && frameEnded) this.#complete(this.#body)
  }

  #copy(buffer: Buffer, start: number, end: number): void {
    const size = this.#size
    let body = this.#body
    if (body === undefined) {
      body = Buffer.allocUnsafe(Math.min(size, TRUSTED_SIZE))
      this.#body = body
    }
    const at = this.#received
    if (at + end - start > body.length) {
      const whole = Buffer.allocUnsafeSlow(size)
      body.copy(whole, 0, 0, at)
      body = whole
      this.#body = whole
    }
    buffer.copy(body, at, start, end)
  }

  #complete(body: Buffer | undefined): void {
    const content = this.#content as Content
    const properties = this.#properties as Properties
    this.#state = 'idle'
    this.#content = undefined
    this.#properties = undefined
    this.#body = undefined
    // An empty buffer has no bytes to share: it may be the same for all.
    if (body !== undefined) this.#receiver.contentReceived(content, body, properties)
    else this.#receiver.contentTooLarge(content, this.#size, properties)
  }
}

/** Small bodies share slabs of this size, as those of `Buffer.allocUnsafe` do: one that is kept keeps no more. */
const SLAB_SIZE = 16384
let slab = Buffer.allocUnsafeSlow(SLAB_SIZE)
let slabView = newView(slab)
let slabUsed = 0

/** The bytes from `start` to `end`, in a buffer of the receiver's own. */
function copyOf(buffer: Buffer, start: number, end: number): Buffer {
  const size = end - start
  if (size >= 4096) {
    const own = Buffer.allocUnsafeSlow(size)
    buffer.copy(own, 0, start, end)
    return own
  }
  if (slabUsed + size > SLAB_SIZE) {
    slab = Buffer.allocUnsafeSlow(SLAB_SIZE)
    slabView = newView(slab)
    slabUsed = 0
  }
  const at = slabUsed
  copyBytes(buffer, start, end, slab, slabView, at)
  // A program may lay a typed array over it.
  slabUsed = (at + size + 7) & ~7
  return slab.subarray(at, at + size)
}
