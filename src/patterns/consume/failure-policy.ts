import type { ChannelSource } from '../../connection/channel-source.ts'
import { MessageReturnedError } from '../../errors.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { ReliablePublisher } from '../publish/reliable-publisher.ts'
import {
  type CheckedAction,
  type CheckedRetries,
  checkFailureAction,
  type ErrorDestination,
  type FailureDecider,
} from './failure-action.ts'
import { failureCopy, publishCopy } from './failure-copy.ts'
import type { HeldBack } from './held-back.ts'
import { type Message, StreamMessage } from './message.ts'
import { RepeatedFailures } from './repeated-failures.ts'
import { retryCopy } from './retried.ts'
import { RetryQueues } from './retry-queues.ts'

/** @internal Settles the messages whose handlers failed. */
export class FailurePolicy {
  /** Messages may come back from a wait for their next attempt. */
  readonly mayRetry: boolean
  readonly #source: ChannelSource
  readonly #onFailure: CheckedAction | FailureDecider
  readonly #failures = new RepeatedFailures()
  readonly #copies: ReliablePublisher
  readonly #heldBack: HeldBack
  readonly #retryQueues: RetryQueues

  constructor(source: ChannelSource, queueName: string, onFailure: CheckedAction | FailureDecider, heldBack: HeldBack) {
    this.#source = source
    this.#onFailure = onFailure
    this.mayRetry = typeof onFailure === 'function' || (typeof onFailure === 'object' && 'retries' in onFailure)
    this.#copies = new ReliablePublisher(source)
    this.#heldBack = heldBack
    this.#retryQueues = new RetryQueues(source, queueName)
  }

  /** Settle a message whose handler failed. Never rejects. */
  async settle(message: Message, error: unknown): Promise<void> {
    const action = await this.#decide(message, error)
    // Settled by the program, or the broker's again.
    if (!message.isHeld) return
    await this.#apply(action, message, error)
  }

  async #apply(action: CheckedAction, message: Message, error: unknown): Promise<void> {
    if (action === 'reject') message.reject()
    else if (action === 'drop') message.ack()
    else if (action === 'requeue') await this.#requeue(message)
    else if ('retries' in action) await this.#retry(message, error, action)
    else await this.#divert(message, error, action)
  }

  async #decide(message: Message, error: unknown): Promise<CheckedAction> {
    const onFailure = this.#onFailure
    if (typeof onFailure !== 'function') return onFailure
    try {
      return checkFailureAction('onFailure', await onFailure(message, error)) ?? 'requeue'
    } catch (second) {
      this.#source.report(second, 'unhandled')
      return 'requeue'
    }
  }

  /** A handler succeeded: if its message had failed before, that is over. */
  succeeded(message: Message): void {
    if (message.envelope.isRedeliver && this.#failures.any) this.#failures.forget(message)
  }

  async #requeue(message: Message): Promise<void> {
    await this.#heldBack.holdAfter(this.#failures.count(message))
    message.reject({ requeue: true })
  }

  async #retry(message: Message, error: unknown, { retries, delays, otherwise }: CheckedRetries): Promise<void> {
    const made = message.retries
    if (made >= retries) {
      await this.#apply(otherwise, message, error)
      return
    }
    const delay = delays[Math.min(made, delays.length - 1)] ?? 0
    if (message instanceof StreamMessage && message.isOfStream) {
      await this.#heldBack.hold(delay)
      message.nack()
    } else await this.#insteadOf(message, 'retried', () => this.#wait(message, delay))
  }

  /** Publish a copy to the queue in which it waits. */
  async #wait(message: Message, delay: number): Promise<void> {
    const copy = retryCopy(message)
    const routingKey = await this.#retryQueues.ready(delay)
    try {
      await publishCopy(this.#copies, message, { exchangeName: '', routingKey }, copy)
    } catch (error) {
      if (!(error instanceof MessageReturnedError)) throw error
      // Somebody has deleted the queue.
      this.#retryQueues.forget(delay)
      await this.#retryQueues.ready(delay)
      await publishCopy(this.#copies, message, { exchangeName: '', routingKey }, copy)
    }
  }

  async #divert(message: Message, error: unknown, destination: ErrorDestination): Promise<void> {
    await this.#insteadOf(message, 'copied', async () => {
      const copy = failureCopy(message, error, properties => this.#check(destination, properties))
      await publishCopy(this.#copies, message, destination, copy)
    })
  }

  /** Ack a message once its copy is safe, or requeue it. If the broker takes it back before that, nobody needs the copy. */
  async #insteadOf(message: Message, outcome: 'retried' | 'copied', publish: () => Promise<void>): Promise<void> {
    try {
      await publish()
      const { trace } = message
      if (message.ack()) trace?.copied(outcome)
    } catch (failure) {
      if (!message.isHeld) return
      this.#source.report(failure, 'warn')
      await this.#requeue(message)
    }
  }

  #check({ exchangeName, routingKey }: ErrorDestination, properties: BasicProperties): void {
    this.#source.publishes.check(exchangeName, routingKey, true, properties, '')
  }

  /** Give back at once what is held back, now and later: nothing is waited for any more. */
  hurry(): void {
    this.#heldBack.hurry()
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.hurry()
    await this.#copies.close({ timeout: 0 })
  }
}
