import type { ChannelSource, Closable } from '../../connection/channel-source.ts'
import { abortedBy, asError, ConnectionClosedError, ConnectionError } from '../../errors.ts'
import { SafeEmitter } from '../../lib/safe-emitter.ts'
import { badValue, checkOptions, durationOption } from '../../protocol/option-check.ts'
import { atMost } from '../at-most.ts'
import { tell } from '../tell.ts'
import {
  CLOSE_TIMEOUT,
  type ConsumerCloseOptions,
  type ConsumerSettings,
  consumerSettings,
  type HandlerOptions,
  type MessageHandler,
} from './consumer-options.ts'
import { Handout } from './dispatcher.ts'
import { FailurePolicy } from './failure-policy.ts'
import { HandlerRuns } from './handler-runs.ts'
import type { Message } from './message.ts'
import type { MessageIterator } from './message-iterator.ts'
import { Subscriber } from './subscriber.ts'
import type { Subscription } from './subscription.ts'

/** Events of a `Consumer` and what their listeners get. None needs a listener. */
export interface ConsumerEvents {
  /**
   * The broker has ended it: by a `ConsumerCancelledError`, a `ChannelClosedError` or a `ConnectionLostError`. Messages
   * in hand can no longer be settled. It consumes again, unless `onCancel` says otherwise.
   */
  cancelled: [error: Error]
  /** It consumes again. */
  resumed: []
  /** It is over; `error` says why where the program did not ask for it. */
  closed: [error?: Error]
}

/** Milliseconds that the broker may take to agree to the end of a channel, past the timeout of a close. */
const CHANNEL_CLOSE_GRACE = 500
/** Unseen messages for whose sake it is worth waiting so many milliseconds for those in hand. */
const MANY = 8
const SOON = 250

/**
 * Takes messages from a queue on a channel of its own, made by `protocol.consumer()`. What ends it at the broker, it
 * survives: it consumes again and says so by its events.
 *
 *     for await (const message of consumer) { ... }
 *
 * A message is acked when the loop asks for the next one; a loop that is left, by `break` or by an error, gives the
 * message in hand and all that it has not seen back to the queue, and closes the consumer. Several loops share the
 * messages.
 *
 *     open ──close(), a loop left──▶ closing ──▶ closed
 *       └──403, 405, connection gone for good──────▲
 */
export class Consumer extends SafeEmitter<ConsumerEvents> implements AsyncIterable<Message, undefined> {
  /** The queue it consumes from. */
  readonly queueName: string
  readonly #source: ChannelSource
  readonly #settings: ConsumerSettings
  readonly #subscriber: Subscriber
  readonly #policy: FailurePolicy
  readonly #runs: HandlerRuns | undefined
  readonly #handout: Handout
  readonly #part: Closable = { bringsWork: true, close: ({ timeout }) => this.#closeWithProtocol(timeout) }
  /** What `next` asks by. */
  #pulls: MessageIterator | undefined
  #ended = false
  /** Why loops throw; undefined where they end in peace. */
  #makeError: (() => Error) | undefined
  #closing: { readonly handlers: Promise<void>; readonly all: Promise<void> } | undefined

  private constructor(source: ChannelSource, settings: ConsumerSettings, handler: MessageHandler | undefined) {
    super()
    this.queueName = settings.queueName
    this.#source = source
    this.#settings = settings
    this.#policy = new FailurePolicy(source, settings.onFailure)
    if (handler !== undefined) {
      const freed = (): void => this.#handout.resume()
      this.#runs = new HandlerRuns(handler, settings.concurrency, this.#policy, source, freed)
    }
    const leave = (): Promise<void> => this.#close(CLOSE_TIMEOUT).handlers
    this.#handout = new Handout(settings.noAck, settings.prefetchCount, this.#runs, leave)
    this.#subscriber = new Subscriber(source, settings, {
      delivered: message => this.#handout.delivered(message),
      interrupted: error => this.#interrupted(error),
      resumed: () => tell(this, source, 'resumed'),
      failed: makeError => this.#failed(makeError),
    })
  }

  /** @internal Programs call `protocol.consumer()`. */
  static async open(
    source: ChannelSource,
    what: string,
    queueName: string,
    handler: MessageHandler | undefined,
    options: HandlerOptions,
  ): Promise<Consumer> {
    if (handler !== undefined && typeof handler !== 'function') throw badValue(what, 'handler', 'a function', handler)
    const settings = consumerSettings(what, queueName, handler, options)
    const consumer = new Consumer(source, settings, handler)
    const { signal } = settings
    await consumer.#subscriber.start(signal)
    source.own(consumer.#part)
    signal?.addEventListener('abort', consumer.#aborted, { once: true })
    if (signal?.aborted) consumer.#aborted()
    return consumer
  }

  // ---- taking messages

  /**
   * The next message, in the form of an iterator's result; waits for it. Asking for it acks the one that the call before
   * returned, if nothing has settled that yet. `done` is true once the consumer is closed.
   *
   * @throws what ended it, where the program did not.
   */
  next(): Promise<IteratorResult<Message, undefined>> {
    this.#pulls ??= this.#handout.iterator()
    return this.#pulls.next()
  }

  /** A loop over the messages, which several loops share. */
  [Symbol.asyncIterator](): AsyncIterator<Message, undefined> {
    return this.#handout.iterator()
  }

  /** Whether `pause` was called last. */
  get isPaused(): boolean {
    return this.#handout.paused
  }

  /**
   * Start no handler and give no loop a message until `resume`. What has begun goes on; up to `prefetchCount` messages
   * stay here, and go back to the queue if it is closed meanwhile.
   */
  pause(): void {
    this.#handout.paused = true
  }

  /** Go on after `pause`. */
  resume(): void {
    this.#handout.paused = false
  }

  // ---- what the broker does

  async #interrupted(error: Error): Promise<boolean> {
    const { onCancel } = this.#settings
    this.#handout.dropStale()
    // A lost connection is told by the protocol.
    const told = this.listenerCount('cancelled') > 0 || onCancel !== undefined || error instanceof ConnectionError
    if (!told) this.#source.report(error, 'warn')
    tell(this, this.#source, 'cancelled', error)
    try {
      return (await onCancel?.(error)) !== 'close'
    } catch (thrown) {
      this.#source.report(thrown, 'unhandled')
      return true
    }
  }

  #failed(makeError: () => Error): void {
    if (this.#ended) return
    const error = makeError()
    const asked = this.#source.ending !== undefined && this.#source.ending.error === undefined
    if (this.#runs !== undefined && !(error instanceof ConnectionError)) this.#source.report(error, 'warn')
    this.#policy.hurry()
    this.#end(makeError, asked ? undefined : error)
  }

  // ---- the end

  readonly #aborted = (): void => {
    const { signal, queueName } = this.#settings
    if (signal === undefined || this.#closing !== undefined) return
    this.#makeError = () => abortedBy(signal, `consuming from "${queueName}"`)
    void this.#close(CLOSE_TIMEOUT)
  }

  /**
   * Close gracefully: have the broker send nothing more, give back what nobody has seen (basic.nack with requeue), wait
   * until the handlers that run have ended and their messages are settled, close the channel. What is not done within
   * `timeout` is given back. Never rejects for anything but a bad option.
   *
   * It does not wait for the body of a loop, which may await it: the channel stays open until the loop has settled its
   * message, for `timeout` at most. In a handler it must not be awaited, since it waits for that handler.
   */
  close(options: ConsumerCloseOptions = {}): Promise<void> {
    try {
      checkOptions('consumer.close', options, ['timeout'])
      return this.#close(durationOption('consumer.close', 'timeout', options.timeout) ?? CLOSE_TIMEOUT).handlers
    } catch (error) {
      return Promise.reject(asError(error))
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** The program closes the connection: loops are waited for, and learn of it. */
  async #closeWithProtocol(timeout: number): Promise<void> {
    if (this.#closing === undefined) {
      this.#makeError = () =>
        new ConnectionClosedError(`consuming from "${this.queueName}" ended: the connection was closed by the program`)
    }
    await this.#close(timeout).all
  }

  #close(timeout: number): { readonly handlers: Promise<void>; readonly all: Promise<void> } {
    if (this.#closing === undefined) {
      const deadline = this.#source.clock.now() + timeout
      const left = (): number => deadline - this.#source.clock.now()
      const subscription = this.#subscriber.stop()
      this.#handout.stop()
      const stopped = this.#stop(subscription, left)
      const all = stopped.then(() => this.#finish(subscription, left))
      this.#closing = { handlers: stopped.then(() => (this.#handout.holds ? undefined : all)), all }
    }
    return this.#closing
  }

  async #stop(subscription: Subscription | undefined, left: () => number): Promise<void> {
    this.#policy.hurry()
    if (subscription !== undefined) await atMost(this.#source, left(), subscription.cancel())
    if (this.#settings.noAck) {
      if (this.#runs !== undefined) await atMost(this.#source, left(), this.#handout.empty())
    } else {
      // Where what is in hand is settled soon, one nack gives back all the others.
      if (this.#handout.unseen > MANY)
        await atMost(this.#source, Math.min(left(), SOON), this.#nothingInHand(subscription))
      this.#handout.giveBackUnseen(this.#inHand)
    }
    if (this.#runs === undefined) return
    await atMost(this.#source, left(), this.#runs.idle())
    this.#runs.giveUp()
  }

  get #inHand(): boolean {
    return this.#handout.holds || this.#runs?.isIdle === false
  }

  /** Resolves when handlers and loops have settled what they have in hand. */
  async #nothingInHand(subscription: Subscription | undefined): Promise<void> {
    await this.#runs?.idle()
    if (subscription === undefined || !this.#handout.holds) return
    await new Promise<void>(resolve => {
      subscription.settled = () => {
        if (!this.#handout.holds) resolve()
      }
    })
  }

  async #finish(subscription: Subscription | undefined, left: () => number): Promise<void> {
    if (this.#handout.holds) await atMost(this.#source, left(), this.#nothingInHand(subscription))
    this.#handout.giveBackHeld()
    const closed = Promise.all([subscription?.close(), this.#policy.close()])
    await atMost(this.#source, Math.max(left(), CHANNEL_CLOSE_GRACE), closed)
    this.#end(this.#makeError, undefined)
  }

  /** Nothing is handed out any more: loops end, or throw. */
  #end(makeError: (() => Error) | undefined, error: Error | undefined): void {
    if (this.#ended) return
    this.#ended = true
    this.#source.disown(this.#part)
    this.#settings.signal?.removeEventListener('abort', this.#aborted)
    this.#handout.end(makeError)
    tell(this, this.#source, 'closed', ...(error === undefined ? [] : ([error] as [Error])))
  }
}
