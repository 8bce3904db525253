import type { ChannelSource } from '../../connection/channel-source.ts'
import { badValue, checkOptions } from '../../protocol/option-check.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { Consumer } from '../consume/consumer.ts'
import type { ConsumerCloseOptions, HandlerOptions } from '../consume/consumer-options.ts'
import type { Message } from '../consume/message.ts'
import { ConfirmingChannel } from '../publish/confirming-channel.ts'
import { isEncoded, type Payload, toJson, withJsonType } from '../publish/payload.ts'
import { errorReply } from './remote-error.ts'

/**
 * Answers a request with a string, bytes, or a plain object or array, which goes as JSON; nothing is an empty reply. What
 * it throws reaches the caller as a `RemoteError`.
 */
export type RpcHandler = (request: Message) => Payload | undefined | void | Promise<Payload | undefined> | Promise<void>

export type RpcServerOptions = Omit<HandlerOptions, 'noAck' | 'onFailure'>

const OPTIONS = ['prefetchCount', 'exclusive', 'arguments', 'onCancel', 'signal', 'concurrency']

/**
 * Answers the requests in a queue, made by `protocol.rpcServer()`. A request is acked once the broker has confirmed its
 * reply, so one that is in hand when the connection breaks is answered again.
 */
export class RpcServer {
  /** What takes the requests: its events tell how that goes, and it can be paused. */
  readonly consumer: Consumer
  readonly #replies: ConfirmingChannel

  private constructor(consumer: Consumer, replies: ConfirmingChannel) {
    this.consumer = consumer
    this.#replies = replies
  }

  /** @internal Programs call `protocol.rpcServer()`. */
  static async open(
    source: ChannelSource,
    queueName: string,
    handler: RpcHandler,
    options: RpcServerOptions,
  ): Promise<RpcServer> {
    if (typeof handler !== 'function') throw badValue('rpcServer', 'handler', 'a function', handler)
    checkOptions('rpcServer', options, OPTIONS)
    const replies = new ConfirmingChannel(source)
    const consumer = await Consumer.open(
      source,
      'rpcServer',
      queueName,
      async request => {
        const reply = await answer(handler, request)
        const { replyTo } = request.properties
        if (replyTo === undefined) return
        try {
          await replies.publish(reply.payload, '', replyTo, reply.properties)
        } catch (error) {
          // The request was lost with the same connection: it comes again, and is answered then.
          if (request.life?.over !== true) throw error
        }
      },
      {
        ...options,
        // Where no reply is asked for, a failure is the dead-letter exchange's; a reply that was not taken is made again.
        onFailure: ({ properties }) => (properties.replyTo === undefined ? 'reject' : 'requeue'),
      },
    )
    return new RpcServer(consumer, replies)
  }

  /** Close gracefully, as a consumer with a handler does: requests in hand are answered, the others go back. */
  async close(options: ConsumerCloseOptions = {}): Promise<void> {
    await this.consumer.close(options)
    await this.#replies.close()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

interface Reply {
  readonly payload: Uint8Array | string
  readonly properties: BasicProperties
}

async function answer(handler: RpcHandler, request: Message): Promise<Reply> {
  const { correlationId, replyTo } = request.properties
  try {
    const result = (await handler(request)) ?? ''
    if (isEncoded(result)) {
      return typeof result === 'string'
        ? { payload: result, properties: { contentType: 'text/plain', correlationId } }
        : { payload: result, properties: { correlationId } }
    }
    return { payload: toJson('the reply of an rpcServer handler', result), properties: withJsonType({ correlationId }) }
  } catch (error) {
    // Nobody waits for an answer, or somebody else will give it.
    if (replyTo === undefined || request.life?.over === true) throw error
    const { payload, properties } = errorReply(error)
    return { payload, properties: { ...properties, correlationId } }
  }
}
