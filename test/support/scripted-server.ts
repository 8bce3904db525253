import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { decodeMethod, encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Writer } from '../../src/protocol/writer.ts'
import { Inbox } from './inbox.ts'

const [METHOD, HEADER, BODY, HEARTBEAT, FRAME_END] = [1, 2, 3, 8, 0xce]
const PROTOCOL_HEADER_SIZE = 8
const FRAME_HEADER_SIZE = 7
const CLASS_BASIC = 60

type Args = Readonly<Record<string, unknown>>

/** A frame that the client sent. */
export interface ClientFrame {
  readonly type: number
  readonly channel: number
  readonly payload: Buffer
  /** Its size on the wire, frame header and end octet counted. */
  readonly size: number
}

/** What the server offers during the handshake. */
export interface Offer {
  readonly mechanisms?: string
  readonly channelMax?: number
  readonly frameMax?: number
  readonly heartbeat?: number
}

/** The client's connection.start-ok. */
export interface Login {
  readonly clientProperties: Args
  readonly mechanism: string
  readonly response: Buffer
}

/** The client's side of a whole handshake. */
export interface Handshake extends Login {
  readonly channelMax: number
  readonly frameMax: number
  readonly heartbeat: number
  readonly virtualhost: string
}

/**
 * The server's end of one connection: it sends what a test wants, true or not. By itself it only answers the
 * client's connection.close and channel.close, unless `answersClose` is false.
 */
export class ScriptedPeer {
  answersClose = true
  /** Every frame that came, heartbeats too. */
  readonly frames: ClientFrame[] = []
  /** How many heartbeats came. */
  heartbeats = 0
  protocolHeader: Buffer = Buffer.alloc(0)
  /** Resolves when the connection is gone. */
  readonly closed: Promise<unknown>
  readonly #socket: net.Socket
  readonly #inbox = new Inbox<ClientFrame>()
  readonly #greeted = new Inbox<Buffer>()
  #bytes: Buffer = Buffer.alloc(0)

  constructor(socket: net.Socket) {
    this.#socket = socket
    socket.on('data', bytes => this.#take(bytes))
    socket.on('error', () => {})
    this.closed = once(socket, 'close')
  }

  /** Sends connection.start and takes the client's answer. */
  async login(mechanisms = 'PLAIN AMQPLAIN'): Promise<Login> {
    await this.#greeted.next()
    this.send(0, methods.ConnectionStart, {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: { product: 'scripted', capabilities: { 'basic.nack': true, publisher_confirms: true } },
      mechanisms,
    })
    const { args } = await this.expect(methods.ConnectionStartOk)
    return {
      clientProperties: args.clientProperties,
      mechanism: args.mechanism,
      response: Buffer.from(args.response),
    }
  }

  /** The whole way to an open connection. */
  async handshake({
    mechanisms,
    channelMax = 2047,
    frameMax = 131_072,
    heartbeat = 0,
  }: Offer = {}): Promise<Handshake> {
    const login = await this.login(mechanisms)
    this.send(0, methods.ConnectionTune, { channelMax, frameMax, heartbeat })
    const tuned = (await this.expect(methods.ConnectionTuneOk)).args
    const opened = (await this.expect(methods.ConnectionOpen)).args
    this.send(0, methods.ConnectionOpenOk, {})
    return {
      ...login,
      channelMax: tuned.channelMax,
      frameMax: tuned.frameMax,
      heartbeat: tuned.heartbeat,
      virtualhost: opened.virtualHost,
    }
  }

  /** The next frame, other than heartbeats and what is answered by itself. */
  receive(): Promise<ClientFrame> {
    return this.#inbox.next()
  }

  /** The next frame, which must be this method. */
  async expect<M extends methods.AnyMethod>(
    method: M,
  ): Promise<{ readonly channel: number; readonly args: methods.DecodedOf<M> }> {
    const { type, channel, payload } = await this.receive()
    assert.equal(type, METHOD, `a frame of type ${type} instead of ${method.name}`)
    const decoded = decodeMethod(payload, 0, payload.length)
    assert.equal(decoded.method.name, method.name)
    return { channel, args: decoded.args as methods.DecodedOf<M> }
  }

  /** The next frames, which must be one published message. */
  async expectPublish(): Promise<{
    readonly channel: number
    readonly args: methods.DecodedOf<typeof methods.BasicPublish>
    readonly body: Buffer
    readonly bodyFrameSizes: readonly number[]
  }> {
    const { channel, args } = await this.expect(methods.BasicPublish)
    const header = await this.receive()
    assert.equal(header.type, HEADER)
    assert.equal(header.channel, channel)
    const bodySize = Number(header.payload.readBigUInt64BE(4))
    const bodies: Buffer[] = []
    const bodyFrameSizes: number[] = []
    for (let missing = bodySize; missing > 0; ) {
      const { type, channel: on, payload, size } = await this.receive()
      assert.equal(type, BODY)
      assert.equal(on, channel)
      bodies.push(payload)
      bodyFrameSizes.push(size)
      missing -= payload.length
    }
    const body = Buffer.concat(bodies)
    assert.equal(body.length, bodySize)
    return { channel, args, body, bodyFrameSizes }
  }

  /** A whole method frame, as bytes. */
  encode<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): Buffer {
    return Writer.encode(writer => encodeMethod(writer, channel, method, args))
  }

  send<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): void {
    this.sendBytes(this.encode(channel, method, args))
  }

  /** A content header without properties. */
  sendHeader(channel: number, bodySize: number): void {
    const payload = Buffer.alloc(14)
    payload.writeUInt16BE(CLASS_BASIC, 0)
    payload.writeBigUInt64BE(BigInt(bodySize), 4)
    this.#sendFrame(HEADER, channel, payload)
  }

  sendBody(channel: number, body: string | Uint8Array): void {
    this.#sendFrame(BODY, channel, Buffer.from(body))
  }

  sendHeartbeat(): void {
    this.#sendFrame(HEARTBEAT, 0, Buffer.alloc(0))
  }

  sendBytes(bytes: Uint8Array): void {
    if (!this.#socket.destroyed) this.#socket.write(bytes)
  }

  /** Ends the stream after what was sent. */
  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #sendFrame(type: number, channel: number, payload: Buffer): void {
    const frame = Buffer.alloc(FRAME_HEADER_SIZE + payload.length + 1, FRAME_END)
    frame.writeUInt8(type, 0)
    frame.writeUInt16BE(channel, 1)
    frame.writeUInt32BE(payload.length, 3)
    payload.copy(frame, FRAME_HEADER_SIZE)
    this.sendBytes(frame)
  }

  #take(bytes: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes])
    if (this.protocolHeader.length === 0) {
      if (this.#bytes.length < PROTOCOL_HEADER_SIZE) return
      this.protocolHeader = this.#bytes.subarray(0, PROTOCOL_HEADER_SIZE)
      this.#bytes = this.#bytes.subarray(PROTOCOL_HEADER_SIZE)
      this.#greeted.add(this.protocolHeader)
    }
    while (this.#bytes.length >= FRAME_HEADER_SIZE) {
      const size = FRAME_HEADER_SIZE + this.#bytes.readUInt32BE(3) + 1
      if (this.#bytes.length < size) return
      const payload = this.#bytes.subarray(FRAME_HEADER_SIZE, size - 1)
      assert.equal(this.#bytes[size - 1], FRAME_END, 'the client sent a frame without its end octet')
      this.#frame({ type: this.#bytes.readUInt8(0), channel: this.#bytes.readUInt16BE(1), payload, size })
      this.#bytes = this.#bytes.subarray(size)
    }
  }

  #frame(frame: ClientFrame): void {
    this.frames.push(frame)
    if (frame.type === HEARTBEAT) this.heartbeats++
    else if (!this.#answered(frame)) this.#inbox.add(frame)
  }

  #answered({ type, channel, payload }: ClientFrame): boolean {
    if (type !== METHOD || !this.answersClose) return false
    const { name } = decodeMethod(payload, 0, payload.length).method
    if (name === methods.ChannelClose.name) this.send(channel, methods.ChannelCloseOk, {})
    else if (name === methods.ConnectionClose.name) {
      this.send(0, methods.ConnectionCloseOk, {})
      this.end()
    } else return false
    return true
  }
}

/** A server for one test, on a free port of 127.0.0.1. */
export class ScriptedServer implements AsyncDisposable {
  readonly port: number
  readonly #server: net.Server
  readonly #peers = new Inbox<ScriptedPeer>()

  constructor(server: net.Server, port: number) {
    this.#server = server
    this.port = port
    server.on('connection', socket => this.#peers.add(new ScriptedPeer(socket)))
  }

  get url(): string {
    return `amqp://127.0.0.1:${this.port}`
  }

  /** The next connection that a client opens. */
  accept(): Promise<ScriptedPeer> {
    return this.#peers.next()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const peer of this.#peers.received) peer.destroy()
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }
}

export async function openScriptedServer(): Promise<ScriptedServer> {
  const server = net.createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the scripted server has no port')
  return new ScriptedServer(server, address.port)
}
