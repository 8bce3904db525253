import type { ChannelSource } from '../../connection/channel-source.ts'
import { MessageReturnedError, TimeoutError } from '../../errors.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { ReliablePublisher } from '../publish/reliable-publisher.ts'
import type { ErrorDestination } from './failure-action.ts'
import { failureCopy, publishCopy, retryCopy } from './failure-copy.ts'
import type { Message } from './message.ts'
import { RetryQueues } from './retry-queues.ts'

/** Publishes copies of the messages of one queue whose handlers failed. */
export class FailureCopies {
  readonly #source: ChannelSource
  readonly #publisher: ReliablePublisher
  readonly #retryQueues: RetryQueues

  constructor(source: ChannelSource, queueName: string) {
    this.#source = source
    this.#publisher = new ReliablePublisher(source)
    this.#retryQueues = new RetryQueues(source, queueName)
  }

  /** Publish a copy to an error destination. */
  async park(message: Message, error: unknown, destination: ErrorDestination): Promise<void> {
    const copy = failureCopy(message, error, properties => this.#check(destination, properties))
    await publishCopy(this.#publisher, message, destination, copy)
  }

  /** Publish a copy to the queue in which it waits for `delay` milliseconds. */
  async delay(message: Message, delay: number): Promise<void> {
    const copy = retryCopy(message)
    const routingKey = await this.#retryQueues.ready(delay)
    try {
      await publishCopy(this.#publisher, message, { exchangeName: '', routingKey }, copy)
    } catch (error) {
      // Somebody has deleted the queue, or it confirms nothing.
      if (error instanceof TimeoutError || error instanceof MessageReturnedError) this.#retryQueues.forget(delay)
      if (!(error instanceof MessageReturnedError)) throw error
      await this.#retryQueues.ready(delay)
      await publishCopy(this.#publisher, message, { exchangeName: '', routingKey }, copy)
    }
  }

  #check({ exchangeName, routingKey }: ErrorDestination, properties: BasicProperties): void {
    this.#source.publishes.check(exchangeName, routingKey, true, properties, '')
  }

  /** Never rejects. */
  async close(): Promise<void> {
    await this.#publisher.close({ timeout: 0 })
  }
}
