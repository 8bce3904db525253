import { PROCESS, type ProcessTrace } from '../../diagnostics/process.ts'
import { follow } from '../../lib/call-safely.ts'
import { Fifo } from '../../lib/fifo.ts'
import { AsyncResource } from '../../lib/platform.ts'
import type { Envelope } from '../../protocol/envelope.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { Acker } from './acker.ts'
import { type DeliverySink, heldBytes, type SinkFigures, type SinkPort } from './delivery-sink.ts'

/** How a consumer treats its deliveries. */
export interface CallbackConsumerOptions {
  readonly queueName: string
  readonly noAck: boolean
  /** Callbacks that may run at the same time. */
  readonly concurrency: number
  readonly callback: (body: Buffer, envelope: Envelope, properties: Properties) => unknown
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

function callBack(
  callback: CallbackConsumerOptions['callback'],
  _context: unknown,
  { body, envelope, properties }: Held,
): unknown {
  return callback(body, envelope, properties)
}

/** Calls the program's callback with each delivery, in order, `concurrency` at a time. */
export class CallbackConsumer implements DeliverySink {
  readonly queueName: string
  readonly noAck: boolean
  readonly context = new AsyncResource('asyncamqp')
  readonly #trigger = this.context.asyncId()
  readonly #concurrency: number
  readonly #callback: CallbackConsumerOptions['callback']
  readonly #waiting = new Fifo<Held>()
  #held = 0
  #acker: Acker | undefined
  #port: SinkPort | undefined
  #state: State = 'starting'
  #running = 0
  #idle: (() => void)[] = []

  constructor({ queueName, noAck, concurrency, callback }: CallbackConsumerOptions) {
    this.queueName = queueName
    this.noAck = noAck
    this.#concurrency = concurrency
    this.#callback = callback
  }

  #to(state: State): void {
    if (!NEXT[this.#state].includes(state)) throw new Error(`a consumer cannot go from ${this.#state} to ${state}`)
    this.#state = state
  }

  attach(acker: Acker, port: SinkPort): void {
    // Messages without acks that still wait count towards the present connection.
    this.#port?.held(-this.#held)
    port.held(this.#held)
    this.#acker = acker
    this.#port = port
  }

  start(): void {
    if (this.#state !== 'starting') return
    this.#to('active')
    this.context.runInAsyncScope(() => this.#next())
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
    return this.#waiting.takeAll()
  }

  #hold(bytes: number): void {
    this.#held += bytes
    this.#port?.held(bytes)
  }

  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  get figures(): SinkFigures {
    return { handlersRunning: this.#running, concurrency: this.#concurrency, buffered: this.#waiting.length }
  }

  #isIdle(): boolean {
    return this.#running === 0 && this.#waiting.length === 0
  }

  deliver(body: Buffer, envelope: Envelope, properties: Properties): void {
    if (this.#state === 'active' && this.#running < this.#concurrency && this.#waiting.length === 0) {
      this.#run(body, envelope, properties)
    } else if (this.#state !== 'ended') {
      this.#waiting.push({ body, envelope, properties })
      this.#hold(heldBytes(body, properties))
    } else if (!this.noAck) this.#acker?.giveBack(envelope.deliveryTag)
  }

  #next(): void {
    while (this.#state === 'active' && this.#running < this.#concurrency) {
      const held = this.#waiting.shift()
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
      const context = new AsyncResource('asyncamqp', this.#trigger)
      result = context.runInAsyncScope(this.#callback, undefined, body, envelope, properties)
    } catch (error) {
      this.#port?.report(error, 'unhandled')
    }
    if (!follow(result, this.#finished, this.#failed)) this.#running--
    this.#checkIdle()
  }

  /** The same with closures, which would cost each message something in there. */
  #runTraced(trace: ProcessTrace, body: Buffer, envelope: Envelope, properties: Properties): void {
    this.#running++
    let result: unknown
    try {
      result = trace.run(this.#trigger, callBack, this.#callback, { body, envelope, properties })
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
    this.#port?.report(error, 'unhandled')
  }

  readonly #finished = (): void => {
    this.#running--
    if (this.#waiting.length > 0) this.#next()
    this.#checkIdle()
  }

  readonly #failed = (error: unknown): void => {
    this.#port?.report(error, 'unhandled')
    this.#finished()
  }

  #checkIdle(): void {
    if (this.#idle.length === 0 || !this.#isIdle()) return
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }
}
