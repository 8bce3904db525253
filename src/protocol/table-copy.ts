import { encodeError } from './encode-error.ts'
import { decodeTable, encodeTable } from './field-table.ts'
import { Reader } from './reader.ts'
import type { FieldTable, FieldValue } from './values.ts'
import { Writer } from './writer.ts'

/**
 * A table of one's own with the same values and wire types; undefined stays undefined. `name` is what errors call it.
 *
 * @throws EncodeError naming the entry that has no place in a table.
 */
export function copyTable(
  table: FieldTable | ReadonlyMap<string, FieldValue | undefined> | undefined,
  name: string,
): FieldTable | undefined {
  if (table === undefined) return undefined
  let bytes: Buffer
  try {
    bytes = Writer.encode(writer => encodeTable(writer, table, name))
  } catch (error) {
    throw encodeError(name, error)
  }
  return decodeTable(new Reader(bytes, 0, bytes.length))
}
