import { EncodeError } from '../errors.ts'
import { encodeTable } from './field-table.ts'
import { inspectShort } from './inspect-short.ts'
import { secondsOf } from './late-date.ts'
import { hintFor } from './option-check.ts'
import { shortstrFault } from './text.ts'
import type { FieldTable } from './values.ts'
import type { Writer } from './writer.ts'

/** Properties of a message (§4.2.6.1 and the basic class). All are optional; most have no meaning for the broker. */
export interface BasicProperties {
  /** MIME type of the body, such as `application/json`. */
  readonly contentType?: string | undefined
  /** MIME content encoding of the body, such as `gzip`. */
  readonly contentEncoding?: string | undefined
  /** Application headers, which a headers exchange routes by. */
  readonly headers?: FieldTable | undefined
  /** 2 makes the message persistent in a durable queue; 1 (the default) keeps it in memory. */
  readonly deliveryMode?: number | undefined
  /** 0 to 255, for queues with `x-max-priority`. */
  readonly priority?: number | undefined
  /** Says which request a reply answers. */
  readonly correlationId?: string | undefined
  /** Queue that replies go to. */
  readonly replyTo?: string | undefined
  /** Milliseconds, as a string of digits, after which the message expires in a queue. */
  readonly expiration?: string | undefined
  readonly messageId?: string | undefined
  /** Sent in whole seconds. */
  readonly timestamp?: Date | undefined
  /** The property `type` of AMQP. */
  readonly messageType?: string | undefined
  /** Must be the login of the connection: RabbitMQ refuses any other. */
  readonly userId?: string | undefined
  readonly appId?: string | undefined
  readonly clusterId?: string | undefined
}

/** @internal What the intent level sends unless the program says more. */
export const PERSISTENT: BasicProperties = Object.freeze({ deliveryMode: 2 })

/** Flags of a property list (§4.2.6.1), by the properties they stand for. */
export const CONTENT_TYPE = 0x8000
export const CONTENT_ENCODING = 0x4000
export const HEADERS = 0x2000
export const DELIVERY_MODE = 0x1000
export const PRIORITY = 0x0800
export const CORRELATION_ID = 0x0400
export const REPLY_TO = 0x0200
export const EXPIRATION = 0x0100
export const MESSAGE_ID = 0x0080
export const TIMESTAMP = 0x0040
export const MESSAGE_TYPE = 0x0020
export const USER_ID = 0x0010
export const APP_ID = 0x0008
export const CLUSTER_ID = 0x0004

/** @internal In the order of the wire. */
export const PROPERTY_NAMES = [
  'contentType',
  'contentEncoding',
  'headers',
  'deliveryMode',
  'priority',
  'correlationId',
  'replyTo',
  'expiration',
  'messageId',
  'timestamp',
  'messageType',
  'userId',
  'appId',
  'clusterId',
] as const satisfies readonly (keyof BasicProperties)[]

/** @internal Options of a publish at the intent level, which other clients take among the properties. */
export const PUBLISH_OPTIONS: readonly string[] = ['mandatory', 'signal', 'timeout']
/** Those of a publish that is encoded. */
const TYPED_OPTIONS: readonly string[] = ['schema', 'codecs']

/** Room that every property but the headers takes at most: eleven short strings, two octets and a timestamp. */
export const MAX_SCALAR_PROPERTIES = 11 * 256 + 2 + 8

function writeString(writer: Writer, name: string, value: string): void {
  if (typeof value !== 'string')
    throw new EncodeError(`properties.${name} must be a string, not ${inspectShort(value)}`)
  if (!writer.shortstr(value)) throw new EncodeError(`properties.${name} ${shortstrFault(value)}`)
}

function writeOctet(writer: Writer, name: string, value: number): void {
  if (typeof value !== 'number' || (value & 0xff) !== value) {
    throw new EncodeError(`properties.${name} must be an integer from 0 to 255, not ${inspectShort(value)}`)
  }
  writer.octet(value)
}

function writeTimestamp(writer: Writer, value: Date): void {
  const seconds = secondsOf(value)
  if (seconds === undefined) {
    throw new EncodeError(`properties.timestamp must be a valid Date from 1970 on, not ${inspectShort(value)}`)
  }
  if (typeof seconds === 'bigint') writer.bigint(seconds)
  else writer.longlong(seconds)
}

/** An unknown name is a mistake, and so is the spread of received properties, whose values are getters. */
function checkNames(properties: BasicProperties): void {
  for (const name of Object.keys(properties)) {
    if (!(PROPERTY_NAMES as readonly string[]).includes(name)) {
      const hint =
        name === 'wireFlags'
          ? 'copy received properties with toJSON(), not by spreading them'
          : PUBLISH_OPTIONS.includes(name) || TYPED_OPTIONS.includes(name)
            ? 'it is an option, which the argument after the properties takes'
            : hintFor(name, PROPERTY_NAMES)
      throw new EncodeError(`properties has an unknown member "${name}"; ${hint}`)
    }
  }
}

/**
 * @internal Write the property list of a content header, its flags first. The caller has reserved `2 + MAX_SCALAR_PROPERTIES`;
 * a table of headers reserves its own room, so the message may move.
 */
export function writeProperties(writer: Writer, properties: BasicProperties): void {
  const flagsAt = writer.offset
  writer.short(0)
  let flags = 0
  let count = 0
  const { contentType, contentEncoding, headers, deliveryMode, priority, correlationId, replyTo } = properties
  const { expiration, messageId, timestamp, messageType, userId, appId, clusterId } = properties
  if (contentType !== undefined) {
    flags |= CONTENT_TYPE
    count++
    writeString(writer, 'contentType', contentType)
  }
  if (contentEncoding !== undefined) {
    flags |= CONTENT_ENCODING
    count++
    writeString(writer, 'contentEncoding', contentEncoding)
  }
  if (headers !== undefined) {
    flags |= HEADERS
    count++
    encodeTable(writer, headers, 'properties.headers')
    writer.reserve(MAX_SCALAR_PROPERTIES)
  }
  if (deliveryMode !== undefined) {
    flags |= DELIVERY_MODE
    count++
    writeOctet(writer, 'deliveryMode', deliveryMode)
  }
  if (priority !== undefined) {
    flags |= PRIORITY
    count++
    writeOctet(writer, 'priority', priority)
  }
  if (correlationId !== undefined) {
    flags |= CORRELATION_ID
    count++
    writeString(writer, 'correlationId', correlationId)
  }
  if (replyTo !== undefined) {
    flags |= REPLY_TO
    count++
    writeString(writer, 'replyTo', replyTo)
  }
  if (expiration !== undefined) {
    flags |= EXPIRATION
    count++
    writeString(writer, 'expiration', expiration)
  }
  if (messageId !== undefined) {
    flags |= MESSAGE_ID
    count++
    writeString(writer, 'messageId', messageId)
  }
  if (timestamp !== undefined) {
    flags |= TIMESTAMP
    count++
    writeTimestamp(writer, timestamp)
  }
  if (messageType !== undefined) {
    flags |= MESSAGE_TYPE
    count++
    writeString(writer, 'messageType', messageType)
  }
  if (userId !== undefined) {
    flags |= USER_ID
    count++
    writeString(writer, 'userId', userId)
  }
  if (appId !== undefined) {
    flags |= APP_ID
    count++
    writeString(writer, 'appId', appId)
  }
  if (clusterId !== undefined) {
    flags |= CLUSTER_ID
    count++
    writeString(writer, 'clusterId', clusterId)
  }
  // Names are only compared if the count shows that a member was not written.
  for (const _ in properties) count--
  if (count !== 0) checkNames(properties)
  const at = writer.positionOf(flagsAt)
  writer.buffer[at] = flags >>> 8
  writer.buffer[at + 1] = flags & 0xff
}
