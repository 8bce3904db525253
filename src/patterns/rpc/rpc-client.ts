import { randomUUID } from 'node:crypto'
import type { ChannelSource, Closable } from '../../connection/channel-source.ts'
import { abortedBy, ChannelClosedError, type PublishOutcome, TimeoutError } from '../../errors.ts'
import { badValue, checkOptions, durationOption, shortStringOption, signalOption } from '../../protocol/option-check.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { atMost } from '../at-most.ts'
import type { Message } from '../consume/message.ts'
import { isEncoded, type Payload, plainProperties, toJson, withJsonType } from '../publish/payload.ts'
import { type PendingCall, RpcChannel } from './rpc-channel.ts'

export interface RpcClientOptions {
  /** Milliseconds that a call may take where it says nothing else. Default: 20,000; `Infinity` is no limit. */
  readonly timeout?: number | undefined
}

export interface RpcCallOptions {
  /** Default: the default exchange, which routes to the queue that `routingKey` names. */
  readonly exchangeName?: string | undefined
  /** `replyTo` is the client's; a `correlationId` must be unique among the calls in flight. Default of `expiration`: the timeout. */
  readonly properties?: BasicProperties | undefined
  /** Milliseconds. Default: the client's. */
  readonly timeout?: number | undefined
  /** Ends the wait; the request may be answered all the same. */
  readonly signal?: AbortSignal | undefined
}

const TIMEOUT = 20_000
const CLOSE_TIMEOUT = 1_000
const CALL = ['exchangeName', 'properties', 'timeout', 'signal']

/**
 * Sends requests and awaits their replies (direct reply-to), made by `protocol.rpcClient()`. Any number of calls may be
 * in flight. A call is never sent twice: one whose channel or connection ends rejects, and the next one opens another.
 */
export class RpcClient {
  readonly #source: ChannelSource
  readonly #timeout: number
  /** One for each exchange: a missing one costs the calls to others nothing. */
  readonly #channels = new Map<string, Promise<RpcChannel>>()
  readonly #part: Closable = { close: () => this.close() }
  readonly #prefix = randomUUID()
  #calls = 0
  #closed: Promise<void> | undefined

  private constructor(source: ChannelSource, timeout: number) {
    this.#source = source
    this.#timeout = timeout
  }

  /** @internal Programs call `protocol.rpcClient()`. */
  static async open(source: ChannelSource, options: RpcClientOptions): Promise<RpcClient> {
    checkOptions('rpcClient', options, ['timeout'])
    const client = new RpcClient(source, durationOption('rpcClient', 'timeout', options.timeout) ?? TIMEOUT)
    await client.#channel('')
    source.own(client.#part)
    return client
  }

  /**
   * Send a request, and resolve with its reply.
   *
   * @param payload bytes, a string, or a plain object or array, which goes as JSON.
   * @throws MessageReturnedError where no queue takes the request, at once; PublishFailedError where the broker refuses
   * it; RemoteError where the server's handler throws; TimeoutError; AbortError; ChannelClosedError,
   * ConnectionLostError or ConnectionClosedError where the reply can no longer come.
   */
  async call(routingKey: string, payload: Payload, options: RpcCallOptions = {}): Promise<Message> {
    const call = this.#checked(routingKey, payload, options)
    const timeout = options.timeout ?? this.#timeout
    const expires = Number.isFinite(timeout) && call.properties.expiration === undefined
    // A request that nobody takes in time is not to be worked on later.
    const properties = expires ? { ...call.properties, expiration: String(Math.ceil(timeout)) } : call.properties
    return await this.#send({ ...call, properties }, timeout, options.signal)
  }

  #checked(routingKey: string, payload: Payload, options: RpcCallOptions): Omit<PendingCall, 'resolve' | 'reject'> {
    if (typeof routingKey !== 'string') throw badValue('rpc call', 'routingKey', 'a string', routingKey)
    const what = `rpc call to "${routingKey}"`
    checkOptions(what, options, CALL)
    durationOption(what, 'timeout', options.timeout)
    signalOption(what, 'signal', options.signal)
    const exchangeName = shortStringOption(what, 'exchangeName', options.exchangeName) ?? ''
    const given = plainProperties(options.properties ?? {})
    const correlationId = given.correlationId ?? `${this.#prefix}-${++this.#calls}`
    const encoded = isEncoded(payload)
    return {
      what: exchangeName === '' ? what : `${what} by exchange "${exchangeName}"`,
      correlationId,
      exchangeName,
      routingKey,
      payload: encoded ? payload : toJson(what, payload),
      properties: encoded ? given : withJsonType(given),
    }
  }

  #send(
    request: Omit<PendingCall, 'resolve' | 'reject'>,
    timeout: number,
    signal: AbortSignal | undefined,
  ): Promise<Message> {
    const { what, exchangeName } = request
    return new Promise((resolve, reject) => {
      if (signal?.aborted) throw abortedBy(signal, what, 'notSent')
      let channel: RpcChannel | undefined
      let settled = false
      const settle = (): void => {
        settled = true
        deadline?.cancel()
        signal?.removeEventListener('abort', aborted)
      }
      const call: PendingCall = {
        ...request,
        resolve: reply => {
          settle()
          resolve(reply)
        },
        reject: error => {
          settle()
          reject(error)
        },
      }
      const giveUp = (makeError: (outcome: PublishOutcome) => Error): void => {
        channel?.forget(call)
        call.reject(makeError(channel === undefined ? 'notSent' : 'unknown'))
      }
      const aborted = (): void => {
        if (signal !== undefined) giveUp(outcome => abortedBy(signal, what, outcome))
      }
      signal?.addEventListener('abort', aborted, { once: true })
      const deadline = Number.isFinite(timeout)
        ? this.#source.after(timeout, () =>
            giveUp(outcome => new TimeoutError(`${what} was not answered within ${timeout} ms`, { outcome })),
          )
        : undefined
      this.#channel(exchangeName).then(
        opened => {
          if (settled) return
          channel = opened
          opened.send(call)
        },
        (error: Error) => call.reject(error),
      )
    })
  }

  async #channel(exchangeName: string): Promise<RpcChannel> {
    for (;;) {
      if (this.#closed !== undefined) {
        throw new ChannelClosedError('the rpc call was not sent: its client was closed', { outcome: 'notSent' })
      }
      const known = this.#channels.get(exchangeName)
      if (known !== undefined) {
        const channel = await known
        if (!channel.isOver) return channel
        if (this.#channels.get(exchangeName) === known) this.#channels.delete(exchangeName)
        continue
      }
      const opening = RpcChannel.open(this.#source)
      this.#channels.set(exchangeName, opening)
      opening.catch(() => {
        if (this.#channels.get(exchangeName) === opening) this.#channels.delete(exchangeName)
      })
    }
  }

  /** Reject the calls that wait, and close. Never rejects. Again: the same promise. */
  close(): Promise<void> {
    this.#closed ??= this.#close()
    return this.#closed
  }

  async #close(): Promise<void> {
    this.#source.disown(this.#part)
    const channels = [...this.#channels.values()]
    this.#channels.clear()
    const closing = Promise.all(channels.map(async opening => (await opening).close()))
    await atMost(this.#source, CLOSE_TIMEOUT, closing)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}
