import type { QueueArguments } from '../../channel/options.ts'
import { knowsQuorumTimeToLive } from '../../channel/rabbitmq.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { retryQueueName } from './failure-action.ts'

/**
 * Milliseconds that the broker keeps a queue after its last declare, on top of the delay: with its messages, if their own
 * queue takes nothing for that time.
 */
const IDLE = 7 * 86_400_000
/** Milliseconds to wait for a channel, of which there may be no more. */
const CHANNEL_TIMEOUT = 30_000
/** Milliseconds after which a queue is declared again before it gets another message, so that it never expires with one. */
const REFRESH = 60_000
/**
 * Milliseconds after which a new queue survives a kill of its broker. One that is killed before forgets what it has
 * confirmed: that of a quorum queue up to a second (its entry in names.dets is not written), and until RabbitMQ 4.3 that
 * of any queue up to two (Mnesia).
 */
const LASTING_AFTER = 2_500

/** A queue in which messages wait. */
export interface RetryQueue {
  readonly name: string
  /** When the broker was first heard to have it. */
  readonly since: number
}

interface Declared {
  readonly at: number
  readonly done: Promise<RetryQueue>
}

/** The queues in which failed messages of one queue wait for their retries: one for each delay, declared when needed. */
export class RetryQueues {
  readonly #source: ChannelSource
  readonly #queueName: string
  readonly #declared = new Map<number, Declared>()
  /** Delays whose queue has a substitute. */
  readonly #substituted = new Set<number>()

  constructor(source: ChannelSource, queueName: string) {
    this.#source = source
    this.#queueName = queueName
  }

  /** The queue in which a message waits for `delay` milliseconds, once the broker has it. */
  async ready(delay: number): Promise<RetryQueue> {
    const known = this.#declared.get(delay)
    const now = this.#source.clock.now()
    if (known !== undefined && now - known.at < REFRESH) return await known.done
    // By then it may have expired, and be a new one.
    const isOld = known !== undefined && now - known.at < IDLE
    const declared = { at: now, done: this.#declare(delay, isOld ? known.done : undefined) }
    this.#declared.set(delay, declared)
    try {
      return await declared.done
    } catch (error) {
      if (this.#declared.get(delay) === declared) this.#declared.delete(delay)
      throw error
    }
  }

  /** The queue may be gone: it is declared before the next message. */
  forget(delay: number): void {
    this.#declared.delete(delay)
  }

  /**
   * The queue confirms nothing: another one takes its place. One whose node was killed just when it was declared has no
   * leader, and never gets one (RabbitMQ 3.10.8); to delete it might lose the messages of one that is only slow.
   */
  substitute(delay: number, { name }: RetryQueue): void {
    const substituted = this.#substituted.has(delay)
    if (name !== retryQueueName(this.#queueName, delay, substituted)) return
    if (substituted) this.#substituted.delete(delay)
    else this.#substituted.add(delay)
    this.#declared.delete(delay)
  }

  /** Resolves when messages in the queue would survive a crash of the broker. */
  async lasts({ since }: RetryQueue): Promise<void> {
    const left = since + LASTING_AFTER - this.#source.clock.now()
    if (left > 0) await new Promise<void>(resolve => this.#source.after(left, resolve))
  }

  async #declare(delay: number, known: Promise<RetryQueue> | undefined): Promise<RetryQueue> {
    const name = retryQueueName(this.#queueName, delay, this.#substituted.has(delay))
    const channel = await this.#source.openingChannel({
      what: `queue.declare of "${name}"`,
      recover: false,
      timeout: CHANNEL_TIMEOUT,
    })
    const declared = channel.queueDeclare(name, {
      durable: true,
      recover: false,
      arguments: {
        ...this.#type,
        'x-message-ttl': delay,
        'x-expires': delay + IDLE,
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': this.#queueName,
      },
    })
    void channel.close()
    await declared
    return (await known) ?? { name, since: this.#source.clock.now() }
  }

  /** A quorum queue forgets a message only once the queue that it goes back to has it. */
  get #type(): QueueArguments {
    if (!knowsQuorumTimeToLive(this.#source.serverProperties)) return {}
    return { 'x-queue-type': 'quorum', 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish' }
  }
}
