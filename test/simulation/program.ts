import {
  type AmqpProtocol,
  type Channel,
  type ConnectOptions,
  type Consumer,
  connect,
  type Envelope,
  type Message,
  PublishError,
  type Publisher,
  type RpcClient,
} from '../../src/index.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import type { Consuming, Journal, Outcome, Published } from './journal.ts'
import type { Step } from './steps.ts'

type StepOf<D extends Step['do']> = Extract<Step, { do: D }>

interface Running {
  readonly consuming: Consuming
  /** It takes every message, however long that lasts: its queue must run empty. */
  readonly takesAll: boolean
  pause?(): void
  resume?(): void
  stop(): Promise<void>
}

/** A binding that one program makes and undoes. */
interface Binding {
  /** Undefined while it is not known for sure: two calls at once, or a fault. */
  bound: boolean | undefined
  running: number
}

export const queueName = (queue: number): string => `queue ${queue}`
export const EXCHANGE = 'orders'
export const keyName = (key: number): string => `key ${key}`
export const RPC_QUEUE = 'questions'

/** A program with one connection, which does what steps say and writes down all it learns. */
export class Program {
  readonly running: Running[] = []
  readonly #number: number
  readonly #options: ConnectOptions
  readonly #clock: VirtualClock
  readonly #journal: Journal
  #protocol: AmqpProtocol | undefined
  #channels = new Map<string, Promise<Channel>>()
  #publishers = new Map<string, Promise<Publisher>>()
  #rpcClient: Promise<RpcClient> | undefined
  readonly bindings = new Map<string, Binding>()
  #temporary = 0

  constructor(number: number, options: ConnectOptions, clock: VirtualClock, journal: Journal) {
    this.#number = number
    this.#options = options
    this.#clock = clock
    this.#journal = journal
  }

  get protocol(): AmqpProtocol | undefined {
    return this.#protocol
  }

  /** Connect, declare, and answer questions. */
  async start(queues: number): Promise<void> {
    const protocol = await connect({ ...this.#options, connectionName: `program ${this.#number}` })
    this.#protocol = protocol
    await protocol.exchangeDeclare(EXCHANGE, 'direct')
    for (let queue = 0; queue < queues; queue++) await protocol.queueDeclare(queueName(queue))
    await protocol.queueDeclare(RPC_QUEUE)
    await protocol.rpcServer(RPC_QUEUE, message => `answer to ${message.text()}`)
  }

  do(step: Exclude<Step, { do: 'wait' | 'network' | 'broker' | 'cut after' | 'stop consumer' | 'pause' }>): void {
    const protocol = this.#protocol
    if (protocol === undefined) return
    switch (step.do) {
      case 'publish':
        for (let n = 0; n < step.count; n++) this.#publish(protocol, step)
        return
      case 'consume':
        this.#consume(protocol, step)
        return
      case 'batch':
        this.#batch(step)
        return
      case 'get':
        this.#get(queueName(step.queue))
        return
      case 'call':
        this.#call(protocol, step.timeout)
        return
      case 'bind':
        this.#bind(protocol, step)
        return
      case 'temporary queue':
        this.#forget(
          'temporary queue',
          this.#channel('plain').then(channel => channel.queueDeclare('', { autoDelete: true })),
        )
        return
      case 'bad declare':
        this.#forget(
          'bad declare',
          this.#channel(`bad ${this.#temporary++}`).then(channel =>
            channel.queueDeclare(queueName(0), { passive: false, durable: false }),
          ),
        )
        return
      case 'close channel':
        this.#closeChannel()
        return
      case 'close':
        this.close()
    }
  }

  /** Close the connection. Its consumers are closed when that has resolved. */
  close(): void {
    const protocol = this.#protocol
    if (protocol === undefined) return
    this.#protocol = undefined
    this.#channels = new Map()
    this.#publishers = new Map()
    this.#rpcClient = undefined
    const running = this.running.splice(0)
    const closed = this.#journal.track(`close of program ${this.#number}`, protocol.close())
    void closed.then(() => {
      for (const { consuming } of running) consuming.closed = true
    })
  }

  // ---- publishing

  #publish(protocol: AmqpProtocol, step: StepOf<'publish'>): void {
    const queue = queueName(step.queue)
    const published = this.#journal.publishing(this.#number, step.way, queue)
    const body = bodyOf(published.id, step.size)
    const bounds = this.#bounds(step)
    const properties = { messageId: published.id }
    const what = `publish ${published.id}`
    const sent = this.#journal.track(what, this.#send(protocol, step.way, queue, body, properties, bounds))
    sent.then(
      () => {
        published.outcome = 'ok'
      },
      (error: unknown) => this.#failed(published, error),
    )
  }

  async #send(
    protocol: AmqpProtocol,
    way: StepOf<'publish'>['way'],
    queue: string,
    body: Buffer,
    properties: { readonly messageId: string },
    bounds: { readonly timeout?: number; readonly signal?: AbortSignal },
  ): Promise<void> {
    switch (way) {
      case 'protocol':
        return protocol.publish(body, '', queue, properties, bounds)
      case 'publisher':
        return (await this.#publisher(protocol, queue)).publish(body, queue, properties, bounds)
      case 'confirm':
        return (await this.#channel('confirm', true)).publish(
          body,
          '',
          queue,
          { ...properties, deliveryMode: 2 },
          bounds,
        )
      case 'plain':
        return (await this.#channel('plain')).publish(body, '', queue, { ...properties, deliveryMode: 2 }, bounds)
      case 'transaction':
        return protocol.transaction(async channel => {
          await channel.publish(body, '', queue, { ...properties, deliveryMode: 2 })
        })
    }
  }

  /** Publish without waiting for each, and wait for all: what confirms tell is told for all of them at once. */
  #batch({ queue, count }: StepOf<'batch'>): void {
    const name = queueName(queue)
    const batch = Array.from({ length: count }, () => this.#journal.publishing(this.#number, 'batch', name))
    const settle = (outcome: Outcome): void => {
      for (const published of batch) published.outcome = outcome
    }
    const done = this.#channel('batch', true).then(async channel => {
      for (const { id } of batch) {
        channel.basicPublish(bodyOf(id, 10), '', name, { messageId: id, deliveryMode: 2 }).catch(() => {})
      }
      await channel.waitForConfirms()
    })
    this.#journal.track(`batch ${batch[0]?.id}`, done).then(
      () => settle('ok'),
      () => settle('unknown'),
    )
  }

  #failed(published: Published, error: unknown): void {
    published.error = error as Error
    const { outcome } = error as { outcome?: Outcome }
    published.outcome = outcome ?? 'no outcome'
    if (error instanceof PublishError && outcome === undefined) {
      this.#journal.violations.push(`${published.id} failed without an outcome: ${error.message}`)
    }
  }

  #bounds(step: StepOf<'publish'>): { timeout?: number; signal?: AbortSignal } {
    const bounds: { timeout?: number; signal?: AbortSignal } = {}
    if (step.timeout !== undefined) bounds.timeout = step.timeout
    if (step.abortAfter !== undefined) {
      const controller = new AbortController()
      this.#clock.after(step.abortAfter, () => controller.abort())
      bounds.signal = controller.signal
    }
    return bounds
  }

  /** A channel by what it is for; another one where it was closed. */
  #channel(name: string, publisherConfirms = false): Promise<Channel> {
    const known = this.#channels.get(name)
    if (known !== undefined) return known
    const protocol = this.#protocol
    if (protocol === undefined) return Promise.reject(new Error('the program is closed'))
    const opened = this.#journal.track(`channel ${name}`, protocol.channel({ publisherConfirms }))
    this.#channels.set(name, opened)
    const forget = (): void => {
      if (this.#channels.get(name) === opened) this.#channels.delete(name)
    }
    opened.then(channel => channel.waitClosed().then(forget, forget), forget)
    return opened
  }

  #publisher(protocol: AmqpProtocol, queue: string): Promise<Publisher> {
    let publisher = this.#publishers.get(queue)
    if (publisher === undefined) {
      publisher = this.#journal.track(`publisher for ${queue}`, protocol.publisher({ maxInFlight: 8 }))
      this.#publishers.set(queue, publisher)
    }
    return publisher
  }

  // ---- consuming

  #consume(protocol: AmqpProtocol, step: StepOf<'consume'>): void {
    const queue = queueName(step.queue)
    const consuming = this.#journal.consuming(step.way, queue)
    let count = 0
    const work = async (id: string): Promise<void> => {
      if (step.work > 0) await this.#sleep(step.work)
      if (step.failEvery > 0 && ++count % step.failEvery === 0) throw new Error(`no use for ${id}`)
    }
    const started =
      step.way === 'callback' || step.way === 'no-ack'
        ? this.#callback(consuming, step, work)
        : this.#intent(protocol, consuming, step, work)
    this.#forget(`consumer ${consuming.number} (${step.way}) of ${queue}`, started)
  }

  async #intent(
    protocol: AmqpProtocol,
    consuming: Consuming,
    step: StepOf<'consume'>,
    work: (id: string) => Promise<void>,
  ): Promise<void> {
    const options = { prefetchCount: step.prefetch }
    const see = (message: Message): string => {
      const id = this.#idOf(message.body, message.properties.messageId)
      this.#journal.seen(consuming, id, message.envelope.isRedeliver)
      return id
    }
    let consumer: Consumer
    if (step.way === 'handler') {
      consumer = await protocol.consumer(
        consuming.queue,
        async message => {
          const id = see(message)
          await work(id)
          this.#journal.settled.add(id)
        },
        options,
      )
    } else {
      consumer = await protocol.consumer(consuming.queue, options)
      void (step.way === 'loop' ? this.#loop(consumer, see, work) : this.#next(consumer, see, work))
    }
    consumer.once('closed', () => {
      consuming.closed = true
    })
    this.running.push({
      consuming,
      takesAll: step.way === 'handler' && step.failEvery === 0,
      stop: () => consumer.close(),
      pause: () => consumer.pause(),
      resume: () => consumer.resume(),
    })
  }

  async #loop(
    consumer: Consumer,
    see: (message: Message) => string,
    work: (id: string) => Promise<void>,
  ): Promise<void> {
    try {
      for await (const message of consumer) {
        const id = see(message)
        await work(id)
        this.#journal.settled.add(id)
      }
    } catch {
      // Its own failure, or the end of its connection.
    }
  }

  async #next(
    consumer: Consumer,
    see: (message: Message) => string,
    work: (id: string) => Promise<void>,
  ): Promise<void> {
    try {
      for (;;) {
        const { value, done } = await consumer.next({ timeout: 60_000 })
        if (done === true || value === undefined) return
        const id = see(value)
        const good = await work(id).then(
          () => true,
          () => false,
        )
        if (good ? value.ack() : value.reject()) this.#journal.settled.add(id)
      }
    } catch {
      // A timeout, or the end of its connection. What it would still be given, nobody would ask for.
      await consumer.close()
    }
  }

  async #callback(consuming: Consuming, step: StepOf<'consume'>, work: (id: string) => Promise<void>): Promise<void> {
    const noAck = step.way === 'no-ack'
    const channel = await this.#channel(`consumer ${consuming.number}`)
    if (!noAck) await channel.basicQos({ prefetchCount: step.prefetch })
    const callback = async (
      on: Channel,
      body: Buffer,
      envelope: Envelope,
      properties: { messageId?: string | undefined },
    ) => {
      const id = this.#idOf(body, properties.messageId)
      this.#journal.seen(consuming, id, envelope.isRedeliver)
      if (noAck) this.#journal.settled.add(id)
      const good = await work(id).then(
        () => true,
        () => false,
      )
      if (noAck) return
      const settled = good ? on.basicClientAck(envelope.deliveryTag) : on.basicReject(envelope.deliveryTag)
      const sent = await settled.catch(() => false)
      if (sent) this.#journal.settled.add(id)
    }
    const { consumerTag } = await channel.basicConsume(callback, consuming.queue, { noAck })
    const stop = async (): Promise<void> => {
      await channel.basicCancel(consumerTag)
      await channel.close()
    }
    this.running.push({ consuming, takesAll: false, stop })
  }

  #get(queue: string): void {
    const got = this.#channel('get').then(async channel => {
      const result = await channel.basicGet(queue)
      if (result === null) return
      const id = this.#idOf(result.body, result.properties.messageId)
      if (await channel.basicClientAck(result.envelope.deliveryTag)) this.#journal.settled.add(id)
    })
    this.#forget('get', got)
  }

  /** The id that the body begins with; it has to be the one of the properties, and the body whole. */
  #idOf(body: Buffer, messageId: string | undefined): string {
    const id = messageId ?? ''
    if (!body.equals(bodyOf(id, Math.max(0, body.length - Buffer.byteLength(id) - 1)))) {
      this.#journal.violations.push(`the body of ${id} came changed`)
    }
    return id
  }

  // ---- the rest

  #call(protocol: AmqpProtocol, timeout: number): void {
    this.#rpcClient ??= protocol.rpcClient()
    const question = `question ${this.#temporary++}`
    const called = this.#rpcClient.then(async client => {
      const answer = (await client.call(RPC_QUEUE, question, { timeout })).text()
      if (answer !== `answer to ${question}`) this.#journal.violations.push(`${question} got "${answer}"`)
    })
    this.#forget(question, called)
  }

  #bind(protocol: AmqpProtocol, { queue, key, undo }: StepOf<'bind'>): void {
    const [name, routingKey] = [queueName(queue), keyName(key)]
    const binding = `${name} ${routingKey}`
    const state = this.bindings.get(binding) ?? { bound: undefined, running: 0 }
    this.bindings.set(binding, state)
    const alone = state.running === 0
    state.running++
    state.bound = undefined
    const done = undo
      ? protocol.queueUnbind(name, EXCHANGE, routingKey)
      : protocol.queueBind(name, EXCHANGE, routingKey)
    const ended = done.then(
      () => {
        if (alone && --state.running === 0) state.bound = !undo
        else if (!alone) state.running--
      },
      () => {
        state.running--
      },
    )
    this.#forget(`${undo ? 'unbind' : 'bind'} ${binding}`, ended)
  }

  #closeChannel(): void {
    const channel = this.#channels.get('confirm') ?? this.#channels.get('plain')
    if (channel === undefined) return
    this.#channels.delete('confirm')
    this.#forget(
      'close of a channel',
      channel.then(opened => opened.close()),
    )
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise(resolve => this.#clock.after(milliseconds, resolve))
  }

  /** Its end is all that counts. */
  #forget(what: string, promise: Promise<unknown>): void {
    this.#journal.track(what, promise).catch(() => {})
  }
}

/** A body that says whose it is, and whose every byte is known. */
export function bodyOf(id: string, size: number): Buffer {
  const body = Buffer.alloc(Buffer.byteLength(id) + 1 + size, id.length)
  body.write(id)
  body[Buffer.byteLength(id)] = 0
  return body
}
