import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../protocol/properties.ts'
import { Properties } from '../protocol/received-properties.ts'
import type { FieldTable } from '../protocol/values.ts'
import { Writer } from '../protocol/writer.ts'
import { preconditionFailed } from './refusals.ts'

const PERSISTENT = 2

/** A message as the broker keeps it: never changed; what is to be different is another message. */
export class Message {
  readonly exchange: string
  /** The one that it was published with, then those of CC and BCC. */
  readonly routingKeys: readonly string[]
  /** How many of them a receiver may know of: all but those of BCC. */
  readonly shownKeys: number
  readonly properties: BasicProperties
  readonly body: Buffer
  #peeked: FieldTable | undefined

  constructor(
    exchange: string,
    routingKeys: readonly string[],
    shownKeys: number,
    properties: BasicProperties,
    body: Buffer,
  ) {
    this.exchange = exchange
    this.routingKeys = routingKeys
    this.shownKeys = shownKeys
    this.properties = properties
    this.body = body
  }

  /** A message that a client published. @throws Refusal (406) where CC or BCC is no array. */
  static published(exchange: string, routingKey: string, properties: BasicProperties, body: Buffer): Message {
    const headers = peek(properties)
    const copies = receivers(headers, 'CC')
    const blind = receivers(headers, 'BCC')
    if (copies.length + blind.length === 0 && headers?.['BCC'] === undefined) {
      return new Message(exchange, [routingKey], 1, properties, body)
    }
    const keys = Array.from(new Set([routingKey, ...copies, ...blind]))
    const shown = keys.length - blind.filter(key => key !== routingKey && !copies.includes(key)).length
    if (headers?.['BCC'] === undefined) return new Message(exchange, keys, shown, properties, body)
    return new Message(exchange, keys, shown, without(properties, 'BCC'), body)
  }

  get routingKey(): string {
    return this.routingKeys[0] ?? ''
  }

  get size(): number {
    return this.body.length
  }

  get persistent(): boolean {
    return this.properties.deliveryMode === PERSISTENT
  }

  get priority(): number | undefined {
    return this.properties.priority
  }

  /** To look at, not to change or to send: the bytes that came stay as they are. */
  get headers(): FieldTable {
    this.#peeked ??= peek(this.properties) ?? {}
    return this.#peeked
  }

  /** The same message with other properties. */
  withProperties(properties: BasicProperties): Message {
    return new Message(this.exchange, this.routingKeys, this.shownKeys, properties, this.body)
  }

  /** The same message with more headers, or others of the same names. */
  withHeaders(headers: FieldTable): Message {
    return this.withProperties(changed(this.properties, own => Object.assign(own, headers)))
  }
}

/** Properties with others beside or instead of them. */
export function withOthers(properties: BasicProperties, others: BasicProperties): BasicProperties {
  return { ...reread(properties).toJSON(), ...others }
}

/** Properties whose headers are in the order of their names. */
export function withSortedHeaders(properties: BasicProperties): BasicProperties {
  const names = Object.keys(peek(properties) ?? {})
  const sorted = names.toSorted()
  if (sorted.every((name, at) => name === names[at])) return properties
  return changed(properties, headers => {
    for (const name of sorted) {
      const value = headers[name]
      delete headers[name]
      headers[name] = value
    }
  })
}

/** Decoded from a second reading, since what has been decoded of the first would be written anew. */
function peek(properties: BasicProperties): FieldTable | undefined {
  if (!(properties instanceof Properties)) return properties.headers
  const { wireFlags, wireBytes, wireStart, wireEnd } = properties
  return new Properties(wireFlags, wireBytes, wireStart, wireEnd).headers
}

/** A copy of properties with changed headers, whose other values keep the types that they had on the wire. */
export function changed(properties: BasicProperties, change: (headers: FieldTable) => void): BasicProperties {
  const copy = reread(properties)
  const headers = copy.headers ?? {}
  change(headers)
  return { ...copy.toJSON(), headers }
}

function reread(properties: BasicProperties): Properties {
  if (properties instanceof Properties) {
    const { wireFlags, wireBytes, wireStart, wireEnd } = properties
    return new Properties(wireFlags, wireBytes, wireStart, wireEnd)
  }
  const bytes = encodeProperties(properties)
  return Properties.read(bytes, 0, bytes.length)
}

function without(properties: BasicProperties, header: string): BasicProperties {
  return changed(properties, headers => delete headers[header])
}

function receivers(headers: FieldTable | undefined, name: 'CC' | 'BCC'): string[] {
  const value = headers?.[name]
  if (value === undefined) return []
  if (Array.isArray(value)) return value.filter(key => typeof key === 'string')
  const type = typeof value === 'string' ? 'longstr' : typeof value
  throw preconditionFailed(`invalid message: {unacceptable_type_in_header,"${name}",${type}}`)
}

/** Write a property list, flags first. */
export function writePropertyList(writer: Writer, properties: BasicProperties): void {
  if (properties instanceof Properties) properties.write(writer)
  else {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    writeProperties(writer, properties)
  }
}

function encodeProperties(properties: BasicProperties): Buffer {
  return Writer.encode(writer => writePropertyList(writer, properties))
}
