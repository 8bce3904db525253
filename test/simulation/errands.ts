import { type AmqpProtocol, type Channel, MessageReturnedError } from '../../src/index.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import type { Entities } from './entities.ts'
import type { Consuming, Journal, Published } from './journal.ts'
import { bodyOf, EXCHANGE, queueName, STREAM } from './names.ts'
import type { Running } from './running.ts'
import type { Step } from './steps.ts'

type StepOf<D extends Step['do']> = Extract<Step, { do: D }>

/** The program that the errands are for. */
export interface Desk {
  readonly number: number
  readonly protocol: AmqpProtocol | undefined
  readonly clock: VirtualClock
  readonly journal: Journal
  readonly entities: Entities
  /** It outlives all that it bounds. */
  readonly longSignal: AbortSignal
  readonly running: Running[]
  runs(protocol: AmqpProtocol | undefined, running: Running): void
  channel(name: string, publisherConfirms?: boolean): Promise<Channel>
  forget(what: string, promise: Promise<unknown>): void
  idOf(body: Buffer, messageId: string | undefined): string
}

/** A queue that the broker named, its binding and its consumer. */
interface PrivateQueue {
  readonly key: string
  /** As the program knows it. */
  name: string
  readonly consuming: Consuming
}

/** An exchange that is not to outlive its broker. */
interface Fleeting {
  readonly name: string
  readonly asked: number
  declared: number | undefined
}

/** What a program does beside publishing and consuming: transactions, topology, questions, secrets. */
export class Errands {
  readonly #desk: Desk
  privateQueues: PrivateQueue[] = []
  readonly fleeting: Fleeting[] = []
  readonly #selected = new WeakSet<Channel>()
  #units: Promise<unknown> = Promise.resolve()
  #count = 0
  secret = ''
  #tagged: Consuming | undefined

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** The connection is closed: what was its own is gone. */
  left(): void {
    this.privateQueues = []
    this.#tagged = undefined
  }

  /** A queue that the broker named has another name. */
  renamed(oldName: string, newName: string): void {
    for (const queue of this.privateQueues) if (queue.name === oldName) queue.name = newName
  }

  // ---- transactions

  /** Two messages in one transaction on a channel that lives on; one unit after the other. */
  unit(step: StepOf<'unit'>): void {
    const { journal, number } = this.#desk
    const unit = this.#units.then(() => this.#unit(step))
    this.#units = unit.catch(() => {})
    this.#desk.forget(`unit ${number} ${journal.units.length}`, unit)
  }

  async #unit({ queue, pause, rollback }: StepOf<'unit'>): Promise<void> {
    const { journal, number, clock } = this.#desk
    const name = queueName(queue)
    const both = [1, 2].map(() => journal.publishing(number, 'unit', name))
    journal.units.push(both)
    const settle = (outcome: Published['outcome']): void => {
      for (const published of both) published.outcome = outcome
    }
    settle('unknown')
    const channel = await this.#desk.channel('unit')
    try {
      if (!this.#selected.has(channel)) {
        await channel.txSelect()
        this.#selected.add(channel)
      }
      for (const { id } of both) {
        await channel.publish(bodyOf(id, 10), '', name, { messageId: id, deliveryMode: 2 })
        await new Promise<void>(resolve => clock.after(pause, resolve))
      }
      await (rollback ? channel.txRollback() : channel.txCommit())
      settle(rollback ? 'rolled back' : 'ok')
    } catch (error) {
      if (!this.#selected.has(channel)) await channel.close()
      else await channel.txRollback().catch(() => channel.close())
      throw error
    }
  }

  // ---- topology

  entity({ kind, number, undo }: StepOf<'entity'>): void {
    const { protocol } = this.#desk
    if (protocol === undefined) return
    // Each program has its own: what two do to one entity has no known order.
    const name = `${kind} of ${this.#desk.number}: ${number}`
    const done =
      kind === 'queue'
        ? undo
          ? protocol.queueDelete(name)
          : protocol.queueDeclare(name)
        : undo
          ? protocol.exchangeDelete(name)
          : protocol.exchangeDeclare(name, 'fanout')
    this.#desk.forget(`${undo ? 'undo' : 'make'} ${name}`, this.#desk.entities.change(`${kind} ${name}`, undo, done))
  }

  fleetingExchange(): void {
    const { protocol, clock } = this.#desk
    if (protocol === undefined) return
    const name = `fleeting ${this.#desk.number} ${this.#count++}`
    const fleeting: Fleeting = { name, asked: clock.now(), declared: undefined }
    this.fleeting.push(fleeting)
    const declared = protocol.exchangeDeclare(name, 'fanout', { durable: false, recover: false }).then(() => {
      fleeting.declared = clock.now()
    })
    this.#desk.forget(`declare ${name}`, declared)
  }

  /** A queue that the broker names, bound under a key of its own, with a consumer. */
  privateQueue(): void {
    if (this.privateQueues.length < 2) this.#desk.forget('private queue', this.#privateQueue())
  }

  async #privateQueue(): Promise<void> {
    const { protocol, journal, number } = this.#desk
    if (protocol === undefined) return
    const key = `private ${number} ${this.#count++}`
    const { queue } = await protocol.queueDeclare()
    // The program has closed meanwhile, and may have come back.
    if (this.#desk.protocol !== protocol) return
    const consuming = journal.consuming('handler', key, 32, 32)
    // At once: it may have another name before it has its consumer.
    const own: PrivateQueue = { key, name: queue, consuming }
    this.privateQueues.push(own)
    try {
      await protocol.queueBind(queue, EXCHANGE, key)
      const consumer = await protocol.consumer(queue, message => {
        const id = this.#desk.idOf(message.body, message.properties.messageId)
        journal.seen(consuming, id, message.envelope.isRedeliver)
        journal.settled.add(id)
      })
      consumer.once('closed', () => {
        consuming.closed = true
      })
    } catch (error) {
      this.privateQueues = this.privateQueues.filter(each => each !== own)
      throw error
    }
  }

  // ---- questions whose answers are known

  ask({ queue, abortAfter }: StepOf<'ask'>): void {
    const name = queueName(queue)
    const asked = this.#desk.channel('ask').then(async channel => {
      const answer = await channel.queueDeclare(name, { passive: true, ...this.#aborted(abortAfter) })
      if (answer.queue !== name) this.#desk.journal.violations.push(`asked for ${name}, told of ${answer.queue}`)
    })
    this.#desk.forget(`question about ${name}`, asked)
  }

  /** Many calls at once, each on a channel of its own: they wait for numbers. */
  burst(count: number): void {
    const { protocol } = this.#desk
    if (protocol === undefined) return
    for (let n = 0; n < count; n++) {
      const name = queueName(n % 3)
      const asked = protocol.queueDeclare(name, { passive: true }).then(answer => {
        if (answer.queue !== name) this.#desk.journal.violations.push(`asked for ${name}, told of ${answer.queue}`)
      })
      this.#desk.forget(`question about ${name} on its own channel`, asked)
    }
  }

  #aborted(after: number | undefined): { signal?: AbortSignal } {
    if (after === undefined) return { signal: this.#desk.longSignal }
    const controller = new AbortController()
    this.#desk.clock.after(after, () => controller.abort())
    return { signal: controller.signal }
  }

  // ---- consumers on one channel

  /** Cancel the consumer that has the tag, and have another one take it at once. */
  taggedConsumer({ queue }: StepOf<'tagged consumer'>): void {
    this.#desk.forget('tagged consumer', this.#taggedConsumer(queueName(queue)))
  }

  async #taggedConsumer(queue: string): Promise<void> {
    const { protocol, journal, running } = this.#desk
    const channel = await this.#desk.channel('tags')
    const before = this.#tagged
    let begun = false
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
      // Until it has begun, that may be the one before it.
      if (tag === TAG && begun && this.#tagged === consuming) consuming.closed = true
    })
    const ended = (): void => {
      consuming.closed = true
    }
    try {
      await channel.basicConsume(
        (on, body, envelope, properties) => {
          const id = this.#desk.idOf(body, properties.messageId)
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
    this.#desk.runs(protocol, {
      consuming,
      takesAll: true,
      stop: async () => (has() ? cancel(consuming) : undefined),
    })
  }

  givenUpConsumer({ queue, abortAfter }: StepOf<'given up consumer'>): void {
    this.#desk.forget('given up consumer', this.#givenUpConsumer(queueName(queue), abortAfter))
  }

  async #givenUpConsumer(queue: string, abortAfter: number): Promise<void> {
    const { journal } = this.#desk
    const channel = await this.#desk.channel('given up')
    const consuming = journal.consuming('given up', queue, 0, Number.POSITIVE_INFINITY)
    try {
      const { consumerTag } = await channel.basicConsume(
        (on, body, envelope, properties) => {
          const id = this.#desk.idOf(body, properties.messageId)
          journal.seen(consuming, id, envelope.isRedeliver)
          return on.basicReject(envelope.deliveryTag, { requeue: true }).catch(() => {})
        },
        queue,
        this.#aborted(abortAfter),
      )
      await channel.basicCancel(consumerTag).catch(() => channel.close())
    } finally {
      consuming.closed = true
    }
  }

  // ---- a stream

  append(count: number): void {
    const { protocol, journal, number } = this.#desk
    if (protocol === undefined) return
    for (let n = 0; n < count; n++) {
      const published = journal.publishing(number, 'protocol', STREAM)
      const sent = protocol.publish(bodyOf(published.id, 10), '', STREAM, { messageId: published.id })
      sent.then(
        () => {
          published.outcome = 'ok'
        },
        error => journal.failed(published, error),
      )
      this.#desk.forget(`publish ${published.id}`, sent)
    }
  }

  /** Read the stream from its first message on. */
  async readStream({ prefetch }: StepOf<'read stream'>): Promise<void> {
    const { protocol, journal } = this.#desk
    if (protocol === undefined) return
    const consuming = journal.consuming('stream', STREAM, prefetch, prefetch)
    const consumer = await protocol.consumer(
      STREAM,
      message => journal.seen(consuming, this.#desk.idOf(message.body, message.properties.messageId), false),
      { prefetchCount: prefetch, arguments: { 'x-stream-offset': 'first' } },
    )
    consumer.once('closed', () => {
      consuming.closed = true
    })
    this.#desk.runs(protocol, { consuming, takesAll: false, stop: () => consumer.close() })
  }

  // ---- a secret

  /** The broker has a new one: the program says so until the client has taken it, or there is a newer one. */
  newSecret(secret: string): void {
    this.secret = secret
    this.#desk.forget(`new secret ${secret}`, this.#newSecret(secret))
  }

  async #newSecret(secret: string): Promise<void> {
    for (let { protocol } = this.#desk; protocol !== undefined && this.secret === secret; { protocol } = this.#desk) {
      try {
        await protocol.updateSecret(secret, 'it was changed')
        return
      } catch {
        await new Promise<void>(resolve => this.#desk.clock.after(1_000, resolve))
      }
    }
  }
}

const TAG = 'the only one'

/** What a return says, if it is the message's own. */
export function isReturnOf(error: unknown, { id }: Published): boolean {
  return error instanceof MessageReturnedError && error.properties.messageId === id
}
