import { LOOPED_TEXT, newView, writeAscii } from './bytes.ts'

/** Bytes of one outgoing chunk; what leaves in one write of a burst. */
export const CHUNK_SIZE = 65_536

/**
 * The outgoing bytes of one connection, encoded in place.
 *
 *     segments                buffer
 *     [ sealed ][ by ref ]    [ taken | waiting | message being written | free ]
 *                                     ^start    ^mark                   ^position
 *
 * A message is written between `begin()` and the next `begin()` or `take()`; `rollback()` forgets it. The field
 * writers are unchecked: the caller makes room with `reserve()` first.
 */
export class Writer {
  buffer: Buffer = Buffer.allocUnsafeSlow(CHUNK_SIZE)
  /** Of `buffer`. */
  view = newView(this.buffer)
  position = 0
  /** Bytes sealed in `segments`, before those in `buffer`. */
  sealed = 0
  /** Grows whenever `buffer` is replaced or reused: an offset into it is good while this stands. */
  generation = 0
  #segments: Uint8Array[] = []
  /** A chunk that was sealed whole, has left, and can be the next one. */
  #spare: Buffer | undefined
  #sealedChunk: Buffer | undefined
  #start = 0
  #mark = 0

  /** Bytes that wait to be taken. */
  get waiting(): number {
    return this.sealed + this.position - this.#start
  }

  /** A message starts here. */
  begin(): void {
    this.#mark = this.position
  }

  /** Forget what was written since `begin()`. Not after `reference()`. */
  rollback(): void {
    this.position = this.#mark
  }

  /** Make room for `size` more bytes; the message being written may move to another chunk, whole. */
  reserve(size: number): void {
    if (this.position + size > this.buffer.length) this.#move(size)
  }

  /** Where the message being written has come to; it stays true when the message moves. */
  get offset(): number {
    return this.position - this.#mark
  }

  /** Where `offset` of the message being written is in `buffer`, until the next `reserve()`. */
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
    const message = this.buffer.subarray(this.#mark, this.position)
    this.#seal(this.#mark)
    const needed = message.length + size
    const buffer = needed > CHUNK_SIZE / 2 ? Buffer.allocUnsafeSlow(2 * needed) : this.#nextChunk()
    message.copy(buffer)
    this.#sealedChunk = this.buffer
    this.buffer = buffer
    this.view = newView(buffer)
    this.position = message.length
    this.#start = 0
    this.#mark = 0
    this.generation++
  }

  #nextChunk(): Buffer {
    const chunk = this.#spare ?? Buffer.allocUnsafeSlow(CHUNK_SIZE)
    this.#spare = undefined
    return chunk
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

  /** What is sealed, in order: whole chunks, without the one that is being written. */
  takeSealed(): Uint8Array[] {
    const segments = this.#segments
    this.#segments = []
    this.sealed = 0
    return segments
  }

  /** Everything that waits, in order; the writer goes on behind it. */
  take(): Uint8Array[] {
    this.#seal(this.position)
    this.#mark = this.position
    const segments = this.#segments
    this.#segments = []
    this.sealed = 0
    return segments
  }

  /** All that was taken has left: chunks may be written again. */
  reuse(): void {
    if (this.#sealedChunk?.length === CHUNK_SIZE) this.#spare = this.#sealedChunk
    this.#sealedChunk = undefined
    if (this.waiting > 0) return
    this.position = 0
    this.#start = 0
    this.#mark = 0
    this.generation++
  }

  /** A message of its own, as bytes: for tests and for frames that leave alone. */
  static encode(write: (writer: Writer) => void): Buffer {
    const writer = new Writer()
    writer.begin()
    write(writer)
    return Buffer.concat(writer.take())
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
   * A short string, its length octet first. Returns false, with nothing written, where it is longer than 255
   * bytes. The caller has reserved 256 bytes.
   */
  shortstr(value: string): boolean {
    const { length } = value
    const { buffer, position } = this
    if (length <= LOOPED_TEXT && writeAscii(this.view, position + 1, value)) {
      buffer[position] = length
      this.position = position + 1 + length
      return true
    }
    // A UTF-16 unit takes three bytes at most: shorter ones need no measuring.
    if (length > 85 && (length > 255 || Buffer.byteLength(value) > 255)) return false
    const size = buffer.write(value, position + 1)
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
