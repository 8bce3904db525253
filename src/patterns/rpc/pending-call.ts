import type { Withdraw } from '../../channel/publish/message.ts'
import { type AmqpError, abortedBy, type PublishOutcome, TimeoutError } from '../../errors.ts'
import { type AbortRegistration, onAbort } from '../../lib/abort-listeners.ts'
import { atCallSite, type CallSite } from '../../lib/call-site.ts'
import type { Timer, TimerSource } from '../../lib/clock.ts'
import { ignore } from '../../lib/ignore.ts'
import { anew } from '../../lib/thrown.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import type { Message } from '../consume/message.ts'

/** What a call sends. */
export interface RpcRequest {
  /** Names the call in errors. */
  readonly what: string
  readonly correlationId: string
  readonly exchangeName: string
  readonly routingKey: string
  payload: Uint8Array | string
  properties: BasicProperties
  /** Decodes its reply. May reject. */
  decode?: (reply: Message) => Promise<void>
}

/** Makes the error of an abandoned call, by the outcome of its request. */
export type MakeCallError = (what: string, outcome: PublishOutcome) => Error

/**
 * A call, until it is answered or refused:
 *
 *     waiting ──channel is there──▶ sending ──confirmed──▶ sent
 *        └─────────────────────────────┴── reply, refusal, given up ──┴──▶ ended
 *
 * One that is given up while it is sending ends when its publish does: only that knows whether the request was written.
 * Plain fields: one is made for each call.
 */
export class PendingCall {
  readonly request: RpcRequest
  readonly promise: Promise<Message>
  readonly site: CallSite
  readonly over: (call: PendingCall) => void
  state: 'waiting' | 'sending' | 'sent' | 'ended' = 'waiting'
  givenUp: MakeCallError | undefined
  /** Ends the publish of its request, which is taken back if it is not written. */
  withdraw: Withdraw | undefined
  deadline: Timer | undefined
  aborted: AbortRegistration | undefined
  resolve: (reply: Message) => void = ignore
  reject: (error: Error) => void = ignore

  /** `over` is called when it has ended, before its caller's promise settles. */
  constructor(request: RpcRequest, site: CallSite, over: (call: PendingCall) => void) {
    this.request = request
    this.site = site
    this.over = over
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve
      this.reject = reject
    })
  }

  get isOver(): boolean {
    return this.state === 'ended'
  }

  /** `timeout` is in milliseconds, or `Infinity`. */
  bound(timers: TimerSource, timeout: number, signal: AbortSignal | undefined): void {
    this.deadline = timers.after(timeout, () => {
      this.giveUp((what, outcome) => {
        const how = outcome === 'notSent' ? 'sent' : 'answered'
        return new TimeoutError(`${what} was not ${how} within ${timeout} ms`, { outcome })
      })
    })
    if (signal === undefined) return
    const aborted = (): void => this.giveUp((what, outcome) => abortedBy(signal, what, outcome))
    if (signal.aborted) aborted()
    else this.aborted = onAbort(signal, aborted)
  }

  /** Its request is about to be published. */
  sending(): void {
    if (this.state === 'waiting') this.state = 'sending'
  }

  /** Its publish has begun, and is ended by `withdraw`. */
  withdrawnBy(withdraw: Withdraw): void {
    this.withdraw = withdraw
    // Given up by a getter of its own properties.
    if (this.givenUp !== undefined) this.giveUp(this.givenUp)
  }

  /** The broker has the request. */
  confirmed(): void {
    if (this.state !== 'sending') return
    this.state = 'sent'
    if (this.givenUp !== undefined) this.giveUp(this.givenUp)
  }

  /** The publish of its request was refused, or given up. */
  publishFailed(error: AmqpError): void {
    // Its reply has come, and is being decoded.
    if (this.state !== 'sending') return
    this.refuse(this.givenUp?.(this.request.what, error.outcome ?? 'unknown') ?? this.named(error))
  }

  /** Its channel is over, and ends its publish, too. */
  lost(makeError: MakeCallError): void {
    if (this.state === 'sending') this.givenUp ??= makeError
    else this.giveUp(makeError)
  }

  giveUp(makeError: MakeCallError): void {
    if (this.state === 'sending') {
      this.givenUp ??= makeError
      this.withdraw?.(outcome => makeError(this.request.what, outcome))
    } else this.refuse(makeError(this.request.what, this.state === 'waiting' ? 'notSent' : 'unknown'))
  }

  answer(reply: Message): void {
    // It was there, whatever becomes of its confirm.
    this.confirmed()
    const { decode } = this.request
    if (decode === undefined) this.answered(reply)
    else
      decode(reply).then(
        () => this.answered(reply),
        (error: Error) => this.refuse(this.named(error)),
      )
  }

  /** An error of this call alone, with its name: that of a codec may be another call's, too. */
  named(error: Error): Error {
    return anew(error, `${this.request.what} failed: ${error.message}`)
  }

  answered(reply: Message): void {
    if (this.end()) this.resolve(reply)
  }

  refuse(error: Error): void {
    if (this.end()) this.reject(atCallSite(error, this.site))
  }

  /** Returns false if it has ended before. */
  end(): boolean {
    if (this.state === 'ended') return false
    this.state = 'ended'
    this.deadline?.cancel()
    this.aborted?.cancel()
    this.over(this)
    return true
  }
}
