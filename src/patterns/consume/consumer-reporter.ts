import type { EventEmitter } from 'node:events'
import type { ChannelSource } from '../../connection/channel-source.ts'
import type { ConsumerStats } from '../../diagnostics/stats.ts'
import { ConnectionError } from '../../errors.ts'
import { emitEvent } from '../emit-event.ts'
import type { ConsumerEvents } from './consumer-events.ts'
import type { ConsumerSettings } from './consumer-options.ts'
import type { Failing } from './failed-messages.ts'
import type { SlowHandlers } from './slow-handlers.ts'

/** The consumer that is reported on. */
export interface ReportedConsumer extends EventEmitter<ConsumerEvents> {
  stats(): ConsumerStats
}

/** What becomes known of one consumer: by its events, in the log, by diagnostics channels, and to `onError`. */
export class ConsumerReporter {
  readonly #consumer: ReportedConsumer
  readonly #source: ChannelSource
  readonly #settings: ConsumerSettings
  /** Since when it does not consume, and why. */
  #interruption: { readonly since: number; readonly error: Error } | undefined

  constructor(consumer: ReportedConsumer, source: ChannelSource, settings: ConsumerSettings) {
    this.#consumer = consumer
    this.#source = source
    this.#settings = settings
  }

  /** A message failed. */
  failed(error: unknown, failing: Failing): void {
    const { queueName, onFailure, noAck } = this.#settings
    const of = `of queue "${queueName}"`
    const next = noAck ? 'noAck: its message is gone' : `onFailure: ${nameOf(onFailure)}`
    const what = failing === 'handler' ? `a handler ${of} failed` : `a message ${of} was not decoded`
    this.#source.report(error, 'warn', `${what} (${next})`)
  }

  slow({ count, longest: { message, ms: longestMs } }: SlowHandlers): void {
    const { queueName, consumerTag, handlersRunning } = this.#consumer.stats()
    const { messageId } = message.properties
    const { deliveryTag } = message.envelope
    const slow = { queueName, consumerTag, slowHandlers: count, handlersRunning, longestMs, deliveryTag, messageId }
    this.#source.occurred('consumer.slow_handlers', slow, () => this.#emit('slow', count, longestMs))
  }

  /** The broker has ended it, which had this tag, or refuses to have it consume again. */
  interrupted(error: Error, consumerTag: string | undefined): void {
    const { queueName, onCancel } = this.#settings
    // The protocol reports a lost connection.
    const isReported =
      this.#consumer.listenerCount('cancelled') > 0 || onCancel !== undefined || error instanceof ConnectionError
    this.#interruption ??= { since: this.#source.clock.now(), error }
    const willResume = onCancel === undefined ? true : undefined
    this.#source.occurred('consumer.cancelled', { queueName, consumerTag, error, willResume }, () => {
      if (!isReported) this.#source.report(error, 'warn')
      this.#emit('cancelled', error)
    })
  }

  /** It consumes again. */
  resumed(): void {
    const interruption = this.#interruption
    this.#interruption = undefined
    if (interruption === undefined) return
    const { queueName, consumerTag } = this.#consumer.stats()
    const interruptedMs = Math.round(this.#source.clock.now() - interruption.since)
    const { error } = interruption
    this.#source.occurred('consumer.resumed', { queueName, consumerTag, interruptedMs, error }, () =>
      this.#emit('resumed'),
    )
  }

  /** It will not consume again, though its connection is not closed; `isUnheard` if no promise rejects with the error. */
  givenUp(error: Error, isUnheard: boolean): void {
    const { queueName } = this.#settings
    this.#source.occurred('consumer.given_up', { queueName, error }, () => {
      if (isUnheard) this.#source.report(error, 'warn')
    })
  }

  /** It is over; undefined if the program asked for that. */
  closed(error: Error | undefined): void {
    this.#emit('closed', ...(error === undefined ? [] : ([error] as [Error])))
  }

  #emit<K extends keyof ConsumerEvents>(event: K, ...args: ConsumerEvents[K]): void {
    emitEvent<ConsumerEvents, K>(this.#consumer, this.#source, event, ...args)
  }
}

function nameOf(onFailure: ConsumerSettings['onFailure']): string {
  if (typeof onFailure === 'string') return onFailure
  if (typeof onFailure === 'function') return 'a function'
  return 'retries' in onFailure ? `${onFailure.retries} retries` : 'a copy'
}
