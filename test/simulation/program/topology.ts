import type { AmqpProtocol, ExchangeDeclareOptions, QueueDeclareOptions } from '../../../src/index.ts'
import {
  describeBinding,
  describeExchange,
  describeQueue,
  ERROR_QUEUE,
  EXCHANGE,
  keyName,
  queueName,
} from '../names.ts'
import type { Desk, StepOf } from './desk.ts'

/** A queue or an exchange that is not durable, and is not declared again. */
interface Fleeting {
  readonly kind: 'queue' | 'exchange'
  readonly name: string
  readonly asked: number
  declared: number | undefined
}

/** A call that makes something or undoes it, and what that looks like at the broker. */
interface Made {
  readonly key: string
  readonly look: string
  readonly done: Promise<unknown>
}

/** Queues that a program makes: each flag, and arguments. Each is made again by a recovery, if the broker has lost it. */
const QUEUES: readonly QueueDeclareOptions[] = [
  {},
  { exclusive: true },
  { arguments: { 'x-queue-type': 'quorum', 'x-max-length': 50, 'x-dead-letter-exchange': EXCHANGE } },
]
const EXCHANGES: readonly (readonly [type: string, ExchangeDeclareOptions])[] = [
  ['fanout', {}],
  ['topic', { durable: false, arguments: { 'alternate-exchange': EXCHANGE } }],
  ['headers', { durable: false, internal: true }],
]
/** Bindings between what is always there. */
const MATCH = { 'x-match': 'any', size: 'large' }

/** What a program makes and undoes at the broker. */
export class Topology {
  readonly #desk: Desk
  readonly fleeting: Fleeting[] = []
  /** Keys of entities that a restart of the broker takes, or the end of a connection. */
  readonly #shortLived = new Set<string>()
  #count = 0

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** The connection is closed: what does not outlive it, or its broker, may be gone. */
  left(): void {
    for (const key of this.#shortLived) this.#desk.entities.unsure(key)
  }

  /** Make or undo something. Each program has its own: what two do to one entity has no known order. */
  entity(step: StepOf<'entity'>): void {
    const { protocol } = this.#desk
    if (protocol === undefined) return
    const { key, look, done } = this.#make(protocol, step)
    this.#desk.forget(`${step.undo ? 'undo' : 'make'} ${key}`, this.#desk.entities.change(key, step.undo, done, look))
  }

  #make(protocol: AmqpProtocol, { kind, number, undo }: StepOf<'entity'>): Made {
    const name = `${kind} of ${this.#desk.number}: ${number}`
    switch (kind) {
      case 'queue': {
        const options = QUEUES[number] ?? {}
        const key = `queue ${name}`
        if (options.exclusive === true) this.#shortLived.add(key)
        const done = undo ? protocol.queueDelete(name) : protocol.queueDeclare(name, options)
        return { key, look: describeQueue({ durable: options.exclusive !== true, ...options }), done }
      }
      case 'exchange': {
        const [type, options] = EXCHANGES[number] ?? ['fanout', {}]
        const key = `exchange ${name}`
        if (options.durable === false) this.#shortLived.add(key)
        const done = undo ? protocol.exchangeDelete(name) : protocol.exchangeDeclare(name, type, options)
        return { key, look: describeExchange({ type, durable: true, ...options }), done }
      }
      case 'binding': {
        const source = number === 0 ? 'amq.topic' : 'amq.headers'
        const [destination, args] = number === 2 ? [ERROR_QUEUE, MATCH] : ['amq.fanout', number === 0 ? {} : MATCH]
        const key = describeBinding(source, destination, name, args)
        const parts = [destination, source, name, { arguments: args }] as const
        const done =
          number === 2
            ? undo
              ? protocol.queueUnbind(...parts)
              : protocol.queueBind(...parts)
            : undo
              ? protocol.exchangeUnbind(...parts)
              : protocol.exchangeBind(...parts)
        return { key, look: '', done }
      }
    }
  }

  /** Something that the broker deletes by itself when its last consumer, or its last binding, is gone. */
  passing({ kind, ms }: StepOf<'passing'>): void {
    const { protocol } = this.#desk
    if (protocol === undefined) return
    const name = `passing ${kind} ${this.#desk.number} ${this.#count++}`
    const done = kind === 'queue' ? this.#passingQueue(protocol, name, ms) : this.#passingExchange(protocol, name, ms)
    this.#desk.forget(name, this.#desk.entities.change(`${kind} ${name}`, true, this.#undisturbed(protocol, done)))
  }

  /** Rejects if its connection was lost meanwhile: then it is not known what is there. */
  async #undisturbed(protocol: AmqpProtocol, done: Promise<void>): Promise<void> {
    const { lostAt } = this.#desk
    const isCalm = protocol.state === 'open'
    await done
    // A close resolves though nothing answers: a reply after it says that the broker has read all.
    await protocol.queueDeclare(queueName(0), { passive: true })
    if (!isCalm || this.#desk.protocol !== protocol || this.#desk.lostAt !== lostAt) throw new Error('it was disturbed')
  }

  async #passingQueue(protocol: AmqpProtocol, name: string, ms: number): Promise<void> {
    await protocol.queueDeclare(name, { autoDelete: true })
    const consumers = [await protocol.consumer(name, () => {})]
    try {
      consumers.push(await protocol.consumer(name, () => {}))
      await this.#desk.sleep(ms)
      await consumers[0]?.close()
      await this.#desk.sleep(ms)
    } finally {
      for (const consumer of consumers) await consumer.close()
    }
  }

  async #passingExchange(protocol: AmqpProtocol, name: string, ms: number): Promise<void> {
    await protocol.exchangeDeclare(name, 'fanout', { autoDelete: true })
    await protocol.queueBind(ERROR_QUEUE, name, '')
    await this.#desk.sleep(ms)
    await protocol.queueUnbind(ERROR_QUEUE, name, '')
  }

  makeFleeting(): void {
    const { protocol, clock } = this.#desk
    if (protocol === undefined) return
    const name = `fleeting ${this.#desk.number} ${this.#count++}`
    const options = { durable: false, recover: false }
    const make = (kind: Fleeting['kind'], declared: Promise<unknown>) => {
      const fleeting: Fleeting = { kind, name, asked: clock.now(), declared: undefined }
      this.fleeting.push(fleeting)
      const done = declared.then(() => {
        fleeting.declared = clock.now()
      })
      this.#desk.forget(`declare ${kind} ${name}`, done)
    }
    make('exchange', protocol.exchangeDeclare(name, 'fanout', options))
    make('queue', protocol.queueDeclare(name, options))
  }

  bind(protocol: AmqpProtocol, { queue, key, undo }: StepOf<'bind'>): void {
    const [name, routingKey] = [queueName(queue), keyName(key)]
    const binding = `binding ${name} ${routingKey}`
    const done = undo
      ? protocol.queueUnbind(name, EXCHANGE, routingKey)
      : protocol.queueBind(name, EXCHANGE, routingKey)
    this.#desk.forget(`${undo ? 'unbind' : 'bind'} ${binding}`, this.#desk.entities.change(binding, undo, done))
  }

  /** On a channel that others use too: the channel's last queue is another one from then on. */
  temporaryQueue(): void {
    const declared = this.#desk.channel('temporary').then(channel => channel.queueDeclare('', { autoDelete: true }))
    this.#desk.forget('temporary queue', declared)
  }

  /** The broker refuses it, and closes the channel. */
  badDeclare(): void {
    const refused = this.#desk
      .channel(`bad ${this.#count++}`)
      .then(channel => channel.queueDeclare(queueName(0), { passive: false, durable: false }))
    this.#desk.forget('bad declare', refused)
  }
}
