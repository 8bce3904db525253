import { isNoStream } from '../../channel/consume/stream-position.ts'
import type { Deadline } from '../../channel/port.ts'
import { isExclusiveUse } from '../../channel/rabbitmq.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { asError, ChannelClosedError, EncodeError } from '../../errors.ts'
import type { Message } from './message.ts'
import { Subscription, type SubscriptionRequest } from './subscription.ts'

/** Milliseconds before a consumer is asked for again; they double up to the last. */
const FIRST_PAUSE = 50
const LAST_PAUSE = 500
/** Milliseconds after which a consumer that was ended again counts as one that had worked. */
const PROVEN = 5_000
/** Milliseconds that the broker may take to notice that the consumer of a lost connection is gone. */
const EXCLUSIVE_PATIENCE = 60_000

export interface SubscriberEvents {
  /** A promise keeps further messages back until it resolves. */
  delivered(message: Message): Promise<void> | undefined
  /** The broker ended the consumer. Resolves to whether to consume again. */
  interrupted(error: Error): Promise<boolean>
  resumed(): void
  /** Nothing more will come; `makeError` says why to each who asks. */
  failed(makeError: () => Error): void
}

/**
 * Keeps a consumer at the broker: consumes again after whatever ended it there.
 *
 *     consuming ──cancelled, channel closed──▶ asking again ──refused──▶ failed
 *         ▲  └──connection lost──▶ lost ──┐         │
 *         └───────────────────────────────┴─────────┘          stop() from anywhere ──▶ stopped
 */
export class Subscriber {
  readonly #source: ChannelSource
  readonly #asked: SubscriptionRequest
  /** What was asked, or where the next consumer of a stream goes on. */
  #request: SubscriptionRequest
  readonly #events: SubscriberEvents
  readonly #stopped = new AbortController()
  #subscription: Subscription | undefined
  #pause = FIRST_PAUSE
  #since = 0
  #waiting: { readonly deadline: Deadline; wake(): void } | undefined
  #forgetEnd: (() => void) | undefined

  constructor(source: ChannelSource, request: SubscriptionRequest, events: SubscriberEvents) {
    this.#source = source
    this.#asked = request
    this.#request = request
    this.#events = events
  }

  /** Consume for the first time; rejects where the broker or the signal says no. */
  async start(signal: AbortSignal | undefined): Promise<void> {
    await this.#open(signal)
    this.#forgetEnd = this.#source.onEnded(() => this.#sourceEnded())
    if (this.#source.ending !== undefined) this.#sourceEnded()
  }

  #sourceEnded(): void {
    const { ending } = this.#source
    if (ending !== undefined) this.#fail(() => ending.errorFor(`consuming from "${this.#request.queueName}"`, false))
  }

  async #open(signal: AbortSignal | undefined): Promise<void> {
    const subscription = await Subscription.open(
      this.#source,
      this.#request,
      {
        delivered: message => this.#events.delivered(message),
        lost: error => void this.#lost(error),
        resumed: () => this.#events.resumed(),
        ended: error => void this.#ended(error),
      },
      signal,
    )
    if (this.#stopped.signal.aborted) {
      await subscription.close()
      return
    }
    this.#subscription = subscription
    this.#since = this.#source.clock.now()
  }

  async #lost(error: Error): Promise<void> {
    if (await this.#events.interrupted(error)) return
    this.#fail(() => error)
  }

  async #ended(error: Error): Promise<void> {
    const resume = this.#subscription?.resumeOffset
    if (resume !== undefined) {
      this.#request = { ...this.#request, arguments: { ...this.#request.arguments, 'x-stream-offset': resume } }
    }
    this.#subscription = undefined
    if (this.#stopped.signal.aborted) return
    this.#sourceEnded()
    if (this.#stopped.signal.aborted) return
    if (await this.#events.interrupted(error)) await this.#openAgain()
    else this.#fail(() => error)
  }

  async #openAgain(): Promise<void> {
    const interruptedAt = this.#source.clock.now()
    // One that the broker ends at once, time after time, is not asked for all the faster.
    if (interruptedAt - this.#since > PROVEN) this.#pause = FIRST_PAUSE
    const { signal } = this.#stopped
    while (!signal.aborted) {
      await this.#rest(this.#pause)
      this.#pause = Math.min(this.#pause * 2, LAST_PAUSE)
      if (signal.aborted) return
      try {
        await this.#open(signal)
      } catch (thrown) {
        if (signal.aborted) return
        const error = asError(thrown)
        if (isNoStream(error) && this.#request !== this.#asked) {
          this.#request = this.#asked
          continue
        }
        const patient = this.#request.exclusive && this.#source.clock.now() - interruptedAt < EXCLUSIVE_PATIENCE
        if (mayPass(error, patient)) continue
        this.#fail(() => error)
        return
      }
      if (!signal.aborted) this.#events.resumed()
      return
    }
  }

  #rest(milliseconds: number): Promise<void> {
    return new Promise(resolve => {
      this.#waiting = { deadline: this.#source.after(milliseconds, resolve), wake: resolve }
    })
  }

  #fail(makeError: () => Error): void {
    if (this.#stopped.signal.aborted) return
    this.stop()
    void this.#subscription?.close()
    this.#events.failed(makeError)
  }

  /** Consume no more; what was delivered can still be settled. */
  stop(): Subscription | undefined {
    this.#stopped.abort()
    this.#forgetEnd?.()
    this.#waiting?.deadline.cancel()
    this.#waiting?.wake()
    return this.#subscription
  }
}

/** Whether what the broker refused now may be granted later: its queue may come back, but permissions do not. */
function mayPass(error: Error, patient: boolean): boolean {
  if (error instanceof EncodeError) return false
  if (!(error instanceof ChannelClosedError)) return true
  const { replyCode, method } = error
  if (replyCode === 403) return patient && isExclusiveUse(error)
  if (replyCode === 405) return false
  return method !== 'basic.consume' || replyCode === 404 || replyCode === 541
}
