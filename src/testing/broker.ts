import type { TlsOptions } from 'node:tls'
import { BrokerEngine } from '../broker/broker.ts'
import { Channel } from '../broker/channel.ts'
import type { ClientConnection } from '../broker/client-connection.ts'
import type { ClientPort } from '../broker/connection-host.ts'
import { Refusal } from '../broker/refusals.ts'
import type { ReleaseName } from '../broker/release-name.ts'
import type { UserOptions } from '../broker/user-options.ts'
import type { ConnectOptions } from '../connection/settings/options.ts'
import type { TransportFactory } from '../connection/wire/transport.ts'
import { type Clock, systemClock } from '../lib/clock.ts'
import { INSPECT, type InspectArguments, inspected } from '../lib/inspect.ts'
import { ReplyCode, replyCodeName } from '../protocol/constants.ts'
import {
  checkBrokerOptions,
  checkCloseReason,
  checkCount,
  checkDelay,
  checkName,
  checkReason,
  checkUserOptions,
} from './check-options.ts'
import { Listener } from './listener.ts'
import { MemoryTransport } from './memory-transport.ts'
import { SlowDown } from './slow-down.ts'
import { type BrokerMessage, ConnectionView, ExchangeView, existing, QueueView, shown } from './views.ts'
import { type WaitOptions, Watch } from './watch.ts'

/** Options of a broker for tests. */
export interface BrokerOptions {
  /** Address to listen on; `::` takes clients from other machines too. Default: 127.0.0.1. */
  readonly host?: string | undefined
  /** Default: a free one. */
  readonly port?: number | undefined
  /** Take clients with TLS too, with the certificate and key that Node's `tls.createServer` takes. */
  readonly tls?: TlsOptions | undefined
  /** The release of RabbitMQ that it is like. Default: `'4.3'`. */
  readonly release?: ReleaseName | undefined
  /** By name. Default: `guest`, with the password `guest` and all permissions. */
  readonly users?: Readonly<Record<string, UserOptions>> | undefined
  /** Virtual hosts beside `/`. */
  readonly vhosts?: readonly string[] | undefined
  /** Seconds between heartbeats, as offered to clients. Default: 60. */
  readonly heartbeat?: number | undefined
  /** Most channels of a connection. Default: 2047. */
  readonly channelMax?: number | undefined
  /** Bytes of a frame at most. Default: 131,072. */
  readonly frameMax?: number | undefined
  /** Messages that `published` has at most: the newest. Default: 10,000. */
  readonly publishedLimit?: number | undefined
  /** @internal Time and chance. */
  readonly clock?: Clock | undefined
}

/** A reply code and its text, which RabbitMQ starts with the code's name. */
export interface CloseReason {
  readonly replyCode?: number | undefined
  readonly replyText?: string | undefined
}

const PUBLISHED_LIMIT = 10_000
const LOCALHOST = '127.0.0.1'

/** A broker in this process, to test with: it speaks AMQP 0-9-1 as RabbitMQ does, and keeps everything in memory. */
export class Broker implements AsyncDisposable {
  readonly #engine: BrokerEngine
  readonly #watch: Watch
  readonly #slowDown: SlowDown
  /** Of the first user. */
  readonly #login: { readonly login: string; readonly password: string } | undefined
  readonly #host: string
  readonly #listener: Listener
  readonly #tlsListener: Listener | undefined
  readonly #published: BrokerMessage[] = []
  readonly #publishedLimit: number
  #publishedCount = 0
  #memoryPort = 0
  #refuses = false
  #frozen = false
  #state: 'running' | 'restarting' | 'stopped' | 'disposed' = 'stopped'

  /** @internal Use `startBroker()`. */
  constructor(options: BrokerOptions) {
    const clock = options.clock ?? systemClock
    this.#slowDown = new SlowDown(clock)
    const users = options.users ?? { guest: { password: 'guest' } }
    const [first] = Object.entries(users)
    this.#login = first && { login: first[0], password: first[1].password }
    this.#engine = new BrokerEngine({
      clock,
      release: options.release ?? '4.3',
      users,
      vhosts: ['/', ...(options.vhosts ?? [])],
      limits: {
        channelMax: options.channelMax ?? 2047,
        frameMax: options.frameMax ?? 131_072,
        heartbeat: options.heartbeat ?? 60,
      },
    })
    this.#publishedLimit = options.publishedLimit ?? PUBLISHED_LIMIT
    this.#engine.onPublish = message => {
      this.#publishedCount++
      // Many at once are forgotten: each time, all others move.
      if (this.#published.push(shown(message)) > 1.25 * this.#publishedLimit) this.#forgetPublished()
    }
    this.#watch = new Watch(this.#engine)
    const accept = (port: ClientPort) => this.#accept(port)
    const { host = LOCALHOST } = options
    this.#host = host
    this.#listener = new Listener(accept, host, options.port ?? 0)
    this.#tlsListener = options.tls === undefined ? undefined : new Listener(accept, host, 0, options.tls)
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    const { length: connections } = this.connections
    return inspected(this, { url: this.url, state: this.#state, connections, queueNames: this.queueNames() }, args)
  }

  // ---- how to reach it

  /** `amqp://guest:guest@127.0.0.1:port`, for any client of any language; the first of `users` logs in. */
  get url(): string {
    return `amqp://${this.#userInfo}${hostOfUrl(this.#host, LOCALHOST)}:${this.port}`
  }
  /** The TCP port it listens on. */
  get port(): number {
    return this.#listener.port
  }
  /** The same with TLS. @throws Error unless the option `tls` was given. */
  get tlsUrl(): string {
    if (this.#tlsListener === undefined) throw new Error('this broker was started without tls')
    return `amqps://${this.#userInfo}${hostOfUrl(this.#host, 'localhost')}:${this.#tlsListener.port}`
  }

  /** In front of the host of a URL. */
  get #userInfo(): string {
    if (this.#login === undefined) return ''
    const { login, password } = this.#login
    return `${encodeURIComponent(login)}:${encodeURIComponent(password)}@`
  }

  /** Reaches the broker without a socket: an option of `connect()`. */
  get createTransport(): TransportFactory {
    return async (target, handler, _signal, onStep) => {
      onStep('connect')
      if (this.#refuses || this.#state !== 'running') throw connectionRefused(target.port)
      const peer = { host: target.host, port: target.port, localPort: ++this.#memoryPort, encrypted: false }
      return new MemoryTransport(handler, peer, port => this.#accept(port))
    }
  }

  /** All that `connect()` needs to reach the broker without a socket: `connect(broker.inMemory)`; the first of `users` logs in. */
  get inMemory(): ConnectOptions {
    return { host: LOCALHOST, port: this.port, ...this.#login, createTransport: this.createTransport }
  }

  // ---- what happens to it

  /** Cut every connection, or those with this name; clients may connect again. */
  cutConnections(name?: string): void {
    this.#engine.endAll(this.#all(name), connection => connection.destroy())
  }

  /** Cut every connection by a reset, as a machine that has crashed. */
  resetConnections(): void {
    this.#listener.reset()
    this.#tlsListener?.reset()
    this.#engine.endAll(this.#all(), connection => connection.reset())
  }

  /** Close connections as an operator does: `CONNECTION_FORCED`, unless another reason is given. */
  closeConnections(reason: CloseReason = {}, name?: string): void {
    checkCloseReason('closeConnections', reason)
    const { replyCode = ReplyCode.CONNECTION_FORCED, replyText = 'closed by an operator' } = reason
    const refusal = new Refusal(replyCode, textOf(replyCode, replyText))
    this.#engine.endAll(this.#named(name), connection => connection.fail(refusal))
  }

  /** Close every channel of every connection, or of those with this name. */
  closeChannels(reason: CloseReason = {}, name?: string): void {
    checkCloseReason('closeChannels', reason)
    const { replyCode = ReplyCode.PRECONDITION_FAILED, replyText = 'closed by an operator' } = reason
    const channels = this.#named(name).flatMap(connection => connection.channels)
    Channel.close(channels, new Refusal(replyCode, textOf(replyCode, replyText)))
    this.#engine.run()
  }

  /** Take no new connections, as if nothing listened. */
  refuseConnections(): void {
    this.#refuses = true
    this.#listener.refuse()
    this.#tlsListener?.refuse()
  }

  /** Take connections again. */
  async acceptConnections(): Promise<void> {
    this.#refuses = false
    if (this.#state === 'running') await this.#listen()
  }

  /** Neither read nor write, until `thaw()`: clients miss heartbeats. */
  freeze(): void {
    this.#frozen = true
    this.#slowDown.freeze(true)
    for (const connection of [...this.#engine.connections]) connection.freeze(true)
  }

  /** Go on after `freeze()`. */
  thaw(): void {
    this.#frozen = false
    this.#slowDown.freeze(false)
    for (const connection of [...this.#engine.connections]) connection.freeze(false)
    this.#engine.run()
  }

  /** Raise an alarm: connections that publish are blocked (connection.blocked), for this reason. */
  block(reason = 'low on memory'): void {
    checkReason('block', reason)
    this.#engine.setAlarm(reason)
  }

  /** The alarm is over (connection.unblocked). */
  unblock(): void {
    this.#engine.setAlarm(undefined)
  }

  /**
   * Send everything this many milliseconds later; 0 ends that. What waits by an earlier call is sent at once, before all that
   * follows. @throws EncodeError for a bad number.
   */
  slowDown(milliseconds: number): void {
    checkDelay('slowDown', milliseconds)
    this.#slowDown.by(milliseconds)
  }

  /** Cancel every consumer of a queue (basic.cancel), as when it moves to another node. @throws Error if there is none. */
  cancelConsumers(queueName: string, vhost = '/'): void {
    this.#engine.cancelConsumers(existing(this.#engine, queueName, vhost))
  }

  /** Refuse every login (403). */
  refuseLogins(): void {
    this.#engine.refusesLogins = true
  }

  /** Accept logins again. */
  acceptLogins(): void {
    this.#engine.refusesLogins = false
  }

  /** Answer the next publishes on channels with confirms by basic.nack, and take none of them. */
  nackConfirms(count = 1): void {
    checkCount('nackConfirms', count)
    this.#engine.nackNext(count)
  }

  /** Take messages, but send no confirms until `releaseConfirms()` or a restart. */
  withholdConfirms(): void {
    this.#engine.withholdConfirms(true)
  }

  /** Send the confirms that were withheld, and later ones at once. */
  releaseConfirms(): void {
    this.#engine.withholdConfirms(false)
  }

  /** Stop and start: durable queues keep their persistent messages, everything else is gone. */
  async restart(): Promise<void> {
    await this.#halt(true, 'restarting')
    // Unless it was stopped meanwhile.
    if (this.#state !== 'stopped') await this.start()
  }

  /** Shut down in order: connections are closed (`CONNECTION_FORCED`), and what is durable is there after `start()`. */
  async stop(): Promise<void> {
    await this.#halt(true, 'stopped')
  }

  /** End at once, without a word to clients: messages whose confirm was withheld may not be there after `start()`. */
  async kill(): Promise<void> {
    await this.#halt(false, 'stopped')
  }

  /** Start again after a stop or a kill, on the same port. @throws Error after the broker was disposed of. */
  async start(): Promise<void> {
    if (this.#state === 'disposed') throw new Error('this broker has been disposed of: start another one')
    if (this.#state !== 'running') {
      this.#state = 'running'
      this.#engine.started()
    }
    await this.#listen()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#state = 'disposed'
    // Before its queues are empty.
    this.#watch.end()
    this.#engine.stop()
    this.#slowDown.stop()
    await Promise.all([this.#listener.stop(), this.#tlsListener?.stop()])
  }

  // ---- what there is in it

  /** The messages that were published, in order; of more than `publishedLimit`, the newest. */
  get published(): readonly BrokerMessage[] {
    this.#forgetPublished()
    return this.#published
  }

  /** What a queue is and has, and what a test waits for in it. It need not exist yet. */
  queue(name: string, vhost = '/'): QueueView {
    checkName('queue', name)
    checkName('queue', vhost, 'vhost')
    return new QueueView(this.#engine, this.#watch, name, vhost)
  }

  /** What an exchange is, whether it exists or not. */
  exchange(name: string, vhost = '/'): ExchangeView {
    checkName('exchange', name)
    checkName('exchange', vhost, 'vhost')
    return new ExchangeView(this.#engine, name, vhost)
  }

  /** Names of all queues. */
  queueNames(vhost = '/'): readonly string[] {
    return [...(this.#engine.vhosts.get(vhost)?.queues.keys() ?? [])]
  }

  /** Names of all exchanges but the default one. */
  exchangeNames(vhost = '/'): readonly string[] {
    return [...(this.#engine.vhosts.get(vhost)?.exchanges.keys() ?? [])].filter(name => name !== '')
  }

  /** Open connections. */
  get connections(): readonly ConnectionView[] {
    return this.#named().map(connection => new ConnectionView(this.#engine, connection))
  }

  /** Names of all virtual hosts. */
  get vhostNames(): readonly string[] {
    return [...this.#engine.vhosts.keys()]
  }

  /** Add a virtual host while it runs. */
  addVirtualHost(name: string): void {
    checkName('addVirtualHost', name)
    if (!this.#engine.vhosts.has(name)) this.#engine.addVirtualHost(name)
  }

  /** Delete a virtual host with all that is in it; its connections are closed. @throws Error if there is none. */
  deleteVirtualHost(name: string): void {
    if (!this.#engine.vhosts.has(name)) throw new Error(`there is no virtual host "${name}"`)
    const reason = new Refusal(ReplyCode.CONNECTION_FORCED, `vhost '${name}' is deleted`)
    const inside = this.#named().filter(connection => connection.vhost.name === name)
    // First its consumers are cancelled.
    this.#engine.deleteVirtualHost(name)
    this.#engine.run()
    this.#engine.endAll(inside, connection => connection.fail(reason))
  }

  /** Add a user, or change the password or the permissions of one. */
  setUser(name: string, options: UserOptions): void {
    checkName('setUser', name)
    checkUserOptions(`setUser "${name}"`, options)
    this.#engine.setUser(name, options)
  }

  /** The user can no longer log in; its connections are closed. @throws Error if there is none. */
  deleteUser(name: string): void {
    if (!this.#engine.users.delete(name)) throw new Error(`there is no user "${name}"`)
    const reason = new Refusal(ReplyCode.CONNECTION_FORCED, `user '${name}' is deleted`)
    const theirs = this.#named().filter(connection => connection.user.name === name)
    this.#engine.endAll(theirs, connection => connection.fail(reason))
  }

  /** Wait until `count` connections, or more, are open. @throws TimeoutError */
  async hasConnections(count: number, options?: WaitOptions): Promise<void> {
    const open = () => this.#named().length
    checkCount('hasConnections', count)
    return this.#watch.until(
      () => open() >= count,
      `the broker has ${count} or more connections`,
      () => `it has ${open()}`,
      options,
    )
  }

  /** Wait until `count` messages, or more, have been published. @throws TimeoutError */
  async hasPublished(count: number, options?: WaitOptions): Promise<void> {
    checkCount('hasPublished', count)
    return this.#watch.until(
      () => this.#publishedCount >= count,
      `${count} or more messages are published`,
      () => `${this.#publishedCount} are`,
      options,
    )
  }

  /** Those that are too many. */
  #forgetPublished(): void {
    const many = this.#published.length - this.#publishedLimit
    if (many > 0) this.#published.splice(0, many)
  }

  /** Those that are open. */
  #named(name?: string): ClientConnection[] {
    return this.#all(name).filter(connection => connection.isOpen)
  }

  /** Also those that are not open yet, or not closed yet. */
  #all(name?: string): ClientConnection[] {
    const all = [...this.#engine.connections]
    return name === undefined ? all : all.filter(connection => connection.name === name)
  }

  /** Both at once: what stops one of them, or the broker, while they start, stops the other one too. */
  async #listen(): Promise<void> {
    if (!this.#refuses) await Promise.all([this.#listener.start(), this.#tlsListener?.start()])
  }

  /** A second call waits, too; the last one says what comes after. */
  async #halt(inOrder: boolean, next: 'restarting' | 'stopped'): Promise<void> {
    const wasRunning = this.#state === 'running'
    if (this.#state !== 'disposed') this.#state = next
    if (wasRunning) {
      if (inOrder) this.closeConnections({ replyText: "broker forced connection closure with reason 'shutdown'" })
      this.#engine.restart(inOrder)
      this.#refuses = false
      this.#frozen = false
      // The last words of a slow broker come before its connections end.
      this.#slowDown.freeze(false)
      if (inOrder) this.#slowDown.hurry()
    }
    await Promise.all([this.#listener.stop(), this.#tlsListener?.stop()])
  }

  #accept(port: ClientPort): ClientConnection {
    const connection = this.#engine.accept(this.#slowDown.slowed(port))
    if (this.#frozen) connection.freeze(true)
    return connection
  }
}

/** `loopback` for what listens there, or everywhere. */
function hostOfUrl(host: string, loopback: string): string {
  if (host === LOCALHOST || host === '0.0.0.0' || host === '::') return loopback
  return host.includes(':') ? `[${host}]` : host
}

function textOf(replyCode: number, text: string): string {
  const name = `${replyCodeName(replyCode)} - `
  return text.startsWith(name) ? text.slice(name.length) : text
}

function connectionRefused(port: number): Error {
  return Object.assign(new Error(`connect ECONNREFUSED ${LOCALHOST}:${port}`), { code: 'ECONNREFUSED' })
}

/**
 * Start a broker, ready when the promise resolves; it ends with `await using`, or by `Symbol.asyncDispose`.
 *
 * @throws EncodeError for an option that is unknown or out of range.
 */
export async function startBroker(options: BrokerOptions = {}): Promise<Broker> {
  checkBrokerOptions(options)
  const broker = new Broker(options)
  try {
    await broker.start()
  } catch (error) {
    await broker[Symbol.asyncDispose]()
    throw error
  }
  return broker
}
