import { FrameError } from '../errors.ts'
import { FrameType, ReplyCode } from '../protocol/constants.ts'
import { decodeArguments } from '../protocol/method-codec.ts'
import * as methods from '../protocol/methods.ts'
import { Reader } from '../protocol/reader.ts'
import { Properties } from '../protocol/received-properties.ts'
import type { Published } from './channel-publishing.ts'
import { FrameCutter, printBytes, printOctets } from './frame-cutter.ts'
import { Breakdown, Refusal, unexpectedFrame } from './refusals.ts'

const BASIC = 60
/** Class, weight and body size, in front of the properties. */
const HEADER_SIZE = 12
/** Class and method, in front of the arguments. */
const METHOD_IDS = 4
const IMMEDIATE = 2

/** What comes from a client, in whole methods and messages. */
export interface FrameInputEvents {
  method(channel: number, method: methods.AnyMethod, args: Record<string, unknown>): void
  published(channel: number, published: Published): void
}

/** A message of which not everything has come. */
interface Incoming {
  readonly args: methods.DecodedOf<typeof methods.BasicPublish>
  readonly immediate: boolean
  properties: Properties | undefined
  missing: number
  readonly pieces: Buffer[]
}

/** Makes methods and messages of a client's bytes. */
export class FrameInput {
  readonly #events: FrameInputEvents
  readonly #cutter: FrameCutter
  readonly #incoming = new Map<number, Incoming>()
  /** Whether the connection is open, and channels are. */
  takesChannels = false

  constructor(events: FrameInputEvents, frameMax: number) {
    this.#events = events
    this.#cutter = new FrameCutter(frameMax, (type, channel, payload) => this.#frame(type, channel, payload))
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
      throw unexpectedFrame(`type ${type}, all octets = ${printBytes(payload)}`)
    }
    if (isHeartbeat) return
    const incoming = this.#incoming.get(channel)
    if (type === FrameType.METHOD && incoming === undefined) this.#method(channel, payload)
    else if (incoming === undefined) throw unexpectedFrame('expected method frame, got non method frame instead')
    else if (incoming.properties === undefined) this.#header(channel, incoming, type, payload)
    else this.#body(channel, incoming, type, payload)
  }

  #method(channel: number, payload: Buffer): void {
    const method = methods.methodByKey.get(payload.readUInt32BE(0))
    if (method === undefined) throw new Breakdown('RabbitMQ knows no such method, and crashes')
    const args = argumentsOf(method, payload)
    if (method === methods.BasicPublish) {
      this.#incoming.set(channel, {
        args: args as Incoming['args'],
        immediate: ((payload.at(-1) ?? 0) & IMMEDIATE) !== 0,
        properties: undefined,
        missing: 0,
        pieces: [],
      })
    } else this.#events.method(channel, method, args)
  }

  #header(channel: number, incoming: Incoming, type: number, payload: Buffer): void {
    if (type !== FrameType.HEADER) throw notContent('header for class 60', 'non content header frame')
    const classId = payload.readUInt16BE(0)
    if (classId !== BASIC) throw notContent('header for class 60', `one for class ${classId}`)
    incoming.properties = Properties.read(payload, HEADER_SIZE, payload.length)
    incoming.missing = Number(payload.readBigUInt64BE(4))
    this.#finish(channel, incoming)
  }

  #body(channel: number, incoming: Incoming, type: number, payload: Buffer): void {
    if (type !== FrameType.BODY) throw notContent('body', 'non content body frame')
    incoming.pieces.push(Buffer.from(payload))
    incoming.missing -= payload.length
    this.#finish(channel, incoming)
  }

  #finish(channel: number, { args, immediate, properties, missing, pieces }: Incoming): void {
    if (missing > 0 || properties === undefined) return
    this.#incoming.delete(channel)
    this.#events.published(channel, {
      exchangeName: args.exchangeName,
      routingKey: args.routingKey,
      mandatory: args.mandatory,
      immediate,
      properties,
      body: Buffer.concat(pieces),
    })
  }
}

function notContent(expected: string, got: string): Refusal {
  const text = `expected content ${expected}, got ${got} instead`
  return new Refusal(ReplyCode.UNEXPECTED_FRAME, text, methods.BasicPublish)
}

function argumentsOf(method: methods.AnyMethod, payload: Buffer): Record<string, unknown> {
  try {
    return decodeArguments(method, new Reader(payload, METHOD_IDS, payload.length))
  } catch (error) {
    if (!(error instanceof FrameError)) throw error
    const args = printOctets(payload.subarray(METHOD_IDS))
    throw new Refusal(ReplyCode.FRAME_ERROR, `cannot decode ${args}`, method)
  }
}
