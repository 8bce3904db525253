// What the client loads when it is first used is loaded before: a file would be waited for outside the clock.
import '../../src/patterns/consume/batch-runs.ts'
import '../../src/patterns/consume/failure-copies.ts'
import '../../src/patterns/rpc/rpc.ts'
import { getEventListeners } from 'node:events'
import {
  type AmqpProtocol,
  type Channel,
  type ConnectOptions,
  type Consumer,
  connect,
  type Envelope,
  type Message,
  type Publisher,
  type RpcClient,
  type TransportFactory,
} from '../../src/index.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import { Entities } from './entities.ts'
import { type Desk, Errands } from './errands.ts'
import type { Consuming, Journal, Outcome } from './journal.ts'
import {
  bodyOf,
  byKeyName,
  ERROR_QUEUE,
  EXCHANGE,
  isByKey,
  keyName,
  NOWHERE,
  queueName,
  RPC_QUEUE,
  STREAM,
} from './names.ts'
import type { Network } from './network.ts'
import { ProgramClock } from './program-clock.ts'
import type { Running } from './running.ts'
import { QUEUES, type Step } from './steps.ts'

/** More would leave no channel for anything else. */
const MOST_CONSUMERS = 6

type StepOf<D extends Step['do']> = Extract<Step, { do: D }>

/** A program with one connection, which does what steps say and writes down all it learns. */
export class Program implements Desk {
  readonly running: Running[] = []
  readonly number: number
  readonly clock: VirtualClock
  readonly journal: Journal
  readonly entities = new Entities()
  readonly errands: Errands
  /** Questions without an answer. */
  readonly unanswered = new Set<string>()
  /** When its connection was lost last. */
  lostAt = Number.NEGATIVE_INFINITY
  readonly #options: ConnectOptions
  /** Of its present connection. */
  #programClock: ProgramClock
  readonly #network: Network
  #protocol: AmqpProtocol | undefined
  #channels = new Map<string, Promise<Channel>>()
  #publishers = new Map<string, Promise<Publisher>>()
  #rpcClient: Promise<RpcClient> | undefined
  /** Its close, or its opening. */
  #change: Promise<unknown> = Promise.resolve()
  #answers = false
  /** The counts of messages that publishers emitted as sent again. */
  #resent: { told: number; readonly publisher: Publisher }[] = []
  #temporary = 0
  /** Consumers on their way. */
  #starting = 0
  /** Published while the broker blocks: no byte of it may leave. */
  #withheld: Set<string> | undefined
  /** It outlives all that it bounds. */
  readonly longSignal = new AbortController().signal

  constructor(number: number, options: ConnectOptions, clock: VirtualClock, network: Network, journal: Journal) {
    this.number = number
    this.#programClock = new ProgramClock(clock)
    this.#options = { ...options, createTransport: this.#createTransport }
    this.clock = clock
    this.#network = network
    this.journal = journal
    this.errands = new Errands(this)
  }

  readonly #createTransport: TransportFactory = async (target, handler, signal) => {
    const link = await this.#network.createTransport(target, handler, signal)
    link.watch = bytes => {
      // It learns of the end of it a moment before the program does.
      if (this.#protocol?.blocked === undefined) return
      for (const id of this.#withheld ?? []) {
        if (bytes.includes(`${id}\0`)) this.journal.violations.push(`${id} was written while the broker blocked`)
      }
    }
    return link
  }

  get protocol(): AmqpProtocol | undefined {
    return this.#protocol
  }

  /** What is left if nothing is pending. */
  get leftovers(): string[] {
    const left: string[] = []
    if (this.#programClock.keeping > 0) left.push(`program ${this.number}: a timer keeps the process alive`)
    const listeners = getEventListeners(this.longSignal, 'abort').length
    if (listeners > 0) left.push(`program ${this.number}: its signal has ${listeners} listeners`)
    return left
  }

  /** What its connection still counts if nothing is pending, and no consumer is left but those of its own queues. */
  get unfinished(): string[] {
    const stats = this.#protocol?.stats()
    if (stats === undefined) return []
    const { unconfirmed, waiting, receivedBytesWaiting, unacknowledged, handlersRunning, consumers } = stats
    const counts = { unconfirmed, waiting, receivedBytesWaiting, unacknowledged, handlersRunning }
    const left = Object.entries(counts).flatMap(([what, count]) => (count === 0 ? [] : `${what} is ${count}`))
    const own = this.errands.privateQueues.filter(({ consuming }) => !consuming.closed).length + (this.#answers ? 1 : 0)
    for (const { told, publisher } of this.#resent) {
      if (told !== publisher.resent)
        left.push(`it was told of ${told} messages of ${publisher.resent} that were sent again`)
    }
    if (consumers.length !== own) left.push(`${consumers.length} consumers are counted, and not ${own}`)
    return left.map(what => `program ${this.number} is idle, and ${what}`)
  }

  /** It answers questions. */
  get answers(): boolean {
    return this.#protocol !== undefined && this.#answers
  }

  /** Connect, declare, and answer questions. */
  async start(): Promise<void> {
    const clock = new ProgramClock(this.clock)
    this.#programClock = clock
    const { secret } = this.errands
    const options = { ...this.#options, clock, connectionName: `program ${this.number}` }
    const protocol = await connect(secret === '' ? options : { ...options, password: secret })
    this.#protocol = protocol
    this.#watch(protocol, clock)
    // It was changed meanwhile.
    if (secret !== this.errands.secret) this.errands.newSecret(this.errands.secret)
    await protocol.exchangeDeclare(EXCHANGE, 'direct')
    for (let queue = 0; queue < QUEUES; queue++) await protocol.queueDeclare(queueName(queue))
    for (const queue of [RPC_QUEUE, ERROR_QUEUE]) await protocol.queueDeclare(queue)
    await protocol.queueDeclare(STREAM, { arguments: { 'x-queue-type': 'stream' } })
    await protocol.rpcServer(RPC_QUEUE, message => `answer to ${message.text()}`)
    this.#answers = true
  }

  /** Come back after a close, when that is over. */
  #open(): void {
    const opened = this.#change.then(() => (this.#protocol === undefined ? this.start() : undefined))
    this.#change = opened.catch(() => {})
    this.forget(`opening of program ${this.number}`, opened)
  }

  #watch(protocol: AmqpProtocol, clock: ProgramClock): void {
    const { violations } = this.journal
    const expect = (event: string, right: boolean): void => {
      if (!right) violations.push(`program ${this.number}: "${event}" in state ${protocol.state}`)
    }
    let isBlocked = false
    protocol.on('disconnected', error => {
      this.lostAt = this.clock.now()
      this.journal.learned('disconnected', error)
      expect('disconnected', protocol.state !== 'open')
    })
    protocol.on('recovered', () => expect('recovered', protocol.state === 'open'))
    protocol.on('recoveryFailed', (what, error) => this.journal.learned(what, error))
    protocol.on('queueRenamed', (oldName, newName) => this.errands.renamed(oldName, newName))
    protocol.on('blocked', () => {
      expect('blocked', !isBlocked)
      isBlocked = true
      this.#withheld = new Set()
    })
    protocol.on('unblocked', () => {
      expect('unblocked', isBlocked && protocol.blocked === undefined)
      isBlocked = false
      this.#withheld = undefined
    })
    protocol.on('closed', () => {
      expect('closed', protocol.state === 'closed' && !isBlocked)
      this.clock.after(0, () => {
        if (clock.keeping > 0) violations.push(`program ${this.number}: closed, a timer keeps it alive`)
      })
    })
  }

  do(step: Extract<Step, { client: number }>): void {
    const protocol = this.#protocol
    if (step.do === 'open') this.#open()
    if (protocol === undefined) return
    switch (step.do) {
      case 'publish':
        for (let n = 0; n < step.count; n++) this.#publish(protocol, step)
        return
      case 'consume':
        if (this.#mayConsume) this.#consume(protocol, step)
        return
      case 'batch':
        this.#batch(step)
        return
      case 'get':
        this.#get(step)
        return
      case 'ask':
        this.errands.ask(step)
        return
      case 'burst':
        this.errands.burst(step.count)
        return
      case 'unit':
        this.errands.unit(step)
        return
      case 'entity':
        this.errands.entity(step)
        return
      case 'fleeting exchange':
        this.errands.fleetingExchange()
        return
      case 'private queue':
        this.errands.privateQueue()
        return
      case 'tagged consumer':
        this.errands.taggedConsumer(step)
        return
      case 'given up consumer':
        this.errands.givenUpConsumer(step)
        return
      case 'append':
        this.errands.append(step.count)
        return
      case 'read stream':
        if (this.#mayConsume) this.#starts('stream consumer', this.errands.readStream(step))
        return
      case 'call':
        this.#call(protocol, step.timeout)
        return
      case 'bind':
        this.#bind(protocol, step)
        return
      case 'temporary queue':
        this.forget(
          'temporary queue',
          this.channel('plain').then(channel => channel.queueDeclare('', { autoDelete: true })),
        )
        return
      case 'bad declare':
        this.forget(
          'bad declare',
          this.channel(`bad ${this.#temporary++}`).then(channel =>
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
    this.#answers = false
    this.#resent = []
    this.#withheld = undefined
    this.errands.left()
    const running = this.running.splice(0)
    const closed = this.journal.track(`close of program ${this.number}`, protocol.close())
    this.#change = closed.then(() => {
      for (const { consuming } of running) {
        consuming.closed = true
        consuming.runsOn = false
      }
    })
  }

  // ---- publishing

  #publish(protocol: AmqpProtocol, step: StepOf<'publish'>): void {
    const { way } = step
    // Messages that come back in other ways have no promise that reports it.
    const nowhere = step.nowhere === true && (way === 'protocol' || way === 'publisher' || way === 'confirm')
    // A key that may be bound or not: the message is taken, or comes back.
    const byKey = step.nowhere === true && way === 'confirm'
    const queue = byKey ? byKeyName(step.queue) : nowhere ? NOWHERE : queueName(step.queue)
    const published = this.journal.publishing(this.number, way, queue)
    this.#withheld?.add(published.id)
    const body = bodyOf(published.id, step.size)
    const bounds = { ...this.#bounds(step), mandatory: true }
    const properties = { messageId: published.id }
    const what = `publish ${published.id}`
    const sent = this.journal.track(what, this.#send(protocol, step.way, queue, body, properties, bounds))
    sent.then(
      () => {
        published.outcome = 'ok'
      },
      (error: unknown) => this.journal.failed(published, error),
    )
  }

  async #send(
    protocol: AmqpProtocol,
    way: StepOf<'publish'>['way'],
    queue: string,
    body: Buffer,
    properties: { readonly messageId: string },
    bounds: { readonly timeout?: number; readonly signal?: AbortSignal; readonly mandatory: boolean },
  ): Promise<void> {
    switch (way) {
      case 'protocol':
        return protocol.publish(body, '', queue, properties, bounds)
      case 'publisher':
        return (await this.#publisher(protocol, queue)).publish(body, queue, properties, bounds)
      case 'confirm':
        return (await this.channel('confirm', true)).publish(
          body,
          isByKey(queue) ? EXCHANGE : '',
          queue,
          { ...properties, deliveryMode: 2 },
          bounds,
        )
      case 'plain':
        return (await this.channel('plain')).publish(body, '', queue, { ...properties, deliveryMode: 2 }, bounds)
      case 'transaction':
        return protocol.transaction(async channel => {
          await channel.publish(body, '', queue, { ...properties, deliveryMode: 2 })
        })
    }
  }

  /** Publish without waiting for each, and wait for all: confirms are reported for all of them at once. */
  #batch({ queue, count }: StepOf<'batch'>): void {
    const name = queueName(queue)
    const batch = Array.from({ length: count }, () => this.journal.publishing(this.number, 'batch', name))
    const settle = (outcome: Outcome): void => {
      for (const published of batch) if (published.outcome === 'pending') published.outcome = outcome
    }
    const done = this.channel('batch', true).then(async channel => {
      for (const published of batch) {
        const { id } = published
        // The wait reports what was published, and not of what was refused before.
        channel
          .basicPublish(bodyOf(id, 10), '', name, { messageId: id, deliveryMode: 2 })
          .catch(error => this.journal.failed(published, error))
      }
      await channel.waitForConfirms()
    })
    this.journal.track(`batch ${batch[0]?.id}`, done).then(
      () => settle('ok'),
      () => settle('unknown'),
    )
  }

  #bounds(step: StepOf<'publish'>): { timeout?: number; signal?: AbortSignal } {
    const bounds: { timeout?: number; signal?: AbortSignal } = {}
    if (step.timeout !== undefined) bounds.timeout = step.timeout
    if (step.abortAfter !== undefined) {
      const controller = new AbortController()
      this.clock.after(step.abortAfter, () => controller.abort())
      bounds.signal = controller.signal
    } else if (step.timeout === undefined && step.size === 100) bounds.signal = this.longSignal
    return bounds
  }

  /** A channel by its purpose; a new one if it was closed. */
  channel(name: string, publisherConfirms = false): Promise<Channel> {
    const known = this.#channels.get(name)
    if (known !== undefined) return known
    const protocol = this.#protocol
    if (protocol === undefined) return Promise.reject(new Error('the program is closed'))
    const opened = this.journal.track(`channel ${name}`, protocol.channel({ publisherConfirms }))
    this.#channels.set(name, opened)
    const forget = (): void => {
      if (this.#channels.get(name) === opened) this.#channels.delete(name)
    }
    const lost = (error: unknown): void => {
      forget()
      this.journal.learned(`channel ${name}`, error)
    }
    opened.then(channel => channel.waitClosed().then(forget, lost), forget)
    return opened
  }

  #publisher(protocol: AmqpProtocol, queue: string): Promise<Publisher> {
    let publisher = this.#publishers.get(queue)
    if (publisher === undefined) {
      publisher = this.journal.track(`publisher for ${queue}`, protocol.publisher({ maxInFlight: 8 }))
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

  // ---- consuming

  #consume(protocol: AmqpProtocol, step: StepOf<'consume'>): void {
    const { way, prefetch, concurrency } = step
    const queue = queueName(step.queue)
    const isCallback = way === 'callback' || way === 'no-ack' || way === 'multiple'
    const unlimited = way === 'handler' ? prefetch : Number.POSITIVE_INFINITY
    const limit = concurrency === 0 || !(way === 'handler' || isCallback) ? unlimited : concurrency
    const consuming = this.journal.consuming(way, queue, way === 'no-ack' ? 0 : prefetch, limit)
    let count = 0
    const work = async (id: string): Promise<void> => {
      consuming.active++
      try {
        if (step.work > 0) await this.#sleep(step.work)
        if (step.failEvery > 0 && ++count % step.failEvery === 0) throw new Error(`no use for ${id}`)
      } finally {
        consuming.active--
      }
    }
    const started = isCallback ? this.#callback(consuming, step, work) : this.#intent(protocol, consuming, step, work)
    this.#starts(`consumer ${consuming.number} (${way}) of ${queue}`, started)
  }

  /** A consumer has begun, perhaps on a connection that was closed meanwhile. */
  runs(protocol: AmqpProtocol | undefined, running: Running): void {
    if (this.#protocol === protocol) this.running.push(running)
    else {
      void this.#change.then(() => {
        running.consuming.closed = true
      })
    }
  }

  get #mayConsume(): boolean {
    return this.running.length + this.#starting < MOST_CONSUMERS
  }

  #starts(what: string, started: Promise<void>): void {
    this.#starting++
    this.forget(
      what,
      started.finally(() => {
        this.#starting--
      }),
    )
  }

  async #intent(
    protocol: AmqpProtocol,
    consuming: Consuming,
    step: StepOf<'consume'>,
    work: (id: string) => Promise<void>,
  ): Promise<void> {
    const options = { prefetchCount: step.prefetch, ...(step.prefetch === 10 && { signal: this.longSignal }) }
    const copy = { exchangeName: '', routingKey: ERROR_QUEUE }
    const gone = (message: Message): void => {
      this.journal.settled.add(message.properties.messageId ?? '')
    }
    const decide = (message: Message) => {
      if (message.envelope.isRedeliver) return 'requeue'
      gone(message)
      return 'reject'
    }
    const onFailure = { requeue: 'requeue', reject: 'reject', copy, function: decide } as const
    const see = (message: Message): string => {
      const id = this.idOf(message.body, message.properties.messageId)
      this.journal.seen(consuming, id, message.envelope.isRedeliver)
      return id
    }
    let consumer: Consumer
    if (step.way === 'handler') {
      consumer = await protocol.consumer(
        consuming.queue,
        async message => {
          const id = see(message)
          await work(id).catch(error => {
            if (step.failure === 'reject') gone(message)
            throw error
          })
          this.journal.settled.add(id)
        },
        {
          ...options,
          onFailure: onFailure[step.failure],
          ...(step.concurrency > 0 && { concurrency: step.concurrency }),
        },
      )
    } else {
      consumer = await protocol.consumer(consuming.queue, options)
      void (step.way === 'loop' ? this.#loop(consumer, see, work) : this.#next(consumer, see, work))
    }
    consumer.once('closed', () => {
      consuming.closed = true
    })
    this.#expectCancelled(consumer, consuming)
    this.runs(protocol, {
      consuming,
      takesAll:
        step.way !== 'next' &&
        (step.failEvery === 0 || (step.way === 'handler' && (step.failure === 'copy' || step.failure === 'reject'))),
      stop: () => {
        consuming.closing = true
        return consumer.close()
      },
      pause: () => {
        consumer.pause()
        consuming.isPaused = true
      },
      resume: () => {
        consuming.isPaused = false
        consumer.resume()
      },
    })
  }

  /** A consumer resumes what was cancelled, and emits both events. */
  #expectCancelled(consumer: Consumer, { number }: Consuming): void {
    // No event came for what happened before the program had it.
    let isCancelled = true
    consumer.on('cancelled', () => {
      isCancelled = true
    })
    consumer.on('resumed', () => {
      if (!isCancelled)
        this.journal.violations.push(`consumer ${number} told that it was resumed, and not of its cancel`)
      isCancelled = false
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
        this.journal.settled.add(id)
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
        if (good ? value.ack() : value.reject()) this.journal.settled.add(id)
      }
    } catch {
      // A timeout, or the end of its connection. What it would still be given is not asked for.
      await consumer.close()
    }
  }

  async #callback(consuming: Consuming, step: StepOf<'consume'>, work: (id: string) => Promise<void>): Promise<void> {
    const protocol = this.#protocol
    const noAck = step.way === 'no-ack'
    const multiple = step.way === 'multiple'
    const channel = await this.channel(`consumer ${consuming.number}`)
    const options = { noAck, ...(step.concurrency > 0 && { concurrency: step.concurrency }) }
    if (!noAck) await channel.basicQos({ prefetchCount: step.prefetch })
    let worked: { readonly id: string; readonly tag: number }[] = []
    /** One ack for all that was worked on since the last one. */
    const ackAll = async (): Promise<void> => {
      const all = worked
      worked = []
      const last = all.at(-1)
      if (last === undefined) return
      const sent = await channel.basicClientAck(last.tag, { multiple: true }).catch(() => false)
      if (sent) for (const { id } of all) this.journal.settled.add(id)
    }
    const callback = async (
      on: Channel,
      body: Buffer,
      envelope: Envelope,
      properties: { messageId?: string | undefined },
    ) => {
      const id = this.idOf(body, properties.messageId)
      this.journal.seen(consuming, id, envelope.isRedeliver)
      if (noAck) this.journal.settled.add(id)
      if (multiple) {
        worked.push({ id, tag: envelope.deliveryTag })
        if (worked.length >= Math.min(step.prefetch, 5)) await ackAll()
        else this.clock.after(100, ackAll)
        return
      }
      const good = await work(id).then(
        () => true,
        () => false,
      )
      if (noAck) return
      // An ack may come as late as it likes: it settles its own message, or none.
      if (step.work > 0 && this.clock.random() < 0.3) await this.#sleep(3_000)
      const settled = good ? on.basicClientAck(envelope.deliveryTag) : on.basicReject(envelope.deliveryTag)
      const sent = await settled.catch(() => false)
      if (sent) this.journal.settled.add(id)
    }
    const { consumerTag } = await channel.basicConsume(callback, consuming.queue, {
      ...options,
      signal: this.longSignal,
    })
    const ended = (): void => {
      if (!consuming.closed) consuming.runsOn = noAck && !consuming.closing
      consuming.closed = true
    }
    channel.addCancellationCallback(ended)
    channel.waitClosed().then(ended, ended)
    const stop = async (): Promise<void> => {
      consuming.closing = true
      const way = this.#isTight ? 0 : consuming.number % 3
      try {
        await channel.basicCancel(consumerTag, { noWait: way === 2 && !noAck })
        if (way !== 0) return
      } catch {
        // It is unknown whether it is cancelled.
      }
      await channel.close()
    }
    this.runs(protocol, { consuming, takesAll: true, stop })
  }

  get #isTight(): boolean {
    return (this.#options.channelMax ?? 0) > 0
  }

  #get({ queue, abortAfter }: StepOf<'get'>): void {
    const got = this.channel('get').then(async channel => {
      const controller = new AbortController()
      if (abortAfter !== undefined) this.clock.after(abortAfter, () => controller.abort())
      const result = await channel.basicGet(queueName(queue), { signal: controller.signal })
      if (result === null) return
      const id = this.idOf(result.body, result.properties.messageId)
      if (await channel.basicClientAck(result.envelope.deliveryTag)) this.journal.settled.add(id)
    })
    this.forget('get', got)
  }

  /** The id that the body begins with; it has to be the one of the properties, and the body whole. */
  idOf(body: Buffer, messageId: string | undefined): string {
    const id = messageId ?? ''
    if (!body.equals(bodyOf(id, Math.max(0, body.length - Buffer.byteLength(id) - 1)))) {
      this.journal.violations.push(`the body of ${id} came changed`)
    }
    return id
  }

  // ---- the rest

  #call(protocol: AmqpProtocol, timeout: number): void {
    const client = this.#rpcClient ?? protocol.rpcClient()
    this.#rpcClient = client
    client.catch(() => {
      // It was lost before it was open: the next call asks for another.
      if (this.#rpcClient === client) this.#rpcClient = undefined
    })
    const question = `question ${this.#temporary++}`
    this.unanswered.add(question)
    const called = client.then(async opened => {
      const answer = (await opened.call(RPC_QUEUE, question, { timeout, signal: this.longSignal })).text()
      this.unanswered.delete(question)
      if (answer !== `answer to ${question}`) this.journal.violations.push(`${question} got "${answer}"`)
    })
    this.forget(question, called)
  }

  #bind(protocol: AmqpProtocol, { queue, key, undo }: StepOf<'bind'>): void {
    const [name, routingKey] = [queueName(queue), keyName(key)]
    const binding = `binding ${name} ${routingKey}`
    const done = undo
      ? protocol.queueUnbind(name, EXCHANGE, routingKey)
      : protocol.queueBind(name, EXCHANGE, routingKey)
    this.forget(`${undo ? 'unbind' : 'bind'} ${binding}`, this.entities.change(binding, undo, done))
  }

  #closeChannel(): void {
    const channel = this.#channels.get('confirm') ?? this.#channels.get('plain')
    if (channel === undefined) return
    this.#channels.delete('confirm')
    this.forget(
      'close of a channel',
      channel.then(opened => opened.close()),
    )
  }

  #sleep(milliseconds: number): Promise<void> {
    return new Promise(resolve => this.clock.after(milliseconds, resolve))
  }

  /** Its end is all that counts. */
  forget(what: string, promise: Promise<unknown>): void {
    this.journal.track(what, promise).catch(() => {})
  }
}
