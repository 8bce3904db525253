import { abortedBy, type PublishOutcome, TimeoutError } from '../errors.ts'
import { type AbortRegistration, onAbort } from '../lib/abort-listeners.ts'
import { atCallSite, type CallSite, rejection } from '../lib/call-site.ts'
import type { CallOptions } from './call-options.ts'
import type { ChannelPort, Deadline } from './port.ts'

/** One call of the program: its name in errors, the place at which it was made, and how long it may wait. */
export interface CallContext extends CallOptions {
  /** `queue.declare of "orders"` */
  readonly what: string
  readonly site: CallSite | undefined
  /** When it was made, by the `Clock`: its timeout runs from there. */
  readonly since?: number | undefined
  /** For a publish: the outcome while it has not been sent. */
  readonly outcome?: PublishOutcome | undefined
  /** The queues and exchanges that it names, '' for the last queue: during a recovery it waits for these. */
  readonly names?: readonly string[] | undefined
}

/**
 * Milliseconds that are left of the call's own timeout, if it has one.
 *
 * @throws TimeoutError if none are left: the call must not be sent.
 */
export function timeLeft({ what, site, timeout, since, outcome }: CallContext, now: number): number | undefined {
  if (timeout === undefined || since === undefined) return timeout
  const left = timeout - (now - since)
  if (left <= 0) throw atCallSite(new TimeoutError(`${what} was not sent within ${timeout} ms`, { outcome }), site)
  return left
}

/** A reply is known by its method, or for consume-ok and cancel-ok by that and the consumer tag. */
export type ReplyKey = number | string

/** What a reply does before the promise resolves. */
export interface ReplyObserver<R> {
  /** `abandoned` if no caller waits for it any more. */
  replied(reply: R, abandoned: boolean): void
}

/** One synchronous method whose reply has not come. */
export interface Call {
  readonly what: string
  /** Class and method number in one. */
  readonly methodKey: number
  readonly replyKey: ReplyKey
  readonly observer: ReplyObserver<unknown> | undefined
  readonly resolve: (reply: unknown) => void
  readonly reject: (error: Error) => void
  /** A caller waits for it: the promise is not settled. */
  awaited: boolean
  readonly site: CallSite | undefined
  /** That of its own timeout. */
  deadline: Deadline | undefined
  aborted: AbortRegistration | undefined
  /** Its neighbours among the calls that a caller waits for. */
  previous: Call | undefined
  next: Call | undefined
  /** The one after it among those whose reply is due. */
  follower: Call | undefined
}

/** The channel that the calls are made on. */
export interface CallsHost {
  /** They, while a reply is due. An idle channel has none. */
  calls: Calls | undefined
  /** Carries out the consequence of a timeout, which may be the call's own. */
  timedOut(call: Call, error: TimeoutError, isOwn: boolean): void
}

/** Calls whose replies are due, oldest first. */
class DueReplies {
  oldest: Call | undefined
  #newest: Call | undefined

  add(call: Call): void {
    if (this.#newest === undefined) this.oldest = call
    else this.#newest.follower = call
    this.#newest = call
  }

  /** Take out the oldest. */
  shift(): Call | undefined {
    const call = this.oldest
    this.oldest = call?.follower
    if (call !== undefined) call.follower = undefined
    if (this.oldest === undefined) this.#newest = undefined
    return call
  }

  clear(): void {
    this.oldest = undefined
    this.#newest = undefined
  }
}

/**
 * The synchronous methods of one channel that wait for their replies. RabbitMQ answers a channel in order, except for
 * consume-ok and cancel-ok, which come by way of the queue and overtake no other reply: they are known by their tags.
 */
export class Calls {
  readonly #port: ChannelPort
  readonly #host: CallsHost
  readonly #inOrder = new DueReplies()
  /** Those that need not be answered in order, by their replies; made for the first. */
  #byReply: Map<ReplyKey, DueReplies> | undefined
  /** The calls that a caller waits for, in order: the general timeout runs for the one at the head. */
  #first: Call | undefined
  #last: Call | undefined
  #timed: Call | undefined
  /** The end of the general timeout. */
  #deadline: Deadline | undefined
  #closing = false
  /** Of a timeout, for its error. */
  readonly #consequence: string

  constructor(port: ChannelPort, host: CallsHost, consequence: string) {
    this.#port = port
    this.#host = host
    this.#consequence = consequence
  }

  /** No reply is due. */
  get isEmpty(): boolean {
    return this.#inOrder.oldest === undefined && !this.#byReply?.size
  }

  /** Start waiting; `write` puts the method on the wire, and if it throws, nothing was started. Returns who observes the reply. */
  start<R>(
    context: CallContext,
    methodKey: number,
    replyKey: ReplyKey,
    write: () => ReplyObserver<R> | undefined,
  ): Promise<R> {
    const { what, site, signal, timeout } = context
    if (signal?.aborted) return Promise.reject(atCallSite(abortedBy(signal, what), site))
    return new Promise<R>((resolve, reject) => {
      const left = timeout === undefined ? undefined : timeLeft(context, this.#port.clock.now())
      let observer: Call['observer']
      try {
        observer = write() as Call['observer']
      } catch (error) {
        reject(rejection(error, site))
        return
      }
      const call: Call = {
        what,
        methodKey,
        replyKey,
        observer,
        resolve: resolve as Call['resolve'],
        reject,
        awaited: true,
        site,
        deadline: undefined,
        aborted: undefined,
        previous: this.#last,
        next: undefined,
        follower: undefined,
      }
      this.#add(call)
      this.#port.operationStarted()
      if (timeout !== undefined) {
        call.deadline = this.#port.after(left ?? timeout, () => this.#expire(call, timeout, true))
      }
      if (signal !== undefined) {
        call.aborted = onAbort(signal, () => this.#abandon(call, abortedBy(signal, what)))
      }
      if (this.#timed === undefined) this.#timeHead()
    })
  }

  #add(call: Call): void {
    if (this.#last === undefined) this.#first = call
    else this.#last.next = call
    this.#last = call
    this.#host.calls = this
    const { replyKey } = call
    if (typeof replyKey === 'number' && this.#byReply?.has(replyKey) !== true) this.#inOrder.add(call)
    else this.#addByReply(call)
  }

  #addByReply(call: Call): void {
    this.#byReply ??= new Map()
    const due = this.#byReply.get(call.replyKey) ?? new DueReplies()
    this.#byReply.set(call.replyKey, due)
    due.add(call)
  }

  /** Where the oldest call that waits for this reply is the first. */
  #dueFor(replyKey: ReplyKey): DueReplies | undefined {
    const inOrder = this.#inOrder
    if (inOrder.oldest?.replyKey === replyKey) return inOrder
    const due = this.#byReply?.get(replyKey)
    if (due !== undefined || typeof replyKey === 'string') return due
    // Out of order, as what comes before a tx.commit-ok may be. To look for each reply among all would be more than linear.
    for (let call = inOrder.shift(); call !== undefined; call = inOrder.shift()) this.#addByReply(call)
    return this.#byReply?.get(replyKey)
  }

  /** Reject the caller and go on waiting for the reply, to absorb it. */
  #abandon(call: Call, error: Error): void {
    if (!call.awaited) return
    this.#disarm(call)
    this.#timeHead()
    call.reject(atCallSite(error, call.site))
  }

  /** No caller waits for it any more. */
  #disarm(call: Call): void {
    const { previous, next } = call
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    // Its reply may come much later: meanwhile it would keep all that were next to each other after it.
    call.previous = undefined
    call.next = undefined
    call.awaited = false
    call.deadline?.cancel()
    call.deadline = undefined
    call.aborted?.cancel()
    call.aborted = undefined
    this.#port.operationEnded()
  }

  #expire(call: Call, timeout: number, isOwn: boolean): void {
    if (!call.awaited) return
    const error = new TimeoutError(
      `${call.what} was not answered by ${this.#port.server} within ${Math.ceil(timeout)} ms; ${this.#consequence}`,
    )
    this.#abandon(call, error)
    this.#host.timedOut(call, error, isOwn)
  }

  /** The general timeout is that of the oldest call that a caller waits for. It does not run while the broker blocks. */
  #timeHead(): void {
    const head = this.#first
    if (head === this.#timed) return
    this.#untime()
    if (head === undefined || this.#port.isBlocked) return
    this.#timed = head
    if (head.deadline !== undefined && !this.#closing) return
    const { rpcTimeout } = this.#port
    this.#deadline = this.#port.after(rpcTimeout, () => this.#expire(head, rpcTimeout, false))
  }

  #untime(): void {
    this.#timed = undefined
    this.#deadline?.cancel()
    this.#deadline = undefined
  }

  /** The broker blocks this connection, or no longer: the general timeout stands still meanwhile. */
  blockedChanged(): void {
    this.#untime()
    this.#timeHead()
  }

  /** The last call is written: the general timeout runs even if that at the head has one of its own, which may be long. */
  closing(): void {
    this.#closing = true
    if (this.#deadline === undefined) this.blockedChanged()
  }

  /** Whether a call waits for this reply. */
  expects(replyKey: ReplyKey): boolean {
    return this.#dueFor(replyKey) !== undefined
  }

  /** Give the oldest call that waits for it its reply. Returns false if none does. */
  settle(replyKey: ReplyKey, reply: unknown): boolean {
    const due = this.#dueFor(replyKey)
    const call = due?.shift()
    if (call === undefined) return false
    if (due?.oldest === undefined) this.#byReply?.delete(replyKey)
    const { awaited } = call
    if (awaited) this.#disarm(call)
    if (this.#timed === call) this.#timeHead()
    call.observer?.replied(reply, !awaited)
    if (this.isEmpty) this.#host.calls = undefined
    if (awaited) call.resolve(reply)
    return true
  }

  /** Reject the oldest call that waits for this reply, which came but cannot be given. Returns false if no call waits. */
  refuse<R>(replyKey: ReplyKey, reply: R, error: Error): boolean {
    const call = this.#dueFor(replyKey)?.oldest
    const waits = call?.awaited === true
    if (waits) this.#abandon(call, error)
    this.settle(replyKey, reply)
    return waits
  }

  /** Reject everything, and drop late replies; but resolve the call of the method `spared`, whose reply still counts. */
  failAll(makeError: (call: Call) => Error, spared: number): void {
    // The one that is spared may have timed out just now.
    if (this.#first === undefined) return
    this.#inOrder.clear()
    this.#byReply = undefined
    this.#untime()
    for (let call = this.#first; call !== undefined; call = this.#first) {
      this.#disarm(call)
      if (call.methodKey === spared) {
        call.follower = undefined
        this.#inOrder.add(call)
        call.resolve(undefined)
      } else call.reject(atCallSite(makeError(call), call.site))
    }
  }
}
