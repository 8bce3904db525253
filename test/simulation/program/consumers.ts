import type { AmqpProtocol } from '../../../src/index.ts'
import { queueName } from '../names.ts'
import { CallbackConsumers } from './callback-consumers.ts'
import type { Desk, StepOf } from './desk.ts'
import { IntentConsumers, priorityOf } from './intent-consumers.ts'

/** More would leave no channel for anything else. */
const MOST_CONSUMERS = 6

/** How a program consumes, in every form. */
export class Consumers {
  readonly #desk: Desk
  readonly #intent: IntentConsumers
  readonly #callbacks: CallbackConsumers
  /** Consumers on their way. */
  #starting = 0

  constructor(desk: Desk) {
    this.#desk = desk
    this.#intent = new IntentConsumers(desk)
    this.#callbacks = new CallbackConsumers(desk)
  }

  /** Unless it has as many as it may. */
  start(protocol: AmqpProtocol, step: StepOf<'consume'>): void {
    const { way, prefetch, concurrency } = step
    const queue = queueName(step.queue)
    const isCallback = way === 'callback' || way === 'no-ack' || way === 'multiple'
    const unlimited = way === 'handler' ? prefetch : Number.POSITIVE_INFINITY
    const limit = concurrency === 0 || !(way === 'handler' || way === 'batch' || isCallback) ? unlimited : concurrency
    this.startIfRoom(way, () => {
      const consuming = this.#desk.journal.consuming(way, queue, prefetch, limit, priorityOf(step))
      let count = 0
      const work = async (id: string): Promise<void> => {
        consuming.active++
        try {
          if (step.work > 0) await this.#desk.sleep(step.work)
          if (step.failEvery > 0 && ++count % step.failEvery === 0) throw new Error(`no use for ${id}`)
        } finally {
          consuming.active--
        }
      }
      return isCallback
        ? this.#callbacks.start(consuming, step, work)
        : this.#intent.start(protocol, consuming, step, work)
    })
  }

  startIfRoom(what: string, start: () => Promise<void>): void {
    if (this.#desk.running.length + this.#starting >= MOST_CONSUMERS) return
    this.#starting++
    const started = start().finally(() => {
      this.#starting--
    })
    this.#desk.forget(`${what} consumer`, started)
  }
}
