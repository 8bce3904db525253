import type * as methods from '../protocol/methods.ts'
import type { ArgumentsOf, DecodedOf } from '../protocol/methods.ts'
import type { FieldTable } from '../protocol/values.ts'
import type { QueueType } from './argument-tables.ts'
import type { ChannelHost } from './channel-host.ts'
import { Exchange } from './exchange.ts'
import { compareExchange, exchangeTypeOf } from './exchange-declaration.ts'
import { entryOf } from './field-kinds.ts'
import { checkHeaderMatch } from './header-match.ts'
import type { Queue } from './queue.ts'
import {
  checkMasterLocator,
  checkQueueArguments,
  checkStreamSizes,
  compareQueueArguments,
  queueTypeOf,
  typeOfNameless,
} from './queue-arguments.ts'
import {
  accessRefused,
  breakage,
  inequivalent,
  lockedQueue,
  noSuchExchange,
  noSuchQueue,
  notFound,
  notImplemented,
  preconditionFailed,
  resource,
} from './refusals.ts'
import { checkReplyQueue, isReplyQueue, isVolatile, REPLY_PREFIX, REPLY_TO, startsAsReplyQueue } from './reply-queue.ts'
import { checkTopicPattern } from './topic-pattern.ts'

type Decoded<M extends methods.AnyMethod> = DecodedOf<M>

const strip = (name: string) => name.replace(/[\r\n]/g, '')

/** Declares, deletes and binds what one channel names. `owner` stands for its connection. */
export class ChannelTopology {
  readonly #host: ChannelHost
  readonly #owner: object
  /** The queue that an empty name means. */
  #lastQueue = ''

  constructor(host: ChannelHost, owner: object) {
    this.#host = host
    this.#owner = owner
  }

  /** The name of the queue that is meant. @throws Refusal (404) if none was declared before. */
  named(queueName: string): string {
    if (queueName !== '') return queueName
    if (this.#lastQueue === '') throw notFound('no previously declared queue')
    return this.#lastQueue
  }

  /** A queue that this connection may use. @throws Refusal (404, 405) */
  queue(name: string): Queue {
    const { vhost } = this.#host
    const queue = vhost.queues.get(name)
    if (queue === undefined) throw noSuchQueue(name, vhost.name)
    this.#checkOwner(queue)
    return queue
  }

  declareQueue(args: Decoded<typeof methods.QueueDeclare>): ArgumentsOf<typeof methods.QueueDeclareOk> {
    const { vhost, user, release } = this.#host
    const given = strip(args.queueName)
    if (startsAsReplyQueue(given)) return this.#declareReplyQueue(given)
    if (args.passive) {
      user.checkAny('queue', given, vhost.name, release)
      const queue = this.queue(given)
      queue.touch()
      this.#lastQueue = given
      return { queue: given, messageCount: queue.messageCount, consumerCount: queue.consumerCount }
    }
    const name = given === '' ? this.#serverNamed(args.arguments) : given
    if (given.startsWith('amq.')) {
      throw accessRefused(`queue name '${given}' contains reserved prefix 'amq.*'`)
    }
    user.check('configure', 'queue', name, vhost.name, release)
    const existing = vhost.queues.get(name)
    const queue = existing === undefined ? this.#newQueue(name, args) : this.#sameQueue(existing, args)
    this.#lastQueue = name
    return { queue: name, messageCount: queue.messageCount, consumerCount: queue.consumerCount }
  }

  /** Returns how many messages were deleted with it; a queue that does not exist is deleted already. */
  deleteQueue(given: string, ifUnused: boolean, ifEmpty: boolean): number {
    const { vhost, user, release } = this.#host
    const name = strip(given)
    user.check('configure', 'queue', name, vhost.name, release)
    const queue = vhost.queues.get(name)
    if (queue === undefined) return 0
    this.#checkOwner(queue)
    const what = resource('queue', name, vhost.name)
    if (queue.type === 'quorum' && (ifUnused || ifEmpty)) {
      const flag = ifUnused ? 'if-unused' : 'if-empty'
      throw notImplemented(
        `cannot delete ${what}. queue.delete operations with ${flag} flag set are not supported by quorum queues`,
      )
    }
    if (ifEmpty && queue.messageCount > 0 && queue.type === 'classic') throw preconditionFailed(`${what} not empty`)
    if (ifUnused && queue.consumers.length > 0 && queue.type === 'classic') throw preconditionFailed(`${what} in use`)
    const count = queue.type === 'stream' ? 0 : queue.messageCount
    vhost.deleteQueue(queue)
    return count
  }

  purgeQueue(name: string): number {
    const { vhost, user, release } = this.#host
    user.check('read', 'queue', name, vhost.name, release)
    return isReplyQueue(name, release) ? 0 : this.queue(name).purge()
  }

  declareExchange(args: Decoded<typeof methods.ExchangeDeclare>): void {
    const { vhost, user, release } = this.#host
    const name = strip(args.exchangeName)
    if (args.passive) {
      checkNotDefault(name)
      user.checkAny('exchange', name, vhost.name, release)
      if (!vhost.exchanges.has(name)) throw noSuchExchange(name, vhost.name)
      return
    }
    const type = exchangeTypeOf(args.typeName, release)
    checkNotDefault(name)
    user.check('configure', 'exchange', name, vhost.name, release)
    const existing = vhost.exchanges.get(name)
    if (existing !== undefined) {
      compareExchange(existing, type, args, vhost.name)
      return
    }
    if (name.startsWith('amq.')) {
      throw accessRefused(`exchange name '${name}' contains reserved prefix 'amq.*'`)
    }
    this.#checkExchangeArgument('alternate-exchange', 'exchange', name, args.arguments)
    const { durable, autoDelete, internal, arguments: table } = args
    vhost.addExchange(new Exchange({ name, type, durable, autoDelete, internal, arguments: table }))
  }

  deleteExchange(given: string, ifUnused: boolean): void {
    const { vhost, user, release } = this.#host
    const name = strip(given)
    checkNotDefault(name)
    if (name.startsWith('amq.')) {
      throw accessRefused(`deletion of system ${resource('exchange', name, vhost.name)} not allowed`)
    }
    user.check('configure', 'exchange', name, vhost.name, release)
    const exchange = vhost.exchanges.get(name)
    if (exchange === undefined) return
    if (ifUnused && exchange.bindings.length > 0) {
      throw preconditionFailed(`${resource('exchange', name, vhost.name)} in use`)
    }
    vhost.deleteExchange(exchange)
  }

  bindQueue(queueName: string, args: Decoded<typeof methods.QueueBind>): void {
    this.#bind('queue', this.named(queueName), args.exchangeName, this.#keyOf(args), args.arguments, true)
  }

  unbindQueue(queueName: string, args: Decoded<typeof methods.QueueUnbind>): void {
    this.#bind('queue', this.named(queueName), args.exchangeName, this.#keyOf(args), args.arguments, false)
  }

  bindExchange(args: Decoded<typeof methods.ExchangeBind>, add: boolean): void {
    const { exchangeDestination, exchangeSource, routingKey, arguments: table } = args
    this.#bind('exchange', exchangeDestination, exchangeSource, routingKey, table, add)
  }

  /** With neither a queue nor a key, the key is the name of the last queue. */
  #keyOf({ queueName, routingKey }: Pick<Decoded<typeof methods.QueueBind>, 'queueName' | 'routingKey'>): string {
    return queueName === '' && routingKey === '' ? this.named('') : routingKey
  }

  #bind(
    kind: 'queue' | 'exchange',
    givenDestination: string,
    givenSource: string,
    routingKey: string,
    table: FieldTable,
    add: boolean,
  ): void {
    const { vhost, user, release } = this.#host
    const destinationName = strip(givenDestination)
    const sourceName = strip(givenSource)
    if (kind === 'queue' && release.repliesAreQueues && isVolatile(destinationName)) {
      throw accessRefused('cannot bind or unbind to a volatile (direct reply-to) queue')
    }
    user.check('write', kind, destinationName, vhost.name, release)
    if (kind === 'exchange') checkNotDefault(destinationName)
    checkNotDefault(sourceName)
    user.check('read', 'exchange', sourceName, vhost.name, release)
    const source = vhost.exchanges.get(sourceName)
    const destination = kind === 'queue' ? vhost.queues.get(destinationName) : vhost.exchanges.get(destinationName)
    if (!add && (source === undefined || destination === undefined)) return
    if (source === undefined) throw noSuchExchange(sourceName, vhost.name)
    if (destination === undefined) {
      throw kind === 'queue' ? noSuchQueue(destinationName, vhost.name) : noSuchExchange(destinationName, vhost.name)
    }
    const binding = { destination, routingKey, arguments: table }
    if (!add && !source.has(binding)) return
    if (add && source.type === 'headers') checkHeaderMatch(table)
    if (add && source.type === 'topic') checkTopicPattern(routingKey, release)
    if (!(destination instanceof Exchange)) this.#checkOwner(destination)
    if (add) source.bind(binding)
    else if (source.unbind(binding)) vhost.unbound(source)
  }

  #checkOwner(queue: Queue): void {
    if (queue.owner !== undefined && queue.owner !== this.#owner) throw lockedQueue(queue.name, this.#host.vhost.name)
  }

  #declareReplyQueue(name: string): ArgumentsOf<typeof methods.QueueDeclareOk> {
    if (name !== REPLY_TO && !this.#host.replies.has(name)) {
      if (!this.#host.release.repliesAreQueues) checkReplyQueue(name)
      else if (!name.startsWith(REPLY_PREFIX)) throw breakage()
      throw noSuchQueue(name, this.#host.vhost.name)
    }
    this.#lastQueue = name
    return { queue: name, messageCount: 0, consumerCount: 1 }
  }

  #serverNamed(table: FieldTable): string {
    const type = typeOfNameless(table, this.#host.release)
    if (type !== 'classic') {
      throw preconditionFailed(`Cannot declare a server-named queue for type rabbit_${type}_queue`)
    }
    return this.#host.uniqueName('amq.gen-')
  }

  #sameQueue(queue: Queue, args: Decoded<typeof methods.QueueDeclare>): Queue {
    const { vhost, release } = this.#host
    const owner = args.exclusive ? this.#owner : undefined
    if (queue.owner !== owner) throw lockedQueue(queue.name, vhost.name)
    const what = resource('queue', queue.name, vhost.name)
    const durable = args.durable && !args.exclusive
    if (queue.durable !== durable) throw inequivalent('durable', what, `'${durable}'`, `'${queue.durable}'`)
    if (queue.autoDelete !== args.autoDelete) {
      throw inequivalent('auto_delete', what, `'${args.autoDelete}'`, `'${queue.autoDelete}'`)
    }
    const given = this.#completed(args.arguments)
    compareQueueArguments(queue.name, vhost.name, queue.type, queue.arguments, given, release)
    queue.touch()
    return queue
  }

  #newQueue(name: string, args: Decoded<typeof methods.QueueDeclare>): Queue {
    const { vhost, release } = this.#host
    this.#checkExchangeArgument('x-dead-letter-exchange', 'queue', name, args.arguments)
    const type = queueTypeOf(name, vhost.name, args.arguments, release)
    checkQueueArguments(name, vhost.name, type, args.arguments, release)
    if (type === 'classic') checkMasterLocator(args.arguments, args.exclusive, release)
    checkFlags(name, vhost.name, type, args)
    if (type === 'stream') checkStreamSizes(args.arguments, release)
    const identity = {
      name,
      durable: args.durable && !args.exclusive,
      autoDelete: args.autoDelete,
      owner: args.exclusive ? this.#owner : undefined,
      arguments: this.#completed(args.arguments),
    }
    return vhost.addQueue(identity, type)
  }

  /** Later releases keep the type if none was given. */
  #completed(table: FieldTable): FieldTable {
    if (this.#host.release.typeInArguments && !('x-queue-type' in table)) table['x-queue-type'] = 'classic'
    return table
  }

  /** A user that names another exchange in an argument must be allowed to write to it. */
  #checkExchangeArgument(argument: string, kind: 'queue' | 'exchange', name: string, table: FieldTable): void {
    const entry = entryOf(table, argument)
    if (entry === undefined) return
    const { vhost, user, release } = this.#host
    if (entry.kind !== 'longstr') {
      throw preconditionFailed(
        `invalid type '${entry.kind}' for arg '${argument}' in ${resource(kind, name, vhost.name)}`,
      )
    }
    user.check('read', kind, name, vhost.name, release)
    user.check('write', 'exchange', String(entry.value), vhost.name, release)
  }
}

function checkNotDefault(exchangeName: string): void {
  if (exchangeName === '') throw accessRefused('operation not permitted on the default exchange')
}

/** Quorum queues and streams are always durable and shared. */
function checkFlags(
  name: string,
  vhost: string,
  type: QueueType,
  {
    durable,
    exclusive,
    autoDelete,
  }: Pick<Decoded<typeof methods.QueueDeclare>, 'durable' | 'exclusive' | 'autoDelete'>,
): void {
  if (type === 'classic') return
  const wrong = autoDelete ? 'auto-delete' : exclusive ? 'exclusive-owner' : durable ? undefined : 'non-durable'
  if (wrong !== undefined) {
    throw preconditionFailed(`invalid property '${wrong}' for ${resource('queue', name, vhost)}`)
  }
}
