// What the client loads when it is first used is loaded before: a file would be waited for outside the clock.
import '../../../src/patterns/consume/batch-runs.ts'
import '../../../src/patterns/consume/failure-copies.ts'
import '../../../src/connection/token-renewal.ts'
import '../../../src/patterns/consume/stored-offsets.ts'
import '../../../src/patterns/rpc/rpc.ts'
import '../../../src/patterns/typed/typed.ts'
import { getEventListeners } from 'node:events'
import {
  type AmqpProtocol,
  type BasicProperties,
  type Channel,
  type ConnectOptions,
  connect,
  type GetEnvelope,
  type TransportFactory,
} from '../../../src/index.ts'
import type { VirtualClock } from '../../support/virtual-clock.ts'
import { wrongProperty } from '../content.ts'
import type { Journal } from '../journal.ts'
import { ERROR_QUEUE, EXCHANGE, isBodyOf, queueName, RPC_QUEUE, STREAM } from '../names.ts'
import type { Network } from '../network.ts'
import { QUEUES, type Step } from '../steps.ts'
import { carryOut } from './carry-out.ts'
import { ChannelConsumers } from './channel-consumers.ts'
import { Consumers } from './consumers.ts'
import type { Desk } from './desk.ts'
import { Entities } from './entities.ts'
import { ErrandRuns } from './errand-runs.ts'
import { watchEvents } from './events.ts'
import { PrivateQueues } from './private-queues.ts'
import { ProgramClock } from './program-clock.ts'
import { Publishing } from './publishing.ts'
import { Questions } from './questions.ts'
import type { Running } from './running.ts'
import { Secret } from './secret.ts'
import { Stream } from './stream.ts'
import { Topology } from './topology.ts'
import { Transactions } from './transactions.ts'

/** Channels that publish. */
const PUBLISHING: ReadonlySet<string> = new Set(['confirm', 'plain', 'batch'])

/** A program with one connection, or with another one for what it publishes, which does what steps say and writes down all it learns. */
export class Program implements Desk {
  readonly running: Running[] = []
  readonly number: number
  readonly clock: VirtualClock
  readonly journal: Journal
  readonly entities = new Entities()
  readonly publishing = new Publishing(this)
  readonly consumers = new Consumers(this)
  readonly channelConsumers = new ChannelConsumers(this)
  readonly transactions = new Transactions(this)
  readonly topology = new Topology(this)
  readonly privateQueues = new PrivateQueues(this)
  readonly questions = new Questions(this)
  readonly stream = new Stream(this)
  readonly secret = new Secret(this)
  readonly errands: ErrandRuns
  /** When its connection was lost last. */
  lostAt = Number.NEGATIVE_INFINITY
  /** When its connection for publishes was lost last, if it has one. */
  publisherLostAt = Number.NEGATIVE_INFINITY
  readonly #options: ConnectOptions
  /** Of its present connection. */
  #programClock: ProgramClock
  readonly #network: Network
  #protocol: AmqpProtocol | undefined
  #channels = new Map<string, Promise<Channel>>()
  /** Its close, or its opening. */
  #change: Promise<unknown> = Promise.resolve()
  #answers = false
  #counted: { protocol?: AmqpProtocol | undefined; published: number; delivered: number } = {
    published: 0,
    delivered: 0,
  }
  /** It outlives all that it bounds. */
  readonly longSignal = new AbortController().signal

  constructor(number: number, options: ConnectOptions, clock: VirtualClock, network: Network, journal: Journal) {
    this.number = number
    this.#programClock = new ProgramClock(clock)
    // What has no promise is reported here; nothing else has to be done with it.
    const onError = (error: unknown): void => {
      if (journal.reported.has(error)) journal.violations.push(`program ${number}: it was told twice of "${error}"`)
      journal.reported.add(error)
    }
    this.#options = { ...options, onError, createTransport: this.#createTransport }
    this.clock = clock
    this.#network = network
    this.journal = journal
    this.errands = new ErrandRuns(this, network, () => this.secret.current)
  }

  readonly #createTransport: TransportFactory = async (target, handler, signal) => {
    const link = await this.#network.createTransport(target, handler, signal)
    link.complain = what => this.journal.violations.push(`program ${this.number}: ${what}`)
    link.complainOfFrames = link.complain
    link.watch = bytes => {
      // It learns of the end of it a moment before the program does.
      if (this.publishing.withheld === undefined || !this.#isBlocked) return
      for (const id of this.publishing.withheld) {
        if (bytes.includes(`${id}\0`)) this.journal.violations.push(`${id} was written while the broker blocked`)
      }
    }
    return link
  }

  /** The broker takes no publishes from it. */
  get #isBlocked(): boolean {
    const protocol = this.#protocol
    if (!this.isSeparate) return protocol?.blocked !== undefined
    return protocol?.stats().publisherConnection?.blockedReason !== undefined
  }

  /** It has two connections. */
  get isSeparate(): boolean {
    return this.#options.connections === 'separate'
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

  /** What is left if its connection is closed, too. */
  get remains(): string[] {
    const { running } = this.#programClock
    return running === 0 ? this.leftovers : [...this.leftovers, `program ${this.number}: closed, ${running} timers run`]
  }

  get publishesLostAt(): number {
    return Math.max(this.lostAt, this.publisherLostAt)
  }

  /** What its options bound. */
  judgeLimits(): void {
    this.#judgeFigures()
    this.publishing.judgeLimits(this.#options.maxWaiting ?? Number.POSITIVE_INFINITY)
  }

  /** What is counted once stays counted. */
  #judgeFigures(): void {
    const stats = this.#protocol?.stats()
    if (stats === undefined) return
    const { published, delivered } = stats
    const before = this.#counted
    if (before.protocol === this.#protocol && (published < before.published || delivered < before.delivered)) {
      const was = `${before.published} messages published and ${before.delivered} delivered`
      this.journal.violations.push(
        `program ${this.number} had counted ${was}, and counts ${published} and ${delivered}`,
      )
    }
    this.#counted = { protocol: this.#protocol, published, delivered }
  }

  /** What its connection still counts if nothing is pending, and no consumer is left but those of its own queues. */
  get unfinished(): string[] {
    const stats = this.#protocol?.stats()
    if (stats === undefined) return []
    const { unconfirmed, waiting, receivedBytesWaiting, unacknowledged, handlersRunning, consumers } = stats
    const counts = { unconfirmed, waiting, receivedBytesWaiting, unacknowledged, handlersRunning }
    const left = Object.entries(counts).flatMap(([what, count]) => (count === 0 ? [] : `${what} is ${count}`))
    const own = this.privateQueues.all.filter(({ consuming }) => !consuming.closed).length + (this.#answers ? 1 : 0)
    left.push(...this.publishing.unfinished)
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
    const { current: secret } = this.secret
    const options = { ...this.#options, clock, connectionName: `program ${this.number}` }
    const protocol = await connect(secret === '' ? options : { ...options, password: secret })
    this.#protocol = protocol
    watchEvents(this, protocol, clock)
    // It was changed meanwhile.
    if (secret !== this.secret.current) this.secret.change(this.secret.current)
    await protocol.exchangeDeclare(EXCHANGE, 'direct')
    for (let queue = 0; queue < QUEUES; queue++) await protocol.queueDeclare(queueName(queue))
    for (const queue of [RPC_QUEUE, ERROR_QUEUE]) await protocol.queueDeclare(queue)
    await protocol.queueDeclare(STREAM, { arguments: { 'x-queue-type': 'stream' } })
    await protocol.rpcServer(RPC_QUEUE, message => `answer to ${message.text()}`)
    // It may have been closed meanwhile, and another one may be opening.
    if (this.#protocol === protocol) this.#answers = true
  }

  /** Come back after a close, when that is over. */
  #open(): void {
    const opened = this.#change.then(() => (this.#protocol === undefined ? this.start() : undefined))
    this.#change = opened.catch(() => {})
    this.forget(`opening of program ${this.number}`, opened)
  }

  do(step: Extract<Step, { client: number }>): void {
    const protocol = this.#protocol
    if (step.do === 'open') this.#open()
    if (protocol === undefined) return
    carryOut(this, protocol, step)
  }

  /** A connection that is closed keeps no process alive. */
  judgeQuiet(clock: ProgramClock): void {
    this.clock.after(0, () => {
      if (clock.keeping > 0) this.journal.violations.push(`program ${this.number}: closed, a timer keeps it alive`)
    })
  }

  /** Close the connection. Its consumers are closed when that has resolved. */
  close(): void {
    const protocol = this.#protocol
    if (protocol === undefined) return
    this.#protocol = undefined
    this.#channels = new Map()
    this.#answers = false
    for (const part of [this.publishing, this.questions, this.topology, this.privateQueues, this.channelConsumers])
      part.left()
    const running = this.running.splice(0)
    const closed = this.journal.track(`close of program ${this.number}`, protocol.close())
    const clock = this.#programClock
    const before = this.#change
    this.#change = closed.then(() => {
      this.judgeQuiet(clock)
      for (const { consuming } of running) {
        consuming.closed = true
        consuming.runsOn = false
      }
      // An opening that was asked for before may only begin now.
      return before
    })
  }

  /** A channel by its purpose; a new one if it was closed. */
  channel(name: string, publisherConfirms = false): Promise<Channel> {
    const known = this.#channels.get(name)
    if (known !== undefined) return known
    const protocol = this.#protocol
    if (protocol === undefined) return Promise.reject(new Error('the program is closed'))
    const connection = PUBLISHING.has(name) ? 'publisher' : 'main'
    const opened = this.journal.track(`channel ${name}`, protocol.channel({ publisherConfirms, connection }))
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

  runs(protocol: AmqpProtocol | undefined, running: Running): void {
    if (this.#protocol === protocol) this.running.push(running)
    else {
      void this.#change.then(() => {
        running.consuming.closed = true
      })
    }
  }

  get isTight(): boolean {
    return (this.#options.channelMax ?? 0) > 0
  }

  signalAfter(milliseconds: number | undefined): AbortSignal {
    if (milliseconds === undefined) return this.longSignal
    const controller = new AbortController()
    this.clock.after(milliseconds, () => controller.abort())
    return controller.signal
  }

  /** It has to be the one of the properties, the body whole, and the envelope that of where it was published to. */
  idOf(body: Buffer, properties: BasicProperties, { exchangeName, routingKey }: GetEnvelope): string {
    const id = properties.messageId ?? ''
    const { queue = routingKey } = this.journal.published.get(id) ?? {}
    if ((exchangeName !== '' && exchangeName !== EXCHANGE) || (routingKey !== queue && routingKey !== ERROR_QUEUE))
      this.journal.violations.push(`${id} came from exchange "${exchangeName}" with routing key "${routingKey}"`)
    const wrong = wrongProperty(id, properties)
    if (wrong !== undefined) this.journal.violations.push(`the properties of ${id} came changed: ${wrong}`)
    if (!isBodyOf(id, body)) this.journal.violations.push(`the body of ${id} came changed`)
    return id
  }

  closeChannel(): void {
    const channel = this.#channels.get('confirm') ?? this.#channels.get('plain')
    if (channel === undefined) return
    this.#channels.delete('confirm')
    this.publishing.channelClosed()
    this.forget(
      'close of a channel',
      channel.then(opened => opened.close()),
    )
  }

  sleep(milliseconds: number): Promise<void> {
    return new Promise(resolve => this.clock.after(milliseconds, resolve))
  }

  forget(what: string, promise: Promise<unknown>): void {
    this.journal.track(what, promise).catch(() => {})
  }
}
