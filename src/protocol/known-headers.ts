import { equalBytes, newView, viewOf } from './bytes.ts'
import { decodeTable } from './field-table.ts'
import { BOOLEAN, INT32, LONG_STRING } from './field-types.ts'
import { internAscii } from './intern.ts'
import { Patience } from './patience.ts'
import { Reader } from './reader.ts'
import type { FieldTable } from './values.ts'

/** A power of two. */
const SLOTS = 64
/** Bytes of the longest table that is kept. */
const LONGEST = 1024
const LENGTH = 4

interface Entry {
  readonly name: string
  readonly type: number
  /** Offsets: of its name, of its value, and of the end of the entry. */
  readonly start: number
  readonly value: number
  readonly stop: number
}

/**
 * Cache of a decoded table of headers. A table of the same shape (names, order, types and lengths) is cloned from it, and
 * only values whose bytes differ are read: a message of which all properties are read costs 489 ns instead of 596.
 *
 * Only tables of strings, 32-bit integers and booleans are kept: such values cannot be changed.
 */
class KnownTable {
  readonly patience = new Patience()
  /** Bytes of the table; 0 if there is none. */
  size = 0
  #view = newView(Buffer.alloc(0))
  #entries: Entry[] = []
  #table: FieldTable = {}

  /** The table at `start`, which is as long as this one. Returns undefined if it has another shape. */
  read(buffer: Buffer, start: number): FieldTable | undefined {
    const known = this.#view
    const view = viewOf(buffer)
    const table = { ...this.#table }
    const entries = this.#entries
    for (let i = 0; i < entries.length; i++) {
      const entry = entries[i] as Entry
      const from = entry.start
      if (equalBytes(known, from, view, start + from, entry.stop - from)) continue
      if (!equalBytes(known, from, view, start + from, entry.value - from)) return undefined
      const at = start + entry.value
      if (entry.type === LONG_STRING) {
        const text = internAscii(buffer, at, start + entry.stop)
        if (text === undefined) return undefined
        table[entry.name] = text
      } else table[entry.name] = entry.type === INT32 ? view.getInt32(at) : view.getUint8(at) !== 0
    }
    return table
  }

  /** Keep the table at `start`, which was read as `table`, unless it has values of other types. */
  keep(table: FieldTable, buffer: Buffer, start: number, size: number): void {
    if (size > LONGEST) return
    const view = newView(Buffer.from(buffer.subarray(start, start + size)))
    const entries: Entry[] = []
    for (let at = LENGTH; at < size; ) {
      const nameAt = at + 1
      const typeAt = nameAt + view.getUint8(at)
      const name = buffer.toString('utf8', start + nameAt, start + typeAt)
      const type = view.getUint8(typeAt)
      let value = typeAt + 1
      let length: number
      if (type === LONG_STRING) {
        // Octets that are not UTF-8 are given as a buffer, which a program may change.
        if (typeof table[name] !== 'string') return
        length = view.getUint32(value)
        value += LENGTH
      } else if (type === INT32) length = 4
      else if (type === BOOLEAN) length = 1
      else return
      entries.push({ name, type, start: at, value, stop: value + length })
      at = value + length
    }
    // The last of several entries with one name counts.
    if (new Set(entries.map(({ name }) => name)).size !== entries.length) return
    this.#entries = entries
    this.#view = view
    this.#table = { ...table }
    this.size = size
  }
}

/** Decodes tables of headers, with the help of earlier ones. */
export class KnownHeaders {
  readonly #tables = Array.from({ length: SLOTS }, () => new KnownTable())

  /** Read a table whose bytes were checked. */
  decode(buffer: Buffer, start: number): FieldTable {
    const size = LENGTH + viewOf(buffer).getUint32(start)
    // Tables of one shape have one size: each of several shapes has a slot.
    const known = this.#tables[size & (SLOTS - 1)] as KnownTable
    if (known.size === size && known.patience.compares) {
      const table = known.read(buffer, start)
      if (table !== undefined) {
        known.patience.alike()
        return table
      }
    }
    const table = decodeTable(new Reader(buffer, start, start + size))
    if (known.patience.missed()) known.keep(table, buffer, start, size)
    return table
  }
}
