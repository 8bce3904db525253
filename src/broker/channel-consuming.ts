import * as methods from '../protocol/methods.ts'
import type { FieldTable } from '../protocol/values.ts'
import type { ChannelHost } from './channel-host.ts'
import { Consumer, type Delivery, mostUnsettled, type Receiver, type Settlement } from './consumer.ts'
import type { Message } from './message.ts'
import type { Queue } from './queue.ts'
import { checkConsumerArguments, numberArgument } from './queue-arguments.ts'
import { breakage, notAllowed, notImplemented, preconditionFailed, Refusal, unknownDeliveryTag } from './refusals.ts'
import { REPLY_PREFIX } from './reply-queue.ts'
import { settledTogether, type Tagged } from './settlements.ts'

interface Consuming {
  readonly consumer: Consumer
  readonly queue: Queue
  announced: boolean
}

interface ReplyConsumer {
  readonly tag: string
  readonly queueName: string
}

export interface ConsumeArguments {
  readonly consumerTag: string
  readonly noAck: boolean
  readonly exclusive: boolean
  readonly noWait: boolean
  readonly arguments: FieldTable
}

/** The consumers of one channel, and its deliveries that are not settled. */
export class ChannelConsuming {
  readonly #number: number
  readonly #host: ChannelHost
  readonly #receiver: Receiver
  readonly #consumers = new Map<string, Consuming>()
  /**
   * The names of the queues that it has consumed or got from. Messages of theirs may be on their way, or taken from
   * `#unacked` by a settlement that was refused halfway.
   */
  readonly #queues = new Set<string>()
  #wakes = 0
  readonly #unacked = new Map<number, Delivery>()
  /** Settled in a transaction that is not committed, by the order of the calls. */
  #settledInTransaction: { readonly tags: Tagged[]; readonly how: Settlement }[] = []
  #reply: ReplyConsumer | undefined
  #nextTag = 1
  #prefetch = 0
  #channelPrefetch = 0
  /**
   * Deliveries that count toward the limit of the channel. Messages that were asked for before there was one count as in
   * RabbitMQ: they are never taken off.
   */
  #taken = 0

  constructor(number: number, host: ChannelHost, receiver: Receiver) {
    this.#number = number
    this.#host = host
    this.#receiver = receiver
  }

  get unackedCount(): number {
    return this.#unacked.size
  }
  get channelPrefetch(): number {
    return this.#channelPrefetch
  }
  get replyQueue(): string | undefined {
    return this.#reply?.queueName
  }
  get hasRoom(): boolean {
    return this.#channelPrefetch === 0 || this.#taken < this.#channelPrefetch
  }

  took(): void {
    if (this.#channelPrefetch > 0) this.#taken++
  }

  qos(prefetchSize: number, prefetchCount: number, forChannel: boolean): void {
    if (prefetchSize !== 0) throw notImplemented(`prefetch_size!=0 (${prefetchSize})`)
    const hadRoom = this.hasRoom
    if (forChannel && this.#host.release.globalPrefetch) {
      if (this.#channelPrefetch === 0) this.#taken = this.#unacked.size
      this.#channelPrefetch = prefetchCount
    } else {
      this.#prefetch = prefetchCount
      this.#channelPrefetch = 0
    }
    if (!hadRoom && this.hasRoom) this.#wakeQueues()
  }

  has(consumerTag: string): boolean {
    return this.#consumers.has(consumerTag)
  }

  /** @throws Refusal (530) where the channel has such a consumer. */
  checkTag(consumerTag: string): void {
    if (this.has(consumerTag)) throw notAllowed(`attempt to reuse consumer tag '${consumerTag}'`)
  }

  consume(queue: Queue, args: ConsumeArguments): void {
    const tag = this.#newTag(args.consumerTag)
    checkConsumerArguments(queue.name, this.#host.vhost.name, queue.type, args.arguments, this.#host.release)
    const consumer = new Consumer(this.#receiver, tag, {
      noAck: args.noAck,
      exclusive: args.exclusive,
      prefetch: this.#prefetch,
      most: mostUnsettled(queue.type, this.#prefetch, args.noAck),
      limited: this.#channelPrefetch > 0,
      heedsChannel: queue.type === 'classic',
      priority: numberArgument(args.arguments, 'x-priority') ?? 0,
      arguments: args.arguments,
    })
    const consuming: Consuming = { consumer, queue, announced: args.noWait }
    this.#consumers.set(tag, consuming)
    this.#queues.add(queue.name)
    try {
      queue.consume(consumer, () => {
        if (args.noWait) return
        const known = this.#consumers.get(tag) === consuming
        if (!known && this.#host.release.cancelBeforeConsumeOk === 'cancel-ok') return
        consuming.announced = true
        this.#host.send(this.#number, methods.BasicConsumeOk, { consumerTag: tag })
      })
    } catch (error) {
      this.#consumers.delete(tag)
      throw error
    }
  }

  /** basic.consume of `amq.rabbitmq.reply-to`: replies come at once. */
  consumeReplies(args: ConsumeArguments): void {
    const tag = this.#newTag(args.consumerTag)
    if (!args.noAck) throw preconditionFailed('reply consumer cannot acknowledge')
    if (this.#reply !== undefined) throw preconditionFailed('reply consumer already set')
    const queueName = `${this.#host.uniqueName(REPLY_PREFIX)}==`
    this.#reply = { tag, queueName }
    this.#host.replies.set(queueName, {
      post: turn => this.#receiver.post(turn),
      deliverReply: message => {
        if (this.#reply?.queueName === queueName) this.#deliverReply(tag, message)
      },
    })
    if (!args.noWait) this.#host.send(this.#number, methods.BasicConsumeOk, { consumerTag: tag })
  }

  cancel(consumerTag: string, noWait: boolean): void {
    const sendOk = () => {
      if (!noWait) this.#host.send(this.#number, methods.BasicCancelOk, { consumerTag })
    }
    if (this.#reply?.tag === consumerTag) {
      this.#endReplies()
      sendOk()
      return
    }
    const consuming = this.#consumers.get(consumerTag)
    if (consuming === undefined) {
      sendOk()
      return
    }
    this.#consumers.delete(consumerTag)
    const lost = !consuming.announced && this.#host.release.cancelBeforeConsumeOk === 'consume-ok'
    consuming.queue.cancel(consuming.consumer, lost ? () => {} : sendOk)
  }

  get(queue: Queue, noAck: boolean): void {
    this.#queues.add(queue.name)
    const delivery = queue.get(this.#receiver, noAck)
    if (delivery === undefined) {
      this.#host.send(this.#number, methods.BasicGetEmpty, {})
      return
    }
    const { message, redelivered } = delivery
    const args = {
      deliveryTag: this.#tagOf(delivery),
      redelivered,
      exchangeName: message.exchange,
      routingKey: message.routingKey,
      messageCount: queue.messageCount,
    }
    this.#host.sendContent(this.#number, methods.BasicGetOk, args, message)
  }

  deliver(delivery: Delivery): void {
    const { message, redelivered, consumer } = delivery
    const args = {
      consumerTag: consumer?.tag ?? '',
      deliveryTag: this.#tagOf(delivery),
      redelivered,
      exchangeName: message.exchange,
      routingKey: message.routingKey,
    }
    this.#host.sendContent(this.#number, methods.BasicDeliver, args, message)
  }

  /** @throws Refusal (406) if there is no such delivery. */
  settle(tag: number, multiple: boolean, how: Settlement, inTransaction: boolean): void {
    const tags = this.#take(tag, multiple)
    const last = this.#settledInTransaction.at(-1)
    if (!inTransaction) this.#settleAll(tags, how)
    // Deliveries in a row that are settled in the same way are settled together, by tags.
    else if (last !== undefined && this.#alike(last.how, how)) for (const each of tags) last.tags.push(each)
    else this.#settledInTransaction.push({ tags, how })
  }

  commit(): void {
    const settled = this.#settledInTransaction
    this.#settledInTransaction = []
    for (const { tags, how } of settled) this.#settleAll(tags, how)
  }

  rollback(): void {
    const all = [...this.#settledInTransaction.flatMap(({ tags }) => tags), ...this.#unacked]
    this.#settledInTransaction = []
    this.#unacked.clear()
    for (const [tag, delivery] of all.sort(([one], [other]) => one - other)) this.#unacked.set(tag, delivery)
  }

  recover(requeue: boolean): void {
    if (!requeue) throw notImplemented('requeue=false')
    const all = [...this.#unacked]
    this.#unacked.clear()
    try {
      this.#settleAll(all, 'nack')
    } catch (error) {
      // A stream says why it refuses, and RabbitMQ breaks on that.
      throw error instanceof Refusal ? breakage() : error
    }
  }

  /** Whether the channel has this consumer, and its client understands that a consumer ends. */
  hearsOfEnd(consumer: Consumer): boolean {
    return this.#host.capabilities.cancelNotify && this.#consumers.get(consumer.tag)?.consumer === consumer
  }

  /** A queue has ended a consumer. */
  cancelled(consumer: Consumer): void {
    if (this.#consumers.get(consumer.tag)?.consumer !== consumer) return
    this.#consumers.delete(consumer.tag)
    if (!this.#host.capabilities.cancelNotify) return
    this.#host.send(this.#number, methods.BasicCancel, { consumerTag: consumer.tag, noWait: true })
  }

  /** Close without a report to its queues. Returns these. */
  leave(): ReadonlySet<Queue> {
    const queues = new Set([...this.#queues].flatMap(name => this.#host.vhost.queues.get(name) ?? []))
    this.#consumers.clear()
    this.#unacked.clear()
    this.#settledInTransaction = []
    this.#endReplies()
    return queues
  }

  #newTag(given: string): string {
    return given === '' ? this.#host.uniqueName('amq.ctag-') : given
  }

  #tagOf(delivery: Delivery): number {
    const tag = this.#nextTag++
    if (!delivery.noAck) this.#unacked.set(tag, delivery)
    return tag
  }

  #deliverReply(consumerTag: string, message: Message): void {
    const deliveryTag = this.#nextTag
    if (this.#host.release.repliesAreQueues) this.#nextTag++
    const { exchange, routingKey } = message
    const args = { consumerTag, deliveryTag, redelivered: false, exchangeName: exchange, routingKey }
    this.#host.sendContent(this.#number, methods.BasicDeliver, args, message)
  }

  #endReplies(): void {
    if (this.#reply !== undefined) this.#host.replies.delete(this.#reply.queueName)
    this.#reply = undefined
  }

  /** The deliveries that a settlement covers, oldest first. */
  #take(tag: number, multiple: boolean): Tagged[] {
    const delivery = this.#unacked.get(tag)
    if (delivery === undefined && !(multiple && tag === 0)) throw unknownDeliveryTag(tag)
    const taken: Tagged[] = []
    if (delivery !== undefined && !multiple) taken.push([tag, delivery])
    else {
      // They are in the order of their tags.
      for (const each of this.#unacked) {
        if (tag !== 0 && each[0] > tag) break
        taken.push(each)
      }
    }
    for (const [one] of taken) this.#unacked.delete(one)
    return taken
  }

  #alike(one: Settlement, other: Settlement): boolean {
    const asNack = (how: Settlement) => how.replace('reject', 'nack')
    return one === other || (this.#host.release.nackCounts && asNack(one) === asNack(other))
  }

  #settleAll(tags: readonly Tagged[], how: Settlement): void {
    const hadRoom = this.hasRoom
    // Before the queues know of it: what comes back may go to the same channel again.
    const fromConsumers = tags.filter(([, { consumer }]) => consumer !== undefined).length
    this.#taken = Math.max(0, this.#taken - fromConsumers)
    for (const group of settledTogether(tags)) {
      const queue = group[0]?.queue
      if (queue !== undefined && this.#host.vhost.queues.get(queue.name) === queue) queue.settle(group, how)
    }
    if (!hadRoom && this.hasRoom) this.#wakeQueues()
  }

  /** RabbitMQ lets chance say which queue is the first; here it is one after the other, so that none gets all the room. */
  #wakeQueues(): void {
    const queues = [...new Set([...this.#consumers.values()].map(consuming => consuming.queue))]
    const first = this.#wakes++ % queues.length
    for (const queue of [...queues.slice(first), ...queues.slice(0, first)]) queue.receiverReady(this.#receiver)
  }
}
