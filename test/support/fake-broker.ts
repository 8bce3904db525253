import assert from 'node:assert/strict'
import type { TransportFactory } from '../../src/connection/wire/transport.ts'
import { type AmqpProtocol, type Channel, type ConnectOptions, connect } from '../../src/index.ts'
import { decodeMethod, encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../../src/protocol/properties.ts'
import { Writer } from '../../src/protocol/writer.ts'
import { Inbox } from './inbox.ts'
import { MemoryTransport, type MemoryTransportEvents } from './memory-transport.ts'

const [METHOD, HEADER, BODY, HEARTBEAT, FRAME_END] = [1, 2, 3, 8, 0xce]
const NAMES = { [METHOD]: 'method', [HEADER]: 'header', [BODY]: 'body', [HEARTBEAT]: 'heartbeat' } as const
const PROTOCOL_HEADER_SIZE = 8
const FRAME_HEADER_SIZE = 7

/** A frame that the client sent. */
export interface SentFrame {
  readonly type: number
  readonly channel: number
  readonly payload: Buffer
  readonly method: methods.AnyMethod | undefined
  readonly args: Readonly<Record<string, unknown>>
  /** `1 queue.declare`, `1 body`: the channel and the kind of frame. */
  readonly name: string
}

/** A whole method frame. */
export function methodFrame<M extends methods.AnyMethod>(
  channel: number,
  method: M,
  args: methods.ArgumentsOf<M>,
): Buffer {
  return Writer.encode(writer => encodeMethod(writer, channel, method, args))
}

/** Any frame, sound or not. */
export function rawFrame(type: number, channel: number, payload: Uint8Array, end: number = FRAME_END): Buffer {
  const frame = Buffer.alloc(FRAME_HEADER_SIZE + payload.length + 1, end)
  frame.writeUInt8(type, 0)
  frame.writeUInt16BE(channel, 1)
  frame.writeUInt32BE(payload.length, 3)
  frame.set(payload, FRAME_HEADER_SIZE)
  return frame
}

export function headerFrame(channel: number, bodySize: number | bigint, properties: BasicProperties = {}): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt16BE(60, 0)
  head.writeBigUInt64BE(BigInt(bodySize), 4)
  const list = Writer.encode(writer => {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    writeProperties(writer, properties)
  })
  return rawFrame(HEADER, channel, Buffer.concat([head, list]))
}

export function bodyFrame(channel: number, body: string | Uint8Array): Buffer {
  return rawFrame(BODY, channel, Buffer.from(body as Uint8Array))
}

export const heartbeatFrame: Buffer = rawFrame(HEARTBEAT, 0, Buffer.alloc(0))

/** A content header and its body, in frames of at most `frameMax` bytes. */
export function contentFrames(
  channel: number,
  body: string | Uint8Array,
  properties: BasicProperties = {},
  frameMax = 131_072,
): Buffer {
  const bytes = Buffer.from(body as Uint8Array)
  const frames = [headerFrame(channel, bytes.length, properties)]
  for (let at = 0; at < bytes.length; at += frameMax - 8)
    frames.push(bodyFrame(channel, bytes.subarray(at, at + frameMax - 8)))
  return Buffer.concat(frames)
}

export function deliverFrame(channel: number, consumerTag: string, deliveryTag: number, redelivered = false): Buffer {
  return methodFrame(channel, methods.BasicDeliver, {
    consumerTag,
    deliveryTag,
    redelivered,
    exchangeName: '',
    routingKey: 'q',
  })
}

/** A whole delivery. */
export function delivery(channel: number, consumerTag: string, deliveryTag: number, body: string | Uint8Array): Buffer {
  return Buffer.concat([deliverFrame(channel, consumerTag, deliveryTag), contentFrames(channel, body)])
}

/** A whole returned message. */
export function returnFrames(
  channel: number,
  routingKey: string,
  body: string,
  properties: BasicProperties = {},
): Buffer {
  const args = { replyCode: 312, replyText: 'NO_ROUTE', exchangeName: '', routingKey }
  return Buffer.concat([methodFrame(channel, methods.BasicReturn, args), contentFrames(channel, body, properties)])
}

export interface FakeBrokerOptions {
  readonly channelMax?: number
  readonly frameMax?: number
  readonly heartbeat?: number
}

/** The way to the client. */
export interface Link {
  deliver(bytes: Uint8Array): void
  finish(): void
}

/** Methods that are answered without code in the test, by name. */
type Answer = (frame: SentFrame) => Uint8Array | undefined

/**
 * The broker's end of one connection. By itself it shakes hands and agrees to open and close channels and the
 * connection; all else it says is what a test has it say, true or not.
 */
export class FakePeer implements MemoryTransportEvents {
  /** Every frame that came but heartbeats and the handshake's. */
  readonly frames: SentFrame[] = []
  /** The names of the frames of each write. */
  readonly writes: string[][] = []
  heartbeats = 0
  /** Replies that are sent at once, by method. Delete an entry to have the test answer. */
  readonly answers = new Map<string, Answer>()
  /** Resolves when the client has ended its side. */
  readonly ended: Promise<void>
  readonly #inbox = new Inbox<SentFrame>()
  #end: () => void = () => {}
  #bytes: Buffer = Buffer.alloc(0)
  #greeted = false
  readonly #link: Link

  /** `link` makes the way to the client, whose bytes it gives to this peer. */
  constructor(link: (peer: FakePeer) => Link, options: FakeBrokerOptions = {}) {
    this.ended = new Promise(resolve => {
      this.#end = resolve
    })
    this.#link = link(this)
    const { channelMax = 2047, frameMax = 131_072, heartbeat = 0 } = options
    const reply = <M extends methods.AnyMethod>(
      to: methods.AnyMethod,
      method: M,
      args: methods.ArgumentsOf<M>,
    ): void => {
      this.answers.set(to.name, ({ channel }) => methodFrame(channel, method, args))
    }
    reply(methods.ConnectionStartOk, methods.ConnectionTune, { channelMax, frameMax, heartbeat })
    reply(methods.ConnectionOpen, methods.ConnectionOpenOk, {})
    reply(methods.ConnectionClose, methods.ConnectionCloseOk, {})
    reply(methods.ChannelOpen, methods.ChannelOpenOk, {})
    reply(methods.ChannelClose, methods.ChannelCloseOk, {})
  }

  /** The client's transport, of a peer in memory. */
  get transport(): MemoryTransport {
    const link = this.#link
    if (!(link instanceof MemoryTransport)) throw new Error('this peer is not in memory')
    return link
  }

  /** Says nothing of itself any more, nor agrees to anything. */
  mute(): void {
    this.answers.clear()
  }

  /** One write of these frames, which the client reads at once if they are not too many. */
  send(...frames: readonly Uint8Array[]): void {
    this.#link.deliver(Buffer.concat(frames))
  }

  /** End the stream towards the client. */
  finish(): void {
    this.#link.finish()
  }

  reply<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): void {
    this.send(methodFrame(channel, method, args))
  }

  /** The next frame. */
  receive(): Promise<SentFrame> {
    return this.#inbox.next()
  }

  /** The next frame, which must be this method. */
  async expect<M extends methods.AnyMethod>(
    method: M,
  ): Promise<{ readonly channel: number; readonly args: methods.DecodedOf<M> }> {
    const frame = await this.receive()
    assert.equal(frame.name.split(' ')[1], method.name)
    return { channel: frame.channel, args: frame.args as methods.DecodedOf<M> }
  }

  /** The names of the frames that came and were not received yet. */
  async took(count: number): Promise<string[]> {
    return (await this.#inbox.take(count)).map(({ name }) => name)
  }

  /** All frames so far, by name. */
  get names(): string[] {
    return this.frames.map(({ name }) => name)
  }

  /** The client has ended its side. */
  closed(): void {
    this.#end()
  }

  /** The client wrote this. */
  written(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    const names: string[] = []
    if (!this.#greeted && this.#bytes.length >= PROTOCOL_HEADER_SIZE) {
      this.#greeted = true
      this.#bytes = this.#bytes.subarray(PROTOCOL_HEADER_SIZE)
      this.#greet()
    }
    while (this.#bytes.length >= FRAME_HEADER_SIZE) {
      const size = FRAME_HEADER_SIZE + this.#bytes.readUInt32BE(3) + 1
      if (this.#bytes.length < size) break
      assert.equal(this.#bytes[size - 1], FRAME_END, 'the client sent a frame without its end octet')
      const [type, channel] = [this.#bytes.readUInt8(0), this.#bytes.readUInt16BE(1)]
      const payload = Buffer.from(this.#bytes.subarray(FRAME_HEADER_SIZE, size - 1))
      this.#bytes = this.#bytes.subarray(size)
      names.push(this.#frame(type, channel, payload))
    }
    this.writes.push(names)
  }

  #greet(): void {
    const greeting = this.answers.get('protocol header')
    if (greeting !== undefined) {
      const bytes = greeting({ type: 0, channel: 0, payload: Buffer.alloc(0), method: undefined, args: {}, name: '' })
      if (bytes !== undefined) this.send(bytes)
    } else {
      this.reply(0, methods.ConnectionStart, { serverProperties: { product: 'fake' }, mechanisms: 'PLAIN AMQPLAIN' })
    }
  }

  #frame(type: number, channel: number, payload: Buffer): string {
    const decoded = type === METHOD ? decodeMethod(payload, 0, payload.length) : undefined
    const what = decoded?.method.name ?? NAMES[type as keyof typeof NAMES] ?? String(type)
    const name = `${channel} ${what}`
    const frame: SentFrame = { type, channel, payload, method: decoded?.method, args: decoded?.args ?? {}, name }
    if (type === HEARTBEAT) this.heartbeats++
    else if (!/connection\.(start|secure|tune|open)/.test(what)) this.frames.push(frame)
    const answer = this.answers.get(what)
    if (answer === undefined) {
      if (type !== HEARTBEAT && what !== methods.ConnectionTuneOk.name) this.#inbox.add(frame)
    } else {
      const bytes = answer(frame)
      if (bytes !== undefined) this.send(bytes)
      if (what === methods.ConnectionClose.name) this.finish()
    }
    return name
  }
}

/** A broker for clients in this process: give its `createTransport` to `connect()`. */
export class FakeBroker {
  readonly #options: FakeBrokerOptions
  readonly #peers = new Inbox<FakePeer>()
  /** Called with each connection before anything comes by it. */
  prepare: (peer: FakePeer) => void = () => {}

  constructor(options: FakeBrokerOptions = {}) {
    this.#options = options
  }

  readonly createTransport: TransportFactory = async (_target, handler, signal) => {
    signal.throwIfAborted()
    const peer = new FakePeer(own => new MemoryTransport(handler, own), this.#options)
    this.prepare(peer)
    this.#peers.add(peer)
    return peer.transport
  }

  /** The next connection that a client opens. */
  accept(): Promise<FakePeer> {
    return this.#peers.next()
  }

  get peers(): readonly FakePeer[] {
    return this.#peers.received
  }
}

/** A client that is connected to a fake broker, without recovery and heartbeats. */
export interface Conversation {
  readonly broker: FakeBroker
  readonly peer: FakePeer
  readonly protocol: AmqpProtocol
  /** What `onError` was called with. */
  readonly errors: Error[]
}

export async function converse(options: ConnectOptions = {}, broker = new FakeBroker()): Promise<Conversation> {
  const errors: Error[] = []
  const protocol = await connect({
    recovery: false,
    heartbeat: 0,
    onError: error => errors.push(error),
    createTransport: broker.createTransport,
    ...options,
  })
  return { broker, peer: await broker.accept(), protocol, errors }
}

/** The same with a channel, whose channel.open is taken. */
export async function converseOnChannel(
  options: ConnectOptions = {},
  broker?: FakeBroker,
): Promise<Conversation & { readonly channel: Channel }> {
  const conversation = await converse(options, broker)
  return { ...conversation, channel: await conversation.protocol.channel() }
}

/** Consume under `tag`, and have the broker agree. */
export async function startConsumer(
  { peer, channel }: { readonly peer: FakePeer; readonly channel: Channel },
  callback: Parameters<Channel['basicConsume']>[0],
  options: Parameters<Channel['basicConsume']>[2] & { readonly consumerTag: string },
): Promise<void> {
  const consuming = channel.basicConsume(callback, 'q', options)
  const { channel: id, args } = await peer.expect(methods.BasicConsume)
  peer.reply(id, methods.BasicConsumeOk, { consumerTag: args.consumerTag })
  await consuming
}
