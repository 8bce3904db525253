import * as amqp from 'asyncamqp'

type Value = amqp.FieldValue

/** amqplib's way to say of which wire type a value is. */
interface Noted {
  readonly '!': string
  readonly value: unknown
}

const { double, float, int8, int16, int32, int64, timestamp, uint8, uint16, uint32 } = amqp
const NOTATIONS: Readonly<Record<string, (value: number) => amqp.TypedValue>> = {
  ...{ int8, int16, int32, int64, uint8, uint16, uint32, float, double, timestamp },
  ...{ byte: int8, short: int16, int: int32, long: int64 },
  ...{ unsignedbyte: uint8, unsignedshort: uint16, unsignedint: uint32, float64: double },
}

/** A table as amqplib writes it: with the inherited members, and each integer as small as it fits. */
export function toTable(values: object | null | undefined): amqp.FieldTable {
  const table: amqp.FieldTable = {}
  for (const name in values) {
    const value = (values as Record<string, unknown>)[name]
    if (value !== undefined) table[name] = toValue(value)
  }
  return table
}

function toValue(value: unknown): Value {
  if (typeof value === 'number') return Number.isInteger(value) ? smallest(value) : value
  if (Array.isArray(value)) return value.map(toValue)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value as Value
  if (Object.hasOwn(value, '!')) return toNoted(value as Noted)
  return toTable(value)
}

function smallest(value: number): Value {
  if (value >= -0x80 && value < 0x80) return int8(value)
  if (value >= -0x8000 && value < 0x8000) return int16(value)
  return value
}

function toNoted({ '!': type, value }: Noted): Value {
  if (type === 'decimal') {
    const { digits, places } = value as { digits: number; places: number }
    return amqp.decimal(digits, places)
  }
  const typed = NOTATIONS[type]
  return typed === undefined ? toValue(value) : typed(value as number)
}

/** A table as amqplib reads it. */
export function fromTable(table: amqp.FieldTable | undefined): Record<string, unknown> | undefined {
  if (table === undefined) return undefined
  return Object.fromEntries(Object.entries(table).map(([name, value]) => [name, fromValue(value)]))
}

function fromValue(value: Value | undefined): unknown {
  if (typeof value === 'bigint') return Number(value)
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (value instanceof Date) return { '!': 'timestamp', value: Math.floor(value.getTime() / 1000) }
  if (value instanceof amqp.Decimal) return { '!': 'decimal', value: { places: value.scale, digits: value.value } }
  if (value instanceof amqp.TypedValue) return { '!': value.type, value: Number(value.value) }
  if (Array.isArray(value)) return value.map(fromValue)
  return fromTable(value as amqp.FieldTable)
}
