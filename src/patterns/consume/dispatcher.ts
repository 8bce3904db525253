import type { Acker } from '../../channel/consume/acker.ts'
import type { Envelope } from '../../channel/consume/delivery.ts'
import { type DeliverySink, heldBytes } from '../../channel/consume/delivery-sink.ts'
import type { ConsumeArguments } from '../../channel/options.ts'
import { PROCESS, type ProcessKind, type ProcessTrace } from '../../diagnostics/process.ts'
import { ChannelClosedError } from '../../errors.ts'
import type { TimerSource } from '../../lib/clock.ts'
import { Conditions } from '../../lib/conditions.ts'
import { AsyncResource } from '../../lib/platform.ts'
import { transition } from '../../lib/transition.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { FailedMessages } from './failed-messages.ts'
import { asFirstPublished } from './first-published.ts'
import type { Runs } from './handler-runs.ts'
import { Message, StreamMessage } from './message.ts'
import { type HandOutBuffer, MessageBuffer } from './message-buffer.ts'
import type { HandlerWatch } from './slow-handlers.ts'
import { streamFilter } from './stream-filter.ts'
import { Takers, type TakersHost } from './takers.ts'

/**
 * Changes of state, all made by `#to`:
 *
 *     starting ──basic.consume granted──▶ open ◀──release── held
 *         │                                └──lost, cancelled──▲
 *         └──▶ stopping: only what came without acks goes on ◀── from anywhere
 *                  └──▶ ended: loops end, or throw
 */
type State = 'starting' | 'open' | 'held' | 'stopping' | 'ended'

const NEXT: Record<State, readonly State[]> = {
  starting: ['open', 'held', 'stopping', 'ended'],
  open: ['held', 'stopping', 'ended'],
  held: ['open', 'stopping', 'ended'],
  stopping: ['ended'],
  ended: [],
}

/** What a dispatcher does not decide by itself. */
export interface DispatcherEvents {
  /** The connection was lost, and another will follow. */
  lost(reason: Error): void
  /** The next life of the channel consumes. */
  resumed(): void
  /** A loop was left. */
  left(): Promise<void>
}

export interface DispatcherOptions {
  readonly queueName: string
  readonly noAck: boolean
  readonly prefetchCount: number
  readonly arguments: ConsumeArguments | undefined
  /** Messages may come back from a wait for their next attempt. */
  readonly mayRetry: boolean
  /** Decodes messages before they are handed out. */
  readonly decoding: HandOutBuffer | undefined
  readonly failed: FailedMessages
}

/**
 * Between the broker and the program: gives each message to a handler or to a loop, in the order of delivery, when one is
 * free for it.
 */
export class Dispatcher implements DeliverySink, TakersHost {
  readonly queueName: string
  readonly noAck: boolean
  readonly context = new AsyncResource('asyncamqp')
  /** Nothing else limits what waits here. */
  readonly #unlimited: boolean
  /** Undefined if every message is. */
  readonly #isWanted: ((properties: Properties) => boolean) | undefined
  /** Undefined if the program asks for messages itself. */
  readonly #runs: Runs | undefined
  /** The same if they take messages as they come, without decoding. */
  readonly #direct: Runs | undefined
  /** Messages may come back from a wait for their next attempt. */
  readonly #mayRetry: boolean
  readonly #watch: HandlerWatch | undefined
  readonly #timers: TimerSource
  readonly #events: DispatcherEvents
  readonly #buffer: HandOutBuffer
  readonly #failed: FailedMessages
  readonly takers: Takers
  #state: State = 'starting'
  #paused = false
  #handingOut = false
  #acker: Acker | undefined
  #held = 0
  /** Consumers of the channel there is: for a moment two, while one takes the other's place. */
  #consumers = 0
  readonly #conditions = new Conditions()

  constructor(
    { queueName, noAck, prefetchCount, arguments: args, mayRetry, decoding, failed }: DispatcherOptions,
    runs: Runs | undefined,
    watch: HandlerWatch | undefined,
    timers: TimerSource,
    events: DispatcherEvents,
  ) {
    this.queueName = queueName
    this.noAck = noAck
    this.#isWanted = streamFilter(args)
    this.#unlimited = noAck || prefetchCount === 0
    this.#runs = runs
    this.#direct = decoding === undefined ? runs : undefined
    this.#mayRetry = mayRetry
    this.#failed = failed
    this.#buffer = decoding ?? new MessageBuffer()
    this.#buffer.attach({
      decoded: () => this.#decoded(),
      failing: message => {
        this.#left(message)
        const kind = this.#runs === undefined ? 'loop' : 'handler'
        const trace = PROCESS.active ? this.trace(kind, message) : undefined
        trace?.begin()
        return trace
      },
    })
    this.#watch = watch
    this.#timers = timers
    this.takers = new Takers(this, timers)
    this.#events = events
  }

  #to(state: State): void {
    this.#state = transition('a dispatcher', NEXT, this.#state, state)
  }

  // ---- the channel's side

  get isRestarted(): boolean {
    return true
  }

  attach(acker: Acker): void {
    // Messages without acks that still wait count towards the present connection.
    this.#acker?.port.buffered(-this.#held)
    acker.port.buffered(this.#held)
    if (acker !== this.#acker) this.#consumers = 0
    this.#acker = acker
    this.#consumers++
  }

  start(): void {
    if (this.#acker?.over === true) return
    if (this.#state === 'starting') this.#to('open')
    else this.#events.resumed()
    this.#handOutInContext()
  }

  deliver(body: Buffer, envelope: Envelope, properties: Properties): void {
    const acker = this.#acker
    if (this.#isWanted?.(properties) === false && acker?.isKnownStream(envelope.deliveryTag) === true) {
      acker.settle('ack', envelope.deliveryTag, false, false)
      return
    }
    let message: Message
    if (this.noAck || acker === undefined) message = new Message(body, envelope, properties, undefined)
    else if (acker.hasStreams) message = new StreamMessage(body, envelope, properties, acker, this.#handOutAgain, 0)
    else message = new Message(body, envelope, properties, acker)
    // One that comes back from a wait for its next attempt is as it was first published.
    if (this.#mayRetry) message = asFirstPublished(message)
    if (this.#buffer.length === 0 && this.#direct?.free === true && this.#mayHandOut())
      this.#start(this.#direct, message)
    else this.#push(message)
  }

  #start(runs: Runs, message: Message): void {
    runs.start(message, PROCESS.active ? this.trace('handler', message) : undefined)
    if (this.#watch?.active === false) this.#watch.start()
  }

  trace(kind: ProcessKind, { body, envelope, properties, acker = this.#acker }: Message): ProcessTrace | undefined {
    return acker?.trace(kind, this.queueName, body, envelope, properties, this.noAck)
  }

  #push(message: Message): void {
    if (this.#state === 'ended') {
      message.settle('nack', true)
      return
    }
    this.#buffer.push(message)
    if (this.#unlimited) this.#hold(heldBytes(message.body, message.properties))
    this.#handOut()
  }

  readonly #handOutAgain = (message: StreamMessage): boolean => {
    if (this.#state === 'stopping' || this.#state === 'ended') return false
    // Later: a program that gives back all that comes would keep all other code from running.
    this.#timers.after(GIVEN_BACK_PAUSE, () => {
      if (message.isHeld) this.context.runInAsyncScope(() => this.#push(message))
    })
    return true
  }

  #hold(bytes: number): void {
    this.#held += bytes
    this.#acker?.port.buffered(bytes)
  }

  lost(reason: Error, recovers: boolean, acker: Acker): void {
    // Of a channel that did not answer in time: another one consumes by now.
    if (acker !== this.#acker) return
    this.#consumers = 0
    if (!this.noAck) {
      this.#drop()
      this.takers.inHand.clear()
    }
    if (recovers) this.#events.lost(reason)
    else this.hold()
    this.#conditions.check()
  }

  cancelled(): void {
    if (this.#consumers > 1) {
      this.#consumers--
      return
    }
    this.#consumers = 0
    // A cancel of our own: the closing code gives back waiting messages.
    if (this.#state === 'stopping' || this.#state === 'ended') return
    this.hold()
    if (!this.noAck) for (const message of this.#drop()) message.settle('nack', true)
  }

  discard(): void {
    // Messages without acks stay with the consumer, not with the channel.
    if (!this.noAck) this.#drop()
  }

  #drop(): Message[] {
    this.#hold(-this.#held)
    return this.#buffer.takeAll()
  }

  idle(): Promise<void> {
    return this.until(() => this.handlersIdle && (this.#buffer.length === 0 || this.#state === 'ended'))
  }

  // ---- handing out

  /** A message may go to the program. The broker no longer has messages without acks: all of them are handled. */
  #mayHandOut(): boolean {
    if (this.#state === 'open') return !this.#paused
    return this.noAck && (this.#state === 'stopping' || (this.#state === 'ended' && this.#runs === undefined))
  }

  #decoded(): void {
    this.#handOutInContext()
    if (this.isDrained) this.takers.waiting.wakeAll()
  }

  /** A handler has ended, in its own context. */
  readonly freed = (): void => this.#handOut()

  /** Somebody may be free. */
  #handOutInContext(): void {
    this.context.runInAsyncScope(() => this.#handOut())
  }

  #handOut(): void {
    // A handler that this starts may call back. The messages to hand out are determined after it.
    if (this.#handingOut) return
    this.#handingOut = true
    const runs = this.#runs
    while (this.#mayHandOut() && this.#buffer.isReady(this.#places())) {
      if (runs === undefined) {
        if (!this.takers.waiting.wakeNext()) break
      } else {
        if (!runs.free) break
        const message = this.shift()
        if (message !== undefined) this.#start(runs, message)
      }
    }
    this.#handingOut = false
    this.#conditions.check()
  }

  /** How many messages could be handed out now. */
  #places(): number {
    return this.#runs?.places ?? this.takers.waiting.length
  }

  shift(): Message | undefined {
    const message = this.#buffer.shift()
    if (message !== undefined) this.#left(message)
    return message
  }

  #left({ body, properties }: Message): void {
    if (this.#unlimited && this.#state !== 'ended') this.#hold(-heldBytes(body, properties))
  }

  get paused(): boolean {
    return this.#paused
  }

  set paused(paused: boolean) {
    this.#paused = paused
    // It may be called by a getter of a message, in which a handler that returns at once could not be acked.
    queueMicrotask(() => this.#handOutInContext())
  }

  /** Hand nothing out until `release`. */
  hold(): void {
    if (this.#state === 'open' || this.#state === 'starting') this.#to('held')
  }

  release(): void {
    if (this.#state !== 'held') return
    this.#to('open')
    this.#handOutInContext()
  }

  // ---- those who ask for messages

  get hasHandler(): boolean {
    return this.#runs !== undefined
  }

  mayTake(places: number): boolean {
    return this.#mayHandOut() && this.#buffer.isReady(places)
  }

  get isInOrder(): boolean {
    return this.#failed.unsettled + this.#buffer.decoding === 0
  }

  get hasEnded(): boolean {
    return this.#state === 'ended'
  }

  get isDrained(): boolean {
    return this.#state === 'ended' && this.#buffer.length === 0
  }

  async loopLeft(): Promise<void> {
    await this.#events.left()
    // With noAck they are gone at the broker, and no code wants them here.
    this.giveBackUnseen(true)
  }

  /** What it has, and has given out. */
  get stats() {
    const { length: buffered } = this.#buffer
    const { running: handlersRunning = 0, concurrency = 0, unsettled = 0 } = this.#runs ?? {}
    const unacknowledged = this.noAck ? 0 : buffered + unsettled + this.#failed.unsettled + this.takers.unsettled
    return { isPaused: this.#paused, handlersRunning, concurrency, buffered, unacknowledged }
  }

  /** No handler runs, and failed messages are settled. */
  get handlersIdle(): boolean {
    return this.#failed.isIdle && (this.#runs?.isIdle ?? true)
  }

  // ---- the end

  /** From here on only messages without acks are handed out. */
  stop(): void {
    if (this.#state === 'stopping' || this.#state === 'ended') return
    this.#to('stopping')
    this.#handOutInContext()
    this.#runs?.flush()
    this.takers.flush()
  }

  /** Messages that were not handed out. */
  get unseen(): number {
    return this.#buffer.length
  }

  /** Resolves when `condition` is true, which may depend on what is settled; the caller bounds the wait. */
  async until(condition: () => boolean): Promise<void> {
    const forget = this.#acker?.onSettled(() => this.#conditions.check())
    await this.#conditions.until(condition)
    forget?.()
  }

  /** Give back what `next` handed out and the program has not settled: nothing says whether it works on it. */
  giveBackInHand(): void {
    this.takers.inHand.giveBack(this.#closedReason())
  }

  /** Give back messages that were not handed out: with one nack if nothing `inHand` came before them. */
  giveBackUnseen(inHand: boolean): void {
    const unseen = this.#drop()
    const last = unseen.at(-1)
    if (!inHand && unseen.length > 1) for (const message of unseen) if (message !== last) message.release()
    if (!inHand) last?.settle('nack', true, unseen.length > 1)
    else for (const message of unseen) message.settle('nack', true)
    this.#conditions.check()
  }

  /** Give back what loops and handlers have in hand and do not end with, and what has failed and is not decided about. */
  giveUp(): void {
    const reason = this.#closedReason()
    this.takers.giveUp(reason)
    this.#runs?.giveUp(reason)
    this.#failed.giveUp(reason)
  }

  #closedReason(): Error {
    return new ChannelClosedError(`the consumer of queue "${this.queueName}" was closed: the message was given back`)
  }

  /** Nothing is handed out any more: loops end, or throw. */
  end(makeError: (() => Error) | undefined): void {
    if (this.#state === 'ended') return
    this.#to('ended')
    this.takers.end(makeError)
    // Loops may still ask for messages without acks.
    if (this.noAck && this.#runs === undefined) this.#hold(-this.#held)
    else for (const message of this.#drop()) message.settle('nack', true)
    const decodes = this.#mayHandOut() && this.#buffer.length > 0 && !this.#buffer.isReady(this.takers.waiting.length)
    if (!decodes) this.takers.waiting.wakeAll()
    this.#conditions.check()
  }
}

/** Milliseconds before a message of a stream that was given back is handed out again. */
const GIVEN_BACK_PAUSE = 1
