import { isUtf8 } from 'node:buffer'
import {
  DOUBLE,
  FLOAT,
  INT8,
  INT16,
  INT32,
  INT64,
  LONG_STRING,
  SPEC_INT16,
  SPEC_INT64,
  UINT8,
  UINT16,
  UINT32,
} from '../protocol/field-types.ts'
import { Decimal, type FieldTable, type FieldValue, TypedValue } from '../protocol/values.ts'
import { WireTypes } from '../protocol/wire-types.ts'
import { binaryTerm, floatTerm } from './erlang-terms.ts'
import { breakage } from './refusals.ts'

/** What Erlang calls the types of a field table that the value does not show, by their octets. */
const KINDS: ReadonlyMap<number, string> = new Map([
  // One that is not UTF-8 is a value of octets.
  [LONG_STRING, 'longstr'],
  [INT8, 'byte'],
  [UINT8, 'unsignedbyte'],
  [INT16, 'short'],
  [SPEC_INT16, 'short'],
  [UINT16, 'unsignedshort'],
  [INT32, 'signedint'],
  [UINT32, 'unsignedint'],
  [INT64, 'long'],
  [SPEC_INT64, 'long'],
  [FLOAT, 'float'],
  [DOUBLE, 'double'],
])

/** An entry of a table, with the type that it had on the wire by its name in Erlang. */
export interface Entry {
  readonly kind: string
  readonly value: FieldValue
}

export function entryOf(table: FieldTable, name: string): Entry | undefined {
  return Object.hasOwn(table, name) && table[name] !== undefined ? entryAt(table, name) : undefined
}

function entryAt(target: FieldTable | readonly FieldValue[], key: string | number): Entry {
  const value = (target as Record<string | number, FieldValue>)[key] as FieldValue
  const type = WireTypes.of(target)?.get(key)?.type
  return { kind: (type === undefined ? undefined : KINDS.get(type)) ?? kindOf(value), value }
}

function kindOf(value: FieldValue): string {
  switch (typeof value) {
    case 'string':
      return 'longstr'
    case 'boolean':
      return 'bool'
    case 'bigint':
      return 'long'
    case 'number':
      if (!Number.isSafeInteger(value)) return 'double'
      return (value | 0) === value ? 'signedint' : 'long'
    default:
      if (value === null) return 'void'
      if (value instanceof Date) return 'timestamp'
      if (value instanceof Uint8Array) return 'binary'
      if (value instanceof Decimal) return 'decimal'
      if (value instanceof TypedValue) return 'timestamp'
      return Array.isArray(value) ? 'array' : 'table'
  }
}

const INTEGERS: ReadonlySet<string> = new Set([
  'byte',
  'unsignedbyte',
  'short',
  'unsignedshort',
  'signedint',
  'unsignedint',
  'long',
])

export function isInteger({ kind }: Entry): boolean {
  return INTEGERS.has(kind)
}

/** A value as Erlang prints it. RabbitMQ compares values without their types, except for what is in arrays and tables. */
export function termOf({ kind, value }: Entry): string {
  if (value === null) return 'undefined'
  if (typeof value === 'string' || value instanceof Uint8Array) return binaryTerm(Buffer.from(value as Uint8Array))
  if (value instanceof Date) return String(Math.floor(value.getTime() / 1000))
  if (value instanceof TypedValue) return String(value.value)
  if (value instanceof Decimal) return `{${value.scale},${value.value}}`
  if (Array.isArray(value)) return `[${value.map((_, at) => typedTerm(entryAt(value, at))).join()}]`
  if (typeof value === 'object') return tableTerm(value as FieldTable)
  const isFloat = kind === 'float' || kind === 'double'
  return typeof value === 'number' && isFloat ? floatTerm(value) : String(value)
}

/** Entries in the order of `names`, with their types. */
export function tableTerm(table: FieldTable, names = Object.keys(table)): string {
  const terms = names.map(name => {
    const entry = entryAt(table, name)
    return `{${binaryTerm(Buffer.from(name))},${entry.kind},${termOf(entry)}}`
  })
  return `[${terms.join()}]`
}

function typedTerm(entry: Entry): string {
  return `{${entry.kind},${termOf(entry)}}`
}

/**
 * How two declarations of one argument differ, as RabbitMQ prints both; undefined if they are equivalent.
 *
 * @throws Refusal (541) if RabbitMQ breaks on printing them
 */
export function difference(current: Entry | undefined, given: Entry | undefined): [string, string] | undefined {
  if (current === undefined && given === undefined) return undefined
  if (current === undefined || given === undefined) return [printEntry(given), printEntry(current)]
  if (termOf(current) === termOf(given)) return undefined
  return [printValue(given), printValue(current)]
}

function printValue(entry: Entry): string {
  if (entry.kind === 'decimal') throw breakage()
  return entry.value === null ? 'none' : `'${print(entry)}'`
}

function printEntry(entry: Entry | undefined): string {
  return entry === undefined ? 'none' : `the value '${print(entry)}' of type '${entry.kind}'`
}

/** Texts as they are, or in Latin-1 if they are not UTF-8; everything else as Erlang does. */
function print(entry: Entry): string {
  const { value } = entry
  if (typeof value === 'string') return value
  return value instanceof Uint8Array ? Buffer.from(value).toString(isUtf8(value) ? 'utf8' : 'latin1') : termOf(entry)
}
