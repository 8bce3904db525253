import * as methods from '../protocol/methods.ts'
import type { BasicProperties } from '../protocol/properties.ts'
import type { ChannelHost } from './channel-host.ts'
import { Confirms } from './confirms.ts'
import { listTerm, pairTerm } from './erlang-terms.ts'
import { Message, withOthers, withSortedHeaders } from './message.ts'
import type { Queue, Receipt } from './queue.ts'
import {
  accessRefused,
  breakage,
  channelError,
  noSuchExchange,
  notImplemented,
  preconditionFailed,
  resource,
  undeliverable,
} from './refusals.ts'
import type { Release } from './release.ts'
import { checkReplyQueue, REPLY_TO, reply, replyQueuesOf } from './reply-queue.ts'
import type { User } from './users.ts'

const LONGEST_TIME = 315_360_000_000
const NO_ROUTE = 312

/** What a client published. */
export interface Published {
  readonly exchangeName: string
  readonly routingKey: string
  readonly mandatory: boolean
  readonly immediate: boolean
  /** Undefined if they cannot be read. */
  readonly properties: BasicProperties | undefined
  readonly body: Buffer
}

/** A message with its exchange and routing key. */
interface Routed {
  readonly message: Message
  readonly mandatory: boolean
  readonly queues: ReadonlySet<Queue>
  /** Queues of direct reply-to, of channels that may be gone. */
  readonly repliesTo: readonly string[]
}

type Mode = 'plain' | 'confirm' | 'transaction' | 'committing'

/** The messages that come by one channel, with its confirms and transactions. */
export class ChannelPublishing {
  readonly #number: number
  readonly #host: ChannelHost
  readonly #confirms = new Confirms()
  /** What `amq.rabbitmq.reply-to` stands for on this channel. */
  readonly #replyQueue: () => string | undefined
  readonly #attempt: (run: () => void) => void
  #mode: Mode = 'plain'
  #nextTag = 1
  /** The messages that the transaction will publish. */
  #waiting: Routed[] = []
  #refusedInTransaction = false
  #flushPosted = false
  #closed = false

  /** `attempt` runs code that may be refused, in its own turn. */
  constructor(
    number: number,
    host: ChannelHost,
    replyQueue: () => string | undefined,
    attempt: (run: () => void) => void,
  ) {
    this.#number = number
    this.#host = host
    this.#replyQueue = replyQueue
    this.#attempt = attempt
  }

  get isTransactional(): boolean {
    return this.#mode === 'transaction' || this.#mode === 'committing'
  }

  /** @throws Refusal (504) if a transaction is being committed: nothing may come in between. */
  checkIdle(): void {
    if (this.#mode === 'committing') throw channelError("unexpected command while processing 'tx.commit'")
  }

  confirmSelect(): void {
    if (this.isTransactional) throw preconditionFailed('cannot switch from tx to confirm mode')
    this.#mode = 'confirm'
  }

  transactionSelect(): void {
    if (this.#mode === 'confirm') throw preconditionFailed('cannot switch from confirm to tx mode')
    this.#mode = 'transaction'
  }

  /** Publish the waiting messages, call `settle`, then report that it is done. */
  commit(settle: () => void): void {
    this.#checkTransaction()
    const waiting = this.#waiting
    this.#waiting = []
    for (const routed of waiting) this.#deliver(routed)
    settle()
    this.#mode = 'committing'
    this.#maybeCommitted()
  }

  rollback(): void {
    this.#checkTransaction()
    this.#waiting = []
  }

  publish(published: Published): void {
    const message = this.#accepted(published)
    const exchange = this.#host.vhost.exchanges.get(published.exchangeName)
    if (exchange === undefined) return
    const replies = replyQueuesOf(message)
    const { repliesAreQueues } = this.#host.release
    const routed: Routed = {
      message,
      mandatory: published.mandatory,
      queues: this.#host.vhost.route(message, exchange),
      repliesTo: repliesAreQueues ? replies : [],
    }
    this.#host.published(message)
    if (!repliesAreQueues) {
      if (exchange.name === '') for (const key of message.routingKeys) checkReplyQueue(key)
      for (const name of replies) reply(this.#host.replies, name, message)
    }
    if (this.#mode === 'transaction') this.#waiting.push(routed)
    else this.#deliver(routed)
  }

  /** Send the confirms that have come together. */
  flush(): void {
    if (this.#mode === 'committing') {
      this.#maybeCommitted()
      return
    }
    if (this.#closed) return
    this.#confirms.take((taken, deliveryTag, multiple) => {
      if (taken) this.#host.send(this.#number, methods.BasicAck, { deliveryTag, multiple })
      else this.#host.send(this.#number, methods.BasicNack, { deliveryTag, multiple, requeue: true })
    })
  }

  close(): void {
    this.#closed = true
  }

  #checkTransaction(): void {
    if (this.#mode !== 'transaction') throw preconditionFailed('channel is not transactional')
  }

  /** The message, if there is nothing against it. @throws Refusal */
  #accepted({ exchangeName, routingKey, immediate, properties, body }: Published): Message {
    const { vhost, user, release } = this.#host
    if (immediate) throw notImplemented('immediate=true')
    if (body.length > release.maxMessageSize) {
      throw preconditionFailed(
        `message size ${body.length} is larger than configured max size ${release.maxMessageSize}`,
      )
    }
    user.check('write', 'exchange', exchangeName, vhost.name, release)
    const exchange = vhost.exchanges.get(exchangeName)
    if (exchange === undefined) throw noSuchExchange(exchangeName, vhost.name)
    if (exchange.internal) {
      throw accessRefused(`cannot publish to internal ${resource('exchange', exchangeName, vhost.name)}`)
    }
    if (properties === undefined) throw breakage()
    const given = this.#withReplyQueue(properties)
    if (release.checksUserFirst) checkUser(given, user)
    const expiration = checkedExpiration(given, release)
    const sorted = release.sortsHeaders ? withSortedHeaders(given) : given
    const message = Message.published(exchangeName, routingKey, sorted, body)
    checkUser(given, user)
    const { deliveryMode = 1 } = given
    if (release.checksDeliveryMode && deliveryMode !== 1 && deliveryMode !== 2) {
      throw preconditionFailed(`invalid message: {delivery_mode_unknown,${deliveryMode}}`)
    }
    return expiration === given.expiration
      ? message
      : message.withProperties(withOthers(message.properties, { expiration }))
  }

  #withReplyQueue(properties: BasicProperties): BasicProperties {
    if (properties.replyTo !== REPLY_TO) return properties
    const replyTo = this.#replyQueue()
    if (replyTo === undefined) throw preconditionFailed('fast reply consumer does not exist')
    return withOthers(properties, { replyTo })
  }

  #deliver(routed: Routed): void {
    const { message, mandatory, repliesTo } = routed
    const fate = this.#mode === 'plain' ? 'take' : this.#host.confirmFate(message)
    const existing = this.#existing(routed)
    const withheld = fate === 'withhold' ? message : undefined
    const receipt = this.#mode === 'plain' ? undefined : this.#receipt(Math.max(1, existing.length), withheld)
    if (fate === 'nack') {
      receipt?.settled(false)
      return
    }
    for (const name of repliesTo) reply(this.#host.replies, name, message)
    if (mandatory && existing.length + repliesTo.length === 0) this.#return(message)
    if (existing.length === 0) receipt?.settled(true)
    for (const { queue, takes } of existing) {
      if (takes) queue.publish(message, receipt, this)
      else receipt?.settled(false)
    }
  }

  /** The present state of the queues that a message was routed to: in a transaction, time has passed since then. */
  #existing({ message, queues }: Routed): readonly { readonly queue: Queue; readonly takes: boolean }[] {
    const { vhost, release } = this.#host
    if (!release.commitNeedsQueues) {
      const names = message.exchange === '' ? message.routingKeys : [...queues].map(({ name }) => name)
      return [...new Set(names)].flatMap(name => {
        const queue = vhost.queues.get(name)
        return queue === undefined ? [] : { queue, takes: true }
      })
    }
    return [...queues].map(was => {
      const queue = vhost.queues.get(was.name)
      if (queue === undefined) throw undeliverable(was.name, vhost.name)
      if (queue.type !== was.type) throw breakage()
      return { queue, takes: queue === was || queue.type !== 'classic' }
    })
  }

  #return(message: Message): void {
    const { exchange, routingKey } = message
    const args = { replyCode: NO_ROUTE, replyText: 'NO_ROUTE', exchangeName: exchange, routingKey }
    this.#host.sendContent(this.#number, methods.BasicReturn, args, message)
  }

  /** Waits for `count` queues, or for one that says no; then until a test releases the confirm of `withheld`. */
  #receipt(count: number, withheld: Message | undefined): Receipt {
    const tag = this.#nextTag++
    this.#confirms.opened(tag)
    let left = count
    const settle = (taken: boolean, failsCommit: boolean) => {
      this.#host.post(() => {
        this.#confirms.settled(tag, taken)
        if (failsCommit) this.#refusedInTransaction = true
        this.#flushSoon()
      })
    }
    return {
      settled: (taken, failsCommit = true) => {
        left = taken ? left - 1 : Math.min(left, 0)
        if (left !== 0) return
        left = -1
        const end = () => settle(taken, !taken && failsCommit)
        if (withheld === undefined) end()
        else this.#host.withhold(withheld, end)
      },
    }
  }

  /** Confirms that come in a row are sent together, after them. */
  #flushSoon(): void {
    if (this.#flushPosted) return
    this.#flushPosted = true
    this.#host.post(() => {
      this.#flushPosted = false
      this.#attempt(() => this.flush())
    })
  }

  #maybeCommitted(): void {
    if (!this.#confirms.isIdle || this.#closed) return
    this.#confirms.take(() => {})
    this.#mode = 'transaction'
    if (this.#refusedInTransaction) {
      this.#refusedInTransaction = false
      throw preconditionFailed('partial tx completion')
    }
    this.#host.send(this.#number, methods.TxCommitOk, {})
  }
}

/** @throws Refusal (406) if a message names another user. */
function checkUser({ userId }: BasicProperties, user: User): void {
  if (userId === undefined || userId === user.name) return
  throw preconditionFailed(`user_id property set to '${userId}' but authenticated user was '${user.name}'`)
}

/** The expiration as receivers see it. @throws Refusal (406) if it is not a number of milliseconds. */
function checkedExpiration({ expiration }: BasicProperties, release: Release): string | undefined {
  if (expiration === undefined) return undefined
  const [, digits, rest = ''] = /^([+-]?\d+)(.*)$/s.exec(expiration) ?? []
  const explanation = `invalid expiration '${expiration}': `
  if (digits === undefined) throw preconditionFailed(`${explanation}no_integer`)
  if (rest !== '') throw preconditionFailed(`${explanation}{leftover_string,${listTerm(rest, release)}}`)
  const value = BigInt(digits.replace('+', ''))
  const wrong = value < 0 ? 'value_negative' : value > LONGEST_TIME ? 'value_too_large' : undefined
  if (wrong !== undefined) throw preconditionFailed(explanation + pairTerm(wrong, value, explanation.length))
  return release.rewritesExpirations ? String(value) : expiration
}
