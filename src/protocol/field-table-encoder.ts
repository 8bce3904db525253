import { EncodeError } from '../errors.ts'
import { types } from '../lib/platform.ts'
import { isBytes, isDetached, MAX_LOOPED_CHARS, writeAnyAscii, writeAscii } from './bytes.ts'
import { badValue, refuseTypeNotation, tooDeep, where } from './field-path.ts'
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
  NUMERIC_TYPES,
  SPEC_INT16,
  TABLE,
  TIMESTAMP,
  UINT8,
  UINT16,
  UINT32,
  VOID,
} from './field-types.ts'
import { inspectShort } from './inspect-short.ts'
import { secondsOf } from './late-date.ts'
import { decimal as decimalLayout } from './layouts.ts'
import { sizeOf } from './payload-bytes.ts'
import { hasLoneSurrogate, shortstrFault } from './text.ts'
import { Decimal, type FieldTable, type FieldValue, isInt32, isPlainObject, TypedValue } from './values.ts'
import { type Remembered, WireTypes } from './wire-types.ts'
import type { Writer } from './writer.ts'

/** A name, a type octet, and the largest value of fixed size or a length. */
const ENTRY = 256 + 1 + 8
/** Strings up to this many UTF-16 units are written before they are measured, three bytes a unit at most. */
const UNMEASURED = 2_000
/** UTF-16 units of the longest name, and of the longest value, that `writeShortEntry` takes. */
const SHORT = 128
/** Room for an entry of such strings, each of which may turn out to have three bytes a unit. */
const SHORT_ENTRY = 1 + 3 * SHORT + 1 + 4 + 3 * SHORT

/**
 * Write a field table with its length. `name` is its name in errors. The message being written may move.
 *
 * @throws EncodeError naming the entry that has no place in a table. The caller rolls the writer back.
 */
export function encodeTable(
  writer: Writer,
  table: FieldTable | ReadonlyMap<string, FieldValue | undefined>,
  name: string,
): void {
  writer.path[0] = name
  // A plain object is recognized sooner than a Map.
  if (isPlainObject(table) || types.isMap(table)) writeTable(writer, table, 1)
  else throw new EncodeError(`${name} must be a plain object or a Map, not ${inspectShort(table)}`)
}

function writeTable(
  writer: Writer,
  table: FieldTable | ReadonlyMap<string, FieldValue | undefined>,
  depth: number,
): void {
  if (depth > MAX_DEPTH) throw tooDeep(writer)
  const start = writer.offset
  writer.reserve(4 + ENTRY)
  writer.long(0)
  if (!isPlainObject(table)) {
    for (const [key, value] of table as ReadonlyMap<unknown, FieldValue | undefined>) {
      if (typeof key !== 'string') {
        throw new EncodeError(`${where(writer, depth - 1)} has the key ${inspectShort(key)}, which is not a string`)
      }
      if (value !== undefined) writeEntry(writer, key, value, undefined, depth)
    }
  } else {
    const remembered = WireTypes.of(table)
    for (const key in table) {
      if (!Object.hasOwn(table, key)) continue
      const value = table[key]
      if (remembered === undefined && writeShortEntry(writer, key, value)) continue
      if (value !== undefined) writeEntry(writer, key, value, remembered, depth)
    }
  }
  writer.patchLong(start, writer.offset - start - 4)
}

/**
 * The straight-line path for most entries of headers: a short name in ASCII, with a short string in ASCII, an
 * integer of 32 bits or a boolean. Returns false, with nothing written, for any other.
 */
function writeShortEntry(writer: Writer, key: string, value: FieldValue | undefined): boolean {
  const { buffer, view } = writer
  const start = writer.position
  const { length } = key
  if (length > SHORT || start + SHORT_ENTRY > view.byteLength) return false
  if (!writeAnyAscii(buffer, view, start + 1, key)) return false
  view.setInt8(start, length)
  const at = start + 1 + length
  if (typeof value === 'string') {
    const size = value.length
    if (size > SHORT || !writeAnyAscii(buffer, view, at + 5, value)) return false
    view.setInt8(at, LONG_STRING)
    view.setInt32(at + 1, size)
    writer.position = at + 5 + size
  } else if (typeof value === 'number') {
    if (!isInt32(value)) return false
    view.setInt8(at, INT32)
    view.setInt32(at + 1, value)
    writer.position = at + 5
  } else if (typeof value === 'boolean') {
    view.setInt8(at, BOOLEAN)
    view.setInt8(at + 1, value ? 1 : 0)
    writer.position = at + 2
  } else return false
  return true
}

function writeEntry(
  writer: Writer,
  key: string,
  value: FieldValue,
  remembered: ReadonlyMap<string | number, Remembered> | undefined,
  depth: number,
): void {
  writer.path[depth] = key
  writer.reserve(ENTRY)
  if (!writer.shortstr(key)) throw new EncodeError(`the name of ${where(writer, depth)} ${shortstrFault(key)}`)
  const known = remembered?.get(key)
  if (known !== undefined && Object.is(known.value, value)) writeRemembered(writer, known, depth)
  else writeValue(writer, value, depth)
}

function writeArray(writer: Writer, array: readonly FieldValue[], depth: number): void {
  if (depth > MAX_DEPTH) throw tooDeep(writer)
  const start = writer.offset
  writer.reserve(4)
  writer.long(0)
  const remembered = WireTypes.of(array)
  for (let i = 0; i < array.length; i++) {
    writer.path[depth] = i
    const value = array[i] as FieldValue
    writer.reserve(ENTRY)
    const known = remembered?.get(i)
    if (known !== undefined && Object.is(known.value, value)) writeRemembered(writer, known, depth)
    else writeValue(writer, value, depth)
  }
  writer.patchLong(start, writer.offset - start - 4)
}

/** Write a value and its type. There is room already for a value of fixed size. */
function writeValue(writer: Writer, value: FieldValue, depth: number): void {
  switch (typeof value) {
    case 'string':
      writer.octet(LONG_STRING)
      writeString(writer, value, depth)
      return
    case 'number':
      writeNumber(writer, value, depth)
      return
    case 'boolean':
      writer.octet(BOOLEAN)
      writer.octet(value ? 1 : 0)
      return
    case 'bigint':
      if (BigInt.asIntN(64, value) !== value) {
        throw new EncodeError(
          `${where(writer, depth)} is ${inspectShort(value)}, but the integers of a table have 64 bits, the sign included`,
        )
      }
      writer.octet(INT64)
      writer.bigint(value)
      return
    case 'object':
      if (value === null) writer.octet(VOID)
      else writeObject(writer, value, depth)
      return
    default:
      throw badValue(writer, value, depth)
  }
}

function writeNumber(writer: Writer, value: number, depth: number): void {
  if (isInt32(value)) {
    writer.octet(INT32)
    writer.long(value)
  } else if (Number.isSafeInteger(value) && value !== 0) {
    writer.octet(INT64)
    writeInt64(writer, value)
  } else if (Number.isFinite(value)) {
    writer.octet(DOUBLE)
    writer.double(value)
  } else {
    throw new EncodeError(`${where(writer, depth)} is ${value}, which RabbitMQ cannot read`)
  }
}

function writeObject(writer: Writer, value: object, depth: number): void {
  if (Array.isArray(value)) {
    writer.octet(ARRAY)
    writeArray(writer, value, depth + 1)
  } else if (value instanceof TypedValue) {
    writeNumeric(writer, NUMERIC_TYPES[value.type], value.value)
  } else if (value instanceof Decimal) {
    writeDecimal(writer, value)
  } else if (isBytes(value)) {
    writer.octet(BYTES)
    if (sizeOf(value) === 0 && isDetached(value)) {
      throw new EncodeError(`the memory of ${where(writer, depth)} was transferred away`)
    }
    writeBytes(writer, value)
  } else if (types.isDate(value)) {
    writeDate(writer, value, depth)
  } else if (isPlainObject(value) || types.isMap(value)) {
    if ('!' in value && WireTypes.of(value) === undefined) refuseTypeNotation(writer, value as FieldTable, depth)
    writer.octet(TABLE)
    writeTable(writer, value as FieldTable, depth + 1)
  } else {
    throw badValue(writer, value, depth)
  }
}

function writeRemembered(writer: Writer, { type, value }: Remembered, depth: number): void {
  if (type === LONG_STRING) {
    writer.octet(LONG_STRING)
    writeBytes(writer, value as Uint8Array)
  } else if (type === DOUBLE && !Number.isFinite(value)) writeNumber(writer, value as number, depth)
  else if (type === FLOAT && !Number.isFinite(value)) writeNumber(writer, value as number, depth)
  else writeNumeric(writer, type, value as number | bigint)
}

/** Write a number that is in the range of `type`. */
function writeNumeric(writer: Writer, type: number, value: number | bigint): void {
  writer.octet(type)
  if (typeof value === 'bigint') {
    writer.bigint(value)
    return
  }
  switch (type) {
    case INT8:
    case UINT8:
      writer.octet(value)
      return
    case INT16:
    case SPEC_INT16:
    case UINT16:
      writer.short(value)
      return
    case INT32:
    case UINT32:
      writer.long(value)
      return
    case FLOAT:
      writer.float(value)
      return
    case DOUBLE:
      writer.double(value)
      return
    default:
      writeInt64(writer, value)
  }
}

/** A signed integer up to 2^53 - 1 either way. */
function writeInt64(writer: Writer, value: number): void {
  const high = Math.floor(value / 0x1_0000_0000)
  writer.long(high)
  writer.long(value - high * 0x1_0000_0000)
}

function writeDecimal(writer: Writer, value: Decimal): void {
  writer.octet(DECIMAL)
  writer.position += decimalLayout.encode(value, writer.buffer, writer.position)
}

function writeDate(writer: Writer, value: Date, depth: number): void {
  // RabbitMQ reads timestamps as unsigned: a time before 1970 would come out in the far future.
  const seconds = secondsOf(value)
  if (seconds === undefined) {
    throw new EncodeError(`${where(writer, depth)} must be a valid Date from 1970 on, not ${inspectShort(value)}`)
  }
  writeNumeric(writer, TIMESTAMP, seconds)
}

function writeBytes(writer: Writer, value: Uint8Array): void {
  const length = sizeOf(value)
  writer.reserve(4 + length)
  writer.long(length)
  writer.buffer.set(value, writer.position)
  writer.position += length
}

/** A long string; the room for its length is there already. */
function writeString(writer: Writer, value: string, depth: number): void {
  const { length } = value
  if (length <= MAX_LOOPED_CHARS) {
    writer.reserve(4 + MAX_LOOPED_CHARS)
    const { position } = writer
    if (writeAscii(writer.view, position + 4, value)) {
      writer.long(length)
      writer.position = position + 4 + length
      return
    }
  }
  const room = length <= UNMEASURED ? 3 * length : Buffer.byteLength(value)
  writer.reserve(4 + room)
  const lengthAt = writer.position
  writer.position = lengthAt + 4
  const size = writer.utf8(value)
  const end = writer.position
  writer.position = lengthAt
  writer.long(size)
  writer.position = end
  if (hasLoneSurrogate(value, size)) {
    throw new EncodeError(`${where(writer, depth)} has a lone surrogate, which has no UTF-8: ${inspectShort(value)}`)
  }
}
