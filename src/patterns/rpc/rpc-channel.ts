import type { Channel } from '../../channel/channel.ts'
import type { CloseReason } from '../../channel/close-reason.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { ChannelClosedError, EncodeError, type PublishOutcome } from '../../errors.ts'
import { BASIC_PUBLISH } from '../../protocol/basic-codec.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { Message } from '../consume/message.ts'
import { remoteError } from './remote-error.ts'

/** The name that stands for the channel itself as a place for replies (direct reply-to, RabbitMQ's extension). */
const REPLY_TO = 'amq.rabbitmq.reply-to'

/** A call that waits for its reply. */
export interface PendingCall {
  readonly what: string
  readonly correlationId: string
  readonly exchangeName: string
  readonly routingKey: string
  readonly payload: Uint8Array | string
  readonly properties: BasicProperties
  resolve(reply: Message): void
  reject(error: Error): void
}

/**
 * The calls of one life of a channel: replies come by the channel that the requests went by, so none can come when that
 * life is over.
 */
export class RpcChannel {
  readonly #channel: Channel
  readonly #calls = new Map<string, PendingCall>()
  #over = false

  private constructor(channel: Channel) {
    this.#channel = channel
  }

  /** Open a channel and consume replies on it: one round trip. */
  static async open(source: ChannelSource): Promise<RpcChannel> {
    const channel = await source.openingChannel({ publisherConfirms: true })
    const rpc = new RpcChannel(channel)
    // Replies are looked up by their correlation id: a late one is nobody's.
    const consuming = channel.basicConsume(
      (_channel, body, envelope, properties) => rpc.#replied(new Message(body, envelope, properties, undefined)),
      REPLY_TO,
      { noAck: true },
    )
    const { session } = channel.lives
    if (session !== undefined) session.onOver = ending => rpc.#ended(ending)
    // Its calls tell why it was closed.
    channel.waitClosed().catch(() => {})
    try {
      await consuming
    } catch (error) {
      void channel.close()
      throw error
    }
    return rpc
  }

  get isOver(): boolean {
    return this.#over
  }

  /** Publish the request of a call, once. */
  send(call: PendingCall): void {
    const { correlationId, exchangeName, routingKey, payload, properties } = call
    if (this.#calls.has(correlationId)) {
      call.reject(new EncodeError(`${call.what}: correlationId "${correlationId}" is that of another call in flight`))
      return
    }
    // First of all: the reply may come before the confirm.
    this.#calls.set(correlationId, call)
    this.#channel
      .publish(
        payload,
        exchangeName,
        routingKey,
        { ...properties, correlationId, replyTo: REPLY_TO },
        { mandatory: true },
      )
      .catch((error: Error) => this.#take(correlationId)?.reject(error))
  }

  /** Nobody waits for its reply any more. */
  forget(call: PendingCall): void {
    if (this.#calls.get(call.correlationId) === call) this.#calls.delete(call.correlationId)
  }

  #take(correlationId: string): PendingCall | undefined {
    const call = this.#calls.get(correlationId)
    this.#calls.delete(correlationId)
    return call
  }

  #replied(reply: Message): void {
    const call = this.#take(reply.properties.correlationId ?? '')
    if (call === undefined) return
    const error = remoteError(reply)
    if (error === undefined) call.resolve(reply)
    else call.reject(error)
  }

  #ended(ending: CloseReason): void {
    this.#failAll(what => ending.errorFor(what, ending.methodKey === BASIC_PUBLISH, 'unknown'))
    // It is not to come back with the next connection; at this moment it is not over yet for those who do that.
    queueMicrotask(() => void this.#channel.close())
  }

  #failAll(makeError: (what: string, outcome: PublishOutcome) => Error): void {
    this.#over = true
    const calls = [...this.#calls.values()]
    this.#calls.clear()
    for (const call of calls) call.reject(makeError(call.what, 'unknown'))
  }

  /** Reject the calls that wait, and close the channel. Never rejects. */
  close(): Promise<void> {
    this.#failAll((what, outcome) => new ChannelClosedError(`${what} failed: its client was closed`, { outcome }))
    return this.#channel.close()
  }
}
