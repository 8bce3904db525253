import {
  DOUBLE,
  FLOAT,
  INT8,
  INT16,
  INT32,
  INT64,
  SPEC_INT16,
  SPEC_INT64,
  UINT8,
  UINT16,
  UINT32,
} from '../protocol/field-types.ts'
import { Decimal, type FieldTable, type FieldValue, TypedValue } from '../protocol/values.ts'
import { WireTypes } from '../protocol/wire-types.ts'
import { binaryTerm, floatTerm } from './erlang-terms.ts'

/** What Erlang calls the number types of a field table, by their octets. */
const NUMBERS: ReadonlyMap<number, string> = new Map([
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
  return { kind: (type === undefined ? undefined : NUMBERS.get(type)) ?? kindOf(value), value }
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

/** Types of one class are compared by value alone. */
function classOf(kind: string): string {
  if (INTEGERS.has(kind) || kind === 'decimal') return 'int'
  return kind === 'float' || kind === 'double' ? 'float' : kind
}

/**
 * A value as Erlang prints it. RabbitMQ compares values by that: without their types, except for what is in arrays and
 * tables.
 */
export function termOf({ kind, value }: Entry): string {
  if (value === null) return 'undefined'
  if (typeof value === 'string' || value instanceof Uint8Array) return binaryTerm(Buffer.from(value as Uint8Array))
  if (value instanceof Date) return String(Math.floor(value.getTime() / 1000))
  if (value instanceof TypedValue) return String(value.value)
  if (value instanceof Decimal) return `{${value.scale},${value.value}}`
  if (Array.isArray(value)) return `[${value.map((_, at) => typedTerm(entryAt(value, at))).join()}]`
  if (typeof value === 'object') return tableTerm(value as FieldTable)
  return typeof value === 'number' && classOf(kind) === 'float' ? floatTerm(value) : String(value)
}

/** Entries in the order of `names`, with their types. */
export function tableTerm(table: FieldTable, names = Object.keys(table)): string {
  return `[${names.map(name => `{${binaryTerm(Buffer.from(name))},${typedTerm(entryAt(table, name))}}`).join()}]`
}

function typedTerm(entry: Entry): string {
  return `{${entry.kind},${termOf(entry)}}`
}

/**
 * How two declarations of one argument differ, as RabbitMQ prints both; undefined if they are equivalent.
 */
export function difference(current: Entry | undefined, given: Entry | undefined): [string, string] | undefined {
  if (current === undefined && given === undefined) return undefined
  if (current === undefined || given === undefined) return [printEntry(given), printEntry(current)]
  if (classOf(current.kind) === classOf(given.kind) && termOf(current) === termOf(given)) return undefined
  return [`'${print(given.value)}'`, `'${print(current.value)}'`]
}

function printEntry(entry: Entry | undefined): string {
  return entry === undefined ? 'none' : `the value '${print(entry.value)}' of type '${entry.kind}'`
}

function print(value: FieldValue): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value)
}
