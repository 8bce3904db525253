import { isAscii } from 'node:buffer'
import { EncodeError, FrameError } from '../errors.ts'
import { FrameType, ReplyCode } from '../protocol/constants.ts'
import { longlong, longstr } from '../protocol/fields.ts'
import { decodeArguments, encodeMethod } from '../protocol/method-codec.ts'
import * as methods from '../protocol/methods.ts'
import { Reader } from '../protocol/reader.ts'
import { Properties } from '../protocol/received-properties.ts'
import { Writer } from '../protocol/writer.ts'
import type { Published } from './channel-publishing.ts'
import { FrameCutter, printFrame, printOctets } from './frame-cutter.ts'
import { copied, writePropertyList } from './message.ts'
import { Breakdown, breakage, Refusal, unexpectedFrame } from './refusals.ts'
import type { Release } from './release.ts'

const BASIC = 60
/** Class, weight and body size, in front of the properties. */
const HEADER_SIZE = 12
const FLAGS_SIZE = 2
/** Class and method, in front of the arguments. */
const METHOD_IDS = 4
const IMMEDIATE = 2
/** Flags of properties that do not exist; RabbitMQ takes no notice of them. */
const NO_PROPERTIES = 3
const MOST_CONTENT = 536_870_912n
const REPLACEMENT = '\ufffd'

/** What comes from a client, in whole methods and messages. */
export interface FrameInputEvents {
  method(channel: number, method: methods.AnyMethod, args: Record<string, unknown>): void
  published(channel: number, published: Published): void
}

/** A method with a message of which not everything has come. */
interface Incoming {
  readonly method: methods.AnyMethod
  readonly args: Record<string, unknown>
  readonly immediate: boolean
  /** Whether its arguments can be sent on. */
  readonly isWritable: boolean
  readonly pieces: Buffer[]
  /** Undefined until its header has come. */
  content: { readonly properties: Properties | undefined; missing: number } | undefined
}

/** Makes methods and messages of a client's bytes. */
export class FrameInput {
  readonly #events: FrameInputEvents
  readonly #cutter: FrameCutter
  readonly #release: Release
  readonly #incoming = new Map<number, Incoming>()
  /** Whether the connection is open, and channels are. */
  takesChannels = false

  constructor(events: FrameInputEvents, release: Release) {
    this.#events = events
    this.#release = release
    this.#cutter = new FrameCutter(release.frameMin, (type, channel, payload) => this.#frame(type, channel, payload))
  }

  set frameMax(bytes: number) {
    this.#cutter.frameMax = bytes
  }

  /** @throws Refusal, Breakdown if a client may not send these bytes. */
  push(bytes: Buffer): void {
    this.#cutter.push(bytes)
  }

  #frame(type: number, channel: number, payload: Buffer): void {
    const isHeartbeat = type === FrameType.HEARTBEAT
    const isExpected = channel === 0 ? isHeartbeat || type === FrameType.METHOD : !isHeartbeat && this.takesChannels
    if (!isExpected) {
      throw unexpectedFrame(printFrame(type, payload))
    }
    if (isHeartbeat) return
    const incoming = this.#incoming.get(channel)
    if (type === FrameType.METHOD && incoming === undefined) this.#method(channel, payload)
    else if (incoming === undefined) throw unexpectedFrame('expected method frame, got non method frame instead')
    else if (incoming.content === undefined) this.#header(channel, incoming, type, payload)
    else this.#body(channel, incoming, incoming.content, type, payload)
  }

  #method(channel: number, payload: Buffer): void {
    const method = methods.methodByKey.get(payload.readUInt32BE(0))
    if (method === undefined) throw new Breakdown('RabbitMQ knows no such method, and crashes')
    const args = argumentsOf(method, payload, channel)
    if (!method.content || channel === 0) {
      this.#events.method(channel, method, args)
      return
    }
    const immediate = ((payload.at(-1) ?? 0) & IMMEDIATE) !== 0
    this.#incoming.set(channel, {
      method,
      args,
      immediate,
      isWritable: isWritable(payload.subarray(METHOD_IDS), writer => encodeMethod(writer, channel, method, args)),
      pieces: [],
      content: undefined,
    })
  }

  #header(channel: number, incoming: Incoming, type: number, payload: Buffer): void {
    const expected = 'header for class 60'
    const isHeader = type === FrameType.HEADER && payload.readUInt16BE(2) === 0
    if (!isHeader) throw notContent(incoming, expected, 'non content header frame')
    const classId = payload.readUInt16BE(0)
    if (classId !== BASIC) throw notContent(incoming, expected, `one for class ${classId}`)
    const size = payload.readBigUInt64BE(4)
    if (this.#release.checksContentSize && size > MOST_CONTENT) {
      const text = `content body size ${size} exceeds maximum allowed size ${MOST_CONTENT}`
      throw new Refusal(ReplyCode.FRAME_ERROR, text, incoming.method)
    }
    const properties = incoming.isWritable ? propertiesOf(payload) : undefined
    incoming.content = { properties, missing: Number(size) }
    this.#finish(channel, incoming, incoming.content)
  }

  #body(
    channel: number,
    incoming: Incoming,
    content: NonNullable<Incoming['content']>,
    type: number,
    payload: Buffer,
  ): void {
    if (type !== FrameType.BODY) throw notContent(incoming, 'body', 'non content body frame')
    if (this.#release.checksContentSize && payload.length > content.missing) {
      throw new Refusal(ReplyCode.FRAME_ERROR, 'content body frame exceeds remaining content size', incoming.method)
    }
    incoming.pieces.push(Buffer.from(payload))
    content.missing -= payload.length
    this.#finish(channel, incoming, content)
  }

  /** A message that is longer than its header says never ends. */
  #finish(
    channel: number,
    { method, args, immediate, pieces }: Incoming,
    { properties, missing }: NonNullable<Incoming['content']>,
  ): void {
    if (missing !== 0) return
    this.#incoming.delete(channel)
    if (method !== methods.BasicPublish) {
      this.#events.method(channel, method, args)
      return
    }
    const { exchangeName, routingKey, mandatory } = args as methods.DecodedOf<typeof methods.BasicPublish>
    const [first, ...others] = pieces
    const body = first !== undefined && others.length === 0 ? first : Buffer.concat(pieces)
    this.#events.published(channel, { exchangeName, routingKey, mandatory, immediate, properties, body })
  }
}

/**
 * Whether what was read of these octets can be sent on: RabbitMQ reads no NaN and no infinity, and a name that is not
 * UTF-8 may have become too long. Each of them has an octet that is not ASCII: without one, there is nothing to try.
 */
function isWritable(octets: Buffer, write: (writer: Writer) => void): boolean {
  if (isAscii(octets)) return true
  try {
    Writer.encode(write)
    return true
  } catch (error) {
    if (error instanceof EncodeError) return false
    throw error
  }
}

function notContent({ method }: Incoming, expected: string, got: string): Refusal {
  return new Refusal(ReplyCode.UNEXPECTED_FRAME, `expected content ${expected}, got ${got} instead`, method)
}

/** Undefined if they cannot be read: RabbitMQ finds that out when it looks at them. */
function propertiesOf(header: Buffer): Properties | undefined {
  const last = HEADER_SIZE + 1
  const known = Buffer.from(header)
  if (header.length > last) known.writeUInt8(header.readUInt8(last) & ~NO_PROPERTIES, last)
  try {
    const properties = Properties.read(known, HEADER_SIZE, known.length)
    const octets = header.subarray(HEADER_SIZE + FLAGS_SIZE)
    const isSound = !properties.isTooDeep && isWritable(octets, writer => writePropertyList(writer, copied(properties)))
    return isSound ? properties : undefined
  } catch (error) {
    if (error instanceof FrameError) return undefined
    throw error
  }
}

function argumentsOf(method: methods.AnyMethod, payload: Buffer, channel: number): Record<string, unknown> {
  const sound = readArguments(method, payload)
  const args = sound ?? readLeniently(method, payload)
  if (args === undefined) {
    if (channel === 0) throw breakage()
    const octets = printOctets(payload.subarray(METHOD_IDS))
    throw new Refusal(ReplyCode.FRAME_ERROR, `cannot decode ${octets}`, method)
  }
  // It does not look at those of a publish.
  if (!method.content && Object.values(args).some(value => isMalformed(value, payload))) {
    throw new Refusal(ReplyCode.FRAME_ERROR, 'Malformed UTF-8 in shortstr', channel === 0 ? method : undefined)
  }
  const hasTable = method.order.some(({ field }) => field.kind === 'table')
  if (sound === undefined && hasTable) throw new Breakdown('RabbitMQ crashes on a table that is none')
  return args
}

function isMalformed(value: unknown, payload: Buffer): boolean {
  return typeof value === 'string' && value.includes(REPLACEMENT) && !payload.includes(value)
}

function readArguments(method: methods.AnyMethod, payload: Buffer): Record<string, unknown> | undefined {
  try {
    const args: Record<string, unknown> = decodeArguments(method, new Reader(payload, METHOD_IDS, payload.length))
    const hasTable = method.order.some(({ field }) => field.kind === 'table')
    const isSound = !hasTable || isWritable(payload, writer => encodeMethod(writer, 0, method, args as never))
    return isSound ? args : undefined
  } catch (error) {
    if (error instanceof FrameError) return undefined
    throw error
  }
}

/** RabbitMQ reads any delivery tag, and looks into a table that has its length after everything else. */
function readLeniently(method: methods.AnyMethod, payload: Buffer): Record<string, unknown> | undefined {
  const order = method.order.map(argument => {
    if (argument.field.kind === 'table') return { ...argument, field: longstr }
    if (argument.field.kind !== 'longlong') return argument
    // A number that JavaScript has not as one is that of no delivery.
    const decode = (reader: Reader) => BigInt.asUintN(64, reader.bigint()) as unknown as number
    return { ...argument, field: { ...longlong, decode } }
  })
  return readArguments({ ...method, order }, payload)
}
