import type { Consuming } from '../journal.ts'
import { queueName } from '../names.ts'
import type { Desk, StepOf } from './desk.ts'

const TAG = 'the only one'

/** Consumers that share a channel: one after the other with the same tag, and some whose start is given up. */
export class ChannelConsumers {
  readonly #desk: Desk
  #tagged: Consuming | undefined

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** The connection is closed. */
  left(): void {
    this.#tagged = undefined
  }

  /** Cancel the consumer that has the tag, and have another one take it at once. */
  tagged({ queue }: StepOf<'tagged consumer'>): void {
    this.#desk.forget('tagged consumer', this.#tagAgain(queueName(queue)))
  }

  async #tagAgain(queue: string): Promise<void> {
    const { protocol, journal, running } = this.#desk
    const channel = await this.#desk.channel('tags')
    const before = this.#tagged
    let begun = false
    let isUnsure = false
    const consuming = journal.consuming('tagged', queue, 0, Number.POSITIVE_INFINITY)
    this.#tagged = consuming
    const cancel = async (of: Consuming): Promise<void> => {
      try {
        await channel.basicCancel(TAG, { noWait: true })
      } catch {
        await channel.close()
      }
      of.closed = true
    }
    const at = running.findIndex(each => each.consuming === before)
    if (at !== -1) running.splice(at, 1)
    const cancelled = before === undefined || before.closed ? undefined : cancel(before)
    channel.addCancellationCallback((_channel, tag) => {
      if (tag !== TAG || this.#tagged !== consuming) return
      // Until it has begun, that may be the one before it, or this one, whose start is in the same read.
      if (begun) consuming.closed = true
      else isUnsure = true
    })
    const ended = (): void => {
      consuming.closed = true
    }
    try {
      await channel.basicConsume(
        (on, body, envelope, properties) => {
          const id = this.#desk.idOf(body, properties, envelope)
          journal.seen(consuming, id, envelope.isRedeliver)
          return on.basicClientAck(envelope.deliveryTag).then(
            sent => {
              if (sent) journal.settled.add(id)
            },
            () => {},
          )
        },
        queue,
        { consumerTag: TAG },
      )
      begun = true
    } catch (error) {
      ended()
      throw error
    }
    channel.waitClosed().then(ended, ended)
    await cancelled
    // Another one may have its tag by now.
    const has = (): boolean => this.#tagged === consuming
    if (!has()) return
    if (isUnsure) return cancel(consuming)
    this.#desk.runs(protocol, {
      consuming,
      takesAll: true,
      stop: async () => (has() ? cancel(consuming) : undefined),
    })
  }

  givenUp({ queue, abortAfter }: StepOf<'given up consumer'>): void {
    this.#desk.forget('given up consumer', this.#giveUp(queueName(queue), abortAfter))
  }

  async #giveUp(queue: string, abortAfter: number): Promise<void> {
    const { journal } = this.#desk
    const channel = await this.#desk.channel('given up')
    const consuming = journal.consuming('given up', queue, 0, Number.POSITIVE_INFINITY)
    try {
      const { consumerTag } = await channel.basicConsume(
        (on, body, envelope, properties) => {
          const id = this.#desk.idOf(body, properties, envelope)
          journal.seen(consuming, id, envelope.isRedeliver)
          return on.basicReject(envelope.deliveryTag, { requeue: true }).catch(() => {})
        },
        queue,
        { signal: this.#desk.signalAfter(abortAfter) },
      )
      await channel.basicCancel(consumerTag).catch(() => channel.close())
    } finally {
      consuming.closed = true
    }
  }
}
