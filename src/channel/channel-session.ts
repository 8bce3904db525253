import { type AmqpError, ChannelClosedError, ConsumerCancelledError, type TimeoutError } from '../errors.ts'
import { atCallSite } from '../lib/call-site.ts'
import { ignore } from '../lib/ignore.ts'
import { nextTick } from '../lib/platform.ts'
import { encodeMethod } from '../protocol/method-codec.ts'
import {
  type AnyMethod,
  type ArgumentsOf,
  BasicCancel,
  BasicCancelOk,
  BasicConsume,
  BasicConsumeOk,
  BasicGet,
  BasicGetOk,
  ChannelClose,
  ChannelCloseOk,
  ChannelFlowOk,
  ChannelOpen,
  ConfirmSelect,
  ConfirmSelectOk,
  type ReplyOf,
  type SyncMethod,
} from '../protocol/methods.ts'
import { cutText } from '../protocol/text.ts'
import type { CallOptions } from './call-options.ts'
import { type CallContext, Calls, type ReplyKey, type ReplyObserver } from './calls.ts'
import { ChannelFrames, type ChannelParts, type RefusedGet } from './channel-frames.ts'
import { type CloseReason, closedByClient, closedByServer } from './close-reason.ts'
import { Acker } from './consume/acker.ts'
import { Deliveries } from './consume/deliveries.ts'
import type { GetResult, ReturnedMessage } from './consume/delivery.ts'
import type { Consumer } from './consume/delivery-sink.ts'
import { TagGate } from './consume/tag-gate.ts'
import type { ChannelPort, ChannelReceiver } from './port.ts'
import type { Unheard } from './publish/confirm-waiters.ts'
import { ConfirmWindow } from './publish/confirm-window.ts'
import { PLAIN_ROUTES, type PublishRoutes } from './publish-routes.ts'

/** What the public channel learns from the life it has at the moment. */
export interface ChannelEvents {
  /** channel.close is written: nothing more may be. */
  closing(ending: CloseReason): void
  /** More may be published. */
  moreMayGo(): void
  /** A message came back; `isReported` if a promise of its publish rejects with it. */
  returned(message: ReturnedMessage, isReported: boolean): void
  /** The broker has ended a consumer: its tag may serve another. */
  consumerGone(consumerTag: string): void
  /** The server cancelled a consumer; called at the end of the read. */
  cancelled(error: ConsumerCancelledError, consumer: Consumer): void
  /** The server closed the channel, which the client was not closing; called at the end of the read. */
  closedByServer(channelId: number, error: ChannelClosedError): void
  /** The life is over, with its connection or alone: `ending.scope` says which. */
  ended(session: ChannelSession, ending: CloseReason): void
}

/** The outcome of a basic.consume at the broker, whether or not a caller still waits for it. */
export interface ConsumeObserver {
  /** Its bytes are in the buffer. */
  written(): void
  /** consume-ok has come. */
  consuming(): void
  /** No caller waited for it any more, and it was cancelled. */
  gone(): void
}

/** What an earlier life of the channel left: the last of its tags, and the failed publishes that were not reported. */
export interface Inheritance {
  readonly delivery: number
  readonly publish: number
  readonly unheard: Unheard | undefined
}

export const NO_EARLIER_LIFE: Inheritance = { delivery: 0, publish: 0, unheard: undefined }

/**
 * Changes of state, all made by `#to`:
 *
 *     opening ──open-ok──▶ open ──close──▶ closing ──close-ok──▶ closed
 *        └────────────────────┴── server's close, connection ended ──▲
 */
type State = 'opening' | 'open' | 'closing' | 'closed'

const NEXT: Record<State, readonly State[]> = {
  opening: ['open', 'closing', 'closed'],
  open: ['closing', 'closed'],
  closing: ['closed'],
  closed: [],
}

/** One life of a channel: from channel.open on one connection until it or the connection is closed. */
export class ChannelSession implements ChannelReceiver, ChannelParts {
  readonly id: number
  readonly window: ConfirmWindow
  readonly acker: Acker
  readonly calls: Calls
  readonly frames: ChannelFrames
  /** Called when the life is over, before the end is reported in any other way: the broker has what it delivered again. */
  onOver: ((ending: CloseReason) => void) | undefined
  readonly #port: ChannelPort
  readonly #events: ChannelEvents
  /** Made for the first consumer. */
  #deliveries: Deliveries | undefined
  #gate: TagGate | undefined
  #state: State = 'opening'
  #ending: CloseReason | undefined
  #closing: Promise<void> | undefined
  /** The reason of a close of our own: the call that timed out, or nothing if the program asked for it. */
  #closeReason: AmqpError | undefined
  /** The server's close, if it crossed ours. */
  #crossed: CloseReason | undefined
  #closedByServer = false

  constructor(
    port: ChannelPort,
    id: number,
    events: ChannelEvents,
    earlier: Inheritance,
    routes: PublishRoutes = PLAIN_ROUTES,
  ) {
    this.id = id
    this.#port = port
    this.#events = events
    this.window = new ConfirmWindow(port, id, earlier.publish, routes, earlier.unheard)
    this.acker = new Acker(port, id, earlier.delivery)
    this.calls = new Calls(
      port,
      (_call, error) => this.#abort(error),
      'its channel is closed, since its outcome at the server is unknown',
    )
    this.frames = new ChannelFrames(port, id, earlier.publish, this)
  }

  get deliveries(): Deliveries {
    this.#deliveries ??= new Deliveries(this.#port, this.id, this.acker)
    return this.#deliveries
  }

  get #tags(): TagGate {
    this.#gate ??= new TagGate(this.#port)
    return this.#gate
  }

  get state(): State {
    return this.#state
  }

  /** Why it is over; undefined while it is not. */
  get ending(): CloseReason | undefined {
    return this.#ending
  }

  #to(state: State): void {
    if (!NEXT[this.#state].includes(state)) throw new Error(`a channel cannot go from ${this.#state} to ${state}`)
    this.#state = state
  }

  /** Write channel.open; the methods after it need not wait for the reply. */
  open(options: CallOptions): Promise<void> {
    const { signal, timeout } = options
    const replied = (_reply: unknown, abandoned: boolean): void => {
      if (this.#state === 'opening') this.#to('open')
      if (abandoned) this.#abort(new ChannelClosedError(`channel ${this.id} was given up before it was open`))
    }
    return this.#start<void>(
      { what: `channel.open (channel ${this.id})`, site: undefined, signal, timeout },
      ChannelOpen,
      ChannelOpen.reply.key,
      () => {
        this.#encode(ChannelOpen, {})
        return { replied }
      },
    )
  }

  /** Put the channel into confirm mode: tags count from here on. */
  confirmSelect(noWait: boolean, context: CallContext): Promise<void> {
    if (noWait) {
      this.send(ConfirmSelect, { noWait }, context)
      this.window.startCounting()
      return Promise.resolve()
    }
    return this.#start(context, ConfirmSelect, ConfirmSelectOk.key, () => {
      this.#encode(ConfirmSelect, {})
      this.window.startCounting()
      return undefined
    })
  }

  /** Throw if nothing can be sent on this channel any more. */
  assertOpen({ what, site, outcome }: CallContext): void {
    if (this.#state === 'opening' || this.#state === 'open') return
    const ending = this.#ending ?? closedByClient(this.id, this.#closeReason)
    throw atCallSite(ending.errorFor(what, false, outcome), site)
  }

  #encode<M extends AnyMethod>(method: M, args: ArgumentsOf<M>): void {
    encodeMethod(this.#port.writer, this.id, method, args, this.#port.frameMax)
    this.#port.methodWritten()
  }

  /** Send a method that has no reply. */
  send<M extends AnyMethod>(method: M, args: ArgumentsOf<M>, context: CallContext): void {
    this.assertOpen(context)
    this.#encode(method, args)
  }

  /**
   * Send a synchronous method. `written` runs when its bytes are in the buffer, and returns who observes the reply. With
   * noWait no reply comes: the observer is called at once.
   */
  call<M extends SyncMethod>(
    method: M,
    args: ArgumentsOf<M>,
    context: CallContext,
    written?: () => ReplyObserver<ReplyOf<M> | undefined> | undefined,
  ): Promise<ReplyOf<M> | undefined> {
    if ('noWait' in args && args.noWait === true) {
      this.send(method, args, context)
      written?.()?.replied(undefined, false)
      return Promise.resolve(undefined)
    }
    return this.#start(context, method, method.reply.key, () => {
      this.#encode(method, args)
      return written?.()
    })
  }

  /** Like `call`, for a method whose reply has no fields. */
  order<M extends SyncMethod>(
    method: M,
    args: ArgumentsOf<M>,
    context: CallContext,
    replied: () => void = ignore,
  ): Promise<void> {
    return this.call(method, args, context, () => ({ replied })) as Promise<unknown> as Promise<void>
  }

  /** Wait until everything published so far is settled. */
  waitForConfirms(context: CallContext): Promise<void> {
    this.assertOpen(context)
    return this.window.wait(context)
  }

  #start<R>(
    context: CallContext,
    method: AnyMethod,
    replyKey: ReplyKey,
    write: () => ReplyObserver<R> | undefined,
  ): Promise<R> {
    try {
      this.assertOpen(context)
    } catch (error) {
      return Promise.reject(error)
    }
    return this.calls.start(context, method.key, replyKey, write)
  }

  /**
   * Consume; the consumer's callbacks start once the promise has resolved. If it rejects, the consumer has ended,
   * unless it is a consumer `again`, which may be tried once more in another life.
   */
  consume(
    consumer: Consumer,
    args: ArgumentsOf<typeof BasicConsume>,
    context: CallContext,
    again = false,
    observer?: ConsumeObserver,
  ): Promise<void> {
    const { tag, sink } = consumer
    const started = this.#tags.pass(tag, 'consume', context, () => this.#consume(consumer, args, context, observer))
    // nextTick runs after all pending microtasks: code that awaits the promise, however far up, goes first.
    started.then(
      () => nextTick(() => sink.start()),
      () => {
        if (!again) sink.discard()
      },
    )
    return started
  }

  #consume(
    consumer: Consumer,
    args: ArgumentsOf<typeof BasicConsume>,
    context: CallContext,
    observer: ConsumeObserver | undefined,
  ): Promise<void> {
    const { tag, position } = consumer
    const began = (): void => position.began(this.#port.clock.wallTime())
    let answered = ignore
    const replied = (_reply: unknown, abandoned: boolean): void => {
      began()
      observer?.consuming()
      // The program does not know this consumer: let the broker forget it too, and give back what it sent.
      if (abandoned) {
        const cancel = { what: `basic.cancel of consumer "${tag}"`, site: undefined }
        this.#cancel(tag, false, cancel, () => observer?.gone(), ignore).catch(ignore)
      }
      answered()
    }
    const write = (): ReplyObserver<void> => {
      this.deliveries.add(consumer)
      try {
        this.#encode(BasicConsume, args)
      } catch (error) {
        this.deliveries.remove(consumer)
        throw error
      }
      if (args.noWait === true) began()
      else answered = this.#tags.written(tag, 'consume')
      observer?.written()
      return { replied }
    }
    if (args.noWait === true) {
      this.assertOpen(context)
      write()
      return Promise.resolve()
    }
    return this.#start(context, BasicConsume, `${BasicConsumeOk.key} ${tag}`, write)
  }

  /**
   * Cancel a consumer; RabbitMQ answers a cancel only if it does not overtake the consume-ok. With noWait too: only
   * cancel-ok says that nothing more comes under the tag. `effect` runs when the consumer is no longer the caller's: it
   * is given the consumer that was cancelled, if this life has one under the tag. `written` runs when the bytes are in
   * the buffer.
   */
  cancel(
    tag: string,
    noWait: boolean,
    options: Partial<CallContext> = {},
    effect: (consumer: Consumer | undefined) => void = ignore,
    written: () => void = ignore,
  ): Promise<void> {
    const context = { what: `basic.cancel of consumer "${tag}"`, site: undefined, ...options }
    return this.#tags.pass(tag, 'cancel', context, () => this.#cancel(tag, noWait, context, effect, written))
  }

  #cancel(
    tag: string,
    noWait: boolean,
    context: CallContext,
    effect: (consumer: Consumer | undefined) => void,
    written: () => void,
  ): Promise<void> {
    const consumer = this.deliveries.consumer(tag)
    const atOnce = noWait || consumer === undefined
    let answered = ignore
    const replied = (): void => {
      if (consumer !== undefined) {
        this.deliveries.remove(consumer)
        consumer.sink.cancelled()
      }
      if (!atOnce) effect(consumer)
      answered()
    }
    const write = (): ReplyObserver<void> => {
      this.#encode(BasicCancel, { consumerTag: tag })
      answered = this.#tags.written(tag, 'cancel', noWait)
      written()
      if (atOnce) effect(consumer)
      return { replied }
    }
    const start = (bounds: CallContext, write: () => ReplyObserver<void>): Promise<void> =>
      this.#start(bounds, BasicCancel, `${BasicCancelOk.key} ${tag}`, write)
    if (!noWait) return start(context, write)
    this.assertOpen(context)
    const observer = write()
    consumer?.sink.cancelled()
    start({ what: context.what, site: undefined }, () => observer).catch(ignore)
    return Promise.resolve()
  }

  /** Fetch one message, or null if the queue is empty. */
  get(queue: string, noAck: boolean, context: CallContext): Promise<GetResult | null> {
    const replied = (result: GetResult | RefusedGet | null, abandoned: boolean): void => {
      if (result === null || noAck) return
      if ('refused' in result) this.acker.settle('reject', result.refused, false, false)
      // It will not be handed out: it goes back to the queue.
      else if (abandoned) this.acker.giveBack(result.envelope.deliveryTag)
    }
    return this.#start<GetResult | null>(context, BasicGet, BasicGetOk.key, () => {
      this.#encode(BasicGet, { queueName: queue, noAck })
      return { replied }
    })
  }

  /** Close the channel. A second call returns the same promise. */
  close(replyCode: number, replyText: string): Promise<void> {
    if (this.#closing !== undefined) return this.#closing
    if (this.#state === 'closed') return Promise.resolve()
    const replied = (): void => {
      // Nothing comes after its answer, also if its own close crossed ours.
      this.#closedByServer = false
      this.#end(this.#crossed ?? closedByClient(this.id, this.#closeReason))
    }
    let isWritten = false
    const closed = this.calls.start<void>(
      { what: `channel.close (channel ${this.id})`, site: undefined },
      ChannelClose.key,
      ChannelCloseOk.key,
      () => {
        this.#encode(ChannelClose, { replyCode, replyText, classId: 0, methodId: 0 })
        isWritten = true
        return { replied }
      },
    )
    // Nothing was sent, so the channel is as open as before.
    if (!isWritten) return closed
    this.#to('closing')
    this.acker.freeze()
    this.#events.closing(closedByClient(this.id, this.#closeReason))
    // However it ends, it is closed.
    this.#closing = closed.catch(ignore)
    return this.#closing
  }

  /** Close it because its state is unknown; what was pending rejects at once. */
  #abort(reason: AmqpError | TimeoutError): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    this.#closeReason = reason
    this.#failAll(closedByClient(this.id, reason), ChannelClose.key)
    void this.close(200, 'the client gave up waiting')
  }

  /** The connection is over, and with it this life. */
  connectionEnded(ending: CloseReason): void {
    if (this.#state === 'closed') return
    // The close that was asked for has come about: nothing of this channel goes on with the next connection.
    if (this.#state === 'closing') {
      // Calls before that close have no reply yet.
      this.#failAll(this.#crossed ?? ending, ChannelClose.key)
      this.#end(this.#crossed ?? closedByClient(this.id, this.#closeReason))
      return
    }
    this.#end(ending)
  }

  #end(ending: CloseReason): void {
    this.#to('closed')
    this.#ending = ending
    this.acker.end(this.#lossReason)
    this.onOver?.(ending)
    this.#gate?.failAll(what => ending.errorFor(what, false))
    this.#failAll(ending, ChannelClose.key)
    // The server goes on sending until it has read our close-ok; after its own, nothing comes.
    this.#port.release(this.id, this.#closedByServer)
    this.#events.ended(this, ending)
  }

  /** Made when it is read: an error with its stack costs as much as all the rest of a close. */
  readonly #lossReason = (): Error => {
    const ending = this.#ending ?? closedByClient(this.id, this.#closeReason)
    return ending.error ?? ending.errorFor(`consuming on channel ${this.id}`, false)
  }

  /** The broker has the unsettled deliveries back; `recovers` if the consumers may go on in another life. */
  endDeliveries(recovers: boolean): void {
    this.#deliveries?.end(this.#lossReason, recovers)
  }

  /** Reject everything pending but the call `spared`, which resolves. */
  #failAll(ending: CloseReason, spared: number): void {
    let guilty = ending.methodKey !== 0
    this.window.fail(ending)
    this.calls.failAll(call => {
      const atFault = guilty && call.methodKey === ending.methodKey
      if (atFault) guilty = false
      return ending.errorFor(call.what, atFault)
    }, spared)
  }

  /** The broker blocks this connection, or no longer; or more may be written again. */
  resume(): void {
    if (this.#state === 'closing') return
    this.window.resumed()
    this.#events.moreMayGo()
  }

  blockedChanged(): void {
    this.calls.blockedChanged()
    this.resume()
  }

  // ---- what the server asks for

  serverClosed(close: ArgumentsOf<typeof ChannelClose>): void {
    const { replyCode, replyText, classId, methodId } = close
    this.#encode(ChannelCloseOk, {})
    this.#closedByServer = true
    const ending = closedByServer(this.id, replyCode, replyText ?? '', classId, methodId)
    if (this.#state === 'closing') {
      // Both closed at once: our close is answered too, and until then the number is not free (§1.5.2.5).
      this.#crossed = ending
    } else {
      this.#end(ending)
      const { error } = ending
      if (error instanceof ChannelClosedError) this.#port.afterRead(() => this.#events.closedByServer(this.id, error))
    }
  }

  flowAsked(active: boolean): void {
    if (this.#state === 'closing') return
    this.#encode(ChannelFlowOk, { active })
    this.window.flow(active)
    if (active) this.resume()
  }

  serverCancelled({ consumerTag, noWait }: ArgumentsOf<typeof BasicCancel>): void {
    if (this.#state === 'closing') return
    const consumer = this.deliveries.consumer(consumerTag)
    if (consumer !== undefined) {
      this.deliveries.remove(consumer)
      consumer.sink.cancelled()
    }
    // Before the program can use the tag again. A tag that is not UTF-8 was not made here, and is longer as text than on
    // the wire.
    const isAwaited = noWait !== true || (consumer !== undefined && this.#port.takesCancelOk)
    if (isAwaited) this.#encode(BasicCancelOk, { consumerTag: cutText(consumerTag) })
    // The program may have given it up.
    if (this.#gate?.consumerGone(consumerTag) === true || consumer === undefined) return
    this.#events.consumerGone(consumerTag)
    const { queueName } = consumer.sink
    const error = new ConsumerCancelledError(
      `the server cancelled consumer "${consumerTag}" of queue "${queueName}": the queue was deleted or moved, or the consumer took too long`,
      { queueName, consumerTag },
    )
    this.#port.afterRead(() => this.#events.cancelled(error, consumer))
  }

  returned(message: ReturnedMessage): void {
    const isReported = this.window.returned(message)
    this.#port.afterRead(() => this.#events.returned(message, isReported))
  }
}
