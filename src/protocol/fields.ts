import { EncodeError } from '../errors.ts'
import { isBytes } from './bytes.ts'
import { decodeTable, encodeTable } from './field-table.ts'
import { inspectShort } from './inspect-short.ts'
import { pieceOf, sizeOf } from './payload-bytes.ts'
import type { Reader } from './reader.ts'
import { hasLoneSurrogate, shortstrFault } from './text.ts'
import type { FieldTable, FieldValue } from './values.ts'
import type { Writer } from './writer.ts'

/** `required` must be given, `optional` has a default, `reserved` is not an argument. */
export type Presence = 'required' | 'optional' | 'reserved'

/** What a field of each kind is encoded from. `longtext` is a long string that is text. */
export interface FieldInputs {
  readonly octet: number
  readonly short: number
  readonly long: number
  readonly longlong: number
  readonly bit: boolean
  readonly shortstr: string
  readonly longstr: string | Uint8Array
  readonly longtext: string | Uint8Array
  readonly table: FieldTable | ReadonlyMap<string, FieldValue | undefined>
}

/** What a field of each kind is decoded to. */
export interface FieldOutputs extends Omit<FieldInputs, 'longstr' | 'longtext' | 'table'> {
  readonly longstr: Buffer
  readonly longtext: string
  readonly table: FieldTable
}

/** How a field is written (§4.2.5). */
export type FieldKind = keyof FieldInputs

/** One argument of a method (§4.2.5). */
export interface Field<K extends FieldKind = FieldKind, P extends Presence = Presence> {
  readonly kind: K
  readonly presence: P
  /** Encoded if the argument is undefined. */
  readonly fallback: FieldInputs[K] | undefined
  /** @internal Check and write `value`; `where` names it in errors. Bits are packed by the method codec, which writes none here. */
  encode(writer: Writer, value: unknown, where: string): void
  /** @internal */
  decode(reader: Reader): FieldOutputs[K]
}

/** `field`, but `fallback` is written if the argument is undefined. */
export function optional<K extends FieldKind>(field: Field<K>, fallback: FieldInputs[K]): Field<K, 'optional'> {
  return { ...field, presence: 'optional', fallback }
}

/** `field` always has `value`, and is neither given by the program nor shown to it. */
export function reserved<K extends FieldKind>(field: Field<K>, value: FieldInputs[K]): Field<K, 'reserved'> {
  return { ...field, presence: 'reserved', fallback: value }
}

function integer(value: unknown, where: string, most: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > most) {
    throw new EncodeError(`${where} must be an integer from 0 to ${most}, not ${inspectShort(value)}`)
  }
  return value
}

/** An unsigned 8-bit integer. */
export const octet: Field<'octet', 'required'> = {
  kind: 'octet',
  presence: 'required',
  fallback: undefined,
  encode(writer, value, where) {
    writer.reserve(1)
    writer.octet(integer(value, where, 0xff))
  },
  decode: reader => reader.octet(),
}

/** An unsigned 16-bit integer. */
export const short: Field<'short', 'required'> = {
  kind: 'short',
  presence: 'required',
  fallback: undefined,
  encode(writer, value, where) {
    writer.reserve(2)
    writer.short(integer(value, where, 0xffff))
  },
  decode: reader => reader.short(),
}

/** An unsigned 32-bit integer. */
export const long: Field<'long', 'required'> = {
  kind: 'long',
  presence: 'required',
  fallback: undefined,
  encode(writer, value, where) {
    writer.reserve(4)
    writer.long(integer(value, where, 0xffff_ffff))
  },
  decode: reader => reader.long(),
}

/** An unsigned 64-bit integer, up to 2^53 - 1. */
export const longlong: Field<'longlong', 'required'> = {
  kind: 'longlong',
  presence: 'required',
  fallback: undefined,
  encode(writer, value, where) {
    writer.reserve(8)
    writer.longlong(integer(value, where, Number.MAX_SAFE_INTEGER))
  },
  decode: reader => reader.longlong(),
}

/** True or false; left out it is false. Bits that follow one another share octets, the first in the lowest (§4.2.5.2). */
export const bit: Field<'bit', 'optional'> = {
  kind: 'bit',
  presence: 'optional',
  fallback: false,
  encode(_writer, value, where) {
    checkBit(value, where)
  },
  decode: reader => (reader.octet() & 1) !== 0,
}

/** The bit of a boolean argument. */
export function checkBit(value: unknown, where: string): 0 | 1 {
  if (typeof value !== 'boolean') throw new EncodeError(`${where} must be true or false, not ${inspectShort(value)}`)
  return value ? 1 : 0
}

/** Text of at most 255 bytes in UTF-8 (§4.2.5.3). */
export const shortstr: Field<'shortstr', 'required'> = {
  kind: 'shortstr',
  presence: 'required',
  fallback: undefined,
  encode(writer, value, where) {
    if (typeof value !== 'string') throw new EncodeError(`${where} must be a string, not ${inspectShort(value)}`)
    writer.reserve(256)
    if (!writer.shortstr(value)) throw new EncodeError(`${where} ${shortstrFault(value)}`)
  },
  decode: reader => reader.shortstr(),
}

function encodeLongstr(writer: Writer, value: unknown, where: string): void {
  // Long strings carry passwords: an error names the type of a wrong value, not the value.
  if (typeof value !== 'string' && !isBytes(value)) {
    throw new EncodeError(`${where} must be a string or a Uint8Array, not ${value === null ? 'null' : typeof value}`)
  }
  const bytes = typeof value === 'string' ? Buffer.from(value) : pieceOf(value, 0, sizeOf(value))
  if (typeof value === 'string' && hasLoneSurrogate(value, bytes.length)) {
    throw new EncodeError(`${where} has a lone surrogate, which has no UTF-8`)
  }
  writer.reserve(4 + bytes.length)
  writer.long(bytes.length)
  writer.bytes(bytes)
}

/** Octets of any number (§4.2.5.3); a string is encoded as UTF-8. */
export const longstr: Field<'longstr', 'required'> = {
  kind: 'longstr',
  presence: 'required',
  fallback: undefined,
  encode: encodeLongstr,
  decode: reader => reader.longstr(),
}

/** A long string that is text both ways. */
export const longtext: Field<'longtext', 'required'> = {
  kind: 'longtext',
  presence: 'required',
  fallback: undefined,
  encode: encodeLongstr,
  decode: reader => reader.longstr().toString(),
}

/** A field table (§4.2.5.5); left out it is empty. */
export const table: Field<'table', 'optional'> = {
  kind: 'table',
  presence: 'optional',
  fallback: {},
  encode(writer, value, where) {
    encodeTable(writer, value as FieldTable, where)
  },
  decode: decodeTable,
}
