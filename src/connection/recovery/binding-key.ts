import type { BindingDefinition } from '../../channel/topology-recorder.ts'
import { encodeTable } from '../../protocol/field-table.ts'
import { ARRAY, BYTES, INT64, LONG_STRING, SPEC_INT64, TABLE } from '../../protocol/field-types.ts'
import { tableScalars } from '../../protocol/layouts.ts'
import type { FieldTable } from '../../protocol/values.ts'
import { Writer } from '../../protocol/writer.ts'

/** Bytes of a value of fixed size; a decimal is an octet and a long, a void is nothing. */
const SIZES = new Map([
  ...Object.entries(tableScalars).map(([type, { span }]) => [type, span] as const),
  ['D', 5],
  ['V', 0],
])

/**
 * Arguments as RabbitMQ compares them: in any order of the names, but each value with its wire type, of which `l` and
 * `L` are one. '' stands for none.
 */
export function argumentsKey(args: BindingDefinition['arguments']): string {
  if (args === undefined) return ''
  const bytes = Writer.encode(writer => encodeTable(writer, args, 'arguments'))
  const entries: string[] = []
  for (let at = 4; at < bytes.length; ) {
    const type = at + 1 + (bytes[at] as number)
    const end = canonical(bytes, type)
    entries.push(bytes.toString('latin1', at, end))
    at = end
  }
  return entries.sort().join('')
}

/** Arguments in any order of the names, by their values alone. */
export function valuesKey(args: FieldTable): string {
  const entries = Object.entries(args).sort(([one], [other]) => (one < other ? -1 : 1))
  return JSON.stringify(entries, (_name, value) => (typeof value === 'bigint' ? String(value) : value))
}

/** Give a value, whose type is at `at`, the type that RabbitMQ reads. Returns where it ends. */
function canonical(bytes: Buffer, at: number): number {
  const type = bytes[at] as number
  if (type === SPEC_INT64) bytes[at] = INT64
  const size = SIZES.get(String.fromCharCode(type))
  if (size !== undefined) return at + 1 + size
  const end = at + 5 + bytes.readUInt32BE(at + 1)
  if (type === LONG_STRING || type === BYTES) return end
  // Inside a table or an array, RabbitMQ compares in order.
  for (let inner = at + 5; inner < end; ) {
    if (type === TABLE) inner += 1 + (bytes[inner] as number)
    inner = type === TABLE || type === ARRAY ? canonical(bytes, inner) : end
  }
  return end
}

/** A binding is all of source, destination, routing key and arguments, as `argumentsKey` has them. */
export function bindingKey(binding: BindingDefinition, args: string): string {
  const { kind, source, destination, routingKey } = binding
  return JSON.stringify([kind, source, destination, routingKey, args])
}
