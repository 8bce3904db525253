import type { FieldTable } from '../protocol/values.ts'
import { int64 } from '../protocol/values.ts'
import { type Consumer, cancelAll, type Delivery, type Receiver, type Settlement, type Stored } from './consumer.ts'
import type { Message } from './message.ts'
import type { Queue, QueueHost, QueueIdentity, Receipt } from './queue.ts'
import { notImplemented, preconditionFailed, resource } from './refusals.ts'
import { streamMessage } from './stream-message.ts'
import { checkFilterValue, StreamFilter, type StreamStart, streamStart } from './stream-offset.ts'

interface Appended extends Stored {
  /** When it came, by the time of day in milliseconds. */
  readonly date: number
}

/** A consumer, with where it is in the stream. */
interface Reading {
  readonly consumer: Consumer
  readonly filter: StreamFilter
  next: number
}

/** A log that is appended to: messages stay, and each consumer reads it from where it wants. */
export class StreamQueue implements Queue {
  readonly type = 'stream'
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  readonly owner: object | undefined
  readonly arguments: FieldTable
  readonly #host: QueueHost
  #log: Appended[] = []
  readonly #readings: Reading[] = []
  readonly #given = new Set<Delivery>()
  lost = 0
  #held = false

  constructor(identity: QueueIdentity, host: QueueHost) {
    this.name = identity.name
    this.durable = identity.durable
    this.autoDelete = identity.autoDelete
    this.owner = identity.owner
    this.arguments = identity.arguments
    this.#host = host
  }

  get messageCount(): number {
    return this.#log.length
  }
  get consumers(): readonly Consumer[] {
    return this.#readings.map(({ consumer }) => consumer)
  }
  /** RabbitMQ does not say. */
  get consumerCount(): number {
    return 0
  }
  get ready(): readonly Stored[] {
    return this.#log
  }
  get unacked(): readonly Delivery[] {
    return [...this.#given]
  }
  get delayed(): readonly Stored[] {
    return []
  }

  publish(message: Message, receipt: Receipt | undefined, publisher?: object): void {
    const { release } = this.#host
    if (publisher !== undefined) checkFilterValue(message.headers, release)
    else if (!release.streamsTakeDeaths) return
    this.#log.push({
      message: streamMessage(message, release),
      position: this.#log.length,
      size: message.body.length,
      date: this.#host.date(),
      expiresAt: Number.POSITIVE_INFINITY,
      redelivered: false,
      deliveryCount: 0,
      acquiredCount: 0,
    })
    receipt?.settled(true)
    this.#give()
  }

  get(): Delivery {
    throw notImplemented(`basic.get not supported by stream queues ${this.#resource}`)
  }

  settle(deliveries: readonly Delivery[], settlement: Settlement): void {
    const refusal = settlement === 'ack' ? undefined : this.#host.release.streamsRefuseNacks
    if (refusal !== undefined) throw notImplemented(refusal(this.#resource))
    for (const delivery of deliveries) {
      if (!this.#given.delete(delivery) || delivery.consumer === undefined) continue
      delivery.consumer.unacked--
    }
    this.#give()
  }

  consume(consumer: Consumer, announce: () => void): void {
    const { prefetch, noAck, limited, arguments: table } = consumer.options
    const { streamNeedsPrefetch, streamNeedsAcks } = this.#host.release
    if (prefetch === 0) throw preconditionFailed(streamNeedsPrefetch(this.#resource))
    if (noAck) throw notImplemented(streamNeedsAcks(this.#resource))
    if (limited) throw notImplemented(`${this.#resource} does not support global qos`)
    const start = streamStart(table, this.#host)
    this.#readings.push({
      consumer,
      filter: new StreamFilter(table, this.#host.release),
      next: this.#positionOf(start),
    })
    consumer.receiver.post(announce)
    this.#give()
  }

  cancel(consumer: Consumer, announce: () => void): void {
    this.#forget(one => one === consumer)
    consumer.receiver.post(announce)
  }

  receiversGone(receivers: ReadonlySet<Receiver>): void {
    this.#forget(consumer => receivers.has(consumer.receiver))
    for (const delivery of this.#given) if (receivers.has(delivery.receiver)) this.#given.delete(delivery)
  }

  receiverReady(): void {
    this.#give()
  }

  purge(): number {
    throw notImplemented(`queue.purge not supported by stream queues ${this.#resource}`)
  }

  touch(): void {}

  end(): void {
    this.lost = this.#given.size
    cancelAll(this.consumers)
    this.#readings.length = 0
    this.#log.length = 0
  }

  restart(kept: (stored: Stored) => boolean): void {
    this.#readings.length = 0
    this.#given.clear()
    this.#log = this.#log.filter(kept).map((stored, position) => ({ ...stored, position }))
  }

  hold(held: boolean): void {
    this.#held = held
    this.#give()
  }

  get #resource(): string {
    return resource('queue', this.name, this.#host.vhostName)
  }

  #forget(which: (consumer: Consumer) => boolean): void {
    const left = this.#readings.filter(({ consumer }) => !which(consumer))
    this.#readings.length = 0
    this.#readings.push(...left)
  }

  #positionOf(start: StreamStart): number {
    const end = this.#log.length
    if ('offset' in start) return start.offset
    if ('milliseconds' in start) {
      const at = this.#log.findIndex(({ date }) => date >= start.milliseconds)
      return at === -1 ? end : at
    }
    if (start.at === 'first') return 0
    return start.at === 'last' ? Math.max(0, end - 1) : end
  }

  #give(): void {
    if (this.#held) return
    for (const reading of this.#readings) {
      const { consumer, filter } = reading
      for (; reading.next < this.#log.length && consumer.isReady; reading.next++) {
        const stored = this.#log[reading.next]
        if (stored === undefined || !filter.matches(stored.message.headers['x-stream-filter-value'])) continue
        const delivery: Delivery = {
          queue: this,
          stored,
          message: stored.message.withHeaders({ 'x-stream-offset': int64(stored.position) }),
          redelivered: false,
          receiver: consumer.receiver,
          consumer,
          ordinal: consumer.ordinal,
          noAck: false,
          timesOutAt: Number.POSITIVE_INFINITY,
        }
        this.#given.add(delivery)
        consumer.unacked++
        consumer.receiver.post(() => consumer.receiver.deliver(delivery))
      }
    }
  }
}
