import { EventEmitter } from 'node:events'
import type { ChannelSource, Closable } from '../../connection/channel-source.ts'
import type { ConsumerStats } from '../../diagnostics/stats.ts'
import { abortedBy, ConnectionClosedError } from '../../errors.ts'
import { type AbortRegistration, onAbort } from '../../lib/abort-listeners.ts'
import { atMost } from '../../lib/at-most.ts'
import { showing } from '../../lib/await-site.ts'
import { placeOfCall, rejection } from '../../lib/call-site.ts'
import { deferred } from '../../lib/deferred.ts'
import { INSPECT, type InspectArguments, inspected } from '../../lib/inspect.ts'
import { keepListenerContexts } from '../../lib/safe-emitter.ts'
import { asError } from '../../lib/thrown.ts'
import { checkOptions, choiceOption, durationOption, eventCheck, signalOption } from '../../protocol/option-check.ts'
import { isTyped } from '../typed/is-typed.ts'
import { loadTyped } from '../typed/load.ts'
import { ConsumerClose, type ConsumerParts } from './consumer-close.ts'
import { CONSUMER_EVENTS, type ConsumerEvents } from './consumer-events.ts'
import {
  type BatchHandler,
  type BatchHandlerOptions,
  type BatchOptions,
  batchOption,
  CLOSE_TIMEOUT,
  type ConsumerCloseOptions,
  type ConsumerSettings,
  consumerSettings,
  type HandlerOptions,
  type MessageHandler,
  type NextOptions,
} from './consumer-options.ts'
import { ConsumerReporter } from './consumer-reporter.ts'
import { ConsumerRestarter } from './consumer-restarter.ts'
import { Dispatcher } from './dispatcher.ts'
import { FailedMessages } from './failed-messages.ts'
import type { FailureCopies } from './failure-copies.ts'
import { FailurePolicy } from './failure-policy.ts'
import { type MakeRuns, oneByOne } from './handler-runs.ts'
import { HeldBack } from './held-back.ts'
import type { Message } from './message.ts'
import type { HandOutBuffer } from './message-buffer.ts'
import { HandlerWatch } from './slow-handlers.ts'
import type { StoredOffsets } from './stored-offsets.ts'

/**
 * Takes messages from a queue on its own channel, made by `protocol.consumer()`. When the broker ends it, it consumes
 * again, and emits `cancelled` and `resumed`.
 *
 *     for await (const message of consumer) { ... }
 *
 * Only the loop acks a message, when it asks for the next one. A loop that is left by `break` or by an error gives the
 * message in hand and all that it has not seen back to the queue, and closes the consumer. Several loops share the
 * messages.
 *
 *     open ──close(), a loop left────────────────────────▶ closing ──▶ closed
 *       └──onCancel: close, connection gone for good──────────────────────▲
 */
export class Consumer<Content = unknown>
  extends EventEmitter<ConsumerEvents>
  implements AsyncIterable<Message<Content>>
{
  static {
    keepListenerContexts(Consumer.prototype, eventCheck('consumer', CONSUMER_EVENTS))
  }

  /** The queue it consumes from. */
  readonly queueName: string
  readonly #source: ChannelSource
  readonly #settings: ConsumerSettings
  readonly #restarter: ConsumerRestarter
  readonly #heldBack: HeldBack
  readonly #dispatcher: Dispatcher
  readonly #part: Closable = {
    bringsWork: true,
    addStats: stats => stats.consumers.push(this.stats()),
    close: ({ timeout }) => this.#closeWithProtocol(timeout),
  }
  readonly #reporter: ConsumerReporter
  readonly #over = deferred()
  /** Why loops throw; undefined if they end normally. */
  #makeError: (() => Error) | undefined
  readonly #parts: ConsumerParts
  #closing: ConsumerClose | undefined

  private constructor(
    source: ChannelSource,
    settings: ConsumerSettings,
    handler: MessageHandler | BatchHandler | undefined,
    makeRuns: MakeRuns,
    copies: FailureCopies | undefined,
    offsets: StoredOffsets | undefined,
    decoding: ((failed: FailedMessages) => HandOutBuffer) | undefined,
  ) {
    super()
    this.queueName = settings.queueName
    this.#source = source
    this.#settings = settings
    this.#reporter = new ConsumerReporter(this, source, settings)
    this.#heldBack = new HeldBack(source, settings.prefetchCount, () => this.#restarter.renewWindow())
    const policy = new FailurePolicy(source, settings.onFailure, this.#heldBack, copies)
    const freed = (): void => this.#dispatcher.freed()
    const failed = new FailedMessages(policy, (error, failing) => this.#reporter.failed(error, failing), freed)
    const runs = handler && makeRuns(handler, settings, failed, source, freed)
    const threshold = settings.slowHandlerThreshold ?? source.slowHandlerThreshold
    const watch = runs && new HandlerWatch(source.clock, threshold, runs, slow => this.#reporter.slow(slow))
    this.#dispatcher = new Dispatcher({ ...settings, decoding: decoding?.(failed), failed }, runs, watch, source, {
      lost: reason => void this.#restarter.lost(reason),
      resumed: () => this.#restarter.consumesAgain(),
      left: () => this.#close(CLOSE_TIMEOUT).handlers,
    })
    this.#parts = { source, noAck: settings.noAck, dispatcher: this.#dispatcher, policy, offsets }
    this.#restarter = new ConsumerRestarter(source, settings, this.#dispatcher, {
      interrupted: (error, consumerTag) => this.#interrupted(error, consumerTag),
      resumed: () => this.#reporter.resumed(),
      failed: makeError => this.#failed(makeError),
    })
  }

  /** @internal Programs call `protocol.consumer()`. */
  static async open<Content>(
    source: ChannelSource,
    what: string,
    queueName: string,
    handler: MessageHandler<Content> | BatchHandler<Content> | undefined,
    options: HandlerOptions<Content> | BatchHandlerOptions<Content> = {},
  ): Promise<Consumer<Content>> {
    // What it gets has the type that it asks for, by then.
    const untyped = handler as MessageHandler | undefined
    const checked = consumerSettings(what, queueName, untyped, options)
    const { offsetStore } = checked
    const offsets = offsetStore && (await (await loadOffsets()).load(source, what, checked, offsetStore))
    const settings = offsets?.applied(checked) ?? checked
    const makeRuns = settings.batch === undefined ? oneByOne : (await import('./batch-runs.ts')).inBatches
    // So that no file has to be read when a handler fails.
    const copies = typeof settings.onFailure === 'string' ? undefined : await loadCopies(source, queueName)
    const decoding = isTyped(options) ? (await loadTyped()).decoding(source, what, options) : undefined
    const consumer = new Consumer<Content>(source, settings, untyped, makeRuns, copies, offsets, decoding)
    const { signal } = settings
    try {
      await consumer.#restarter.start(signal)
      const { ackTimeout } = consumer.#restarter
      if (ackTimeout !== undefined) consumer.#heldBack.boundBy(ackTimeout)
    } catch (error) {
      consumer.#dispatcher.end(undefined)
      throw error
    }
    // It may have ended in the turn in which it started.
    if (consumer.#dispatcher.hasEnded) return consumer
    offsets?.start(() => consumer.#restarter.nextOffset)
    source.register(consumer.#part)
    if (signal?.aborted) consumer.#aborted()
    else if (signal !== undefined) consumer.#signal = onAbort(signal, consumer.#aborted)
    return consumer
  }

  // ---- taking messages

  /**
   * The next message, in the form of an iterator's result; waits for it. The program settles the message, by its own
   * `ack()`: a later call settles nothing, so several workers may share a consumer. What is not settled when the
   * consumer is closed goes back to the queue. `done` is true once the consumer is closed.
   *
   * @param options timeout: milliseconds after which it gives its place back, and rejects.
   * @throws what ended the consumer, unless the program did; TimeoutError and AbortError, which lose no message.
   */
  async next(options: NextOptions = {}): Promise<IteratorResult<Message<Content>, undefined>> {
    try {
      const what = `next message of "${this.queueName}"`
      checkOptions('consumer.next', options, ['timeout', 'signal'])
      const timeout = durationOption('consumer.next', 'timeout', options.timeout)
      const signal = signalOption('consumer.next', 'signal', options.signal)
      const taken = await this.#dispatcher.takers.next({ what, timeout, signal })
      return taken as IteratorResult<Message<Content>, undefined>
    } catch (error) {
      // Only now, since a caller that gets a message pays nothing for it: it has the line that awaits this call.
      throw rejection(error, placeOfCall())
    }
  }

  /** A loop over the messages, which several loops share. */
  [Symbol.asyncIterator](): AsyncIterator<Message<Content>, undefined> {
    return this.#dispatcher.takers.loop() as AsyncIterator<Message<Content>, undefined>
  }

  /**
   * A loop over arrays of messages: one comes as soon as there are `size` messages, or `wait` milliseconds after the first.
   * A batch is acked when the loop asks for the next one, except for what the program has settled itself; a `break` or an
   * error gives it back, and closes the consumer.
   *
   *     for await (const batch of consumer.batches({ size: 20 })) await insert(batch.map(message => message.json()))
   *
   * @throws EncodeError if `size` is more than `prefetchCount`, or with `noAck`.
   */
  batches(batch: BatchOptions): AsyncIterableIterator<Message<Content>[]> {
    try {
      const { noAck, prefetchCount } = this.#settings
      const checked = batchOption('batches', batch, noAck, prefetchCount)
      return this.#dispatcher.takers.batches(checked) as AsyncIterableIterator<Message<Content>[]>
    } catch (error) {
      throw showing(error, this.batches)
    }
  }

  /** Whether `pause` was called last. */
  get isPaused(): boolean {
    return this.#dispatcher.paused
  }

  /**
   * Stop handing out messages until `resume`. Handlers that run go on; up to `prefetchCount` messages
   * stay here, and go back to the queue if the consumer is closed meanwhile. A batch that is being collected is still
   * handed over.
   */
  pause(): void {
    this.#dispatcher.paused = true
  }

  /** Hand out messages again after `pause`. */
  resume(): void {
    this.#dispatcher.paused = false
  }

  /** @internal Resolves when it is over, whatever ended it. */
  get whenEnded(): Promise<void> {
    return this.#over.promise
  }

  /** Its figures at the moment: messages in hand, handlers that run. Nothing is counted for it meanwhile. */
  stats(): ConsumerStats {
    const { state, consumerTag } = this.#restarter
    return { queueName: this.queueName, consumerTag, state, ...this.#dispatcher.stats }
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    return inspected(this, this.stats(), args)
  }

  // ---- what the broker does

  async #interrupted(error: Error, consumerTag: string | undefined): Promise<boolean> {
    const { onCancel } = this.#settings
    this.#heldBack.ended(error)
    this.#reporter.interrupted(error, consumerTag)
    try {
      const answer = await onCancel?.(error)
      const what = `consumer of queue "${this.queueName}"`
      return choiceOption(what, 'what onCancel returns', answer, ['resume', 'close']) !== 'close'
    } catch (thrown) {
      this.#source.report(thrown, 'unhandled')
      return true
    }
  }

  #failed(makeError: () => Error): void {
    if (this.#dispatcher.hasEnded) return
    const { ending } = this.#source
    const asked = ending !== undefined && ending.error === undefined
    let error: Error
    // No promise rejects with the error of a consumer with a handler: the connection reports its end once for all of them.
    if (ending !== undefined && this.#dispatcher.hasHandler)
      error = ending.errorForForgotten(`consuming from "${this.queueName}"`)
    else error = makeError()
    if (ending === undefined) this.#reporter.givenUp(error, this.#dispatcher.hasHandler)
    this.#parts.policy.hurry()
    void this.#endAfter(makeError, asked ? undefined : error)
  }

  async #endAfter(makeError: () => Error, error: Error | undefined): Promise<void> {
    const { dispatcher, policy, offsets } = this.#parts
    if (error !== undefined && this.#settings.noAck) {
      // The broker no longer has the messages that arrived: all of them are handled, unless the program has closed the
      // connection. Those that came in one read with its end are here when that read is over.
      dispatcher.stop()
      await undefined
      if (dispatcher.hasHandler) await dispatcher.until(() => dispatcher.unseen === 0)
    }
    this.#end(makeError, error)
    // Handlers that run may still have copies to send.
    await atMost(
      this.#source,
      CLOSE_TIMEOUT,
      dispatcher.until(() => dispatcher.handlersIdle),
    )
    await Promise.all([policy.close(), offsets?.close()])
  }

  // ---- the end

  #signal: AbortRegistration | undefined
  readonly #aborted = (): void => {
    const { signal, queueName } = this.#settings
    if (signal === undefined || this.#closing !== undefined) return
    this.#makeError = () => abortedBy(signal, `consuming from "${queueName}"`)
    void this.#close(CLOSE_TIMEOUT)
  }

  /**
   * Close gracefully: cancel at the broker, give back messages that no handler or loop has seen (basic.nack with requeue), wait
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
      return Promise.reject(showing(asError(error), this.close))
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

  #close(timeout: number): ConsumerClose {
    if (this.#closing === undefined) {
      const channel = this.#restarter.stop()
      this.#dispatcher.stop()
      this.#closing = new ConsumerClose(this.#parts, channel, timeout, () => this.#end(this.#makeError, undefined))
    }
    return this.#closing
  }

  /** Nothing is handed out any more: loops end, or throw. */
  #end(makeError: (() => Error) | undefined, error: Error | undefined): void {
    if (this.#dispatcher.hasEnded) return
    this.#dispatcher.end(makeError)
    this.#source.unregister(this.#part)
    this.#signal?.cancel()
    this.#over.resolve()
    this.#reporter.closed(error)
  }
}

async function loadCopies(source: ChannelSource, queueName: string): Promise<FailureCopies> {
  const { FailureCopies } = await import('./failure-copies.ts')
  return new FailureCopies(source, queueName)
}

async function loadOffsets(): Promise<typeof StoredOffsets> {
  return (await import('./stored-offsets.ts')).StoredOffsets
}
