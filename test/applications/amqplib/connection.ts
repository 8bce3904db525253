import { EventEmitter } from 'node:events'
import {
  type Channel as AmqpChannel,
  type AmqpProtocol,
  type ChannelOptions,
  type ConnectOptions,
  connect,
} from 'asyncamqp'
import type { Channel } from './channel.ts'
import { connectError, connectionError, IllegalOperationError, isFatal, openError } from './errors.ts'
import { connectOptions, type SocketOptions, type UrlObject } from './options.ts'

/**
 * A connection as both APIs of amqplib have it in `model.connection`, with its events:
 *
 *     open ── close() ──▶ closing ── connection.close-ok ──▶ closed
 *       └──────────── lost, or closed by the server ─────────▶
 */
export class Connection extends EventEmitter {
  readonly #protocol: AmqpProtocol
  readonly #channels = new Set<Channel>()
  #state: 'open' | 'closing' | 'closed' = 'open'
  /** How it ended, in words. */
  #end = ''
  readonly serverProperties: object
  readonly heartbeat: number
  readonly channelMax: number
  readonly frameMax: number

  private constructor(protocol: AmqpProtocol) {
    super()
    this.#protocol = protocol
    this.serverProperties = protocol.serverProperties
    this.heartbeat = protocol.serverHeartbeat
    this.channelMax = protocol.serverChannelMax
    this.frameMax = protocol.serverFrameMax
    protocol.on('blocked', reason => this.#emitLater('blocked', reason))
    protocol.on('unblocked', () => this.#emitLater('unblocked'))
    protocol.on('closed', error => {
      // An error of a listener must end the process, as with any emitter, and not the work of the client.
      if (error !== undefined) process.nextTick(() => this.#ended(connectionError(error)))
    })
  }

  /** @throws at once for a URL that is not one; all else rejects. */
  static open(url: string | UrlObject | false | undefined, socketOptions?: SocketOptions): Promise<Connection> {
    return Connection.#connect(connectOptions(url, socketOptions ?? {}), socketOptions?.credentials?.mechanism)
  }

  static async #connect(options: ConnectOptions, mechanism: string | undefined): Promise<Connection> {
    for (const name of ['heartbeat', 'channelMax', 'frameMax'] as const) {
      if (Number.isNaN(options[name])) throw new TypeError(`Field '${name}' is the wrong type; must be a number`)
    }
    try {
      return new Connection(await connect(options))
    } catch (error) {
      throw connectError(error, mechanism)
    }
  }

  /** @throws IllegalOperationError unless it is open. */
  assertOpen(): void {
    if (this.#state === 'closing') throw new IllegalOperationError('Connection closing')
    if (this.#state === 'closed') throw new IllegalOperationError(`Connection closed (${this.#end})`)
  }

  async openChannel(channel: Channel, options: ChannelOptions): Promise<AmqpChannel> {
    this.assertOpen()
    this.#channels.add(channel)
    try {
      return await this.#protocol.channel(options)
    } catch (error) {
      this.#channels.delete(channel)
      throw openError(error)
    }
  }

  release(channel: Channel): void {
    this.#channels.delete(channel)
  }

  /** amqplib's has no errors for its callback, except for a connection that is closed already. */
  close(done: (error: Error | null) => void = () => {}): void {
    if (this.#state === 'closed') {
      done(new IllegalOperationError(`Connection closed (${this.#end})`))
      return
    }
    this.assertOpen()
    this.#state = 'closing'
    void this.#protocol.close().then(() => {
      process.nextTick(() => {
        done(null)
        this.#ended(undefined)
      })
    })
  }

  fail(error: Error): void {
    void this.#protocol.close({ timeout: 0 })
    this.#ended(error)
  }

  async updateSecret(secret: Buffer, reason: string): Promise<void> {
    this.assertOpen()
    await this.#protocol.updateSecret(secret.toString(), reason)
    this.emit('update-secret-ok')
  }

  #ended(error: Error | undefined): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#end = error === undefined ? 'by client' : String(error)
    try {
      if (error !== undefined && isFatal(error)) this.emit('error', error)
    } finally {
      for (const channel of this.#channels) channel.ended()
      if (error === undefined) this.emit('close')
      else this.emit('close', error)
    }
  }

  #emitLater(event: string, ...args: unknown[]): void {
    process.nextTick(() => this.emit(event, ...args))
  }
}
