import type { ReleaseName } from '../../../src/broker/release-name.ts'
import type { AmqpProtocol, Channel, ConnectOptions, GetResult } from '../../../src/index.ts'
import type { VirtualClock } from '../../support/virtual-clock.ts'
import type { BrokerControl } from '../broker-control.ts'
import { wrongError } from '../errors.ts'

/** A small task whose result is known exactly if nothing disturbs it. Under faults it has to come to its end, and to leave nothing. */
export type Errand = (outing: Outing) => Promise<void>

/** The name of a server that is never there. */
export const NO_SERVER = 'none'
/** The name of a server whose transport comes late, whatever the signal says. */
export const LATE_SERVER = 'late'

/** A connection that an errand has for itself. */
export interface OwnConnection {
  readonly protocol: AmqpProtocol
  /** Timers of it that keep the process alive. */
  readonly keeping: number
  /** Connections that it has to the broker. */
  readonly open: number
  /** How often it has written a method since it was made. */
  wrote(method: { readonly key: number }): number
  /** Break what is there of it now, or one of two connections. */
  cut(which?: number): void
  /** The broker ends the streams of what is there of it now. */
  halfClose(): void
  /** New connections of it are refused, by one server or by all, or not any more. */
  refuse(does: boolean, host?: string): void
  /** New connections to this server are taken, and get no answer. */
  silence(host: string): void
  /** Nothing comes or goes until it thaws, or nothing in one way. */
  freeze(way?: 'toServer' | 'toClient'): void
  thaw(way?: 'toServer' | 'toClient'): void
  /** The next link to the broker is there. */
  linked(): Promise<void>
}

/** A broker that an errand has for itself: what it does there disturbs no other errand. */
export interface OwnBroker {
  readonly control: BrokerControl
  readonly release: ReleaseName
  connect(options?: ConnectOptions): Promise<OwnConnection>
}

/** What lets errands go. */
export interface Host {
  readonly clock: VirtualClock
  readonly password: string
  connect(options: ConnectOptions, inBackground: boolean): Promise<OwnConnection>
  startBroker(channelMax?: number): OwnBroker
}

interface Closable {
  close(): Promise<unknown>
}

/** Milliseconds that anything may take that is not known better. */
const PATIENCE = 20_000
/** Messages that an errand publishes without waiting for the ones before. */
const AT_ONCE = 8
/** Milliseconds between two looks, at most. */
const LONGEST_NAP = 200

/** What an errand has for its work. */
export class Outing {
  readonly protocol: AmqpProtocol
  readonly clock: VirtualClock
  /** What is called so is its own. */
  readonly name: string
  /** By its remainders it has one form or another: one round of all errands after the other, each has its turn. */
  readonly number: number
  /** What was not as it must be if nothing disturbs it. */
  readonly complaints: string[] = []
  readonly #host: Host
  readonly #kept: (() => Promise<unknown>)[] = []
  #queues = 0
  #channel: Promise<Channel> | undefined

  constructor(number: number, name: string, protocol: AmqpProtocol, host: Host) {
    this.number = number
    this.name = name
    this.protocol = protocol
    this.clock = host.clock
    this.#host = host
  }

  /** What the broker wants for a password at the moment. */
  get password(): string {
    return this.#host.password
  }

  /** Go, and leave nothing behind. */
  async run(errand: Errand): Promise<void> {
    try {
      await errand(this)
    } finally {
      for (const close of this.#kept.reverse()) await close().catch(() => {})
    }
  }

  expect(right: boolean, what: string): void {
    if (!right) this.complaints.push(what)
  }

  equal(is: unknown, should: unknown, what: string): void {
    const [one, other] = [is, should].map(value => JSON.stringify(value))
    this.expect(one === other, `${what}: ${one}, and not ${other}`)
  }

  /** It took as long as that, and little more. */
  took(since: number, least: number, most: number, what: string): void {
    const took = this.clock.now() - since
    this.expect(took >= least && took <= most, `${what} took ${took} ms, and not ${least} to ${most}`)
  }

  /** The error that a promise rejects with. */
  async failure(promise: Promise<unknown>, name: string, what: string): Promise<Partial<Error & { outcome: string }>> {
    const error = await promise.then(
      () => undefined,
      (thrown: unknown) => thrown as Error,
    )
    this.expect(error?.name === name, `${what} ended with ${error ?? 'success'}, and not ${name}`)
    const wrong = wrongError(error)
    this.expect(wrong === undefined, `${what} ended with an error that ${wrong}: ${error}`)
    return error ?? {}
  }

  /** It goes on while the errand does other things: if the errand breaks off, no one looks at it any more. */
  meanwhile<T>(promise: Promise<T>): Promise<T> {
    promise.catch(() => {})
    return promise
  }

  /** It is closed at the end, whatever happens. */
  keep<T extends Closable>(thing: T): T {
    this.#kept.push(() => thing.close())
    return thing
  }

  async connect(options: ConnectOptions = {}, inBackground = false): Promise<OwnConnection> {
    const own = await this.#host.connect(options, inBackground)
    this.keep(own.protocol)
    return own
  }

  /** It grants `channelMax` channels to a connection. */
  startBroker(channelMax?: number): OwnBroker {
    const { control, release, connect } = this.#host.startBroker(channelMax)
    this.#kept.push(async () => control.stop())
    return {
      control,
      release,
      connect: async options => {
        const own = await connect(options)
        this.keep(own.protocol)
        return own
      },
    }
  }

  sleep(milliseconds: number): Promise<void> {
    return new Promise(resolve => this.clock.after(milliseconds, resolve))
  }

  signalAfter(milliseconds: number): AbortSignal {
    const controller = new AbortController()
    this.clock.after(milliseconds, () => controller.abort())
    return controller.signal
  }

  /** Wait until something is so. */
  async until(is: () => boolean, what: string, milliseconds = PATIENCE): Promise<void> {
    const end = this.clock.now() + milliseconds
    for (let nap = 1; !is() && this.clock.now() < end; nap = Math.min(2 * nap, LONGEST_NAP)) await this.sleep(nap)
    this.expect(is(), what)
  }

  /** A queue that is deleted at the end. */
  async queue(options: Parameters<AmqpProtocol['queueDeclare']>[1] = {}): Promise<string> {
    const queue = `${this.name} ${this.#queues++}`
    this.#kept.push(() => this.protocol.queueDelete(queue))
    await this.protocol.queueDeclare(queue, options)
    return queue
  }

  /** Exchanges are deleted at the end, too. */
  async exchange(type: string, options: Parameters<AmqpProtocol['exchangeDeclare']>[2] = {}): Promise<string> {
    const exchange = `${this.name} ${this.#queues++}`
    this.#kept.push(() => this.protocol.exchangeDelete(exchange))
    await this.protocol.exchangeDeclare(exchange, type, options)
    return exchange
  }

  /** Publish texts one after the other: no more at a time than may wait for a channel, with the smallest of the programs' limits. */
  async publish(queue: string, ...texts: readonly string[]): Promise<void> {
    for (let at = 0; at < texts.length; at += AT_ONCE) {
      const some = texts.slice(at, at + AT_ONCE)
      await Promise.all(some.map(text => this.protocol.publish(text, '', queue, { messageId: `${queue} ${text}` })))
    }
  }

  /** What waits in a queue. */
  async ready(queue: string): Promise<number> {
    return (await this.protocol.queueDeclare(queue, { passive: true })).messageCount
  }

  /** A number of messages comes to wait in a queue. */
  async holds(queue: string, count: number, what: string): Promise<void> {
    let is = await this.ready(queue)
    for (const end = this.clock.now() + 2_000; is !== count && this.clock.now() < end; is = await this.ready(queue))
      await this.sleep(100)
    this.equal(is, count, what)
  }

  /** A channel of the program's connection, for whatever needs one. */
  async channel(): Promise<Channel> {
    this.#channel ??= this.protocol.channel().then(channel => this.keep(channel))
    return this.#channel
  }

  /** Take a message out of a queue, if one comes. */
  async take(queue: string, milliseconds = PATIENCE): Promise<GetResult | null> {
    const channel = await this.channel()
    const end = this.clock.now() + milliseconds
    for (;;) {
      const got = await channel.basicGet(queue, { noAck: true })
      if (got !== null || this.clock.now() >= end) return got
      await this.sleep(LONGEST_NAP)
    }
  }

  /** The texts of all messages of a queue, in order, which is empty then. */
  async takeAll(queue: string): Promise<string[]> {
    const texts: string[] = []
    for (let got = await this.take(queue, 0); got !== null; got = await this.take(queue, 0))
      texts.push(got.body.toString())
    return texts
  }
}
