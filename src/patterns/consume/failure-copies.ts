import type { ChannelSource } from '../../connection/channel-source.ts'
import { MessageReturnedError, TimeoutError } from '../../errors.ts'
import type { Timer, TimerSource } from '../../lib/clock.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { ReliablePublisher } from '../publish/reliable-publisher.ts'
import type { ErrorDestination } from './failure-action.ts'
import { failureCopy, publishCopy, retryCopy } from './failure-copy.ts'
import type { Message } from './message.ts'
import { type RetryQueue, RetryQueues } from './retry-queues.ts'

/** Publishes copies of the messages of one queue whose handlers failed. */
export class FailureCopies {
  readonly #source: ChannelSource
  #publisher: ReliablePublisher
  readonly #retryQueues: RetryQueues

  constructor(source: ChannelSource, queueName: string) {
    this.#source = source
    this.#publisher = this.#makePublisher()
    this.#retryQueues = new RetryQueues(source, queueName)
  }

  #makePublisher(): ReliablePublisher {
    const { publishing } = this.#source
    return new ReliablePublisher(publishing, { timers: timeOfPublishes(publishing) })
  }

  /** Publish a copy to an error destination. */
  async park(message: Message, error: unknown, destination: ErrorDestination): Promise<void> {
    const copy = failureCopy(message, error, properties => this.#check(destination, properties))
    await publishCopy(this.#publisher, message, destination, copy)
  }

  /** Have a copy wait for `delay` milliseconds. Resolves when neither its queue nor it can be lost. */
  async delay(message: Message, delay: number): Promise<void> {
    const copy = retryCopy(message)
    let queue = await this.#retryQueues.ready(delay)
    try {
      await this.#publishTo(queue, message, delay, copy)
    } catch (error) {
      if (!(error instanceof MessageReturnedError)) throw error
      // Somebody has deleted the queue.
      this.#retryQueues.forget(delay)
      queue = await this.#retryQueues.ready(delay)
      await this.#publishTo(queue, message, delay, copy)
    }
    await this.#retryQueues.lasts(queue)
  }

  async #publishTo(queue: RetryQueue, message: Message, delay: number, copy: BasicProperties): Promise<void> {
    const publisher = this.#publisher
    try {
      await publishCopy(publisher, message, { exchangeName: '', routingKey: queue.name }, copy)
    } catch (error) {
      if (error instanceof TimeoutError) {
        this.#retryQueues.substitute(delay, queue)
        // RabbitMQ 3.10 handles nothing more of a channel for seconds after each publish to a queue without a leader.
        if (publisher === this.#publisher) this.#publisher = this.#makePublisher()
        void publisher.close({ timeout: 0 })
      }
      throw error
    }
  }

  #check({ exchangeName, routingKey }: ErrorDestination, properties: BasicProperties): void {
    this.#source.publishing.publishes.check(exchangeName, routingKey, true, properties, '')
  }

  /** Never rejects. */
  async close(): Promise<void> {
    await this.#publisher.close({ timeout: 0 })
  }
}

/**
 * Timers that begin again if the broker takes no publishes when they are due: a copy that is not confirmed says nothing of
 * its queue then, and a message that is requeued would fail again, for as long as that lasts.
 */
function timeOfPublishes(source: ChannelSource): TimerSource {
  return {
    after(milliseconds, run) {
      let timer: Timer
      const start = (): void => {
        timer = source.after(milliseconds, () => {
          if (source.state === 'open' && source.blockedReason === undefined) run()
          else start()
        })
      }
      start()
      return { cancel: () => timer.cancel() }
    },
  }
}
