import type { QueueType } from './argument-tables.ts'
import type { ReplyReceiver } from './channel-host.ts'
import { ClassicQueue } from './classic-queue.ts'
import { deadMessage, isCycle } from './dead-letter.ts'
import { Exchange, type ExchangeType } from './exchange.ts'
import type { Message } from './message.ts'
import type { DeathReason, Queue, QueueHost, QueueIdentity } from './queue.ts'
import { textArgument } from './queue-arguments.ts'
import { QuorumQueue } from './quorum-queue.ts'
import { reply, replyQueuesOf } from './reply-queue.ts'
import { StreamQueue } from './stream-queue.ts'

/** What a virtual host needs of the broker. */
export interface VirtualHostSurroundings
  extends Pick<QueueHost, 'release' | 'timers' | 'now' | 'date' | 'post' | 'run'> {
  readonly replies: ReadonlyMap<string, ReplyReceiver>
}

const PREDECLARED: readonly (readonly [string, ExchangeType])[] = [
  ['', 'direct'],
  ['amq.direct', 'direct'],
  ['amq.fanout', 'fanout'],
  ['amq.topic', 'topic'],
  ['amq.headers', 'headers'],
  ['amq.match', 'headers'],
  ['amq.rabbitmq.trace', 'topic'],
]
/** Exchanges that RabbitMQ itself publishes to. */
const INTERNAL = ['amq.rabbitmq.trace', 'amq.rabbitmq.log']
const DEFAULT_VHOST = '/'

/** Exchanges and queues that know of each other, and of no others. */
export class VirtualHost {
  readonly name: string
  readonly exchanges = new Map<string, Exchange>()
  readonly queues = new Map<string, Queue>()
  readonly #host: QueueHost
  readonly #replies: ReadonlyMap<string, ReplyReceiver>

  constructor(name: string, surroundings: VirtualHostSurroundings) {
    this.name = name
    this.#replies = surroundings.replies
    this.#host = {
      ...surroundings,
      vhostName: name,
      deadLetter: (queue, message, reason, failures) => this.#deadLetter(queue, message, reason, failures),
      queueEnded: queue => this.deleteQueue(queue),
    }
    for (const [exchange, type] of PREDECLARED) this.#predeclare(exchange, type)
    if (name === DEFAULT_VHOST && surroundings.release.logsToExchange) this.#predeclare('amq.rabbitmq.log', 'topic')
  }

  #predeclare(name: string, type: ExchangeType): void {
    const internal = INTERNAL.includes(name)
    this.addExchange(new Exchange({ name, type, durable: true, autoDelete: false, internal, arguments: {} }))
  }

  addExchange(exchange: Exchange): void {
    this.exchanges.set(exchange.name, exchange)
  }

  addQueue(identity: QueueIdentity, type: QueueType): Queue {
    const queue =
      type === 'classic'
        ? new ClassicQueue(identity, this.#host)
        : type === 'quorum'
          ? new QuorumQueue(identity, this.#host)
          : new StreamQueue(identity, this.#host)
    this.queues.set(queue.name, queue)
    return queue
  }

  /** The queues that a message goes to which is published to `exchange`. */
  route(message: Message, exchange: Exchange): ReadonlySet<Queue> {
    const queues = new Set<Queue>()
    if (exchange.name === '') {
      for (const key of message.routingKeys) {
        const queue = this.queues.get(key)
        if (queue !== undefined) queues.add(queue)
      }
      return queues
    }
    const seen = new Set([exchange])
    for (const one of seen) {
      const destinations = one.destinations(message, this.#host.release)
      for (const destination of destinations) {
        if (destination instanceof Exchange) seen.add(destination)
        else queues.add(destination)
      }
      const alternate = one.alternate === undefined ? undefined : this.exchanges.get(one.alternate)
      // The default exchange has no bindings: as an alternate it leads nowhere, as in RabbitMQ.
      if (destinations.size === 0 && alternate !== undefined) seen.add(alternate)
    }
    return queues
  }

  deleteQueue(queue: Queue): void {
    if (this.queues.get(queue.name) !== queue) return
    this.queues.delete(queue.name)
    queue.end()
    this.#unbindDestination(queue)
  }

  /**
   * What is not durable is gone with the broker. Earlier releases forget the bindings to it without a look at the exchanges
   * that had them.
   */
  lose(one: Queue | Exchange): void {
    if (!this.#host.release.restartEndsExchanges)
      for (const exchange of this.exchanges.values()) exchange.unbindAll(one)
    if (one instanceof Exchange) this.deleteExchange(one)
    else this.deleteQueue(one)
  }

  deleteExchange(exchange: Exchange): void {
    if (this.exchanges.get(exchange.name) !== exchange) return
    this.exchanges.delete(exchange.name)
    exchange.bindings = []
    this.#unbindDestination(exchange)
  }

  /** One binding of an exchange is gone. If it was the last one, an auto-delete exchange goes, too. */
  unbound(exchange: Exchange): void {
    if (exchange.autoDelete && exchange.bindings.length === 0) this.deleteExchange(exchange)
  }

  #unbindDestination(destination: Queue | Exchange): void {
    for (const exchange of [...this.exchanges.values()]) {
      if (exchange.unbindAll(destination)) this.unbound(exchange)
    }
  }

  #deadLetter(queue: Queue, message: Message, reason: DeathReason, failures: number): void {
    const name = textArgument(queue.arguments, 'x-dead-letter-exchange')
    const exchange = name === undefined ? undefined : this.exchanges.get(name)
    if (exchange === undefined) return
    const routingKey = textArgument(queue.arguments, 'x-dead-letter-routing-key')
    const { release, date, post } = this.#host
    const dead = deadMessage(message, reason, queue, exchange.name, routingKey, failures, date(), release)
    const targets = [...this.route(dead, exchange)].filter(target => reason === 'rejected' || !isCycle(dead, target))
    // It is on its way while others arrive, such as copies of the message that it gave way to.
    post(() => {
      for (const target of targets) if (this.queues.get(target.name) === target) target.publish(dead, undefined)
      for (const name of replyQueuesOf(dead)) reply(this.#replies, name, dead)
    })
  }
}
