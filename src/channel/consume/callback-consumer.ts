import { PROCESS, type ProcessTrace } from '../../diagnostics/process.ts'
import { follow } from '../../lib/call-safely.ts'
import { Fifo } from '../../lib/fifo.ts'
import { AsyncResource, type AsyncScope, scopeOfCall } from '../../lib/platform.ts'
import { transition } from '../../lib/transition.ts'
import type { Envelope } from '../../protocol/envelope.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { Acker } from './acker.ts'
import { type DeliverySink, heldBytes, type SinkFigures } from './delivery-sink.ts'

/** How a consumer treats its deliveries. */
export interface CallbackConsumerOptions<Channel> {
  readonly queueName: string
  readonly noAck: boolean
  /** Callbacks that may run at the same time. */
  readonly concurrency: number
  /** What the callback is called with first. */
  readonly channel: Channel
  readonly callback: (channel: Channel, body: Buffer, envelope: Envelope, properties: Properties) => unknown
}

interface Held {
  readonly body: Buffer
  readonly envelope: Envelope
  readonly properties: Properties
}

/**
 * Changes of state, all made by `#to`. A loss changes nothing: the next life of the channel goes on.
 *
 *     starting ──basicConsume resolved──▶ active ──cancelled──▶ ended
 *         └──────────refused, aborted──────────────────────────▲
 */
type State = 'starting' | 'active' | 'ended'

const NEXT: Record<State, readonly State[]> = {
  starting: ['active', 'ended'],
  active: ['ended'],
  ended: [],
}

/** What follows the promise of a callback. */
interface Followers {
  readonly finished: () => void
  readonly failed: (error: unknown) => void
}

/** Calls the program's callback with each delivery, in order, `concurrency` at a time. */
export class CallbackConsumer<Channel> extends AsyncResource implements DeliverySink {
  readonly queueName: string
  readonly noAck: boolean
  readonly #concurrency: number
  readonly #channel: Channel
  readonly #callback: CallbackConsumerOptions<Channel>['callback']
  // These three are made when they are first needed: a program may have thousands of consumers with little to do.
  #waiting: Fifo<Held> | undefined
  #idle: (() => void)[] | undefined
  #followers: Followers | undefined
  #held = 0
  #acker: Acker | undefined
  #state: State = 'starting'
  #running = 0

  constructor({ queueName, noAck, concurrency, channel, callback }: CallbackConsumerOptions<Channel>) {
    super('asyncamqp')
    this.queueName = queueName
    this.noAck = noAck
    this.#concurrency = concurrency
    this.#channel = channel
    this.#callback = callback
  }

  /** Itself, with the context in which it was made: one object instead of two for each consumer. */
  get context(): AsyncScope {
    return this
  }

  #to(state: State): void {
    this.#state = transition('a consumer', NEXT, this.#state, state)
  }

  attach(acker: Acker): void {
    // Messages without acks that still wait count towards the present connection.
    this.#acker?.port.buffered(-this.#held)
    acker.port.buffered(this.#held)
    this.#acker = acker
  }

  start(): void {
    if (this.#state !== 'starting') return
    this.#to('active')
    this.runInAsyncScope(() => this.#next())
  }

  cancelled(): void {
    if (this.noAck) return
    const dropped = this.#end()
    for (const { envelope } of dropped) this.#acker?.giveBack(envelope.deliveryTag)
  }

  lost(): void {
    if (!this.noAck) this.#drop()
    this.#checkIdle()
  }

  discard(): void {
    this.#end()
  }

  #end(): Held[] {
    if (this.#state !== 'ended') this.#to('ended')
    const dropped = this.#drop()
    this.#checkIdle()
    return dropped
  }

  #drop(): Held[] {
    this.#hold(-this.#held)
    return this.#waiting?.takeAll() ?? []
  }

  #hold(bytes: number): void {
    this.#held += bytes
    this.#acker?.port.buffered(bytes)
  }

  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve()
    this.#idle ??= []
    const idle = this.#idle
    return new Promise(resolve => idle.push(resolve))
  }

  get figures(): SinkFigures {
    return { handlersRunning: this.#running, concurrency: this.#concurrency, buffered: this.#buffered() }
  }

  #buffered(): number {
    return this.#waiting?.length ?? 0
  }

  #isIdle(): boolean {
    return this.#running === 0 && this.#buffered() === 0
  }

  deliver(body: Buffer, envelope: Envelope, properties: Properties): void {
    if (this.#state === 'active' && this.#running < this.#concurrency && this.#buffered() === 0) {
      this.#run(body, envelope, properties)
    } else if (this.#state !== 'ended') {
      this.#waiting ??= new Fifo()
      this.#waiting.push({ body, envelope, properties })
      this.#hold(heldBytes(body, properties))
    } else if (!this.noAck) this.#acker?.giveBack(envelope.deliveryTag)
  }

  #next(): void {
    while (this.#state === 'active' && this.#running < this.#concurrency) {
      const held = this.#waiting?.shift()
      if (held === undefined) return
      this.#hold(-heldBytes(held.body, held.properties))
      this.#run(held.body, held.envelope, held.properties)
    }
  }

  #run(body: Buffer, envelope: Envelope, properties: Properties): void {
    if (PROCESS.active && this.#acker !== undefined) {
      const trace = this.#acker.trace('callback', this.queueName, body, envelope, properties, this.noAck)
      this.#runTraced(trace, body, envelope, properties)
      return
    }
    this.#running++
    let result: unknown
    try {
      // A context of its own: what it enters stays with it.
      const context = scopeOfCall(this)
      result = context.runInAsyncScope(this.#callback, undefined, this.#channel, body, envelope, properties)
    } catch (error) {
      this.#acker?.port.report(error, 'unhandled')
    }
    if (result === undefined || !this.#follow(result)) this.#running--
    this.#checkIdle()
  }

  #follow(result: unknown): boolean {
    this.#followers ??= {
      finished: () => this.#finished(),
      failed: error => {
        this.#acker?.port.report(error, 'unhandled')
        this.#finished()
      },
    }
    return follow(result, this.#followers.finished, this.#followers.failed)
  }

  /** The same with closures, which would cost each message something in there. */
  #runTraced(trace: ProcessTrace, body: Buffer, envelope: Envelope, properties: Properties): void {
    this.#running++
    let result: unknown
    try {
      const call = (): unknown => this.#callback(this.#channel, body, envelope, properties)
      result = trace.run(this, call, undefined, undefined)
    } catch (error) {
      this.#tracedFailed(trace, error)
    }
    if (result !== undefined && this.#followTraced(trace, result)) return
    this.#running--
    this.#checkIdle()
    trace.done()
  }

  #followTraced(trace: ProcessTrace, result: unknown): boolean {
    const finished = (): void => {
      trace.done()
      this.#finished()
    }
    return follow(result, finished, error => {
      this.#tracedFailed(trace, error)
      finished()
    })
  }

  #tracedFailed(trace: ProcessTrace, error: unknown): void {
    trace.callbackFailed(error)
    this.#acker?.port.report(error, 'unhandled')
  }

  #finished(): void {
    this.#running--
    if (this.#buffered() > 0) this.#next()
    this.#checkIdle()
  }

  #checkIdle(): void {
    if (this.#idle === undefined || !this.#isIdle()) return
    const idle = this.#idle
    this.#idle = undefined
    for (const resolve of idle) resolve()
  }
}
