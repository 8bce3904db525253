import { FrameError } from '../errors.ts'
import { isUtf8 } from '../lib/platform.ts'
import { ownCopy } from './bytes.ts'
import {
  ARRAY,
  BOOLEAN,
  BYTES,
  DECIMAL,
  DOUBLE,
  FLOAT,
  INT8,
  INT16,
  INT32,
  INT64,
  LONG_STRING,
  MAX_DEPTH,
  SPEC_INT16,
  SPEC_INT64,
  TABLE,
  TIMESTAMP,
  UINT8,
  UINT16,
  UINT32,
  VOID,
} from './field-types.ts'
import { internAscii, internShortstr } from './intern.ts'
import { decimal as decimalLayout, tableScalars } from './layouts.ts'
import { type Reader, truncated } from './reader.ts'
import { Decimal, type FieldTable, type FieldValue, TypedValue } from './values.ts'
import { isDefaultType, type Remembered, WireTypes } from './wire-types.ts'

export { encodeTable } from './field-table-encoder.ts'

const SYNTAX_ERROR = 502
const MAX_DATE_SECONDS = 8_640_000_000_000
const REPLACEMENT = '\ufffd'
/**
 * Read a field table with its length. A long string that is not UTF-8 is given as its octets, in a `Buffer`; a
 * timestamp past the range of `Date` as a `timestamp()`; integers past 2^53 - 1 as a `bigint`. The last of several
 * entries with one name counts.
 *
 * @throws FrameError (502) if it is cut short, has a type that does not exist, or is nested too deep.
 */
export function decodeTable(reader: Reader): FieldTable {
  return readTable(reader, endOf(reader, 'a field table'), 1)
}

/** Read a long length. Returns where that many bytes end. */
function endOf(reader: Reader, what: string): number {
  const length = reader.long()
  if (length > reader.remaining) throw truncated(what, length, reader.remaining)
  return reader.position + length
}

function readTable(reader: Reader, end: number, depth: number): FieldTable {
  const table: FieldTable = {}
  if (depth > MAX_DEPTH) skipTooDeep(reader, end)
  const { buffer } = reader
  let remembered: Remembered[] | undefined
  while (reader.position < end) {
    const start = reader.position + 1
    const stop = start + (buffer[start - 1] as number)
    if (stop >= end) throw entryCut()
    const name = internShortstr(buffer, start, stop)
    const type = buffer[stop] as number
    reader.position = stop + 1
    const value = readValue(reader, type, depth)
    if (reader.position > end) throw entryCut()
    if (name === '__proto__') {
      Object.defineProperty(table, name, { value, writable: true, enumerable: true, configurable: true })
    } else table[name] = value
    if (!isDefaultType(type, value)) {
      if (remembered === undefined) {
        remembered = []
        WireTypes.remember(table, remembered)
      }
      remembered.push({ key: name, type, value })
    }
  }
  // What another program sent is not a mistake of this one: it can be sent on as the table that it is.
  if (depth > 1 && remembered === undefined && '!' in table) WireTypes.remember(table, [])
  return table
}

function readArray(reader: Reader, end: number, depth: number): FieldValue[] {
  const array: FieldValue[] = []
  if (depth > MAX_DEPTH) skipTooDeep(reader, end)
  let remembered: Remembered[] | undefined
  while (reader.position < end) {
    const type = reader.octet()
    const value = readValue(reader, type, depth)
    if (reader.position > end) throw entryCut()
    if (!isDefaultType(type, value)) {
      if (remembered === undefined) {
        remembered = []
        WireTypes.remember(array, remembered)
      }
      remembered.push({ key: array.length, type, value })
    }
    array.push(value)
  }
  return array
}

function readValue(reader: Reader, type: number, depth: number): FieldValue {
  switch (type) {
    case LONG_STRING:
      return readString(reader)
    case INT32:
      return reader.int32()
    case INT64:
    case SPEC_INT64:
      return reader.int64()
    case BOOLEAN:
      return reader.octet() !== 0
    case TABLE:
      return readTable(reader, endOf(reader, 'a field table'), depth + 1)
    case ARRAY:
      return readArray(reader, endOf(reader, 'a field array'), depth + 1)
    case TIMESTAMP:
      return readTimestamp(reader)
    case DOUBLE:
      return reader.double()
    case INT8:
      return reader.int8()
    case UINT8:
      return reader.octet()
    case INT16:
    case SPEC_INT16:
      return reader.int16()
    case UINT16:
      return reader.short()
    case UINT32:
      return reader.long()
    case FLOAT:
      return reader.float()
    case DECIMAL:
      return readDecimal(reader)
    case BYTES:
      return reader.longstr()
    case VOID:
      return null
    default:
      throw unknownType(type)
  }
}

function readString(reader: Reader): string | Buffer {
  const length = reader.long()
  const start = reader.position
  reader.skip(length, 'a long string')
  if (length === 0) return ''
  const { buffer } = reader
  const known = internAscii(buffer, start, start + length)
  if (known !== undefined) return known
  const text = buffer.toString('utf8', start, start + length)
  if (text.includes(REPLACEMENT)) {
    if (!isUtf8(buffer.subarray(start, start + length))) return ownCopy(buffer, start, start + length)
  }
  return text
}

function readTimestamp(reader: Reader): FieldValue {
  const seconds = reader.bigint()
  const number = Number(seconds)
  if (number <= MAX_DATE_SECONDS) return new Date(number * 1000)
  return new TypedValue('timestamp', Number.isSafeInteger(number) ? number : seconds)
}

function readDecimal(reader: Reader): Decimal {
  const at = reader.position
  reader.skip(decimalLayout.span, 'a decimal')
  const { value, scale } = decimalLayout.decode(reader.buffer, at)
  return new Decimal(value, scale)
}

function unknownType(type: number): FrameError {
  const shown =
    type > 0x20 && type < 0x7f ? `'${String.fromCharCode(type)}'` : `0x${type.toString(16).padStart(2, '0')}`
  return new FrameError(`a field table has a value of the type ${shown}, which does not exist`, {
    replyCode: SYNTAX_ERROR,
  })
}

/** A table is sound as far as it was read, but nested deeper than this client reads. */
class NestingError extends FrameError {
  constructor() {
    super(`a field table is nested more than ${MAX_DEPTH} deep`, { replyCode: SYNTAX_ERROR })
  }
}

function skipTooDeep(reader: Reader, end: number): void {
  if (!reader.skipsTooDeep) throw new NestingError()
  reader.position = end
}

function entryCut(): FrameError {
  return new FrameError('an entry of a field table does not end where its table does', { replyCode: SYNTAX_ERROR })
}

const NOT_FIXED = -1
/** Bytes of a value, by its type octet. */
const FIXED_SIZES = new Int8Array(256).fill(NOT_FIXED)
for (const [type, layout] of Object.entries(tableScalars)) FIXED_SIZES[type.charCodeAt(0)] = layout.span
FIXED_SIZES[DECIMAL] = decimalLayout.span
FIXED_SIZES[VOID] = 0

/**
 * Walk the table whose length is at `start`, checking lengths, types and nesting without making values. `decodeTable`
 * reads every table that passes. Returns where it ends, which is not past `end`.
 *
 * @throws FrameError (502) as `decodeTable` does.
 */
export function skipTable(buffer: Buffer, start: number, end: number, depth = 1): number {
  if (depth > MAX_DEPTH) throw new NestingError()
  const stop = skipLong(buffer, start, end)
  let at = start + 4
  while (at < stop) {
    at += 1 + (buffer[at] as number)
    if (at >= stop) throw entryCut()
    at = skipValue(buffer, at, stop, depth)
  }
  return stop
}

/** Whether `error` means that a table is sound as far as it was read, but nested deeper than this client reads. */
export function isTooDeep(error: unknown): boolean {
  return error instanceof NestingError
}

function skipArray(buffer: Buffer, start: number, end: number, depth: number): number {
  if (depth > MAX_DEPTH) throw new NestingError()
  const stop = skipLong(buffer, start, end)
  let at = start + 4
  while (at < stop) at = skipValue(buffer, at, stop, depth)
  return stop
}

/** End of the value whose type is at `at`. */
function skipValue(buffer: Buffer, at: number, end: number, depth: number): number {
  const type = buffer[at] as number
  const size = FIXED_SIZES[type] as number
  if (size !== NOT_FIXED) {
    if (at + 1 + size > end) throw entryCut()
    return at + 1 + size
  }
  switch (type) {
    case LONG_STRING:
    case BYTES:
      return skipLong(buffer, at + 1, end)
    case TABLE:
      return skipTable(buffer, at + 1, end, depth + 1)
    case ARRAY:
      return skipArray(buffer, at + 1, end, depth + 1)
    default:
      throw unknownType(type)
  }
}

/** Returns where the bytes end whose long length is at `at`. */
function skipLong(buffer: Buffer, at: number, end: number): number {
  if (end - at < 4) throw truncated('the length of a field value', 4, end > at ? end - at : 0)
  const length =
    (((buffer[at] as number) << 24) |
      ((buffer[at + 1] as number) << 16) |
      ((buffer[at + 2] as number) << 8) |
      (buffer[at + 3] as number)) >>>
    0
  const stop = at + 4 + length
  if (stop > end) throw truncated('a field value', length, end - at - 4)
  return stop
}
