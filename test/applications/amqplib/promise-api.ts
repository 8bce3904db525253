import { EventEmitter } from 'node:events'
import { Channel } from './channel.ts'
import { ConfirmChannel } from './confirm-channel.ts'
import { Connection } from './connection.ts'
import type { SocketOptions, UrlObject } from './options.ts'

const EVENTS = ['error', 'close', 'blocked', 'unblocked', 'update-secret-ok']

/** What both APIs give to a program in the place of the connection. */
export class Model extends EventEmitter {
  readonly connection: Connection

  constructor(connection: Connection) {
    super()
    this.connection = connection
    for (const event of EVENTS) connection.on(event, (...args: unknown[]) => this.emit(event, ...args))
  }
}

/** The connection of the promise API. */
export class ChannelModel extends Model {
  close(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.connection.close(error => (error === null ? resolve() : reject(error)))
    })
  }

  updateSecret(secret: Buffer, reason: string): Promise<void> {
    return this.connection.updateSecret(secret, reason)
  }

  createChannel(options?: { readonly highWaterMark?: number }): Promise<Channel> {
    return new Channel(this.connection, options).open()
  }

  createConfirmChannel(options?: { readonly highWaterMark?: number }): Promise<ConfirmChannel> {
    return new ConfirmChannel(this.connection, options).open()
  }
}

/** amqplib's `connect`. */
export async function connect(url?: string | UrlObject, socketOptions?: SocketOptions): Promise<ChannelModel> {
  return new ChannelModel(await Connection.open(url, socketOptions))
}
