import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../protocol/properties.ts'
import { Properties } from '../protocol/received-properties.ts'
import type { FieldTable } from '../protocol/values.ts'
import { Writer } from '../protocol/writer.ts'
import { entryOf } from './field-kinds.ts'
import { preconditionFailed } from './refusals.ts'

const PERSISTENT = 2
/** Octets of the flags that a list of properties begins with. */
const LIST_FLAGS = 2

/** A message as the broker keeps it: never changed; a different one is another message. */
export class Message {
  readonly exchange: string
  /** The routing key that it was published with, then those of CC and BCC. */
  readonly routingKeys: readonly string[]
  /** The routing keys of BCC, which no receiver sees. */
  readonly blindKeys: readonly string[]
  readonly properties: BasicProperties
  readonly body: Buffer
  /** The properties as its publisher sent them: one object for it and what is made of it, as by a stream or a death. */
  readonly received: BasicProperties
  /** Whether it has died since: its headers say where and why. */
  readonly died: boolean
  /** Deliveries that failed in the queues in which it died. */
  readonly failures: number
  #peeked: FieldTable | undefined

  constructor(
    exchange: string,
    routingKeys: readonly string[],
    blindKeys: readonly string[],
    properties: BasicProperties,
    body: Buffer,
    received = properties,
    died = false,
    failures = 0,
  ) {
    this.exchange = exchange
    this.routingKeys = routingKeys
    this.blindKeys = blindKeys
    this.properties = properties
    this.body = body
    this.received = received
    this.died = died
    this.failures = failures
  }

  /** A message that a client published. @throws Refusal (406) if CC or BCC is not an array. */
  static published(exchange: string, routingKey: string, properties: BasicProperties, body: Buffer): Message {
    const headers = peek(properties)
    // CC is looked at first: if both are wrong, the refusal names it.
    const seen = receivers(headers, 'CC')
    const blind = receivers(headers, 'BCC')
    const keys = [routingKey, ...seen, ...blind]
    const sent = headers?.['BCC'] === undefined ? properties : without(properties, 'BCC')
    return new Message(exchange, keys, blind, sent, body)
  }

  /** The routing keys in the story of its death: all but those of BCC. */
  get toldKeys(): readonly string[] {
    const blind = [...this.blindKeys]
    return this.routingKeys.filter(key => {
      const at = blind.indexOf(key)
      if (at !== -1) blind.splice(at, 1)
      return at === -1
    })
  }

  /** Those of its headers, which it may not have been published with. */
  get copies(): readonly string[] {
    return receivers(this.headers, 'CC')
  }

  get routingKey(): string {
    return this.routingKeys[0] ?? ''
  }

  /** Octets of the properties as its publisher sent them. */
  get propertiesSize(): number {
    const { received } = this
    return received instanceof Properties
      ? LIST_FLAGS + received.wireEnd - received.wireStart
      : encodeProperties(received).length
  }

  get persistent(): boolean {
    return this.properties.deliveryMode === PERSISTENT
  }

  get priority(): number | undefined {
    return this.properties.priority
  }

  /** For reading only: the received bytes stay as they are. */
  get headers(): FieldTable {
    this.#peeked ??= peek(this.properties) ?? {}
    return this.#peeked
  }

  /** The same message with other properties. */
  withProperties(properties: BasicProperties): Message {
    const { exchange, routingKeys, blindKeys, body, received, died, failures } = this
    return new Message(exchange, routingKeys, blindKeys, properties, body, received, died, failures)
  }

  /** The same message with more headers, or others of the same names. */
  withHeaders(headers: FieldTable): Message {
    return this.withProperties(changed(this.properties, own => Object.assign(own, headers)))
  }
}

/** Properties with others beside or instead of them. */
export function withOthers(properties: BasicProperties, others: BasicProperties): BasicProperties {
  return { ...copied(properties), ...others }
}

/** Properties whose headers are in the order of their names. */
export function withSortedHeaders(properties: BasicProperties): BasicProperties {
  const names = Object.keys(peek(properties) ?? {})
  return names.every((name, at) => at === 0 || (names[at - 1] ?? '') <= name)
    ? properties
    : changed(properties, () => {})
}

/** Decoded from a second reading, since what has been decoded of the first would be encoded again. */
function peek(properties: BasicProperties): FieldTable | undefined {
  if (!(properties instanceof Properties)) return properties.headers
  const { wireFlags, wireBytes, wireStart, wireEnd } = properties
  return new Properties(wireFlags, wireBytes, wireStart, wireEnd).headers
}

/**
 * A copy of properties with changed headers, in the order of their names, as RabbitMQ leaves them when it adds one. Other
 * values keep the types that they had on the wire.
 */
export function changed(properties: BasicProperties, change: (headers: FieldTable) => void): BasicProperties {
  return edited(properties, headers => {
    change(headers)
    for (const name of Object.keys(headers).sort()) {
      const value = headers[name]
      delete headers[name]
      // Assigned, `__proto__` would not be a header.
      Object.defineProperty(headers, name, { value, writable: true, enumerable: true, configurable: true })
    }
  })
}

function edited(properties: BasicProperties, edit: (headers: FieldTable) => void): BasicProperties {
  const copy = reread(properties)
  const headers = copy.headers ?? {}
  edit(headers)
  return { ...copy.toJSON(), headers }
}

/** A plain copy, which can be changed. */
export function copied(properties: BasicProperties): BasicProperties {
  return reread(properties).toJSON()
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
  return edited(properties, headers => delete headers[header])
}

function receivers(headers: FieldTable | undefined, name: 'CC' | 'BCC'): string[] {
  const entry = headers === undefined ? undefined : entryOf(headers, name)
  if (entry === undefined) return []
  const { kind, value } = entry
  if (Array.isArray(value)) return value.filter(key => typeof key === 'string')
  throw preconditionFailed(`invalid message: {unacceptable_type_in_header,"${name}",${kind}}`)
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
