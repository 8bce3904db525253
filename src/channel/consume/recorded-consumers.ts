import { asError } from '../../errors.ts'
import type { ArgumentsOf, BasicConsume } from '../../protocol/methods.ts'
import type { CallContext } from '../calls.ts'
import type { ChannelSession } from '../channel-session.ts'
import type { TopologyRecorder } from '../topology-recorder.ts'
import type { Consumer } from './delivery-sink.ts'

interface Subscription {
  readonly consumer: Consumer
  readonly args: ArgumentsOf<typeof BasicConsume>
  recorded: string | undefined
}

/** A consumer that the broker refused. */
export interface RefusedConsumer {
  readonly tag: string
  readonly queueName: string
  readonly error: Error
}

/** The channel, as far as its consumers need it. */
export interface RecordedConsumersHost {
  /** The life there is. */
  readonly session: ChannelSession | undefined
  /** The queue that '' means. */
  readonly lastQueue: string
  /** What to send for a queue's name. */
  queueName(queueName: string): string
  /** The name that a queue has now. */
  currentName(queueName: string): string
  readonly topology: TopologyRecorder | undefined
}

/** The consumers of a channel, which outlive each of its lives. */
export class RecordedConsumers {
  readonly #host: RecordedConsumersHost
  readonly #subscriptions = new Map<string, Subscription>()

  constructor(host: RecordedConsumersHost) {
    this.#host = host
  }

  /** Consume, now and in the lives to come. */
  start(
    session: ChannelSession,
    consumer: Consumer,
    args: ArgumentsOf<typeof BasicConsume>,
    context: CallContext,
  ): Promise<void> {
    const { tag } = consumer
    const queueName = this.#host.queueName(args.queueName ?? '')
    const started = session.consume(consumer, { ...args, queueName }, context)
    if (!this.#subscriptions.has(tag)) {
      const subscription: Subscription = { consumer, args, recorded: undefined }
      this.#subscriptions.set(tag, subscription)
      started.then(
        () => {
          subscription.recorded = this.#host.queueName(args.queueName ?? '') || this.#host.lastQueue
          this.#host.topology?.consumerAdded(subscription.recorded)
        },
        () => {
          if (this.#subscriptions.get(tag) === subscription) this.#subscriptions.delete(tag)
        },
      )
    }
    return started
  }

  /** The consumer is gone at the broker: whichever has the tag, or only `consumer`. */
  remove(tag: string, consumer?: Consumer): void {
    const subscription = this.#subscriptions.get(tag)
    if (subscription === undefined || (consumer ?? subscription.consumer) !== subscription.consumer) return
    this.#subscriptions.delete(tag)
    if (subscription.recorded !== undefined) this.#host.topology?.consumerRemoved(subscription.recorded)
  }

  get size(): number {
    return this.#subscriptions.size
  }

  consumers(): Consumer[] {
    return [...this.#subscriptions.values()].map(({ consumer }) => consumer)
  }

  // ---- consuming again

  /**
   * Consume again under the old tags from the queues that are `wanted`, one by one where `inTurn`. Resolves to the
   * consumer that the broker refused, if it did; the channel is closed then, and has to begin again.
   */
  async consumeAgain(inTurn: boolean, wanted: (queueName: string) => boolean): Promise<RefusedConsumer | undefined> {
    const { session } = this.#host
    if (session === undefined) return undefined
    const subscriptions = this.#missing(session).filter(subscription => wanted(this.#queueOf(subscription)))
    if (!inTurn) return this.#consumeAgain(session, subscriptions)
    for (const subscription of subscriptions) {
      const refused = await this.#consumeAgain(session, [subscription])
      if (refused !== undefined) return refused
    }
    return undefined
  }

  async #consumeAgain(
    session: ChannelSession,
    subscriptions: readonly Subscription[],
  ): Promise<RefusedConsumer | undefined> {
    const started = subscriptions.map(subscription => {
      const { consumer, args: asked } = subscription
      const resume = consumer.position.resumeOffset
      const args =
        resume === undefined ? asked : { ...asked, arguments: { ...asked.arguments, 'x-stream-offset': resume } }
      const queueName = this.#queueOf(subscription)
      const context = { what: `basic.consume of "${queueName}"`, site: undefined }
      return {
        queueName,
        tag: consumer.tag,
        promise: session.consume(consumer, { ...args, queueName, noWait: false }, context, true),
      }
    })
    const results = await Promise.allSettled(started.map(({ promise }) => promise))
    // The broker looks at them in order: those behind the first that failed were not refused.
    const at = results.findIndex(result => result.status === 'rejected')
    const [result, refused] = [results[at], started[at]]
    if (result?.status !== 'rejected' || refused === undefined) return undefined
    return { tag: refused.tag, queueName: refused.queueName, error: asError(result.reason) }
  }

  /** The broker refused a consumer. Returns whether it may be asked for again, otherwise. */
  mayConsumeOtherwise(tag: string, error: Error): boolean {
    return this.#subscriptions.get(tag)?.consumer.position.refused(error) === true
  }

  #queueOf({ args: { queueName }, recorded }: Subscription): string {
    // '' meant the queue that was the channel's last one then.
    return this.#host.currentName(queueName === '' ? (recorded ?? this.#host.lastQueue) : (queueName ?? ''))
  }

  /** Those that this life does not have. */
  #missing(session: ChannelSession): Subscription[] {
    const all = [...this.#subscriptions.values()]
    return all.filter(({ consumer }) => session.deliveries.consumer(consumer.tag) === undefined)
  }

  /** The tags of the consumers of a queue that have not come back. */
  missing(queueName: string): string[] {
    const { session } = this.#host
    if (session === undefined) return []
    const missing = this.#missing(session).filter(subscription => this.#queueOf(subscription) === queueName)
    return missing.map(({ consumer }) => consumer.tag)
  }
}
