import { types } from '../lib/platform.ts'
import { isBytes } from '../protocol/bytes.ts'
import { plainProperties } from '../protocol/plain-properties.ts'
import type { BasicProperties } from '../protocol/properties.ts'
import type { FieldTable } from '../protocol/values.ts'
import { WireTypes } from '../protocol/wire-types.ts'
import { type EndpointSource, ServerContext } from './server-context.ts'

/** A message that is about to be sent. */
export abstract class OutgoingContext extends ServerContext {
  /** `''` is the default exchange. */
  readonly exchangeName: string
  readonly routingKey: string
  /** Bytes. */
  readonly bodySize: number
  /** What the program gave; it must not be changed: headers are added to `headers`. */
  readonly properties: BasicProperties | undefined
  /** @internal */
  ownHeaders: FieldTable | undefined = undefined

  /** @internal */
  constructor(
    source: EndpointSource,
    payload: Uint8Array | string,
    exchangeName: string,
    routingKey: string,
    properties: BasicProperties | undefined,
  ) {
    super(source)
    this.exchangeName = exchangeName
    this.routingKey = routingKey
    this.bodySize = sizeOf(payload)
    this.properties = properties
  }

  /**
   * The headers that are sent: a table of the message's own, made when it is first asked for. A subscriber to
   * `start` may change it as it likes: the message is sent with that, also when it is sent again.
   */
  get headers(): FieldTable {
    this.ownHeaders ??= headersOf(this.properties)
    // Values that cannot be copied are refused when the message is encoded.
    return this.ownHeaders ?? {}
  }

  get messageId(): string | undefined {
    return textOf(this.properties, 'messageId')
  }

  get correlationId(): string | undefined {
    return textOf(this.properties, 'correlationId')
  }

  get replyTo(): string | undefined {
    return textOf(this.properties, 'replyTo')
  }

  /** @internal What to send. */
  get sent(): BasicProperties | undefined {
    const { properties, ownHeaders } = this
    if (ownHeaders === undefined) return properties
    for (const _ in ownHeaders) return withHeaders(properties, ownHeaders)
    // Without any, it gets no table; if a subscriber has removed the last one, that is sent no more.
    return properties?.headers === undefined ? properties : withHeaders(properties, ownHeaders)
  }
}

/** @internal */
export function sizeOf(payload: unknown): number {
  if (typeof payload === 'string') return Buffer.byteLength(payload)
  return isBytes(payload) ? payload.length : 0
}

function withHeaders(properties: BasicProperties | undefined, headers: FieldTable): BasicProperties {
  return properties === undefined ? { headers } : { ...plainProperties(properties), headers }
}

/** A copy; undefined if the value is not a table. The properties are the program's, and may have getters that throw. */
function headersOf(properties: unknown): FieldTable | undefined {
  if (properties === undefined) return {}
  try {
    const { headers } = properties as BasicProperties
    if (typeof properties !== 'object' || typeof (headers ?? {}) !== 'object') return undefined
    if (types.isMap(headers)) return Object.fromEntries(headers)
    return WireTypes.copyOf(headers ?? {})
  } catch {
    return undefined
  }
}

function textOf(properties: BasicProperties | undefined, name: 'messageId' | 'correlationId' | 'replyTo') {
  try {
    const value: unknown = properties?.[name]
    return typeof value === 'string' ? value : undefined
  } catch {
    return undefined
  }
}
