import { once } from 'node:events'
import net from 'node:net'
import { PROTOCOL_HEADER } from '../../src/protocol/constants.ts'
import { FrameParser, type FrameSink } from '../../src/protocol/frame-parser.ts'
import { decodeMethod, encodeMethod } from '../../src/protocol/method-codec.ts'
import * as methods from '../../src/protocol/methods.ts'
import type { BasicProperties } from '../../src/protocol/properties.ts'
import { PublishEncoder } from '../../src/protocol/publish-encoder.ts'
import { Properties } from '../../src/protocol/received-properties.ts'
import { Writer } from '../../src/protocol/writer.ts'

/** What the server sent: a method, and its message where it has one. */
export interface Received {
  readonly channel: number
  readonly method: methods.AnyMethod
  readonly args: Record<string, unknown>
  properties?: BasicProperties
  body?: string
}

const NO_BYTES = Buffer.alloc(0)

/** A client that knows nothing but frames: it shows what a server sends, in order, and answers only what closes. */
export class FrameClient implements FrameSink {
  /** What came since it was last taken. */
  received: Received[] = []
  closed = false
  readonly openChannels = new Set<number>()
  /** Publishes on a channel with confirms that are not confirmed. */
  readonly unconfirmed = new Map<number, Set<number>>()
  readonly #socket: net.Socket
  readonly #parser = new FrameParser(this, 131_072)
  readonly #nextPublish = new Map<number, number>()
  readonly #barriers = new Map<number, number>()
  #incoming: { readonly received: Received; missing: number; readonly pieces: Buffer[] } | undefined
  #changed: (() => void)[] = []

  constructor(socket: net.Socket) {
    this.#socket = socket
    socket.on('data', bytes => {
      this.#parser.push(bytes, bytes.length)
      const changed = this.#changed
      this.#changed = []
      for (const call of changed) call()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.closed = true
      for (const call of this.#changed) call()
    })
  }

  static async connect(url: string, heartbeat = 0): Promise<FrameClient> {
    const { hostname, port, username, password, pathname } = new URL(url)
    const socket = net.connect({ host: hostname, port: Number(port), noDelay: true })
    await once(socket, 'connect')
    const client = new FrameClient(socket)
    socket.write(PROTOCOL_HEADER)
    await client.until(() => client.#last === methods.ConnectionStart)
    client.send(0, methods.ConnectionStartOk, {
      clientProperties: {
        capabilities: { consumer_cancel_notify: true, 'basic.nack': true, authentication_failure_close: true },
      },
      mechanism: 'PLAIN',
      response: `\0${username || 'guest'}\0${password || 'guest'}`,
    })
    await client.until(() => client.#last === methods.ConnectionTune)
    client.send(0, methods.ConnectionTuneOk, { channelMax: 2047, frameMax: 131_072, heartbeat })
    client.send(0, methods.ConnectionOpen, { virtualHost: decodeURIComponent(pathname.slice(1)) || '/' })
    await client.until(() => client.#last === methods.ConnectionOpenOk)
    client.received = []
    return client
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
    this.write(Writer.encode(writer => encodeMethod(writer, channel, method, args)))
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
    const writer = new Writer()
    new PublishEncoder(writer, 131_072).publish(channel, exchange, routingKey, mandatory, properties, body)
    this.write(Buffer.concat(writer.take()))
  }

  /** What is written in one turn of the event loop leaves together. */
  write(bytes: Uint8Array): void {
    if (this.closed) return
    if (this.#socket.writableCorked === 0) {
      this.#socket.cork()
      process.nextTick(() => this.#socket.uncork())
    }
    this.#socket.write(bytes)
  }

  /** Everything that the channels have got so far is done when this is: a method without consequence goes through each. */
  async barrier(): Promise<void> {
    for (const channel of this.openChannels) {
      this.#barriers.set(channel, (this.#barriers.get(channel) ?? 0) + 1)
      this.send(channel, methods.AccessRequest, {})
    }
    await this.until(() => ![...this.openChannels].some(channel => (this.#barriers.get(channel) ?? 0) > 0))
  }

  end(): void {
    this.#socket.destroy()
  }

  methodFrame(channel: number, buffer: Buffer, start: number, end: number): number {
    const { method, args } = decodeMethod(buffer, start, end)
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

  #note({ channel, method, args }: Received): void {
    if (method === methods.ChannelOpenOk) {
      this.openChannels.add(channel)
      this.#barriers.set(channel, 0)
    } else if (method === methods.BasicAck || method === methods.BasicNack) {
      const { deliveryTag, multiple } = args as { deliveryTag: number; multiple: boolean }
      const unconfirmed = this.unconfirmed.get(channel)
      for (const tag of unconfirmed ?? []) {
        if (tag === deliveryTag || (multiple && tag <= deliveryTag)) unconfirmed?.delete(tag)
      }
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
    this.#socket.end()
  }

  #countConfirms(channel: number): void {
    if (!this.unconfirmed.has(channel)) this.unconfirmed.set(channel, new Set())
  }

  #channelGone(channel: number): void {
    this.openChannels.delete(channel)
    this.unconfirmed.delete(channel)
    this.#nextPublish.delete(channel)
  }
}
