import { EncodeError } from '../errors.ts'
import { MAX_LOOPED_CHARS, newView, writeAscii } from './bytes.ts'
import { hasLoneSurrogate, MAX_SHORTSTR } from './text.ts'

/** Bytes of one outgoing chunk, which a burst of messages leaves in. */
export const CHUNK_SIZE = 65_536
/** Bytes that may be reserved and then not be used: room for text is reserved before it is measured. */
const RESERVED_TOO_MUCH = 16_384
/** Most chunks that are kept for the next writers: one turn of the event loop may write to as many connections. */
const MAX_SPARES = 64

/** Memory with its view. */
interface Chunk {
  readonly buffer: Buffer
  readonly view: DataView
}

const NO_CHUNK = chunkOf(Buffer.alloc(0))

/** Chunks that have left, for all connections: an idle one has none ("100 idle connections": 64 KiB less for each). */
const spares: Chunk[] = []

function chunkOf(buffer: Buffer): Chunk {
  return { buffer, view: newView(buffer) }
}

function nextChunk(): Chunk {
  return spares.pop() ?? chunkOf(Buffer.allocUnsafeSlow(CHUNK_SIZE))
}

function putBack(chunk: Chunk | undefined): void {
  if (chunk?.buffer.length === CHUNK_SIZE && spares.length < MAX_SPARES) spares.push(chunk)
}

/**
 * The outgoing bytes of one connection, encoded in place. It has a chunk from the first byte on until all have left.
 *
 *     segments                buffer
 *     [ sealed ][ by ref ]    [ taken | waiting | message being written | free ]
 *                                     ^start    ^mark                   ^position
 *
 * A message is written between `begin()` and the next `begin()` or `take()`; `rollback()` forgets it. The field
 * writers are unchecked: the caller makes room with `reserve()` first.
 *
 * Getters, iterators and proxies of the program run while a message is encoded, and may write as well. Between `guard()`
 * and `unguard()` no other message begins, and this one stays in the buffer.
 */
export class Writer {
  /** Of the present chunk. */
  buffer = NO_CHUNK.buffer
  view = NO_CHUNK.view
  position = 0
  /** Bytes sealed in `segments`, before those in `buffer`. */
  sealed = 0
  /** Names and indexes down to the field of a table that is being written: for errors. */
  readonly path: (string | number)[] = []
  #segments: Uint8Array[] = []
  #chunk = NO_CHUNK
  /** The chunk before this one. */
  #sealedChunk: Chunk | undefined
  #start = 0
  #mark = 0
  #guarded = false
  /** What the message being written is called in errors, and the bytes that it may take. */
  #what = ''
  #limit = Number.POSITIVE_INFINITY

  /** Bytes of whole messages that wait to be taken. */
  get waiting(): number {
    return this.sealed + (this.#guarded ? this.#mark : this.position) - this.#start
  }

  /** Code of the program may be running, in the middle of a message: nothing else can be written. */
  get isGuarded(): boolean {
    return this.#guarded
  }

  /**
   * A message starts here.
   *
   * @throws EncodeError in code of the program that runs while another message is encoded.
   */
  begin(): void {
    if (this.#guarded) {
      throw new EncodeError(
        'nothing can be sent from a getter, an iterator or a proxy of a message that is being encoded; send it before or afterwards',
      )
    }
    this.#mark = this.position
  }

  /** Code of the program may run from now on. If the message grows past `limit` bytes, that is an `EncodeError` of `what`. */
  guard(what: string, limit: number): void {
    this.#guarded = true
    this.#what = what
    this.#limit = limit + RESERVED_TOO_MUCH
  }

  /** No more code of the program runs for this message. */
  unguard(): void {
    this.#guarded = false
    this.#limit = Number.POSITIVE_INFINITY
  }

  /** Drop everything written since `begin()`. Not after `reference()`. */
  rollback(): void {
    this.position = this.#mark
    if (this.buffer.length > CHUNK_SIZE && this.#mark === this.#start) this.#useChunk(NO_CHUNK)
  }

  /** Make room for `size` more bytes; the message being written may move to another chunk, whole. */
  reserve(size: number): void {
    if (this.position + size > this.buffer.length) this.#move(size)
  }

  /** Bytes of the message being written so far: unlike a position, an offset stays true when the message moves. */
  get offset(): number {
    return this.position - this.#mark
  }

  /** The position in `buffer` of an `offset` of the message being written, until the next `reserve()`. */
  positionOf(offset: number): number {
    return this.#mark + offset
  }

  /** Write a 32-bit length back at `offset` of the message being written. */
  patchLong(offset: number, value: number): void {
    const { position } = this
    this.position = this.#mark + offset
    this.long(value)
    this.position = position
  }

  #move(size: number): void {
    const { buffer } = this
    const start = this.#mark
    const length = this.position - start
    const needed = length + size
    if (needed > this.#limit) {
      const most = this.#limit - RESERVED_TOO_MUCH
      throw new EncodeError(`${this.#what} do not fit in one frame of ${most} bytes`)
    }
    this.#seal(start)
    const chunk = needed > CHUNK_SIZE / 2 ? chunkOf(Buffer.allocUnsafeSlow(2 * needed)) : nextChunk()
    if (length > 0) buffer.copy(chunk.buffer, 0, start, start + length)
    if (this.#chunk !== NO_CHUNK) this.#sealedChunk = this.#chunk
    this.#useChunk(chunk)
    this.position = length
  }

  #useChunk(chunk: Chunk): void {
    this.#chunk = chunk
    this.buffer = chunk.buffer
    this.view = chunk.view
    this.position = 0
    this.#start = 0
    this.#mark = 0
  }

  #seal(end: number): void {
    if (end > this.#start) {
      this.#segments.push(this.buffer.subarray(this.#start, end))
      this.sealed += end - this.#start
      this.#start = end
    }
  }

  /** Send `bytes` here without copying them. They must not change before they have left. */
  reference(bytes: Uint8Array): void {
    this.#seal(this.position)
    this.#mark = this.position
    this.#segments.push(bytes)
    this.sealed += bytes.length
  }

  /** Take the sealed segments, in order: whole chunks, without the one that is being written. */
  takeSealed(): Uint8Array[] {
    const segments = this.#segments
    this.#segments = []
    this.sealed = 0
    return segments
  }

  /** Take all whole messages that wait, in order. */
  take(): Uint8Array[] {
    if (!this.#guarded) this.#mark = this.position
    this.#seal(this.#mark)
    const segments = this.#segments
    this.#segments = []
    this.sealed = 0
    return segments
  }

  /** Everything that was taken has left: chunks may be used again, by any connection. */
  reuse(): void {
    if (this.sealed > 0 || this.#chunk === NO_CHUNK) return
    putBack(this.#sealedChunk)
    this.#sealedChunk = undefined
    if (this.waiting > 0 || this.#guarded) return
    putBack(this.#chunk)
    this.#useChunk(NO_CHUNK)
  }

  /** The bytes of one message, for tests and for frames that are sent alone. */
  static encode(write: (writer: Writer) => void): Buffer {
    const writer = new Writer()
    writer.begin()
    write(writer)
    const bytes = Buffer.concat(writer.take())
    writer.reuse()
    return bytes
  }

  octet(value: number): void {
    this.buffer[this.position++] = value
  }

  short(value: number): void {
    this.view.setInt16(this.position, value)
    this.position += 2
  }

  long(value: number): void {
    this.view.setInt32(this.position, value)
    this.position += 4
  }

  /** An unsigned 64-bit integer up to 2^53 - 1. */
  longlong(value: number): void {
    this.long(Math.floor(value / 4_294_967_296))
    this.long(value % 4_294_967_296)
  }

  bigint(value: bigint): void {
    this.buffer.writeBigUInt64BE(BigInt.asUintN(64, value), this.position)
    this.position += 8
  }

  double(value: number): void {
    this.position = this.buffer.writeDoubleBE(value, this.position)
  }

  float(value: number): void {
    this.position = this.buffer.writeFloatBE(value, this.position)
  }

  bytes(value: Uint8Array): void {
    this.buffer.set(value, this.position)
    this.position += value.length
  }

  /**
   * A short string, its length octet first. Returns false, with nothing written, if it is longer than 255 bytes or has
   * a lone surrogate. The caller has reserved 256 bytes.
   */
  shortstr(value: string): boolean {
    const { length } = value
    const { buffer, position } = this
    if (length <= MAX_LOOPED_CHARS && writeAscii(this.view, position + 1, value)) {
      buffer[position] = length
      this.position = position + 1 + length
      return true
    }
    // A UTF-16 unit takes at most three bytes, so a shorter text need not be measured.
    if (length > 85 && (length > MAX_SHORTSTR || Buffer.byteLength(value) > MAX_SHORTSTR)) return false
    const size = buffer.write(value, position + 1)
    if (hasLoneSurrogate(value, size)) return false
    buffer[position] = size
    this.position = position + 1 + size
    return true
  }

  /** A string as UTF-8, without a length. The caller has reserved three bytes a UTF-16 unit. Returns its bytes. */
  utf8(value: string): number {
    const size = this.buffer.write(value, this.position)
    this.position += size
    return size
  }
}
