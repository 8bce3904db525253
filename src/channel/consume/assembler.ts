import { FrameError, ProtocolError } from '../../errors.ts'
import { copyToHeap, MAX_HEAP_BYTES, ownCopy, viewOf } from '../../protocol/bytes.ts'
import { FRAME_END, FRAME_OVERHEAD, FrameType } from '../../protocol/constants.ts'
import { MAX_DEPTH } from '../../protocol/field-types.ts'
import { FRAME_HEADER_SIZE, FRAME_SIZE_OFFSET } from '../../protocol/layouts.ts'
import { Properties } from '../../protocol/received-properties.ts'

/** Bodies up to this size get a buffer of their announced size at once; a larger one, when this much has come. */
const TRUSTED_SIZE = 1_048_576
const BASIC_CLASS_WEIGHT_0 = 0x003c0000
/** Class, weight and body size, before the property flags (§4.2.6.1). */
const FIXED_HEADER = 12

/** Takes whole messages; `content` has the arguments of the method before them. */
export interface ContentReceiver<Content> {
  contentReceived(content: Content, body: Buffer, properties: Properties): void
  /**
   * A message of `size` bytes that is past a limit of this client, for the `reason` given; its body was skipped as it came.
   */
  contentRefused(content: Content, size: number, properties: Properties, reason: string): void
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
  /** Frame type and channel of a content header, and of a body: the first three octets. */
  readonly #headerFrame: number
  readonly #bodyFrame: number
  #state: 'idle' | 'header' | 'body' = 'idle'
  #content: Content | undefined
  #properties: Properties | undefined
  #body: Buffer | undefined
  #size = 0
  #received = 0
  /** Why the message is not wanted. */
  #refusal: string | undefined

  constructor(channelId: number, frameMax: number, maxMessageSize: number, receiver: ContentReceiver<Content>) {
    this.#maxPayload = frameMax - FRAME_OVERHEAD
    this.#maxWhole = Math.min(this.#maxPayload, maxMessageSize)
    this.#channelId = channelId
    this.#headerFrame = (FrameType.HEADER << 16) | channelId
    this.#bodyFrame = (FrameType.BODY << 16) | channelId
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
   * The same for header and body that mostly stand right after it, from `start` on, and end before `limit`: takes them at
   * once. Returns the offset at which to go on, which is `start` if they are not that simple.
   */
  take(content: Content, buffer: Buffer, start: number, limit: number): number {
    const view = viewOf(buffer)
    const payload = start + FRAME_HEADER_SIZE
    const headerEnd = payload + FIXED_HEADER + 2
    // Everything that may stop short of `limit` is looked at in the frame headers first.
    if (headerEnd < limit && view.getUint32(start) >>> 8 === this.#headerFrame) {
      const end = payload + view.getUint32(start + FRAME_SIZE_OFFSET)
      const bodyStart = end + 1
      const size = view.getUint32(payload + 8)
      const bodyEnd = bodyStart + FRAME_HEADER_SIZE + size
      if (
        bodyEnd < limit &&
        end >= headerEnd &&
        end - payload <= this.#maxPayload &&
        size > 0 &&
        size <= this.#maxWhole &&
        view.getUint8(end) === FRAME_END &&
        view.getUint32(payload) === BASIC_CLASS_WEIGHT_0 &&
        view.getUint32(payload + 4) === 0 &&
        view.getUint32(bodyStart) >>> 8 === this.#bodyFrame &&
        view.getUint32(bodyStart + FRAME_SIZE_OFFSET) === size &&
        view.getUint8(bodyEnd) === FRAME_END
      ) {
        const properties = Properties.read(buffer, payload + FIXED_HEADER, end)
        if (properties.isTooDeep) {
          this.expect(content)
          return start
        }
        const body = copyOf(buffer, bodyStart + FRAME_HEADER_SIZE, bodyEnd)
        this.#receiver.contentReceived(content, body, properties)
        return bodyEnd + 1
      }
    }
    this.expect(content)
    return start
  }

  /** The payload of a content header of `length` bytes; only the fixed part of one that is larger than this client reads. */
  header(buffer: Buffer, start: number, end: number, length: number): void {
    if (this.#state !== 'header') {
      throw new ProtocolError(`a content header came on channel ${this.#channelId} without its method`, {
        replyCode: 505,
      })
    }
    if (length < FIXED_HEADER + 2) throw new FrameError('a content header is cut short', { replyCode: 502 })
    const view = viewOf(buffer)
    const classAndWeight = view.getUint32(start)
    if (classAndWeight !== BASIC_CLASS_WEIGHT_0) {
      throw new FrameError(
        `a content header on channel ${this.#channelId} is of class ${classAndWeight >>> 16} and weight ${classAndWeight & 0xffff}, not of class 60 and weight 0`,
      )
    }
    const high = view.getUint32(start + 4)
    if (high > 0x1f_ffff) throw new FrameError('a content header announces 2^53 bytes or more', { replyCode: 502 })
    const low = view.getUint32(start + 8)
    this.#size = high === 0 ? low : high * 0x1_0000_0000 + low
    const cut = length > end - start
    this.#properties = cut ? Properties.NONE : Properties.read(buffer, start + FIXED_HEADER, end)
    this.#refusal = this.#refuse(cut, length)
    this.#received = 0
    this.#state = 'body'
    if (this.#size === 0) this.#complete(Buffer.alloc(0))
  }

  /** Why the message is not taken, if it is not. */
  #refuse(cut: boolean, headerSize: number): string | undefined {
    const where = `on channel ${this.#channelId}`
    if (cut) return `a message ${where} has a header of ${headerSize} bytes, more than this client reads`
    if (this.#properties?.isTooDeep === true) {
      return `a message ${where} has headers nested more than ${MAX_DEPTH} deep, which this client does not read`
    }
    if (this.#size <= this.#maxMessageSize) return undefined
    return `a message of ${this.#size} bytes ${where} is larger than maxMessageSize, ${this.#maxMessageSize} bytes; it was not taken into memory`
  }

  body(buffer: Buffer, start: number, end: number, frameEnded: boolean): void {
    if (this.#state !== 'body') {
      throw new ProtocolError(`a body frame came on channel ${this.#channelId} when none was due`, { replyCode: 505 })
    }
    const size = this.#size
    const received = this.#received + end - start
    if (received > size) {
      throw new ProtocolError(`a body on channel ${this.#channelId} is longer than the ${size} bytes announced`, {
        replyCode: 505,
      })
    }
    if (this.#refusal === undefined) this.#copy(buffer, start, end)
    this.#received = received
    if (received === size && frameEnded) this.#complete(this.#body)
  }

  #copy(buffer: Buffer, start: number, end: number): void {
    const size = this.#size
    let body = this.#body
    if (body === undefined) {
      body = Buffer.allocUnsafeSlow(Math.min(size, TRUSTED_SIZE))
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
    const refusal = this.#refusal
    if (refusal !== undefined) this.#receiver.contentRefused(content, this.#size, properties, refusal)
    // Only a message that is refused has no body.
    else this.#receiver.contentReceived(content, body as Buffer, properties)
  }
}

/** Bodies of at least this many bytes get memory from the system; smaller ones share what Node keeps for buffers. */
const MIN_OWN_MEMORY = 4_096

/** The bytes from `start` to `end`, in a buffer of the receiver's own. */
function copyOf(buffer: Buffer, start: number, end: number): Buffer {
  const size = end - start
  if (size <= MAX_HEAP_BYTES) return copyToHeap(viewOf(buffer), start, size)
  if (size >= MIN_OWN_MEMORY) return ownCopy(buffer, start, end)
  const copy = Buffer.allocUnsafe(size)
  buffer.copy(copy, 0, start, end)
  return copy
}
