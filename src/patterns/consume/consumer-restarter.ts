import { isNoStream } from '../../channel/consume/stream-position.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { ChannelClosedError, ConnectionLostError, EncodeError } from '../../errors.ts'
import { Conditions } from '../../lib/conditions.ts'
import { pause } from '../../lib/pause.ts'
import { types } from '../../lib/platform.ts'
import { anew, asError } from '../../lib/thrown.ts'
import { transition } from '../../lib/transition.ts'
import { type ConsumeRequest, ConsumerChannel } from './consumer-channel.ts'
import type { Dispatcher } from './dispatcher.ts'

/** Milliseconds before a consumer is asked for again; they double up to the last. */
const FIRST_PAUSE = 50
const LAST_PAUSE = 500
/** The longest pause after a refusal by name: a missing or locked queue may come back. */
const LAST_PAUSE_REFUSED = 5_000
/** Milliseconds after which a consumer that was ended again counts as one that had worked. */
const PROVEN = 5_000

/**
 * Changes of state, all made by `#to`:
 *
 *     starting ──basic.consume granted──▶ consuming ──connection lost──▶ recovering ──the channel consumes again──▶ consuming
 *                                              │  cancelled, channel closed │
 *                                              └──────▶ restarting ◀────────┘   restarting ──granted──▶ consuming
 *     from anywhere ──stop(), onCancel: close, refused for good, connection closed──▶ stopped
 */
type State = 'starting' | 'consuming' | 'recovering' | 'restarting' | 'stopped'

const NEXT: Record<State, readonly State[]> = {
  starting: ['consuming', 'stopped'],
  consuming: ['recovering', 'restarting', 'stopped'],
  recovering: ['consuming', 'restarting', 'stopped'],
  restarting: ['consuming', 'stopped'],
  stopped: [],
}

export interface RestarterEvents {
  /** The broker ended the consumer, which had this tag. Resolves to whether to consume again. */
  interrupted(error: Error, consumerTag: string | undefined): Promise<boolean>
  resumed(): void
  /** Nothing more will come; `makeError` makes an error for each caller. */
  failed(makeError: () => Error): void
}

/** One loss of the connection, or several of which the program has learned as one. */
interface Loss {
  /** Whether to consume again. */
  readonly decision: Promise<boolean>
  /** The channel consumes again. */
  isOver: boolean
  readonly changed: Conditions
}

/** Keeps a consumer at the broker: consumes again after whatever ended it there. */
export class ConsumerRestarter {
  readonly #source: ChannelSource
  readonly #asked: ConsumeRequest
  /** The offset that was asked for, or at which the next consumer of a stream goes on. */
  #request: ConsumeRequest
  readonly #dispatcher: Dispatcher
  readonly #events: RestarterEvents
  readonly #stopped = new AbortController()
  #state: State = 'starting'
  #channel: ConsumerChannel | undefined
  #pause = FIRST_PAUSE
  /** The reply code of the last refusal that the program knows of. */
  #refusal: number | undefined
  #since = 0
  /** The loss of which the channel has not come back. */
  #loss: Loss | undefined
  #forgetEnd: (() => void) | undefined

  constructor(source: ChannelSource, request: ConsumeRequest, dispatcher: Dispatcher, events: RestarterEvents) {
    this.#source = source
    this.#asked = request
    this.#request = request
    this.#dispatcher = dispatcher
    this.#events = events
  }

  #to(state: State): void {
    this.#state = transition('a restarter', NEXT, this.#state, state)
  }

  /** Consume for the first time; rejects if the broker or the signal says no. */
  async start(signal: AbortSignal | undefined): Promise<void> {
    await this.#open(signal)
    this.#forgetEnd = this.#source.onEnded(() => this.#sourceEnded())
    if (this.#source.ending !== undefined) this.#sourceEnded()
  }

  #sourceEnded(): void {
    const { ending } = this.#source
    const what = `consuming from "${this.#dispatcher.queueName}"`
    if (ending !== undefined) this.#fail(() => ending.errorFor(what, false))
  }

  async #open(signal: AbortSignal | undefined): Promise<void> {
    const channel = await ConsumerChannel.open(this.#source, this.#request, this.#dispatcher, signal)
    if (this.#state === 'stopped') {
      await channel.close()
      return
    }
    this.#channel = channel
    this.#since = this.#source.clock.now()
    this.#to('consuming')
    void channel.ended.then(error => this.#ended(error))
    // The connection may have been lost, and no more, between the broker's reply and here.
    this.#dispatcher.release()
  }

  get state(): State {
    return this.#state
  }

  /** The tag of the consumer that the broker has; undefined if it has none. */
  get consumerTag(): string | undefined {
    return this.#channel?.consumerTag
  }

  /** The offset of the first message of a stream that is not settled, if it is known. */
  get nextOffset(): bigint | undefined {
    const offset = this.#channel?.resumeOffset ?? this.#request.arguments?.['x-stream-offset']
    return typeof offset === 'bigint' ? offset : undefined
  }

  /** Consumer timeout in milliseconds, as far as the program has given one. */
  get ackTimeout(): number | undefined {
    return this.#channel?.ackTimeout
  }

  /** Have the broker send as many messages as `prefetchCount` says beside those that are unacked. */
  renewWindow(): void {
    if (this.#state === 'consuming') void this.#channel?.renewWindow()
  }

  // ---- another life of the channel

  /** The connection was lost, and the channel will live again. */
  async lost(reason: Error): Promise<void> {
    // Lost once more before the program has learned that the first loss is over.
    if (this.#loss !== undefined) this.#loss.isOver = false
    if (this.#state !== 'consuming') return
    this.#to('recovering')
    this.#dispatcher.hold()
    const { consumerTag } = this
    // This runs in the middle of ending a connection.
    const decision = Promise.resolve().then(() => this.#events.interrupted(reason, consumerTag))
    const loss: Loss = { decision, isOver: false, changed: new Conditions() }
    this.#loss = loss
    const again = await decision
    if (this.#loss !== loss) return
    if (!again) {
      this.#fail(toEach(reason))
      return
    }
    this.#dispatcher.release()
    while (!loss.isOver) await loss.changed.until(() => loss.isOver)
    if (this.#loss !== loss) return
    this.#loss = undefined
    this.#to('consuming')
    this.#events.resumed()
  }

  /** The channel consumes again. */
  consumesAgain(): void {
    if (this.#loss === undefined) return
    this.#loss.isOver = true
    this.#loss.changed.check()
  }

  // ---- another channel

  async #ended(error: Error): Promise<void> {
    if (this.#state === 'stopped') return
    const resume = this.#channel?.resumeOffset
    if (resume !== undefined) {
      this.#request = { ...this.#request, arguments: { ...this.#request.arguments, 'x-stream-offset': resume } }
    }
    const { consumerTag } = this
    // The program has learned of that loss: it ended what the channel was being asked for, too.
    const decision = error instanceof ConnectionLostError ? this.#loss?.decision : undefined
    this.#channel = undefined
    this.#loss = undefined
    this.#to('restarting')
    this.#sourceEnded()
    if (this.#isStopped()) return
    const again = await (decision ?? this.#events.interrupted(error, consumerTag))
    if (!again) this.#fail(toEach(error))
    if (this.#isStopped()) return
    this.#dispatcher.release()
    await this.#openAgain()
  }

  /** Asked again after each callback, which may have stopped it. */
  #isStopped(): boolean {
    return this.#state === 'stopped'
  }

  async #openAgain(): Promise<void> {
    // If the broker ends it at once each time, the pauses do not get shorter.
    if (this.#source.clock.now() - this.#since > PROVEN) this.#pause = FIRST_PAUSE
    const { signal } = this.#stopped
    while (!this.#isStopped()) {
      await pause(this.#source, this.#pause, signal)
      if (this.#isStopped()) return
      try {
        await this.#open(signal)
      } catch (thrown) {
        await this.#refused(asError(thrown))
        continue
      }
      this.#pause = Math.min(this.#pause * 2, LAST_PAUSE)
      this.#refusal = undefined
      if (!this.#isStopped()) this.#events.resumed()
      return
    }
  }

  async #refused(error: Error): Promise<void> {
    if (this.#isStopped()) return
    if (isNoStream(error) && this.#request !== this.#asked) {
      this.#request = this.#asked
      return
    }
    const replyCode = error instanceof ChannelClosedError ? error.replyCode : undefined
    const { 'x-stream-offset': offset } = this.#request.arguments ?? {}
    if (replyCode === 404 && (typeof offset === 'bigint' || types.isDate(offset))) {
      // A stream that is made under this name is another one, whose offsets begin at 0.
      this.#request = { ...this.#asked, arguments: { ...this.#asked.arguments, 'x-stream-offset': 'first' } }
    }
    // Others may declare a missing queue at any time; a missing permission or a lock mostly lasts for a while.
    const last = replyCode === undefined || replyCode === 404 ? LAST_PAUSE : LAST_PAUSE_REFUSED
    this.#pause = Math.min(this.#pause * 2, last)
    const isNew = replyCode !== undefined && replyCode !== 404 && replyCode !== this.#refusal
    this.#refusal = replyCode
    const hopeless = error instanceof EncodeError || (isNew && !(await this.#events.interrupted(error, undefined)))
    if (hopeless) this.#fail(toEach(error))
  }

  // ---- the end

  #fail(makeError: () => Error): void {
    if (this.#state === 'stopped') return
    void this.stop()?.close()
    this.#events.failed(makeError)
  }

  /** Stop consuming; deliveries can still be settled. */
  stop(): ConsumerChannel | undefined {
    if (this.#state !== 'stopped') this.#to('stopped')
    this.#loss = undefined
    this.#stopped.abort()
    this.#forgetEnd?.()
    return this.#channel
  }
}

/** The error itself for the first that asks, then others like it: each loop that throws one shows its own line in it. */
function toEach(error: Error): () => Error {
  let isGiven = false
  return () => {
    if (isGiven) return anew(error)
    isGiven = true
    return error
  }
}
