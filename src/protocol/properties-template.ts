import { Patience } from './patience.ts'
import { type BasicProperties, PROPERTY_NAMES } from './properties.ts'
import { isPlainObject } from './values.ts'
import { WireTypes } from './wire-types.ts'
import { copyWords, newView, writeAscii } from './words.ts'
import type { Writer } from './writer.ts'

/** Bytes of the longest property list that is kept. */
const LONGEST = 1024
const SHORTSTR_LENGTH = 1
const LONGSTR_LENGTH = 4
const TYPE = 1
/** Stands for a timestamp among the values: dates can be changed. */
const TIMESTAMP = {}

/** The members of an object, in its own order, and where their values stand in the list. */
class Members {
  readonly names: string[] = []
  readonly values: unknown[] = []
  readonly places: number[] = []

  add(name: string, value: unknown, place: number): void {
    this.names.push(name)
    this.values.push(value)
    this.places.push(place)
  }
}

/**
 * The property list of an earlier publish, to be filled in again. Programs publish messages that are alike: the same
 * properties and headers, with values of the same length. Copying that list, and writing only what differs, costs half
 * of encoding it.
 *
 * Only lists in ASCII are kept, whose headers are strings, integers of 32 bits and booleans.
 */
export class PropertiesTemplate {
  #bytes = Buffer.alloc(0)
  #view = newView(this.#bytes)
  /** Bytes of the list; 0 where there is none. */
  #size = 0
  #properties = new Members()
  #headers = new Members()
  readonly #patience = new Patience()

  /** Write the list for `properties`. Returns false, with nothing written, where it is not like the one kept. */
  write(writer: Writer, properties: BasicProperties): boolean {
    const size = this.#size
    if (size === 0 || !this.#patience.compares || !this.#fill(properties)) return false
    copyWords(this.#view, 0, size, writer.view, writer.position)
    writer.position += size
    this.#patience.alike()
    return true
  }

  #fill(properties: BasicProperties): boolean {
    if (!isPlainObject(properties)) return false
    const { names, values } = this.#properties
    let i = 0
    for (const name in properties) {
      if (name !== names[i]) return false
      const value: unknown = properties[name]
      if (value !== values[i] && !this.#changeProperty(i, value)) return false
      i++
    }
    return i === names.length
  }

  #changeProperty(i: number, value: unknown): boolean {
    const members = this.#properties
    const last = members.values[i]
    if (typeof value === 'string') return this.#changeText(members, i, value)
    if (typeof value === 'number') {
      if (typeof last !== 'number' || (value & 0xff) !== value) return false
      this.#view.setInt8(members.places[i] as number, value)
      members.values[i] = value
      return true
    }
    if (last === TIMESTAMP) return this.#changeTimestamp(members.places[i] as number, value)
    return last === this.#headers && this.#changeHeaders(value)
  }

  #changeTimestamp(place: number, value: unknown): boolean {
    const milliseconds = value instanceof Date ? value.getTime() : Number.NaN
    if (!(milliseconds >= 0)) return false
    const seconds = Math.floor(milliseconds / 1000)
    this.#view.setInt32(place, Math.floor(seconds / 0x1_0000_0000))
    this.#view.setInt32(place + 4, seconds)
    return true
  }

  #changeHeaders(table: unknown): boolean {
    if (!isPlainObject(table) || WireTypes.of(table) !== undefined) return false
    const { names, values } = this.#headers
    let i = 0
    for (const name in table) {
      if (name !== names[i]) return false
      const value = table[name]
      // -0 equals 0, and is no integer.
      if ((value !== values[i] || value === 0) && !this.#changeHeader(i, value)) return false
      i++
    }
    return i === names.length
  }

  #changeHeader(i: number, value: unknown): boolean {
    const members = this.#headers
    const last = members.values[i]
    if (typeof value === 'string') return this.#changeText(members, i, value)
    if (typeof value !== typeof last) return false
    if (isInt32(value)) this.#view.setInt32(members.places[i] as number, value)
    else if (typeof value === 'boolean') this.#view.setInt8(members.places[i] as number, value ? 1 : 0)
    else return false
    members.values[i] = value
    return true
  }

  #changeText(members: Members, i: number, text: string): boolean {
    const last = members.values[i]
    if (typeof last !== 'string' || text.length !== last.length) return false
    if (!writeAscii(this.#view, members.places[i] as number, text)) {
      // What stands there now belongs to no list.
      this.#size = 0
      return false
    }
    members.values[i] = text
    return true
  }

  /** The list from `start` to `end` of `buffer` was written for `properties`, which were not like those kept. */
  learn(properties: BasicProperties, buffer: Buffer, start: number, end: number): void {
    if (!this.#patience.missed()) return
    const size = end - start
    // UTF-8 takes more octets than there are units where it is not ASCII: then the sizes differ.
    const isKept = size <= LONGEST && isPlainObject(properties) && this.#measure(properties) === size
    this.#size = isKept ? size : 0
    if (!isKept) return
    if (this.#bytes.length === 0) {
      this.#bytes = Buffer.allocUnsafeSlow(LONGEST)
      this.#view = newView(this.#bytes)
    }
    buffer.copy(this.#bytes, 0, start, end)
  }

  /** Remember the members of `properties`. Returns the bytes of their list, or NaN where it is none to keep. */
  #measure(properties: BasicProperties): number {
    const places = new Map<string, number>()
    let at = 2
    for (const name of PROPERTY_NAMES) {
      const value = properties[name]
      if (typeof value === 'string') {
        places.set(name, at + SHORTSTR_LENGTH)
        at += SHORTSTR_LENGTH + value.length
      } else {
        places.set(name, at)
        if (typeof value === 'number') at += 1
        else if (value instanceof Date) at += 8
        else if (value !== undefined) at = this.#measureHeaders(value, at)
      }
    }
    this.#properties = new Members()
    for (const name in properties) {
      const value: unknown = properties[name as keyof BasicProperties]
      const kept = value instanceof Date ? TIMESTAMP : typeof value === 'object' ? this.#headers : value
      this.#properties.add(name, kept, places.get(name) ?? 0)
    }
    return at
  }

  /** Returns where the table that starts at `start` ends. */
  #measureHeaders(table: object, start: number): number {
    this.#headers = new Members()
    if (!isPlainObject(table) || WireTypes.of(table) !== undefined) return Number.NaN
    let at = start + LONGSTR_LENGTH
    for (const name in table) {
      const value = table[name]
      at += SHORTSTR_LENGTH + name.length + TYPE
      if (typeof value === 'string') at += LONGSTR_LENGTH
      this.#headers.add(name, value, at)
      if (typeof value === 'string') at += value.length
      else if (typeof value === 'boolean') at += 1
      else if (isInt32(value)) at += 4
      else return Number.NaN
    }
    return at
  }
}

function isInt32(value: unknown): value is number {
  return typeof value === 'number' && (value | 0) === value && !Object.is(value, -0)
}
