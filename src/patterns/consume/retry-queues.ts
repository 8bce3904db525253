import type { QueueArguments } from '../../channel/options.ts'
import { knowsQuorumTimeToLive } from '../../channel/rabbitmq.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { retryQueueName } from './failure-action.ts'

/** Milliseconds that the broker keeps a queue after its last declare, on top of the delay. */
const IDLE = 3_600_000
/** Milliseconds after which a queue is declared again before it gets another message, so that it never expires with one. */
const REFRESH = 60_000

interface Declared {
  readonly at: number
  readonly done: Promise<unknown>
}

/** The queues in which failed messages of one queue wait for their retries: one for each delay, declared when needed. */
export class RetryQueues {
  readonly #source: ChannelSource
  readonly #queueName: string
  readonly #declared = new Map<number, Declared>()

  constructor(source: ChannelSource, queueName: string) {
    this.#source = source
    this.#queueName = queueName
  }

  /** The name of the queue in which a message waits for `delay` milliseconds, once the broker has it. */
  async ready(delay: number): Promise<string> {
    const name = retryQueueName(this.#queueName, delay)
    const known = this.#declared.get(delay)
    const now = this.#source.clock.now()
    if (known !== undefined && now - known.at < REFRESH) {
      await known.done
      return name
    }
    const done = this.#declare(name, delay)
    this.#declared.set(delay, { at: now, done })
    try {
      await done
      return name
    } catch (error) {
      this.#declared.delete(delay)
      throw error
    }
  }

  /** The queue may be gone: it is declared before the next message. */
  forget(delay: number): void {
    this.#declared.delete(delay)
  }

  async #declare(name: string, delay: number): Promise<void> {
    const channel = await this.#source.openingChannel({ what: `queue.declare of "${name}"`, recover: false })
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
  }

  /** A quorum queue forgets a message only once the queue that it goes back to has it. */
  get #type(): QueueArguments {
    if (!knowsQuorumTimeToLive(this.#source.serverProperties)) return {}
    return { 'x-queue-type': 'quorum', 'x-dead-letter-strategy': 'at-least-once', 'x-overflow': 'reject-publish' }
  }
}
