import { EncodeError } from '../errors.ts'
import { MAX_DEPTH } from './field-types.ts'
import { inspectShort } from './inspect-short.ts'
import type { FieldTable } from './values.ts'
import type { Writer } from './writer.ts'

/** The path to what is being encoded, such as `headers["x-y"].z[3]`. */
export function where({ path }: Writer, depth: number): string {
  let text = String(path[0])
  for (let i = 1; i <= depth; i++) {
    const step = path[i] as string | number
    if (typeof step === 'number') text += `[${step}]`
    else if (/^[A-Za-z_$][\w$]*$/.test(step) && step.length <= 40) text += `.${step}`
    else text += `[${JSON.stringify(step.length <= 40 ? step : `${step.slice(0, 40)}...`)}]`
  }
  return text
}

export function tooDeep(writer: Writer): EncodeError {
  return new EncodeError(`${where(writer, 0)} nests tables and arrays more than ${MAX_DEPTH} deep, or contains itself`)
}

/** Functions that choose a wire type, by what amqplib calls that type. */
const TYPE_FUNCTIONS: ReadonlyMap<unknown, string> = new Map([
  ...['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'float', 'double', 'timestamp', 'decimal'].map(
    name => [name, name] as const,
  ),
  ['byte', 'int8'],
  ['unsignedbyte', 'uint8'],
  ['short', 'int16'],
  ['unsignedshort', 'uint16'],
  ['int', 'int32'],
  ['unsignedint', 'uint32'],
  ['long', 'int64'],
  ['float64', 'double'],
])

/**
 * Refuse amqplib's notation of a value with its type, `{ '!': 'timestamp', value: 1 }`, which would be sent as a table.
 *
 * @throws EncodeError naming the function to call instead.
 */
export function refuseTypeNotation(writer: Writer, table: FieldTable, depth: number): void {
  const name = TYPE_FUNCTIONS.get(table['!'])
  if (name === undefined || !Object.hasOwn(table, 'value')) return
  throw new EncodeError(
    `${where(writer, depth)} is ${inspectShort(table)}, a notation of amqplib that is only a table here; use ${name}(${name === 'decimal' ? 'value, scale' : 'value'})`,
  )
}

export function badValue(writer: Writer, value: unknown, depth: number): EncodeError {
  return new EncodeError(
    `${where(writer, depth)} is ${inspectShort(value)}, which no field type holds; it may be a boolean, number, bigint, string, Date, ` +
      'Uint8Array, array, plain object, Map or null',
  )
}
