import { abortedBy, atCallSite, type CallSite, type PublishOutcome, TimeoutError } from '../errors.ts'
import { type AbortRegistration, onAbort } from '../lib/abort-listeners.ts'
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
export function timeLeft({ what, timeout, since, outcome }: CallContext, now: number): number | undefined {
  if (timeout === undefined || since === undefined) return timeout
  const left = timeout - (now - since)
  if (left <= 0) throw new TimeoutError(`${what} was not sent within ${timeout} ms`, { outcome })
  return left
}

/** A reply is known by its method, or for consume-ok and cancel-ok by that and the consumer tag. */
export type ReplyKey = number | string

/** One synchronous method whose reply has not come. */
export interface Call {
  readonly what: string
  /** Class and method number in one. */
  readonly methodKey: number
  readonly replyKey: ReplyKey
  /** What the reply does before the promise resolves; `abandoned` if no caller waits for it any more. */
  readonly effect: ((reply: unknown, abandoned: boolean) => void) | undefined
  /** The caller's promise; undefined once it is settled. */
  promise: { resolve(reply: unknown): void; reject(error: Error): void } | undefined
  readonly site: CallSite | undefined
  readonly ownTimeout: boolean
  deadline: Deadline | undefined
  aborted: AbortRegistration | undefined
  /** Its neighbours among the calls that a caller waits for. */
  previous: Call | undefined
  next: Call | undefined
  /** The one after it that waits for the same reply. */
  follower: Call | undefined
  /** Of the oldest that waits for its reply: the newest that does, if that is another one. */
  newest: Call | undefined
}

/**
 * The synchronous methods of one channel that wait for their replies. There is one queue for each reply method: RabbitMQ
 * answers a channel in order, except for consume-ok and cancel-ok, which come by way of the queue and overtake no other
 * reply.
 */
export class Calls {
  readonly #port: ChannelPort
  readonly #timedOut: (call: Call, error: TimeoutError) => void
  /** The oldest call for each reply, and by its `follower` the others. */
  readonly #byReply = new Map<ReplyKey, Call>()
  /** The calls that a caller waits for, in order: the timeout of a call starts when it has come to the head. */
  #first: Call | undefined
  #last: Call | undefined
  #headTimed: Call | undefined
  readonly #consequence: string

  /** `timedOut` carries out the consequence of a timeout, and `consequence` is its text in the error. */
  constructor(port: ChannelPort, timedOut: (call: Call, error: TimeoutError) => void, consequence: string) {
    this.#port = port
    this.#timedOut = timedOut
    this.#consequence = consequence
  }

  /** Replies that are due, each counted once. */
  get size(): number {
    return this.#byReply.size
  }

  /** Start waiting; `write` puts the method on the wire, and if it throws, nothing was started. */
  start<R>(
    context: CallContext,
    methodKey: number,
    replyKey: ReplyKey,
    write: () => void,
    effect?: (reply: R, abandoned: boolean) => void,
  ): Promise<R> {
    const { what, site, signal, timeout } = context
    if (signal?.aborted) return Promise.reject(abortedBy(signal, what))
    return new Promise<R>((resolve, reject) => {
      const left = timeout === undefined ? undefined : timeLeft(context, this.#port.clock.now())
      write()
      const call: Call = {
        what,
        methodKey,
        replyKey,
        effect: effect as Call['effect'],
        promise: { resolve: resolve as (reply: unknown) => void, reject },
        site,
        ownTimeout: timeout !== undefined,
        deadline: undefined,
        aborted: undefined,
        previous: this.#last,
        next: undefined,
        follower: undefined,
        newest: undefined,
      }
      this.#add(call)
      this.#port.awaiting(1)
      if (timeout !== undefined) {
        call.deadline = this.#port.after(left ?? timeout, () => this.#expire(call, timeout))
      }
      if (signal !== undefined) {
        call.aborted = onAbort(signal, () => this.#abandon(call, abortedBy(signal, what)))
      }
      if (this.#headTimed === undefined) this.#timeHead()
    })
  }

  #add(call: Call): void {
    if (this.#last === undefined) this.#first = call
    else this.#last.next = call
    this.#last = call
    const oldest = this.#byReply.get(call.replyKey)
    if (oldest === undefined) this.#byReply.set(call.replyKey, call)
    else {
      const newest = oldest.newest ?? oldest
      newest.follower = call
      oldest.newest = call
    }
  }

  /** Reject the caller and go on waiting for the reply, to absorb it. */
  #abandon(call: Call, error: Error): void {
    const { promise } = call
    if (promise === undefined) return
    this.#disarm(call)
    this.#timeHead()
    promise.reject(atCallSite(error, call.site))
  }

  /** No caller waits for it any more. */
  #disarm(call: Call): void {
    const { previous, next } = call
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    call.promise = undefined
    call.deadline?.cancel()
    call.deadline = undefined
    call.aborted?.cancel()
    call.aborted = undefined
    this.#port.awaiting(-1)
  }

  #expire(call: Call, timeout: number): void {
    if (call.promise === undefined) return
    const error = new TimeoutError(
      `${call.what} was not answered by ${this.#port.server} within ${timeout} ms; ${this.#consequence}`,
    )
    this.#abandon(call, error)
    this.#timedOut(call, error)
  }

  /**
   * The general timeout runs for the oldest call that a caller waits for, and not while the broker blocks this
   * connection.
   */
  #timeHead(): void {
    const head = this.#first
    if (head === this.#headTimed) return
    if (this.#headTimed !== undefined && !this.#headTimed.ownTimeout) {
      this.#headTimed.deadline?.cancel()
      this.#headTimed.deadline = undefined
    }
    this.#headTimed = undefined
    if (head === undefined || this.#port.isBlocked) return
    this.#headTimed = head
    const { rpcTimeout } = this.#port
    if (!head.ownTimeout) head.deadline = this.#port.after(rpcTimeout, () => this.#expire(head, rpcTimeout))
  }

  /** The broker blocks this connection, or no longer: the general timeout stands still meanwhile. */
  blockedChanged(): void {
    const head = this.#headTimed
    if (head !== undefined && !head.ownTimeout) {
      head.deadline?.cancel()
      head.deadline = undefined
    }
    this.#headTimed = undefined
    this.#timeHead()
  }

  /** Whether a call waits for this reply. */
  expects(replyKey: ReplyKey): boolean {
    return this.#byReply.has(replyKey)
  }

  /** Give the oldest call that waits for it its reply. Returns false if none does. */
  settle(replyKey: ReplyKey, reply: unknown): boolean {
    const call = this.#byReply.get(replyKey)
    if (call === undefined) return false
    const { promise, follower } = call
    if (follower === undefined) this.#byReply.delete(replyKey)
    else {
      follower.newest = call.newest
      this.#byReply.set(replyKey, follower)
    }
    if (promise !== undefined) this.#disarm(call)
    if (this.#headTimed === call) {
      this.#headTimed = undefined
      this.#timeHead()
    }
    call.effect?.(reply, promise === undefined)
    promise?.resolve(reply)
    return true
  }

  /** Reject the oldest call that waits for this reply, which came but cannot be given. Returns false if no call waits. */
  refuse<R>(replyKey: ReplyKey, reply: R, error: Error): boolean {
    const call = this.#byReply.get(replyKey)
    const waits = call?.promise !== undefined
    if (waits) this.#abandon(call, error)
    this.settle(replyKey, reply)
    return waits
  }

  /** Reject everything, but resolve the calls of the method `spared`. */
  failAll(makeError: (call: Call) => Error, spared: number): void {
    this.#byReply.clear()
    this.#headTimed = undefined
    for (let call = this.#first; call !== undefined; call = this.#first) {
      const { promise, site } = call
      this.#disarm(call)
      if (call.methodKey === spared) promise?.resolve(undefined)
      else promise?.reject(atCallSite(makeError(call), site))
    }
  }
}
