import { types } from 'node:util'
import { EncodeError } from '../errors.ts'
import { LOOPED_TEXT, writeAnyAscii, writeAscii } from './bytes.ts'
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
import { decimal as decimalLayout } from './layouts.ts'
import { Decimal, type FieldTable, type FieldValue, isInt32, isPlainObject, show, TypedValue } from './values.ts'
import { type Remembered, WireTypes } from './wire-types.ts'
import type { Writer } from './writer.ts'

/** A name, a type octet, and the largest value of fixed size or a length. */
const ENTRY = 256 + 1 + 8
/** Strings up to this many UTF-16 units are written before they are measured, three bytes a unit at most. */
const UNMEASURED = 2_000
/** Units of the longest name, and of the longest value, that are taken for short. */
const SHORT = 128
/** Name, type, length and value of an entry of short strings. */
const SHORT_ENTRY = 1 + SHORT + 1 + 4 + SHORT
const LONE_SURROGATE = /\p{Surrogate}/u

/** Where encoding is, for error messages: one name or index a level. */
const path: (string | number)[] = []

/**
 * Write a field table with its length. `name` is what errors call it. The message being written may move.
 *
 * @throws EncodeError naming the entry that has no place in a table. The caller rolls the writer back.
 */
export function encodeTable(
  writer: Writer,
  table: FieldTable | ReadonlyMap<string, FieldValue | undefined>,
  name: string,
): void {
  path[0] = name
  if (table instanceof Map || isPlainObject(table)) writeTable(writer, table, 1)
  else throw new EncodeError(`${name} must be a plain object or a Map, not ${show(table)}`)
}

function writeTable(
  writer: Writer,
  table: FieldTable | ReadonlyMap<string, FieldValue | undefined>,
  depth: number,
): void {
  if (depth > MAX_DEPTH) throw tooDeep()
  const start = writer.offset
  writer.reserve(4 + ENTRY)
  writer.long(0)
  if (table instanceof Map) {
    for (const [key, value] of table as ReadonlyMap<unknown, FieldValue | undefined>) {
      if (typeof key !== 'string')
        throw new EncodeError(`${where(depth - 1)} has the key ${show(key)}, which is no string`)
      if (value !== undefined) writeEntry(writer, key, value, undefined, depth)
    }
  } else {
    const remembered = WireTypes.of(table)
    for (const key in table) {
      if (!Object.hasOwn(table, key)) continue
      const value = (table as FieldTable)[key]
      if (remembered === undefined && writeShortEntry(writer, key, value)) continue
      if (value !== undefined) writeEntry(writer, key, value, remembered, depth)
    }
  }
  writer.patchLong(start, writer.offset - start - 4)
}

/**
 * The entries that most headers have, in one straight line: a short name in ASCII, with a short string in ASCII, an
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
  path[depth] = key
  writer.reserve(ENTRY)
  if (!writer.shortstr(key)) {
    throw new EncodeError(`${where(depth)} has a name of ${Buffer.byteLength(key)} bytes, more than the limit of 255`)
  }
  const known = remembered?.get(key)
  if (known !== undefined && Object.is(known.value, value)) writeRemembered(writer, known, depth)
  else writeValue(writer, value, depth)
}

function writeArray(writer: Writer, array: readonly FieldValue[], depth: number): void {
  if (depth > MAX_DEPTH) throw tooDeep()
  const start = writer.offset
  writer.reserve(4)
  writer.long(0)
  const remembered = WireTypes.of(array)
  for (let i = 0; i < array.length; i++) {
    path[depth] = i
    const value = array[i] as FieldValue
    writer.reserve(ENTRY)
    const known = remembered?.get(i)
    if (known !== undefined && Object.is(known.value, value)) writeRemembered(writer, known, depth)
    else writeValue(writer, value, depth)
  }
  writer.patchLong(start, writer.offset - start - 4)
}

/** Write a value and its type, for which there is room where its size is fixed. */
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
          `${where(depth)} is ${value}, but the integers of a table have 64 bits, the sign included`,
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
      throw badValue(value, depth)
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
    throw new EncodeError(`${where(depth)} is ${value}, which RabbitMQ cannot read`)
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
  } else if (value instanceof Uint8Array || types.isUint8Array(value)) {
    writer.octet(BYTES)
    writeBytes(writer, value)
  } else if (value instanceof Date || types.isDate(value)) {
    writeDate(writer, value, depth)
  } else if (value instanceof Map || isPlainObject(value)) {
    writer.octet(TABLE)
    writeTable(writer, value, depth + 1)
  } else {
    throw badValue(value, depth)
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
  const milliseconds = value.getTime()
  // RabbitMQ reads timestamps as unsigned: a time before 1970 would come out in the far future.
  if (!(milliseconds >= 0))
    throw new EncodeError(`${where(depth)} must be a valid Date from 1970 on, not ${show(value)}`)
  writer.octet(TIMESTAMP)
  writeInt64(writer, Math.floor(milliseconds / 1000))
}

function writeBytes(writer: Writer, value: Uint8Array): void {
  writer.reserve(4 + value.length)
  writer.long(value.length)
  writer.bytes(value)
}

/** A long string; the room for its length is there already. */
function writeString(writer: Writer, value: string, depth: number): void {
  const { length } = value
  if (length <= LOOPED_TEXT) {
    writer.reserve(4 + LOOPED_TEXT)
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
  if (size !== length && LONE_SURROGATE.test(value)) {
    throw new EncodeError(`${where(depth)} has a lone surrogate, which has no UTF-8: ${show(value)}`)
  }
}

/** The path to what is being encoded, such as `headers["x-y"].z[3]`. */
function where(depth: number): string {
  let text = String(path[0])
  for (let i = 1; i <= depth; i++) {
    const step = path[i] as string | number
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z_$][\w$]*$/.test(step) && step.length <= 40) text += `.${step}`
    else text += `[${JSON.stringify(step.length <= 40 ? step : `${step.slice(0, 40)}...`)}]`
  }
  return text
}

function tooDeep(): EncodeError {
  return new EncodeError(`${String(path[0])} nests tables and arrays more than ${MAX_DEPTH} deep, or contains itself`)
}

function badValue(value: unknown, depth: number): EncodeError {
  return new EncodeError(
    `${where(depth)} is ${show(value)}, which no field type holds; it may be a boolean, number, bigint, string, Date, ` +
      'Uint8Array, array, plain object, Map or null',
  )
}
