import { Channel } from './channel.ts'
import { ConfirmChannel } from './confirm-channel.ts'
import { Connection } from './connection.ts'
import type { SocketOptions, UrlObject } from './options.ts'
import { Model } from './promise-api.ts'

/** As Node's callbacks: an error, or null and the result. */
type Callback = (error: unknown, value?: unknown) => void

type ChannelOptions = { readonly highWaterMark?: number }

/** At which place each method takes its callback. */
const PLACES = {
  ...{ assertQueue: 2, checkQueue: 1, deleteQueue: 2, purgeQueue: 1, bindQueue: 4, unbindQueue: 4 },
  ...{ assertExchange: 3, checkExchange: 1, deleteExchange: 2, bindExchange: 4, unbindExchange: 4 },
  ...{ consume: 3, cancel: 1, get: 2, prefetch: 2, recover: 0, close: 0, waitForConfirms: 0 },
}

/** These return nothing in the promise API. */
const CHAINED = ['ack', 'ackAll', 'nack', 'nackAll', 'reject']

class CallbackChannel extends Channel {}
class CallbackConfirmChannel extends ConfirmChannel {}
takeCallbacks(CallbackChannel.prototype)
takeCallbacks(CallbackConfirmChannel.prototype)

/** Makes of methods that return promises those that take callbacks, and return the channel. */
function takeCallbacks(prototype: Channel): void {
  const methods = prototype as unknown as Record<string, ((...args: unknown[]) => unknown) | undefined>
  for (const [name, place] of Object.entries(PLACES)) {
    const method = methods[name]
    if (method === undefined) continue
    methods[name] = function (this: Channel & { opened(): unknown }, ...args: unknown[]) {
      // What cannot be done any more is thrown. Confirms may be waited for in any state.
      if (name !== 'waitForConfirms') this.opened()
      call(() => method.apply(this, args.slice(0, place)) as Promise<unknown>, args[place] as Callback | undefined)
      return this
    }
  }
  for (const name of CHAINED) {
    const method = methods[name]
    methods[name] = function (this: Channel, ...args: unknown[]) {
      method?.apply(this, args)
      return this
    }
  }
}

/** What the callback throws is not a promise's to reject with: it ends the process, or goes to its domain. */
function call<T>(start: () => Promise<T>, callback: Callback | undefined): void {
  const done = (error: unknown, value?: T): void => {
    try {
      callback?.(error, value)
    } catch (thrown) {
      process.nextTick(() => {
        throw thrown
      })
    }
  }
  start().then(
    value => done(null, value),
    error => done(error),
  )
}

/** The connection of the callback API. */
export class CallbackModel extends Model {
  close(callback?: Callback): void {
    this.connection.close(callback)
  }

  updateSecret(secret: Buffer, reason: string, callback?: Callback): void {
    call(() => this.connection.updateSecret(secret, reason), callback)
  }

  createChannel(options?: ChannelOptions | Callback, callback?: Callback): Channel {
    return this.#open(CallbackChannel, options, callback)
  }

  createConfirmChannel(options?: ChannelOptions | Callback, callback?: Callback): ConfirmChannel {
    return this.#open(CallbackConfirmChannel, options, callback)
  }

  #open<C extends Channel>(
    Kind: new (connection: Connection, options?: ChannelOptions) => C,
    options: ChannelOptions | Callback | undefined,
    callback: Callback | undefined,
  ): C {
    this.connection.assertOpen()
    const [given, done] = typeof options === 'function' ? [undefined, options] : [options, callback]
    const channel = new Kind(this.connection, given)
    call(() => channel.open(), done)
    return channel
  }
}

/** amqplib's `connect` of `callback_api`. */
export function connect(
  url: string | UrlObject | false | Callback,
  options?: SocketOptions | Callback,
  callback?: Callback,
): void {
  if (typeof url === 'function') connectWith(false, undefined, url)
  else if (typeof options === 'function') connectWith(url, undefined, options)
  else connectWith(url, options, callback)
}

function connectWith(url: string | UrlObject | false, options: SocketOptions | undefined, callback?: Callback): void {
  const opened = Connection.open(url, options)
  call(async () => new CallbackModel(await opened), callback)
}

/** amqplib's `connect` of `lib/connect`, which its own tests use. */
export function rawConnect(url: string | UrlObject, options?: SocketOptions, callback?: Callback): void {
  const opened = Connection.open(url, options)
  call(() => opened, callback)
}
