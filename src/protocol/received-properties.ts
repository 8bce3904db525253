import { INSPECT } from '../lib/inspect.ts'
import { ownCopy } from './bytes.ts'
import { decodeTable } from './field-table.ts'
import { internShortstr } from './intern.ts'
import { dateOf } from './late-date.ts'
import {
  APP_ID,
  type BasicProperties,
  CLUSTER_ID,
  CONTENT_ENCODING,
  CONTENT_TYPE,
  CORRELATION_ID,
  DELIVERY_MODE,
  EXPIRATION,
  HEADERS,
  MESSAGE_ID,
  MESSAGE_TYPE,
  PRIORITY,
  PROPERTY_NAMES,
  REPLY_TO,
  TIMESTAMP,
  USER_ID,
  writeProperties,
} from './properties.ts'
import { checkProperties, skipShortstr, truncated } from './property-list.ts'
import { Reader } from './reader.ts'
import { Slab } from './slab.ts'
import type { FieldTable } from './values.ts'
import type { Writer } from './writer.ts'

interface Decoded {
  contentType: string | undefined
  contentEncoding: string | undefined
  headersAt: number
  headers: FieldTable | undefined
  deliveryMode: number | undefined
  priority: number | undefined
  correlationId: string | undefined
  replyTo: string | undefined
  expiration: string | undefined
  messageId: string | undefined
  timestampAt: number
  timestamp: Date | undefined
  messageType: string | undefined
  userId: string | undefined
  appId: string | undefined
  clusterId: string | undefined
}

const NOTHING = Buffer.alloc(0)
const SLAB_SIZE = 8192
const slab = new Slab(SLAB_SIZE)

/**
 * The properties of a received message. They are decoded when first read, so that programs that read none do not pay for
 * it: the members are getters. Copy them with `toJSON()`; a spread would copy none of them.
 */
export class Properties implements BasicProperties {
  // Plain fields: one object is made per message, and #private costs six times as much.
  /** @internal */
  readonly wireFlags: number
  /** @internal */
  readonly wireBytes: Buffer
  /** @internal */
  readonly wireStart: number
  /** @internal */
  readonly wireEnd: number
  /** @internal */
  decoded: Decoded | undefined

  /** @internal */
  constructor(flags: number, bytes: Buffer, start: number, end: number) {
    this.wireFlags = flags
    this.wireBytes = bytes
    this.wireStart = start
    this.wireEnd = end
    this.decoded = undefined
  }

  /** @internal Shared by all messages without properties, since it cannot be changed. */
  static readonly NONE: Properties = new Properties(0, NOTHING, 0, 0)

  /** @internal Its headers are nested deeper than this client reads. */
  get isTooDeep(): boolean {
    return false
  }

  /** @internal Where the table of headers is, if there is one. */
  protected get headersStart(): number {
    return this.#values().headersAt
  }

  /** @internal The properties from `start` to `end` of a content header, checked, and copied out of the read buffer. */
  static read(buffer: Buffer, start: number, end: number): Properties {
    if (end - start < 2) throw truncated()
    const flags = ((buffer[start] as number) << 8) | (buffer[start + 1] as number)
    const size = end - start - 2
    if (flags === 0 && size === 0) return Properties.NONE
    if (!checkProperties(buffer, start + 2, end, flags)) {
      return new TooDeepProperties(flags, ownCopy(buffer, start + 2, end), 0, size)
    }
    if (size > SLAB_SIZE / 4) return new Properties(flags, ownCopy(buffer, start + 2, end), 0, size)
    const at = slab.copyIn(buffer, start + 2, end)
    return new Properties(flags, slab.buffer, at, at + size)
  }

  /** @internal Write them into a content header: as they came, unless the program may have changed a value. */
  write(writer: Writer): void {
    if (this.decoded?.headers !== undefined || this.decoded?.timestamp !== undefined) {
      writeProperties(writer, this.toJSON())
      return
    }
    const size = this.wireEnd - this.wireStart
    writer.reserve(2 + size)
    writer.short(this.wireFlags)
    writer.bytes(this.wireBytes.subarray(this.wireStart, this.wireEnd))
  }

  get contentType(): string | undefined {
    return this.#values().contentType
  }
  get contentEncoding(): string | undefined {
    return this.#values().contentEncoding
  }
  get headers(): FieldTable | undefined {
    const values = this.#values()
    if (values.headers === undefined && values.headersAt !== -1) {
      values.headers = decodeTable(new Reader(this.wireBytes, values.headersAt, this.wireEnd))
    }
    return values.headers
  }
  get deliveryMode(): number | undefined {
    return this.#values().deliveryMode
  }
  get priority(): number | undefined {
    return this.#values().priority
  }
  get correlationId(): string | undefined {
    return this.#values().correlationId
  }
  get replyTo(): string | undefined {
    return this.#values().replyTo
  }
  get expiration(): string | undefined {
    return this.#values().expiration
  }
  get messageId(): string | undefined {
    return this.#values().messageId
  }
  get timestamp(): Date | undefined {
    const values = this.#values()
    if (values.timestamp === undefined && values.timestampAt !== -1) {
      values.timestamp = dateOf(this.wireBytes.readBigUInt64BE(values.timestampAt))
    }
    return values.timestamp
  }
  get messageType(): string | undefined {
    return this.#values().messageType
  }
  get userId(): string | undefined {
    return this.#values().userId
  }
  get appId(): string | undefined {
    return this.#values().appId
  }
  get clusterId(): string | undefined {
    return this.#values().clusterId
  }

  /** @internal What Node prints of it. */
  [INSPECT](): BasicProperties {
    return this.toJSON()
  }

  /** A plain object of the properties that are set, to change and to publish. */
  toJSON(): BasicProperties {
    const plain: Record<string, unknown> = {}
    for (const name of PROPERTY_NAMES) {
      const value = this[name]
      if (value !== undefined) plain[name] = value
    }
    return plain
  }

  #values(): Decoded {
    return this.decoded ?? this.#decode()
  }

  #decode(): Decoded {
    const values: Decoded = {
      contentType: undefined,
      contentEncoding: undefined,
      headersAt: -1,
      headers: undefined,
      deliveryMode: undefined,
      priority: undefined,
      correlationId: undefined,
      replyTo: undefined,
      expiration: undefined,
      messageId: undefined,
      timestampAt: -1,
      timestamp: undefined,
      messageType: undefined,
      userId: undefined,
      appId: undefined,
      clusterId: undefined,
    }
    const flags = this.wireFlags
    const bytes = this.wireBytes
    let at = this.wireStart
    if ((flags & CONTENT_TYPE) !== 0) {
      const end = skipShortstr(bytes, at)
      values.contentType = internShortstr(bytes, at + 1, end)
      at = end
    }
    if ((flags & CONTENT_ENCODING) !== 0) {
      const end = skipShortstr(bytes, at)
      values.contentEncoding = internShortstr(bytes, at + 1, end)
      at = end
    }
    if ((flags & HEADERS) !== 0) {
      values.headersAt = at
      at += 4 + bytes.readUInt32BE(at)
    }
    if ((flags & DELIVERY_MODE) !== 0) values.deliveryMode = bytes[at++]
    if ((flags & PRIORITY) !== 0) values.priority = bytes[at++]
    if ((flags & CORRELATION_ID) !== 0) {
      const end = skipShortstr(bytes, at)
      values.correlationId = shortstrOf(bytes, at + 1, end)
      at = end
    }
    if ((flags & REPLY_TO) !== 0) {
      const end = skipShortstr(bytes, at)
      values.replyTo = internShortstr(bytes, at + 1, end)
      at = end
    }
    if ((flags & EXPIRATION) !== 0) {
      const end = skipShortstr(bytes, at)
      values.expiration = internShortstr(bytes, at + 1, end)
      at = end
    }
    if ((flags & MESSAGE_ID) !== 0) {
      const end = skipShortstr(bytes, at)
      values.messageId = shortstrOf(bytes, at + 1, end)
      at = end
    }
    if ((flags & TIMESTAMP) !== 0) {
      values.timestampAt = at
      at += 8
    }
    if ((flags & MESSAGE_TYPE) !== 0) {
      const end = skipShortstr(bytes, at)
      values.messageType = internShortstr(bytes, at + 1, end)
      at = end
    }
    if ((flags & USER_ID) !== 0) {
      const end = skipShortstr(bytes, at)
      values.userId = internShortstr(bytes, at + 1, end)
      at = end
    }
    if ((flags & APP_ID) !== 0) {
      const end = skipShortstr(bytes, at)
      values.appId = internShortstr(bytes, at + 1, end)
      at = end
    }
    if ((flags & CLUSTER_ID) !== 0) {
      values.clusterId = internShortstr(bytes, at + 1, skipShortstr(bytes, at))
    }
    this.decoded = values
    return values
  }
}

/** An id, which comes once: no earlier string is looked for. */
function shortstrOf(bytes: Buffer, start: number, end: number): string {
  return bytes.toString('utf8', start, end)
}

/** Properties of a message that is refused. Tables nested too deep in its headers are empty. */
class TooDeepProperties extends Properties {
  override get isTooDeep(): boolean {
    return true
  }

  override get headers(): FieldTable {
    const reader = new Reader(this.wireBytes, this.headersStart, this.wireEnd)
    reader.skipsTooDeep = true
    return decodeTable(reader)
  }
}

Properties.NONE.contentType
Object.freeze(Properties.NONE)
