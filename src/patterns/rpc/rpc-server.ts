import type { ChannelSource } from '../../connection/channel-source.ts'
import { RPC_HANDLE, RpcHandleContext } from '../../diagnostics/rpc.ts'
import { ChannelClosedError, ConnectionClosedError, EncodeError, PublishError } from '../../errors.ts'
import { fromCallSite, placeOfCall } from '../../lib/call-site.ts'
import { badValue, checkOptions } from '../../protocol/option-check.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { Consumer } from '../consume/consumer.ts'
import type { ConsumerCloseOptions, HandlerOptions } from '../consume/consumer-options.ts'
import type { Message } from '../consume/message.ts'
import { isEncoded, type Payload, toJson, withJsonType } from '../publish/payload.ts'
import { ReliablePublisher } from '../publish/reliable-publisher.ts'
import { isTyped } from '../typed/is-typed.ts'
import { loadTyped } from '../typed/load.ts'
import type { StandardSchema } from '../typed/standard-schema.ts'
import type { Coding } from '../typed/typed.ts'
import { RefusedReplies, requestKey } from './refused-replies.ts'
import { errorReply } from './remote-error.ts'
import { checkReplyTo } from './reply-to.ts'
import type { RpcSchema } from './rpc-client.ts'

type Nothing = ReturnType<() => void>

/** What the handler of an RPC server may return, unless a schema says otherwise. */
export type RpcReply = Payload | undefined | Nothing

/**
 * Answers a request with a string, bytes, or any other object, which goes as JSON; nothing is an empty reply. What it
 * throws reaches the caller as a `RemoteError`.
 */
export type RpcHandler<Request = unknown, Reply = RpcReply> = (
  request: Message<Request>,
) => Fixed<Reply> | Promise<Fixed<Reply>>

/** A type that the compiler does not infer from what it is the type of. */
type Fixed<T> = [T][T extends unknown ? 0 : never]

/** Options of `rpcServer()`. `Request` is what `json()` of a request returns, `Reply` what the handler returns. */
export interface RpcServerOptions<Request = unknown, Reply = RpcReply>
  extends Omit<HandlerOptions, 'noAck' | 'onFailure' | 'schema'> {
  /**
   * What requests and replies must fit. For a request that does not fit, and for a reply that does not, the caller gets a
   * `RemoteError` that says why. Default: neither is checked.
   */
  readonly schema?: RpcSchema<StandardSchema<unknown, Request>, StandardSchema<Reply, unknown>> | undefined
}

const OPTIONS = [
  'prefetchCount',
  'exclusive',
  'arguments',
  'onCancel',
  'signal',
  'concurrency',
  'slowHandlerThreshold',
  'schema',
  'codecs',
]

/** A reply that is not confirmed yet. */
interface Sending {
  readonly confirmed: Promise<void>
  /** The request that it answers, as it was delivered last. */
  request: Message
}

interface Reply {
  readonly payload: Uint8Array | string
  readonly properties: BasicProperties | undefined
}

/**
 * Answers the requests in a queue, made by `protocol.rpcServer()`. A request is acked once the broker has confirmed its
 * reply, so one that is in hand when the connection breaks is answered again. If a reply cannot be sent, because it is
 * too large for instance, the caller gets a `RemoteError` that says so; if not even that can be sent, the request is
 * rejected, and the error reported.
 */
export class RpcServer {
  /** The consumer that takes the requests: it has events, and can be paused. */
  readonly consumer: Consumer
  readonly #replies: Replies

  private constructor(consumer: Consumer, replies: Replies) {
    this.consumer = consumer
    this.#replies = replies
  }

  /** @internal Programs call `protocol.rpcServer()`. */
  static async open<Request, Reply>(
    source: ChannelSource,
    queueName: string,
    handler: RpcHandler<Request, Reply>,
    options: RpcServerOptions<Request, Reply>,
  ): Promise<RpcServer> {
    if (typeof handler !== 'function') throw badValue('rpcServer', 'handler', 'a function', handler)
    checkOptions('rpcServer', options, OPTIONS)
    const { schema, codecs, ...consuming } = options
    // What it gets and returns is checked at runtime, if at all.
    const untyped = handler as RpcHandler
    const typed = isTyped(options) ? (await loadTyped()).coding(source, 'rpcServer', options) : undefined
    const work = typed === undefined ? plainWork(untyped) : typedWork(untyped, typed)
    const replies = new Replies(source)
    const serve = (request: Message): Promise<void> => {
      const { acker, body, envelope, properties } = request
      if (!RPC_HANDLE.active || acker === undefined) return replies.serve(work, request, undefined)
      const context = new RpcHandleContext(acker, queueName, body, envelope, properties)
      return RPC_HANDLE.promise(context, () => replies.serve(work, request, context))
    }
    const consumer = await Consumer.open(source, 'rpcServer', queueName, serve, { ...consuming, onFailure })
    void consumer.whenEnded.then(() => replies.close())
    return new RpcServer(consumer, replies)
  }

  /** Close gracefully, as a consumer with a handler does: requests in hand are answered, the others go back. */
  close(options: ConsumerCloseOptions = {}): Promise<void> {
    return fromCallSite(placeOfCall(), async () => {
      await this.consumer.close(options)
      await this.#replies.close()
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

/** If no reply is asked for, or none can be made, the request goes to the dead-letter exchange. */
function onFailure({ properties }: Message, error: unknown): 'reject' | 'requeue' {
  return properties.replyTo === undefined || isRefusal(error) ? 'reject' : 'requeue'
}

/** Makes replies and publishes them. */
class Replies {
  readonly #source: ChannelSource
  readonly #publisher: ReliablePublisher
  readonly #refused = new RefusedReplies()
  /** Replies that are not confirmed yet, by their requests, of which several may be alike. */
  readonly #sending = new Map<string, Set<Sending>>()
  #closed = false

  constructor(source: ChannelSource) {
    this.#source = source
    this.#publisher = new ReliablePublisher(source.publishing)
  }

  /** Resolves when the request is answered, or another server will answer it. Rejects if no server can. */
  async serve(work: RpcWork, request: Message, context: RpcHandleContext | undefined): Promise<void> {
    const { replyTo } = request.properties
    if (replyTo === undefined) {
      await work.handle(request)
      return
    }
    checkReplyTo(replyTo, this.#source.serverProperties)
    if (await this.#isAnswered(request)) return
    const before = this.#refused.of(request)
    if (before?.final === true) throw new EncodeError(`the request cannot be answered: ${before.reason}`)
    let reply = before === undefined ? await answer(work, request, context) : unsendable(before.reason)
    if (reply === undefined || this.#isSomebodyElses(request)) return
    try {
      await this.#publish(request, reply)
    } catch (error) {
      if (this.#isSomebodyElses(request)) return
      // A reply that was refused once is not sent again: the caller gets a short error.
      if (before !== undefined || !isRefusal(error)) throw error
      reply = unsendable(error.message)
      await this.#publish(request, reply)
    }
    context?.replied(reply.payload)
  }

  /** A request comes again when its connection was lost, but a reply that was made is kept, and sent by the next one. */
  async #isAnswered(request: Message): Promise<boolean> {
    if (!request.envelope.isRedeliver) return false
    for (const sending of this.#sending.get(requestKey(request)) ?? []) {
      // Each reply answers one request.
      if (!sending.request.isLost) continue
      sending.request = request
      return sending.confirmed.then(isTrue, isFalse)
    }
    return false
  }

  /** The broker gives it to another consumer, which answers it; or nothing is sent any more. */
  #isSomebodyElses(request: Message): boolean {
    return this.#closed || request.isLost
  }

  async #publish(request: Message, { payload, properties }: Reply): Promise<void> {
    const { replyTo = '', correlationId } = request.properties
    const key = requestKey(request)
    const alike = this.#sending.get(key) ?? new Set()
    let sending: Sending | undefined
    try {
      const all = { ...properties, correlationId }
      sending = { confirmed: this.#publisher.publish(payload, '', replyTo, all, false, undefined), request }
      this.#sending.set(key, alike.add(sending))
      await sending.confirmed
    } catch (error) {
      // If the broker closes the connection over the reply, the request comes again.
      if (isRefusal(error)) this.#refused.add(request, error)
      throw error
    } finally {
      if (sending !== undefined) alike.delete(sending)
      if (alike.size === 0 && this.#sending.get(key) === alike) this.#sending.delete(key)
    }
  }

  /** Nothing more is sent. Never rejects. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#publisher.close({ timeout: 0 })
  }
}

/** What is done with a request, and how what that returns is sent. */
interface RpcWork {
  handle(request: Message): unknown
  reply(result: unknown, request: Message): Reply | Promise<Reply>
}

function plainWork(handler: RpcHandler): RpcWork {
  return { handle: handler, reply: plainReply }
}

function plainReply(result: unknown): Reply {
  const payload = (result ?? '') as Payload
  if (!isEncoded(payload)) return { payload: toJson(REPLY, payload), properties: withJsonType({}) }
  return { payload, properties: typeof payload === 'string' ? { contentType: 'text/plain' } : {} }
}

function typedWork(handler: RpcHandler, { encoder, decoder }: Coding): RpcWork {
  return {
    async handle(request) {
      await decoder.decode(request)
      // Another server gets it, or it was given back.
      if (request.isLost) request.signal.throwIfAborted()
      return handler(request)
    },
    reply: (result, { properties }) => encoder.reply(() => REPLY, result, properties),
  }
}

/** How errors name it. */
const REPLY = 'the reply of an rpcServer handler'

/** The handler's reply, or its error as one; undefined if its work was broken off. */
async function answer(
  work: RpcWork,
  request: Message,
  context: RpcHandleContext | undefined,
): Promise<Reply | undefined> {
  try {
    return await work.reply(await work.handle(request), request)
  } catch (error) {
    if (request.isLost) return undefined
    context?.handlerFailed(error)
    return errorReply(error)
  }
}

function unsendable(why: string): Reply {
  return errorReply(new Error(`the reply could not be sent: ${why}`))
}

/** Whether it was the reply itself that could not be sent: sending it again would end in the same way. */
function isRefusal(error: unknown): error is Error {
  if (error instanceof EncodeError || error instanceof PublishError) return true
  return (
    (error instanceof ChannelClosedError || error instanceof ConnectionClosedError) && error.replyCode !== undefined
  )
}

const isTrue = (): boolean => true
const isFalse = (): boolean => false
