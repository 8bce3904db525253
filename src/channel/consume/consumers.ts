import { follow } from '../../lib/call-safely.ts'
import { Fifo } from '../../lib/fifo.ts'
import type { Envelope } from '../../protocol/envelope.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import type { ErrorReporter } from '../port.ts'

/** What a consumer asks of the connection that its deliveries come by. */
export interface ConsumerPort extends ErrorReporter {
  /** Bytes of deliveries that wait for their callbacks, added or taken away. */
  held(bytes: number): void
}

/** How a consumer treats its deliveries. */
export interface ConsumerOptions {
  readonly queueName: string
  readonly noAck: boolean
  /** Callbacks that may run at the same time. */
  readonly concurrency: number
  readonly deliver: (body: Buffer, envelope: Envelope, properties: Properties) => unknown
}

interface Held {
  readonly body: Buffer
  readonly envelope: Envelope
  readonly properties: Properties
}

/** What a waiting delivery costs beside its body. */
const DELIVERY_OVERHEAD = 256

/**
 * Calls one program's callback with each delivery, in order, `concurrency` at a time.
 *
 *     starting ──basicConsume resolved──▶ active ──cancelled──▶ ended
 *         ▲                                 │
 *         └────────connection lost──────────┘
 */
export class Consumer {
  readonly tag: string
  readonly options: ConsumerOptions
  readonly #waiting = new Fifo<Held>()
  #port: ConsumerPort | undefined
  #state: 'starting' | 'active' | 'ended' = 'starting'
  #running = 0
  #idle: (() => void)[] = []

  constructor(tag: string, options: ConsumerOptions) {
    this.tag = tag
    this.options = options
  }

  get ended(): boolean {
    return this.#state === 'ended'
  }

  /** `basicConsume` has resolved: callbacks may run. */
  start(): void {
    if (this.#state !== 'starting') return
    this.#state = 'active'
    this.#next()
  }

  /** No more callbacks are started; what waits for one is given back. */
  end(): Envelope[] {
    this.#state = 'ended'
    const dropped = this.#drop()
    if (this.#isIdle()) this.#becomeIdle()
    return dropped
  }

  /** Its deliveries come by `port` from now on; what came by another and still waits is the broker's again. */
  attach(port: ConsumerPort): void {
    this.#drop()
    this.#port = port
    if (this.#state === 'active') this.#state = 'starting'
  }

  #drop(): Envelope[] {
    const dropped = this.#waiting.takeAll()
    for (const { body } of dropped) this.#port?.held(-body.length - DELIVERY_OVERHEAD)
    return dropped.map(held => held.envelope)
  }

  /** Resolves when no callback runs, and none is to run. */
  idle(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  #isIdle(): boolean {
    return this.#running === 0 && (this.#waiting.length === 0 || this.#state === 'ended')
  }

  /** A message came for it. */
  offer(body: Buffer, envelope: Envelope, properties: Properties): void {
    if (this.#state === 'active' && this.#running < this.options.concurrency && this.#waiting.length === 0) {
      this.#run(body, envelope, properties)
      return
    }
    this.#waiting.push({ body, envelope, properties })
    this.#port?.held(body.length + DELIVERY_OVERHEAD)
  }

  #next(): void {
    while (this.#state === 'active' && this.#running < this.options.concurrency) {
      const held = this.#waiting.shift()
      if (held === undefined) return
      this.#port?.held(-held.body.length - DELIVERY_OVERHEAD)
      this.#run(held.body, held.envelope, held.properties)
    }
  }

  #run(body: Buffer, envelope: Envelope, properties: Properties): void {
    this.#running++
    let result: unknown
    try {
      result = this.options.deliver(body, envelope, properties)
    } catch (error) {
      this.#port?.report(error, 'unhandled')
    }
    if (!follow(result, this.#finished, this.#failed)) this.#running--
    if (this.#idle.length > 0 && this.#isIdle()) this.#becomeIdle()
  }

  readonly #finished = (): void => {
    this.#running--
    if (this.#waiting.length > 0) this.#next()
    if (this.#idle.length > 0 && this.#isIdle()) this.#becomeIdle()
  }

  readonly #failed = (error: unknown): void => {
    this.#port?.report(error, 'unhandled')
    this.#finished()
  }

  #becomeIdle(): void {
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }
}
