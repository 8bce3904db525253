import { FrameError, ProtocolError } from '../errors.ts'
import { FrameParser, type FrameSink } from '../protocol/frame-parser.ts'
import { decodeMethod } from '../protocol/method-codec.ts'
import * as methods from '../protocol/methods.ts'
import { Properties } from '../protocol/received-properties.ts'
import type { Published } from './channel-publishing.ts'
import { Refusal, unexpectedFrame } from './refusals.ts'

const BASIC = 60
/** Class, weight and body size, in front of the properties. */
const HEADER_SIZE = 12
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
export class FrameInput implements FrameSink {
  readonly #events: FrameInputEvents
  readonly #parser: FrameParser
  readonly #incoming = new Map<number, Incoming>()

  constructor(events: FrameInputEvents, frameMax: number) {
    this.#events = events
    this.#parser = new FrameParser(this, frameMax)
  }

  set frameMax(bytes: number) {
    this.#parser.frameMax = bytes === 0 ? Number.POSITIVE_INFINITY : bytes
  }

  /** @throws Refusal where the bytes are not what a client may send. */
  push(bytes: Buffer): void {
    try {
      this.#parser.push(bytes, bytes.length)
    } catch (error) {
      if (error instanceof FrameError || error instanceof ProtocolError) {
        throw new Refusal(error.replyCode, error.message)
      }
      throw error
    }
  }

  methodFrame(channel: number, buffer: Buffer, start: number, end: number): number {
    if (this.#incoming.has(channel)) {
      throw unexpectedFrame('expected content header for class 60, got non content header frame instead')
    }
    const { method, args } = decodeMethod(buffer, start, end)
    if (method === methods.BasicPublish) {
      this.#incoming.set(channel, {
        args: args as Incoming['args'],
        immediate: ((buffer[end - 1] ?? 0) & IMMEDIATE) !== 0,
        properties: undefined,
        missing: 0,
        pieces: [],
      })
    } else this.#events.method(channel, method, args)
    return end + 1
  }

  headerFrame(channel: number, buffer: Buffer, start: number, end: number): void {
    const incoming = this.#incoming.get(channel)
    if (incoming === undefined) throw unexpectedFrame('expected method frame, got non method frame instead')
    if (incoming.properties !== undefined) {
      throw unexpectedFrame('expected content body, got non content body frame instead')
    }
    const classId = buffer.readUInt16BE(start)
    if (classId !== BASIC) {
      throw unexpectedFrame(`expected content header for class 60, got one for class ${classId} instead`)
    }
    incoming.properties = Properties.read(buffer, start + HEADER_SIZE, end)
    incoming.missing = Number(buffer.readBigUInt64BE(start + 4))
    this.#finish(channel, incoming)
  }

  bodyFrame(channel: number, buffer: Buffer, start: number, end: number, ended: boolean): void {
    const incoming = this.#incoming.get(channel)
    if (incoming === undefined) throw unexpectedFrame('expected method frame, got non method frame instead')
    if (incoming.properties === undefined) {
      throw unexpectedFrame('expected content header for class 60, got non content header frame instead')
    }
    incoming.pieces.push(Buffer.from(buffer.subarray(start, end)))
    incoming.missing -= end - start
    // Its last byte may come before the octet that ends its frame.
    if (ended) this.#finish(channel, incoming)
  }

  heartbeatFrame(): void {}

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
