import { BrokerEngine, type EngineOptions } from '../../src/broker/broker.ts'
import type { ClientConnection } from '../../src/broker/client-connection.ts'
import { PROTOCOL_HEADER } from '../../src/protocol/constants.ts'
import { FrameParser, type FrameSink } from '../../src/protocol/frame-parser.ts'
import { decodeMethod, encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import type { BasicProperties } from '../../src/protocol/properties.ts'
import { PublishEncoder } from '../../src/protocol/publish-encoder.ts'
import { Properties } from '../../src/protocol/received-properties.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { Writer } from '../../src/protocol/writer.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** What the broker sent: a method, and its message if it has one. */
export interface Sent {
  readonly channel: number
  readonly name: string
  // biome-ignore lint/suspicious/noExplicitAny: a test looks at whatever arguments the method has.
  readonly args: any
  readonly properties?: BasicProperties | undefined
  readonly body?: string | undefined
}

export interface EngineScene {
  readonly engine: BrokerEngine
  readonly clock: VirtualClock
}

export function startEngine(options: Partial<EngineOptions> = {}): EngineScene {
  const clock = new VirtualClock()
  const engine = new BrokerEngine({
    clock,
    release: '4.3',
    users: { guest: { password: 'guest' } },
    vhosts: ['/'],
    limits: { channelMax: 2047, frameMax: 131_072, heartbeat: 60 },
    ...options,
  })
  return { engine, clock }
}

/** A client without a network: the broker has handled and answered a frame when the call returns. */
export class EngineClient implements FrameSink {
  /** Whether the broker has ended the stream, or cut it. */
  ended: 'no' | 'end' | 'destroyed' | 'reset' = 'no'
  paused = false
  /** Whether it takes nothing more, until `drain()`. */
  isFull = false
  heartbeats = 0
  raw = Buffer.alloc(0)
  readonly #connection: ClientConnection
  readonly #parser = new FrameParser(this, 131_072)
  #sent: Sent[] = []
  #incoming: { readonly channel: number; readonly name: string; readonly args: unknown } | undefined
  #properties: BasicProperties | undefined
  #missing = 0
  #pieces: Buffer[] = []
  #plain = false

  constructor(engine: BrokerEngine) {
    this.#connection = engine.accept({
      peer: 'test',
      write: bytes => {
        this.raw = Buffer.concat([this.raw, bytes])
        if (!this.#plain) this.#parser.push(bytes, bytes.length)
        return !this.isFull
      },
      end: () => {
        this.ended = 'end'
      },
      destroy: () => {
        this.ended = 'destroyed'
      },
      reset: () => {
        this.ended = 'reset'
      },
      pause: () => {
        this.paused = true
      },
      resume: () => {
        this.paused = false
      },
    })
  }

  /** One with an open connection and channels 1 and 2. */
  static open(engine: BrokerEngine, { heartbeat = 0, capabilities = {} as FieldTable } = {}): EngineClient {
    const client = new EngineClient(engine)
    client.bytes(PROTOCOL_HEADER)
    client.login('guest', 'guest', { consumer_cancel_notify: true, 'connection.blocked': true, ...capabilities })
    client.send(0, methods.ConnectionTuneOk, { channelMax: 2047, frameMax: 131_072, heartbeat })
    client.send(0, methods.ConnectionOpen, {})
    client.send(1, methods.ChannelOpen, {})
    client.send(2, methods.ChannelOpen, {})
    client.take()
    return client
  }

  login(login: string, password: string, capabilities: FieldTable = {}): void {
    const response = `\0${login}\0${password}`
    this.send(0, methods.ConnectionStartOk, { clientProperties: { capabilities }, mechanism: 'PLAIN', response })
  }

  send<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): void {
    this.bytes(EngineClient.encode(channel, method, args))
  }

  static encode<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): Buffer {
    return Writer.encode(writer => encodeMethod(writer, channel, method, args))
  }

  static encodePublish(
    channel: number,
    exchange: string,
    routingKey: string,
    body: string,
    properties?: BasicProperties,
    mandatory = false,
  ): Buffer {
    const writer = new Writer()
    new PublishEncoder(writer, 131_072).publish(channel, exchange, routingKey, mandatory, properties, body)
    return Buffer.concat(writer.take())
  }

  publish(
    channel: number,
    exchange: string,
    routingKey: string,
    body: string,
    properties?: BasicProperties,
    mandatory = false,
  ): void {
    this.bytes(EngineClient.encodePublish(channel, exchange, routingKey, body, properties, mandatory))
  }

  /** What the broker answers is not a frame. */
  expectBytes(): void {
    this.#plain = true
  }

  bytes(bytes: Uint8Array): void {
    this.#connection.receive(Buffer.from(bytes))
  }

  lost(): void {
    this.#connection.lost()
  }

  drain(): void {
    this.isFull = false
    this.#connection.drained()
  }

  /** What came since the last time. */
  take(): Sent[] {
    const sent = this.#sent
    this.#sent = []
    return sent
  }

  /** The frames in one line each: channel, method, and body. */
  lines(): string[] {
    return this.take().map(({ channel, name, body }) => `${channel} ${name}${body === undefined ? '' : ` ${body}`}`)
  }

  methodFrame(channel: number, buffer: Buffer, start: number, end: number): number {
    const { method, args } = decodeMethod(buffer, start, end)
    const { name } = method
    if (method.content) this.#incoming = { channel, name, args }
    else this.#sent.push({ channel, name, args })
    return end + 1
  }

  headerFrame(_channel: number, buffer: Buffer, start: number, end: number): void {
    this.#missing = Number(buffer.readBigUInt64BE(start + 4))
    this.#properties = Properties.read(buffer, start + 12, end).toJSON()
    this.#finish()
  }

  bodyFrame(_channel: number, buffer: Buffer, start: number, end: number): void {
    this.#pieces.push(Buffer.from(buffer.subarray(start, end)))
    this.#missing -= end - start
    this.#finish()
  }

  heartbeatFrame(): void {
    this.heartbeats++
  }

  #finish(): void {
    if (this.#missing > 0 || this.#incoming === undefined) return
    const body = Buffer.concat(this.#pieces).toString()
    this.#sent.push({ ...this.#incoming, properties: this.#properties, body })
    this.#incoming = undefined
    this.#pieces = []
  }
}
