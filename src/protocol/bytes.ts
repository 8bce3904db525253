import { types } from '../lib/platform.ts'

/** The class of buffers. Called for a size, it makes one of memory that nothing else is in, which V8 keeps in its own heap. */
const HeapBuffer = (Buffer as unknown as { [Symbol.species]: new (size: number) => Buffer })[Symbol.species]
/** V8 keeps arrays of up to this many bytes in its own heap. */
export const MAX_HEAP_BYTES = 64

/**
 * Copy up to `MAX_HEAP_BYTES`. No view of the copy is made, which would move it out of the heap: it is read by words, and written
 * by octets ("consume 16 B": 0.176 µs instead of 0.191 with octets alone).
 */
export function copyToHeap(source: DataView, start: number, size: number): Buffer {
  const copy = new HeapBuffer(size)
  let i = 0
  for (const last = size - 3; i < last; i += 4) {
    const word = source.getInt32(start + i, true)
    copy[i] = word
    copy[i + 1] = word >> 8
    copy[i + 2] = word >> 16
    copy[i + 3] = word >> 24
  }
  for (; i < size; i++) copy[i] = source.getUint8(start + i)
  return copy
}

/** Copy bytes to memory that nothing else is in: the program may transfer it to a worker. */
export function ownCopy(source: Buffer, start: number, end: number): Buffer {
  const copy = Buffer.allocUnsafeSlow(end - start)
  source.copy(copy, 0, start, end)
  return copy
}

/** From this many bytes on, a call into C++ copies faster than a loop. */
const MIN_NATIVE_COPY = 256
/** ASCII strings up to this many UTF-16 units are written in a loop, which is faster than a call into C++. */
export const MAX_LOOPED_CHARS = 64

let lastBuffer: Uint8Array = new Uint8Array(0)
let lastView = new DataView(lastBuffer.buffer)

export function newView(buffer: Uint8Array): DataView {
  return new DataView(buffer.buffer, buffer.byteOffset, buffer.length)
}

/** A view of a buffer that is read many times in a row: the last view is kept. */
export function viewOf(buffer: Uint8Array): DataView {
  if (buffer !== lastBuffer) {
    lastBuffer = buffer
    lastView = newView(buffer)
  }
  return lastView
}

/** Whether `value` is a `Uint8Array`, of this realm or another: Jest and `vm` have classes of their own. */
export function isBytes(value: unknown): value is Uint8Array {
  return types.isUint8Array(value)
}

/** Whether the memory of `bytes` was transferred away. Only one without bytes can be. */
export function isDetached(bytes: Uint8Array): boolean {
  try {
    return new Uint8Array(bytes.buffer).length < 0
  } catch {
    return true
  }
}

/**
 * Copy bytes by words: a fifth of the cost of a loop over octets, and below 256 bytes less than a call into C++. Four in each round
 * bring 8 % of "consume 16 B, properties, none read".
 */
export function copyWords(source: DataView, start: number, end: number, target: DataView, at: number): void {
  let from = start
  let to = at
  for (const last = end - 15; from < last; from += 16, to += 16) {
    target.setInt32(to, source.getInt32(from, true), true)
    target.setInt32(to + 4, source.getInt32(from + 4, true), true)
    target.setInt32(to + 8, source.getInt32(from + 8, true), true)
    target.setInt32(to + 12, source.getInt32(from + 12, true), true)
  }
  for (const last = end - 3; from < last; from += 4, to += 4) target.setInt32(to, source.getInt32(from, true), true)
  for (; from < end; from++, to++) target.setInt8(to, source.getInt8(from))
}

/** Copy bytes from one buffer to another, whose view is `targetView`. */
export function copyBytes(
  source: Uint8Array,
  start: number,
  end: number,
  target: Uint8Array,
  targetView: DataView,
  at: number,
): void {
  const view = viewOf(source)
  if (end - start < MIN_NATIVE_COPY) copyWords(view, start, end, targetView, at)
  else target.set(source.subarray(start, end), at)
}

/** Whether `length` bytes are the same, by words (8 % of "consume 16 B"). */
export function equalBytes(one: DataView, start: number, other: DataView, otherStart: number, length: number): boolean {
  let i = 0
  for (const last = length - 3; i < last; i += 4) {
    if (one.getInt32(start + i, true) !== other.getInt32(otherStart + i, true)) return false
  }
  for (; i < length; i++) if (one.getInt8(start + i) !== other.getInt8(otherStart + i)) return false
  return true
}

/** Whether all octets are ASCII. */
export function isAscii(view: DataView, start: number, end: number): boolean {
  let bits = 0
  for (let at = start; at < end; at++) bits |= view.getUint8(at)
  return bits < 128
}

/**
 * Write the octets of `text` from `at` on, four at a time. Returns false if it is not ASCII: the bytes after `at` are then
 * garbage.
 */
export function writeAscii(target: DataView, at: number, text: string): boolean {
  const { length } = text
  let units = 0
  let i = 0
  for (const last = length - 3; i < last; i += 4) {
    const first = text.charCodeAt(i)
    const second = text.charCodeAt(i + 1)
    const third = text.charCodeAt(i + 2)
    const fourth = text.charCodeAt(i + 3)
    units |= first | second | third | fourth
    target.setInt32(at + i, first | (second << 8) | (third << 16) | (fourth << 24), true)
  }
  for (; i < length; i++) {
    const unit = text.charCodeAt(i)
    units |= unit
    target.setInt8(at + i, unit)
  }
  return units < 128
}

/** Like `writeAscii`, for any length. If it returns false, up to three times the length of `text` after `at` is garbage. */
export function writeAnyAscii(buffer: Buffer, view: DataView, at: number, text: string): boolean {
  if (text.length <= MAX_LOOPED_CHARS) return writeAscii(view, at, text)
  return buffer.write(text, at) === text.length
}
