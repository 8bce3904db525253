import { once } from 'node:events'
import net from 'node:net'
import type { BrokerEngine } from '../../src/broker/broker.ts'
import { PROTOCOL_HEADER } from '../../src/protocol/constants.ts'
import { FrameParser, type FrameSink } from '../../src/protocol/frame-parser.ts'
import { decodeMethod, encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import type { BasicProperties } from '../../src/protocol/properties.ts'
import { PublishEncoder } from '../../src/protocol/publish-encoder.ts'
import { Properties } from '../../src/protocol/received-properties.ts'
import { Writer } from '../../src/protocol/writer.ts'
import { OpenDeliveries } from './open-deliveries.ts'

/** What the server sent: a method, and its message if it has one. */
export interface Received {
  readonly channel: number
  readonly method: methods.AnyMethod
  readonly args: Record<string, unknown>
  properties?: BasicProperties
  body?: string
  /** Publishes that a confirm is of. */
  settles?: readonly number[]
}

const NO_BYTES = Buffer.alloc(0)

interface Stream {
  write(bytes: Uint8Array): void
  end(): void
}

/** What is written in one turn of the event loop leaves together. */
function socketStream(socket: net.Socket): Stream {
  return {
    write: bytes => {
      if (socket.writableCorked === 0) {
        socket.cork()
        process.nextTick(() => socket.uncork())
      }
      socket.write(bytes)
    },
    end: () => void socket.end(),
  }
}

/** A client that knows nothing but frames: it shows what a server sends, in order, and answers only what closes. */
export class FrameClient implements FrameSink {
  /** What came since it was last taken. */
  received: Received[] = []
  closed = false
  readonly openChannels = new Set<number>()
  /** Publishes on a channel with confirms that are not confirmed. */
  readonly unconfirmed = new Map<number, Set<number>>()
  readonly deliveries = new OpenDeliveries()
  readonly #stream: Stream
  readonly #writer = new Writer()
  readonly #publishes = new PublishEncoder(this.#writer, 131_072)
  readonly #parser = new FrameParser(this, 131_072)
  readonly #nextPublish = new Map<number, number>()
  readonly #barriers = new Map<number, number>()
  #incoming: { readonly received: Received; missing: number; readonly pieces: Buffer[] } | undefined
  #changed: (() => void)[] = []

  constructor(stream: Stream) {
    this.#stream = stream
  }

  static async connect(url: string, heartbeat = 0): Promise<FrameClient> {
    const { hostname, port, username, password, pathname } = new URL(url)
    const socket = net.connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, 'connect')
    const client = new FrameClient(socketStream(socket))
    socket.on('data', bytes => client.#bytes(bytes))
    socket.on('error', () => {})
    socket.on('close', () => client.#gone())
    await client.#open(username, password, decodeURIComponent(pathname.slice(1)), heartbeat)
    return client
  }

  /** To a broker in this process, without a socket: frames are handled at once, and answered in the next tick. */
  static async enter(engine: BrokerEngine): Promise<FrameClient> {
    let coming: Buffer[] = []
    const connection = engine.accept({
      peer: 'in the process',
      write: bytes => {
        if (coming.push(bytes) > 1) return true
        process.nextTick(() => {
          const come = Buffer.concat(coming)
          coming = []
          client.#bytes(come)
        })
        return true
      },
      end: () => process.nextTick(() => client.#gone()),
      destroy: () => process.nextTick(() => client.#gone()),
      reset: () => process.nextTick(() => client.#gone()),
      pause: () => {},
      resume: () => {},
    })
    let going: Uint8Array[] = []
    const flush = () => {
      const bytes = Buffer.concat(going)
      going = []
      if (bytes.length > 0) connection.receive(bytes)
    }
    const client: FrameClient = new FrameClient({
      write: bytes => {
        if (going.push(bytes) === 1) process.nextTick(flush)
      },
      end: () => {
        flush()
        connection.lost()
      },
    })
    await client.#open('', '', '', 0)
    return client
  }

  async #open(login: string, password: string, virtualHost: string, heartbeat: number): Promise<void> {
    this.#stream.write(PROTOCOL_HEADER)
    await this.until(() => this.#last === methods.ConnectionStart)
    this.send(0, methods.ConnectionStartOk, {
      clientProperties: {
        capabilities: { consumer_cancel_notify: true, 'basic.nack': true, authentication_failure_close: true },
      },
      mechanism: 'PLAIN',
      response: `\0${login || 'guest'}\0${password || 'guest'}`,
    })
    await this.until(() => this.#last === methods.ConnectionTune)
    this.send(0, methods.ConnectionTuneOk, { channelMax: 2047, frameMax: 131_072, heartbeat })
    this.send(0, methods.ConnectionOpen, { virtualHost: virtualHost || '/' })
    await this.until(() => this.#last === methods.ConnectionOpenOk)
    this.received = []
  }

  #bytes(bytes: Buffer): void {
    this.#parser.push(bytes, bytes.length)
    const changed = this.#changed
    this.#changed = []
    for (const call of changed) call()
  }

  #gone(): void {
    this.closed = true
    for (const call of this.#changed) call()
  }

  get #last(): methods.AnyMethod | undefined {
    return this.received.at(-1)?.method
  }

  /** Waits until something is so, or the connection is closed. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo() && !this.closed) {
      await new Promise<void>(resolve => {
        this.#changed.push(resolve)
      })
    }
  }

  send<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): void {
    // No barrier can go through it any more.
    if (method.name === methods.ChannelClose.name) this.openChannels.delete(channel)
    if (method.name === methods.ConfirmSelect.name) this.#countConfirms(channel)
    this.deliveries.sent(channel, method, args)
    encodeMethod(this.#writer, channel, method, args)
    this.#writeEncoded()
  }

  publish(
    channel: number,
    exchange: string,
    routingKey: string,
    mandatory: boolean,
    properties: BasicProperties | undefined,
    body: string,
  ): void {
    const unconfirmed = this.unconfirmed.get(channel)
    if (unconfirmed !== undefined) {
      const tag = (this.#nextPublish.get(channel) ?? 0) + 1
      this.#nextPublish.set(channel, tag)
      unconfirmed.add(tag)
    }
    this.#publishes.publish(channel, exchange, routingKey, mandatory, properties, body)
    this.#writeEncoded()
  }

  write(bytes: Uint8Array): void {
    if (!this.closed) this.#stream.write(bytes)
  }

  #writeEncoded(): void {
    this.write(Buffer.concat(this.#writer.take()))
    this.#writer.reuse()
  }

  /**
   * Everything that the channels have got so far is done when this is: a method without consequence goes through each.
   * Those of `channels` that are not open have nothing to do.
   */
  async barrier(channels: Iterable<number> = this.openChannels): Promise<void> {
    const asked = [...channels].filter(channel => this.openChannels.has(channel))
    for (const channel of asked) {
      this.#barriers.set(channel, (this.#barriers.get(channel) ?? 0) + 1)
      this.send(channel, methods.AccessRequest, {})
    }
    const isThrough = (channel: number) => !this.openChannels.has(channel) || this.#barriers.get(channel) === 0
    await this.until(() => asked.every(isThrough))
  }

  /** Cut the connection. */
  end(): void {
    this.#end()
  }

  methodFrame(channel: number, buffer: Buffer, start: number, end: number): number {
    const { method, args } = decodeMethod(buffer, start, end)
    if (this.openChannels.has(channel)) this.deliveries.received(channel, method, args)
    const received: Received = { channel, method, args }
    if (method === methods.AccessRequestOk) this.#barriers.set(channel, (this.#barriers.get(channel) ?? 0) - 1)
    else if (method.content) this.#incoming = { received, missing: 0, pieces: [] }
    else {
      this.received.push(received)
      this.#note(received)
    }
    return end + 1
  }

  headerFrame(_channel: number, buffer: Buffer, start: number, end: number): void {
    const incoming = this.#incoming
    if (incoming === undefined) return
    incoming.missing = Number(buffer.readBigUInt64BE(start + 4))
    incoming.received.properties = Properties.read(buffer, start + 12, end).toJSON()
    this.#finish()
  }

  bodyFrame(_channel: number, buffer: Buffer, start: number, end: number): void {
    this.#incoming?.pieces.push(Buffer.from(buffer.subarray(start, end)))
    if (this.#incoming !== undefined) this.#incoming.missing -= end - start
    this.#finish()
  }

  heartbeatFrame(): void {}

  #finish(): void {
    if (this.#incoming === undefined || this.#incoming.missing > 0) return
    const { received, pieces } = this.#incoming
    received.body = Buffer.concat([NO_BYTES, ...pieces]).toString()
    this.received.push(received)
    this.#incoming = undefined
  }

  #note(received: Received): void {
    const { channel, method, args } = received
    if (method === methods.ChannelOpenOk) {
      this.openChannels.add(channel)
      this.#barriers.set(channel, 0)
    } else if (method === methods.BasicAck || method === methods.BasicNack) {
      const { deliveryTag, multiple } = args as { deliveryTag: number; multiple: boolean }
      const unconfirmed = this.unconfirmed.get(channel)
      const settles = [...(unconfirmed ?? [])].filter(tag => tag === deliveryTag || (multiple && tag <= deliveryTag))
      for (const tag of settles) unconfirmed?.delete(tag)
      // Octets that were written as they are may have published something, too.
      if (deliveryTag > (this.#nextPublish.get(channel) ?? 0)) this.#nextPublish.set(channel, deliveryTag)
      received.settles = settles
    } else if (method === methods.ChannelClose) {
      this.send(channel, methods.ChannelCloseOk, {})
      this.#channelGone(channel)
    } else if (method === methods.ChannelCloseOk) this.#channelGone(channel)
    else if (method === methods.ConnectionClose) {
      this.send(0, methods.ConnectionCloseOk, {})
      this.#end()
    } else if (method === methods.ConnectionCloseOk) this.#end()
  }

  #end(): void {
    this.closed = true
    this.#stream.end()
  }

  #countConfirms(channel: number): void {
    if (!this.unconfirmed.has(channel)) this.unconfirmed.set(channel, new Set())
  }

  #channelGone(channel: number): void {
    this.openChannels.delete(channel)
    this.deliveries.channelGone(channel)
    this.unconfirmed.delete(channel)
    this.#nextPublish.delete(channel)
  }
}
