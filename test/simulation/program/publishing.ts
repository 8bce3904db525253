import type { AmqpProtocol, BasicProperties, Publisher } from '../../../src/index.ts'
import { propertiesOf } from '../content.ts'
import type { Outcome } from '../journal.ts'
import { bodyOf, byKeyName, EXCHANGE, isByKey, NOWHERE, queueName } from '../names.ts'
import type { Desk, StepOf } from './desk.ts'

/** Milliseconds by which a timeout may come late. */
const PUNCTUAL = 10

/** Milliseconds that the close of a publisher may wait for confirms. */
const CLOSE_TIMEOUT = 5_000

/** Messages of one publisher that may wait for their confirms. */
const MAX_IN_FLIGHT = 8

/** How a program publishes, in every form. */
export class Publishing {
  readonly #desk: Desk
  #publishers = new Map<string, Promise<Publisher>>()
  /** The counts of messages that publishers emitted as sent again. */
  #resent: { told: number; readonly publisher: Publisher }[] = []
  /** Publishers that were closed: the next one has an order of its own. */
  #closed = 0
  /** The same of channels: what waits on one that is being closed still goes. */
  #channelsClosed = 0
  /** Published while the broker blocks: no byte of it may leave. */
  withheld: Set<string> | undefined

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** The connection is closed, and its publishers with it. */
  left(): void {
    this.#publishers = new Map()
    this.#resent = []
    this.withheld = undefined
  }

  /** What its options bound. */
  judgeLimits(maxWaiting: number): void {
    const { journal, number } = this.#desk
    // What was in flight waits once more after the end of its channel, beside what had not been written.
    const most = maxWaiting + MAX_IN_FLIGHT
    for (const { publisher } of this.#resent) {
      const { unconfirmed, waiting } = publisher.stats()
      if (unconfirmed <= MAX_IN_FLIGHT && waiting <= most) continue
      journal.violations.push(`program ${number}: ${unconfirmed} messages are in flight, and ${waiting} wait`)
    }
  }

  /** What does not add up if nothing is pending. */
  get unfinished(): string[] {
    return this.#resent.flatMap(({ told, publisher }) =>
      told === publisher.resent ? [] : `it was told of ${told} messages of ${publisher.resent} that were sent again`,
    )
  }

  publish(protocol: AmqpProtocol, step: StepOf<'publish'>): void {
    const { way } = step
    // Messages that come back in other ways have no promise that reports it.
    const nowhere = step.nowhere === true && (way === 'protocol' || way === 'publisher' || way === 'confirm')
    // A key that may be bound or not: the message is taken, or comes back.
    const byKey = step.nowhere === true && way === 'confirm'
    const queue = byKey ? byKeyName(step.queue) : nowhere ? NOWHERE : queueName(step.queue)
    const published = this.#desk.journal.publishing(
      this.#desk.number,
      way,
      queue,
      way === 'publisher' ? this.#closed : way === 'confirm' ? this.#channelsClosed : 0,
    )
    this.withheld?.add(published.id)
    const body = bodyOf(published.id, step.size)
    // By the default exchange they are mandatory anyway.
    const isIntent = way === 'protocol' || way === 'publisher'
    const bounds = { ...this.#bounds(step), ...(!isIntent && { mandatory: true }) }
    const properties = propertiesOf(published.id)
    const what = `publish ${published.id}`
    const sent = this.#desk.journal.track(what, this.#send(protocol, step.way, queue, body, properties, bounds))
    // Others resolve when the message is on its way, or with a commit.
    if (isIntent || way === 'confirm') {
      const ended = (): void => {
        published.ended = this.#desk.clock.now()
      }
      sent.then(ended, ended)
    }
    sent.then(
      () => {
        published.outcome = 'ok'
      },
      (error: unknown) => this.#desk.journal.failed(published, error),
    )
  }

  /** What is published from now on goes by another channel. */
  channelClosed(): void {
    this.#channelsClosed++
  }

  /** What it has in hand is confirmed before it is closed; the next message opens another one. */
  closePublisher({ queue }: StepOf<'close publisher'>): void {
    const name = queueName(queue)
    const publisher = this.#publishers.get(name)
    if (publisher === undefined) return
    this.#publishers.delete(name)
    this.#closed++
    const { clock, journal, publishesLostAt } = this.#desk
    const began = clock.now()
    const waiting = [...journal.published.values()].filter(
      each =>
        each.client === this.#desk.number &&
        each.way === 'publisher' &&
        each.queue === name &&
        each.outcome === 'pending' &&
        each.publisher === this.#closed - 1,
    )
    const closed = publisher.then(opened => opened.close())
    const judge = (): void => {
      if (clock.now() - began >= CLOSE_TIMEOUT || this.#desk.publishesLostAt !== publishesLostAt) return
      for (const { id, error } of waiting)
        if (error?.message.includes('its publisher was closed') === true)
          journal.violations.push(`${id} was given up by the close of its publisher, which had time left`)
    }
    closed.then(judge, judge)
    this.#desk.forget(`close of the publisher for ${name}`, closed)
  }

  async #send(
    protocol: AmqpProtocol,
    way: StepOf<'publish'>['way'],
    queue: string,
    body: Buffer,
    properties: BasicProperties,
    bounds: { readonly timeout?: number; readonly signal?: AbortSignal; readonly mandatory?: boolean },
  ): Promise<void> {
    const { timed } = this
    switch (way) {
      case 'protocol':
        return timed(protocol.publish(body, '', queue, properties, bounds), bounds, queue)
      case 'publisher': {
        const publisher = await this.#publisher(protocol, queue)
        return timed(publisher.publish(body, queue, properties, bounds), bounds, queue)
      }
      case 'confirm': {
        const channel = await this.#desk.channel('confirm', true)
        const exchange = isByKey(queue) ? EXCHANGE : ''
        return timed(channel.publish(body, exchange, queue, { ...properties, deliveryMode: 2 }, bounds), bounds, queue)
      }
      case 'plain': {
        const channel = await this.#desk.channel('plain')
        return timed(channel.publish(body, '', queue, { ...properties, deliveryMode: 2 }, bounds), bounds, queue)
      }
      case 'transaction':
        return protocol.transaction(async channel => {
          await channel.publish(body, '', queue, { ...properties, deliveryMode: 2 })
        })
    }
  }

  /** It ends within its timeout, whatever happens. */
  readonly timed = (sent: Promise<void>, { timeout }: { readonly timeout?: number }, queue: string): Promise<void> => {
    const { clock, journal } = this.#desk
    const began = clock.now()
    const judge = (): void => {
      const took = clock.now() - began
      if (timeout !== undefined && took > timeout + PUNCTUAL)
        journal.violations.push(`a publish to ${queue} with a timeout of ${timeout} ms took ${took} ms`)
    }
    sent.then(judge, judge)
    return sent
  }

  /** Publish without waiting for each, and wait for all: confirms are reported for all of them at once. */
  batch({ queue, count }: StepOf<'batch'>): void {
    const name = queueName(queue)
    const batch = Array.from({ length: count }, () => this.#desk.journal.publishing(this.#desk.number, 'batch', name))
    const settle = (outcome: Outcome): void => {
      for (const published of batch) if (published.outcome === 'pending') published.outcome = outcome
    }
    const done = this.#desk.channel('batch', true).then(async channel => {
      for (const published of batch) {
        const { id } = published
        // The wait reports what was published, and not of what was refused before.
        channel
          .basicPublish(bodyOf(id, 10), '', name, { ...propertiesOf(id), deliveryMode: 2 })
          .catch(error => this.#desk.journal.failed(published, error))
      }
      await channel.waitForConfirms()
    })
    this.#desk.journal.track(`batch ${batch[0]?.id}`, done).then(
      () => settle('ok'),
      () => settle('unknown'),
    )
  }

  #bounds(step: StepOf<'publish'>): { timeout?: number; signal?: AbortSignal } {
    const bounds: { timeout?: number; signal?: AbortSignal } = {}
    if (step.timeout !== undefined) bounds.timeout = step.timeout
    if (step.abortAfter !== undefined) {
      const controller = new AbortController()
      this.#desk.clock.after(step.abortAfter, () => controller.abort())
      bounds.signal = controller.signal
    } else if (step.timeout === undefined && step.size === 100) bounds.signal = this.#desk.longSignal
    return bounds
  }

  #publisher(protocol: AmqpProtocol, queue: string): Promise<Publisher> {
    let publisher = this.#publishers.get(queue)
    if (publisher === undefined) {
      publisher = this.#desk.journal.track(`publisher for ${queue}`, protocol.publisher({ maxInFlight: MAX_IN_FLIGHT }))
      this.#publishers.set(queue, publisher)
      publisher.then(
        opened => {
          const figures = { told: 0, publisher: opened }
          opened.on('resent', count => {
            figures.told += count
          })
          this.#resent.push(figures)
        },
        () => {
          this.#publishers.delete(queue)
        },
      )
    }
    return publisher
  }
}
