import type { Clock } from '../lib/clock.ts'
import type { ConfirmFate, ReplyReceiver } from './channel-host.ts'
import { ClientConnection } from './client-connection.ts'
import type { ClientPort, ConnectionHost } from './connection-host.ts'
import type { Stored } from './consumer.ts'
import type { Exchange } from './exchange.ts'
import type { Limits } from './handshake.ts'
import type { Message } from './message.ts'
import type { Queue } from './queue.ts'
import { type Release, releaseOf } from './release.ts'
import type { ReleaseName } from './release-name.ts'
import { Turns } from './turns.ts'
import type { UserOptions } from './user-options.ts'
import { User } from './users.ts'
import { VirtualHost } from './virtual-host.ts'

export interface EngineOptions {
  readonly clock: Clock
  readonly release: ReleaseName
  readonly users: Readonly<Record<string, UserOptions>>
  readonly vhosts: readonly string[]
  readonly limits: Limits
}

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
const NAME_LENGTH = 22

interface Withheld {
  readonly message: Message
  readonly confirm: () => void
}

/** Called with confirms before they are sent, if a test asks for that. */
interface Confirming {
  /** How many more publishes the broker refuses. */
  nacks: number
  withholds: boolean
  readonly withheld: Withheld[]
}

/** A broker without a network: connections are handed in, and so are time and chance. */
export class BrokerEngine implements ConnectionHost {
  readonly clock: Clock
  readonly release: Release
  readonly limits: Limits
  readonly vhosts = new Map<string, VirtualHost>()
  readonly users = new Map<string, User>()
  readonly replies = new Map<string, ReplyReceiver>()
  /** All that were accepted and are not closed, open or not. */
  readonly connections = new Set<ClientConnection>()
  /** Called with every message that is published. */
  onPublish: (message: Message, connection: ClientConnection) => void = () => {}
  /** Called when a state may have changed that a caller waits for. */
  onChange: () => void = () => {}
  refusesLogins = false
  readonly #turns = new Turns(() => this.#flush())
  readonly #toWrite = new Set<ClientConnection>()
  readonly #confirming: Confirming = { nacks: 0, withholds: false, withheld: [] }
  #alarm: string | undefined

  constructor(options: EngineOptions) {
    this.clock = options.clock
    this.release = releaseOf(options.release)
    this.limits = options.limits
    for (const [name, user] of Object.entries(options.users)) this.setUser(name, user)
    for (const name of options.vhosts) this.addVirtualHost(name)
  }

  // ---- as its connections see it

  get alarm(): string | undefined {
    return this.#alarm
  }

  now(): number {
    return this.clock.now()
  }

  date(): number {
    return this.clock.wallTime()
  }

  post(turn: () => void): void {
    this.#turns.post(turn)
  }

  run(): void {
    this.#turns.run()
  }

  uniqueName(prefix: string): string {
    let name = prefix
    for (let i = 0; i < NAME_LENGTH; i++) name += ALPHABET[Math.floor(this.clock.random() * ALPHABET.length)]
    return name
  }

  authenticate(login: string, password: string | undefined): User | undefined {
    const user = this.users.get(login)
    return !this.refusesLogins && (password === undefined || user?.hasPassword(password) === true) ? user : undefined
  }

  confirmFate(_message: Message): ConfirmFate {
    if (this.#confirming.nacks > 0) {
      this.#confirming.nacks--
      return 'nack'
    }
    return this.#confirming.withholds ? 'withhold' : 'take'
  }

  withhold(message: Message, confirm: () => void): void {
    this.#confirming.withheld.push({ message, confirm })
  }

  published(message: Message, connection: ClientConnection): void {
    this.onPublish(message, connection)
  }

  written(connection: ClientConnection): void {
    this.#toWrite.add(connection)
  }

  closed(connection: ClientConnection): void {
    this.connections.delete(connection)
    this.#toWrite.delete(connection)
  }

  // ---- for the program that runs it

  /** A client has connected. */
  accept(port: ClientPort): ClientConnection {
    const connection = new ClientConnection(this, port)
    this.connections.add(connection)
    return connection
  }

  /** End connections together: what one of them had does not go to another one that ends, too. */
  endAll(connections: Iterable<ClientConnection>, end: (connection: ClientConnection) => void): void {
    const ending = [...connections]
    ClientConnection.endChannels(ending)
    for (const connection of ending) end(connection)
    this.run()
  }

  /** Cancel the consumers of a queue together: what it would have given to one of them goes to no other. */
  cancelConsumers(queue: Queue): void {
    queue.hold(true)
    for (const consumer of queue.consumers) {
      queue.cancel(consumer, () => {})
      consumer.receiver.cancelled(consumer)
    }
    queue.hold(false)
    this.run()
  }

  addVirtualHost(name: string): VirtualHost {
    const vhost = new VirtualHost(name, {
      release: this.release,
      timers: this.clock,
      now: () => this.now(),
      date: () => this.date(),
      post: turn => this.post(turn),
      run: () => this.run(),
      replies: this.replies,
    })
    this.vhosts.set(name, vhost)
    return vhost
  }

  /** With its queues, and their timers. */
  deleteVirtualHost(name: string): void {
    const vhost = this.vhosts.get(name)
    for (const queue of [...(vhost?.queues.values() ?? [])]) vhost?.deleteQueue(queue)
    this.vhosts.delete(name)
  }

  /** Connections that are open see what is changed too. */
  setUser(name: string, options: UserOptions): void {
    const known = this.users.get(name)
    if (known === undefined) this.users.set(name, new User(name, options))
    else known.change(options)
  }

  /** Block connections that publish, for this reason; undefined lets them go on. */
  setAlarm(reason: string | undefined): void {
    this.#alarm = reason
    if (reason === undefined) for (const connection of this.connections) connection.unblock()
    this.run()
  }

  /** Answer the next `count` publishes with basic.nack, and take none of them. */
  nackNext(count: number): void {
    this.#confirming.nacks += count
  }

  /** Keep confirms back, or send those that were kept. */
  withholdConfirms(withholds: boolean): void {
    this.#confirming.withholds = withholds
    if (withholds) return
    for (const { confirm } of this.#confirming.withheld.splice(0)) confirm()
    this.run()
  }

  /**
   * Stop, until `started()`: connections are cut, and messages and queues that are not durable are gone. Kept are durable
   * queues with their persistent messages; if it did not stop `inOrder`, without those whose confirm was withheld.
   */
  restart(inOrder: boolean): void {
    if (inOrder) this.endAll(this.connections, connection => connection.end())
    const unwritten = new Set(inOrder ? [] : this.#confirming.withheld.map(({ message }) => message.received))
    this.#confirming.withheld.length = 0
    this.#confirming.withholds = false
    this.replies.clear()
    for (const vhost of this.vhosts.values()) {
      for (const queue of [...vhost.queues.values()]) {
        const keeps = ({ message }: Stored) =>
          !unwritten.has(message.received) && (message.persistent || queue.type !== 'classic')
        if (queue.durable) queue.restart(keeps, inOrder)
        else vhost.lose(queue)
      }
      if (this.release.keepsExchanges) continue
      for (const exchange of [...vhost.exchanges.values()]) if (!exchange.durable) vhost.lose(exchange)
    }
    // Queues that end together with their consumers do not see these go.
    if (!inOrder) this.endAll(this.connections, connection => connection.reset())
    this.run()
  }

  /** It has started again. */
  started(): void {
    for (const vhost of this.vhosts.values()) for (const queue of vhost.queues.values()) queue.touch()
  }

  /** Every timer is cancelled, and every connection cut. */
  stop(): void {
    this.endAll(this.connections, connection => connection.destroy())
    for (const vhost of this.vhosts.values()) for (const queue of vhost.queues.values()) queue.end()
  }

  queue(name: string, vhost: string): Queue | undefined {
    return this.vhosts.get(vhost)?.queues.get(name)
  }

  exchange(name: string, vhost: string): Exchange | undefined {
    return this.vhosts.get(vhost)?.exchanges.get(name)
  }

  #flush(): void {
    const connections = [...this.#toWrite]
    this.#toWrite.clear()
    for (const connection of connections) connection.flush()
    this.onChange()
  }
}
