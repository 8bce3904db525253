import { type AmqpError, ChannelClosedError, type TimeoutError } from '../errors.ts'
import { atCallSite } from '../lib/call-site.ts'
import { ignore } from '../lib/ignore.ts'
import { transition } from '../lib/transition.ts'
import { encodeMethod } from '../protocol/method-codec.ts'
import {
  type AnyMethod,
  type ArgumentsOf,
  type BasicCancel,
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
import type { CallOptions } from './call-options.ts'
import { type Call, type CallContext, Calls, type CallsHost, type ReplyKey, type ReplyObserver } from './calls.ts'
import { ChannelFrames, type RefusedGet } from './channel-frames.ts'
import { type CloseReason, closedByClient, closedByServer } from './close-reason.ts'
import { Acker } from './consume/acker.ts'
import { ConsumeCalls, type ConsumeCallsHost, type ConsumerEvents } from './consume/consume-calls.ts'
import type { GetResult, ReturnedMessage } from './consume/delivery.ts'
import type { Consumer } from './consume/delivery-sink.ts'
import type { ChannelPort, ChannelReceiver } from './port.ts'
import type { Unheard } from './publish/confirm-waiters.ts'
import { ConfirmWindow } from './publish/confirm-window.ts'
import type { PublishRoutes } from './publish-routes.ts'

/** What the public channel learns from the life it has at the moment. */
export interface ChannelEvents extends ConsumerEvents {
  readonly routes: PublishRoutes
  /** channel.close is written: nothing more may be. */
  closing(ending: CloseReason): void
  /** More may be published. */
  moreMayGo(): void
  /** A message came back; `isReported` if a promise of its publish rejects with it. */
  returned(message: ReturnedMessage, isReported: boolean): void
  /** The server closed the channel, which the client was not closing; called at the end of the read. */
  closedByServer(channelId: number, error: ChannelClosedError): void
  /** The life is over, with its connection or alone: `ending.scope` says which. */
  ended(session: ChannelSession, ending: CloseReason): void
}

/** What a life of the channel leaves to the next: the last of its tags, and the failed publishes that were not reported. */
export interface Inheritance {
  readonly delivery: number
  readonly publish: number
  readonly unheard: Unheard | undefined
}

/** What the error of a call's timeout says. */
const CONSEQUENCE = 'its channel is closed, since its outcome at the server is unknown'

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
export class ChannelSession extends ChannelFrames implements ChannelReceiver, CallsHost, ConsumeCallsHost {
  calls: Calls | undefined
  /** Called when the life is over, before the end is reported in any other way: the broker has what it delivered again. */
  onOver: ((ending: CloseReason) => void) | undefined
  readonly #events: ChannelEvents
  readonly #earlier: Inheritance
  // These three are made when they are first needed: of many channels each does little, and some never do anything.
  #window: ConfirmWindow | undefined
  #acker: Acker | undefined
  #consuming: ConsumeCalls | undefined
  #state: State = 'opening'
  #ending: CloseReason | undefined
  #closing: Promise<void> | undefined
  /** The reason of a close of our own: the call that timed out, or nothing if the program asked for it. */
  #closeReason: AmqpError | undefined
  /** The server's close, if it crossed ours. */
  #crossed: CloseReason | undefined

  constructor(port: ChannelPort, id: number, events: ChannelEvents, earlier: Inheritance) {
    super(port, id)
    this.#events = events
    this.#earlier = earlier
  }

  get window(): ConfirmWindow {
    const { publish, unheard } = this.#earlier
    this.#window ??= new ConfirmWindow(this.port, this.id, publish, this.#events.routes, unheard)
    return this.#window
  }

  get acker(): Acker {
    return this.#acker ?? this.#makeAcker()
  }

  #makeAcker(): Acker {
    this.#acker = new Acker(this.port, this.id, this.#earlier.delivery)
    if (this.#state === 'closing' || this.#state === 'closed') this.#acker.freeze()
    return this.#acker
  }

  get consuming(): ConsumeCalls {
    this.#consuming ??= new ConsumeCalls(this.port, this, this.#events)
    return this.#consuming
  }

  /** Those that deliveries may come for. */
  get consumers(): readonly Consumer[] {
    return this.#consuming?.deliveries.consumers() ?? []
  }

  get state(): State {
    return this.#state
  }

  /** What a next life would go on from. */
  get inheritance(): Inheritance {
    const { delivery, publish, unheard } = this.#earlier
    return {
      delivery: this.#acker?.lastTag ?? delivery,
      publish: this.#window?.lastTag ?? publish,
      unheard: this.#window === undefined ? unheard : this.#window.unheard,
    }
  }

  /** Messages that are published and not confirmed. */
  get unsettled(): number {
    return this.#window?.unsettled ?? 0
  }

  /** Why it is over; undefined while it is not. */
  get ending(): CloseReason | undefined {
    return this.#ending
  }

  #to(state: State): void {
    this.#state = transition('a channel', NEXT, this.#state, state)
  }

  /** Write channel.open; the methods after it need not wait for the reply. */
  open(options: CallOptions): Promise<void> {
    const { signal, timeout } = options
    const replied = (_reply: unknown, abandoned: boolean): void => {
      if (this.#state === 'opening') this.#to('open')
      if (abandoned) this.#abort(new ChannelClosedError(`channel ${this.id} was given up before it was open`))
    }
    return this.start<void>(
      { what: `channel.open (channel ${this.id})`, site: undefined, signal, timeout },
      ChannelOpen,
      ChannelOpen.reply.key,
      () => {
        this.encode(ChannelOpen, {})
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
    return this.start(context, ConfirmSelect, ConfirmSelectOk.key, () => {
      this.encode(ConfirmSelect, {})
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

  encode<M extends AnyMethod>(method: M, args: ArgumentsOf<M>): void {
    encodeMethod(this.port.writer, this.id, method, args, this.port.frameMax)
    this.port.outgoing.methodWritten()
  }

  /** The same for what the server asked for, unless the channel is closed before its turn comes. */
  answer<M extends AnyMethod>(method: M, args: ArgumentsOf<M>): void {
    const { acker } = this
    acker.inTurn(() => {
      if (acker.over) return
      this.encode(method, args)
      this.port.outgoing.answered()
    })
  }

  /** Send a method that has no reply. */
  send<M extends AnyMethod>(method: M, args: ArgumentsOf<M>, context: CallContext): void {
    this.assertOpen(context)
    this.encode(method, args)
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
    return this.start(context, method, method.reply.key, () => {
      this.encode(method, args)
      return written?.()
    })
  }

  /** Like `call`, for a method whose reply has no fields. */
  order<M extends SyncMethod>(
    method: M,
    args: ArgumentsOf<M>,
    context: CallContext,
    written: () => void = ignore,
  ): Promise<void> {
    const unobserved = (): undefined => void written()
    return this.call(method, args, context, unobserved) as Promise<unknown> as Promise<void>
  }

  /** Wait until everything published so far is settled. */
  waitForConfirms(context: CallContext): Promise<void> {
    this.assertOpen(context)
    return this.window.wait(context)
  }

  start<R>(
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
    const calls = this.calls ?? new Calls(this.port, this, CONSEQUENCE)
    return calls.start(context, method.key, replyKey, write)
  }

  /** Fetch one message, or null if the queue is empty. */
  get(queue: string, noAck: boolean, context: CallContext): Promise<GetResult | null> {
    const replied = (result: GetResult | RefusedGet | null, abandoned: boolean): void => {
      if (result === null || noAck) return
      if ('refused' in result) this.acker.settle('reject', result.refused, false, false)
      // It will not be handed out: it goes back to the queue.
      else if (abandoned) this.acker.giveBack(result.envelope.deliveryTag)
    }
    return this.start<GetResult | null>(context, BasicGet, BasicGetOk.key, () => {
      this.encode(BasicGet, { queueName: queue, noAck })
      return { replied }
    })
  }

  /** Close the channel. A second call returns the same promise. */
  close(replyCode: number, replyText: string): Promise<void> {
    if (this.#closing !== undefined) return this.#closing
    if (this.#state === 'closed') return Promise.resolve()
    const replied = (): void => {
      this.#end(this.#closed, this.#crossed !== undefined)
    }
    let isWritten = false
    const closed = this.start<void>(
      { what: `channel.close (channel ${this.id})`, site: undefined },
      ChannelClose,
      ChannelCloseOk.key,
      () => {
        this.encode(ChannelClose, { replyCode, replyText, classId: 0, methodId: 0 })
        isWritten = true
        return { replied }
      },
    )
    // Nothing was sent, so the channel is as open as before.
    if (!isWritten) return closed
    this.#to('closing')
    this.calls?.closing()
    this.#acker?.freeze()
    const ending = closedByClient(this.id, this.#closeReason)
    this.#consuming?.failAll(ending)
    this.#events.closing(ending)
    // However it ends, it is closed.
    this.#closing = closed.catch(ignore)
    return this.#closing
  }

  timedOut(_call: Call, error: TimeoutError, isOwn: boolean): void {
    if (this.#state !== 'closing') this.#abort(error)
    else if (!isOwn) this.#closeUnanswered(error)
  }

  /** Close it because its state is unknown; what was pending rejects at once. */
  #abort(reason: AmqpError | TimeoutError): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    this.#closeReason = reason
    this.#failAll(closedByClient(this.id, reason), ChannelClose.key)
    void this.close(200, 'the client gave up waiting')
  }

  /**
   * The broker answers neither what was sent before channel.close nor that: the channel is over for the program. Its number is
   * not free before the answer. What was pending rejects with the reason, which is not that the program has closed it.
   */
  #closeUnanswered(reason: TimeoutError): void {
    this.#failAll(this.#crossed ?? closedByClient(this.id, reason), ChannelClose.key)
    this.#events.ended(this, this.#closed)
  }

  /** The reason of an end that was asked for. */
  get #closed(): CloseReason {
    return this.#crossed ?? closedByClient(this.id, this.#closeReason)
  }

  /** The broker takes no ack any more. */
  connectionClosing(): void {
    this.acker.freeze()
  }

  /** The connection is over, and with it this life. */
  connectionEnded(ending: CloseReason): void {
    if (this.#state === 'closed') return
    // The close that was asked for has come about: nothing of this channel goes on with the next connection.
    if (this.#state === 'closing') {
      // Calls before that close have no reply yet.
      this.#failAll(this.#crossed ?? ending, ChannelClose.key)
      this.#end(this.#closed)
      return
    }
    this.#end(ending)
  }

  /**
   * `mayFollow` if the server has closed, too, and goes on sending until it has read our close-ok, also after its own. If it has
   * not, nothing comes after that.
   */
  #end(ending: CloseReason, mayFollow = false): void {
    this.#to('closed')
    this.#ending = ending
    this.#acker?.end(() => this.#lossReason())
    this.onOver?.(ending)
    this.#consuming?.failAll(ending)
    this.#failAll(ending, ChannelClose.key)
    this.port.release(this.id, mayFollow)
    this.#events.ended(this, ending)
  }

  /** Made when it is read: an error with its stack costs as much as all the rest of a close. */
  #lossReason(): Error {
    const ending = this.#ending ?? closedByClient(this.id, this.#closeReason)
    return ending.error ?? ending.errorFor(`consuming on channel ${this.id}`, false)
  }

  /** The broker has the unsettled deliveries back; `recovers` if the consumers may go on in another life. */
  endDeliveries(recovers: boolean): void {
    this.#consuming?.deliveries.end(() => this.#lossReason(), recovers)
  }

  /** Reject everything pending but the call `spared`, which resolves. */
  #failAll(ending: CloseReason, spared: number): void {
    let guilty = ending.methodKey !== 0
    this.#window?.fail(ending)
    this.calls?.failAll(call => {
      const atFault = guilty && call.methodKey === ending.methodKey
      if (atFault) guilty = false
      return ending.errorFor(call.what, atFault)
    }, spared)
  }

  /** The broker blocks this connection, or no longer; or more may be written again. */
  resume(): void {
    if (this.#state === 'closing') return
    this.#window?.resumed()
    this.#events.moreMayGo()
  }

  blockedChanged(): void {
    this.calls?.blockedChanged()
    this.resume()
  }

  // ---- what the server asks for

  serverClosed(close: ArgumentsOf<typeof ChannelClose>): void {
    const { replyCode, replyText, classId, methodId } = close
    this.encode(ChannelCloseOk, {})
    const ending = closedByServer(this.id, replyCode, replyText ?? '', classId, methodId)
    if (this.#state === 'closing') {
      // Both closed at once: our close is answered too, and until then the number is not free (§1.5.2.5).
      this.#crossed = ending
    } else {
      this.#end(ending, true)
      const { error } = ending
      if (error instanceof ChannelClosedError) this.port.afterRead(() => this.#events.closedByServer(this.id, error))
    }
  }

  flowAsked(active: boolean): void {
    if (this.#state === 'closing') return
    this.answer(ChannelFlowOk, { active })
    this.window.flow(active)
    if (active) this.resume()
  }

  serverCancelled(cancel: ArgumentsOf<typeof BasicCancel>): void {
    if (this.#state !== 'closing') this.consuming.serverCancelled(cancel)
  }

  returned(message: ReturnedMessage): void {
    const isReported = this.#window?.returned(message) === true
    this.port.afterRead(() => this.#events.returned(message, isReported))
  }
}
