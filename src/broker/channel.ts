import * as methods from '../protocol/methods.ts'
import { ChannelConsuming } from './channel-consuming.ts'
import type { ChannelHost } from './channel-host.ts'
import { ChannelPublishing, type Published } from './channel-publishing.ts'
import { ChannelTopology } from './channel-topology.ts'
import type { Consumer, Delivery, Receiver, Settlement } from './consumer.ts'
import type { Queue } from './queue.ts'
import {
  type AtFault,
  breakage,
  channelError,
  commandInvalid,
  notImplemented,
  preconditionFailed,
  Refusal,
  resource,
} from './refusals.ts'
import { isReplyQueue, REPLY_TO } from './reply-queue.ts'

/** What a channel reports to its connection beside what it sends. */
export interface ChannelOwner extends ChannelHost {
  /** Its client sent a method that closes the connection. */
  fail(refusal: Refusal, method: AtFault): void
  /** It is closed on both sides: its number is free. */
  channelClosed(channel: Channel): void
}

/**
 *     starting --channel.open--> open --refused, or channel.close--> closing --close-ok--> closed
 */
type State = 'starting' | 'open' | 'closing' | 'closed'

type Arguments = Record<string, unknown>
type Handler = (channel: Channel, args: Arguments) => void

/** One channel of a client. */
export class Channel implements Receiver {
  readonly number: number
  readonly #owner: ChannelOwner
  readonly #topology: ChannelTopology
  readonly #publishing: ChannelPublishing
  readonly #consuming: ChannelConsuming
  #state: State = 'starting'

  constructor(number: number, owner: ChannelOwner) {
    this.number = number
    this.#owner = owner
    this.#topology = new ChannelTopology(owner, owner)
    this.#consuming = new ChannelConsuming(number, owner, this)
    this.#publishing = new ChannelPublishing(
      number,
      owner,
      () => this.#consuming.replyQueue,
      run => this.#attempt(methods.TxCommit, run),
    )
  }

  get unackedCount(): number {
    return this.#consuming.unackedCount
  }

  /** Messages that the channel as a whole may have unacked; 0 is no limit. */
  get prefetch(): number {
    return this.#consuming.channelPrefetch
  }

  /** One side has closed it, and the other one has not answered. */
  get isClosing(): boolean {
    return this.#state === 'closing'
  }

  /** A method has come; it is carried out when it is its turn. */
  receive(method: methods.AnyMethod, args: Arguments): void {
    this.#owner.post(() => this.#attempt(method, () => this.#carryOut(method, args)))
  }

  receivePublish(published: Published): void {
    this.#owner.post(() => this.#attempt(methods.BasicPublish, () => this.#publish(published)))
  }

  /** The broker, or a test, closes channels. */
  static close(channels: readonly Channel[], refusal: Refusal, method?: AtFault): void {
    const open = channels.filter(channel => channel.#state === 'open')
    Channel.end(open, 'closing')
    const { replyCode, replyText } = refusal
    const { classId = 0, methodId = 0 } = method ?? {}
    for (const channel of open) channel.#reply(methods.ChannelClose, { replyCode, replyText, classId, methodId })
  }

  /**
   * End channels: their unsettled messages go back to their queues. All at once, so that messages of one do not go to
   * another one that is gone, too.
   */
  static end(channels: readonly Channel[], state: 'closing' | 'closed'): void {
    const open = channels.filter(channel => channel.#state === 'open')
    for (const channel of channels) channel.#state = state
    const queues = new Set<Queue>()
    for (const channel of open) {
      channel.#publishing.close()
      for (const queue of channel.#consuming.leave()) queues.add(queue)
    }
    const receivers = new Set(open)
    for (const queue of queues) queue.receiversGone(receivers)
  }

  // ---- as its queues see it

  /** What they send to a channel that is closed meanwhile does not go out. */
  post(turn: () => void): void {
    this.#owner.post(() => {
      if (this.#state === 'open') turn()
    })
  }

  hasRoom(): boolean {
    return this.#consuming.hasRoom
  }

  took(): void {
    this.#consuming.took()
  }

  deliver(delivery: Delivery): void {
    this.#consuming.deliver(delivery)
  }

  afterWriting(turn: () => void): void {
    this.#owner.afterWriting(turn)
  }

  cancelled(consumer: Consumer): void {
    this.#consuming.cancelled(consumer)
  }

  timedOut(consumer: Consumer | undefined): void {
    if (consumer !== undefined && this.#consuming.hearsOfEnd(consumer)) {
      this.cancelled(consumer)
      return
    }
    Channel.close(
      [this],
      preconditionFailed(
        `delivery acknowledgement on channel ${this.number} timed out. Timeout value used: -1 ms. ` +
          'This timeout value can be configured, see consumers doc guide to learn more',
      ),
    )
  }

  // ---- what a client asks for

  #attempt(method: methods.AnyMethod, run: () => void): void {
    try {
      run()
      this.#publishing.flush()
    } catch (error) {
      if (!(error instanceof Refusal)) throw error
      if (error.endsConnection) {
        // It goes before the others: its messages may go to one of them.
        Channel.end([this], 'closed')
        this.#owner.fail(error, error.method ?? method)
      } else Channel.close([this], error, error.method ?? method)
    }
  }

  #publish(published: Published): void {
    if (this.#state === 'starting') throw channelError("expected 'channel.open'")
    if (this.#state !== 'open') return
    this.#publishing.checkIdle()
    this.#publishing.publish(published)
  }

  #carryOut(method: methods.AnyMethod, args: Arguments): void {
    if (this.#state === 'starting') {
      if (method !== methods.ChannelOpen) throw channelError("expected 'channel.open'")
      this.#state = 'open'
      this.#reply(methods.ChannelOpenOk, {})
    } else if (this.#state === 'closing') this.#whileClosing(method)
    else if (this.#state === 'open') {
      if (method === methods.ChannelClose) this.#close()
      else {
        this.#publishing.checkIdle()
        const handler = Channel.#handlers.get(method.key)
        if (handler === undefined) throw commandInvalid('unimplemented method')
        handler(this, args)
      }
    }
  }

  #whileClosing(method: methods.AnyMethod): void {
    if (method === methods.ChannelOpen) throw openedTwice()
    if (method === methods.ChannelClose) this.#reply(methods.ChannelCloseOk, {})
    else if (method === methods.ChannelCloseOk) {
      this.#state = 'closed'
      this.#owner.channelClosed(this)
    }
  }

  #close(): void {
    Channel.end([this], 'closing')
    this.#owner.post(() => {
      if (this.#state !== 'closing') return
      this.#state = 'closed'
      this.#owner.channelClosed(this)
      this.#reply(methods.ChannelCloseOk, {})
    })
  }

  #reply<M extends methods.AnyMethod>(method: M, args: methods.ArgumentsOf<M>, noWait = false): void {
    if (!noWait) this.#owner.send(this.number, method, args)
  }

  #consume(args: methods.DecodedOf<typeof methods.BasicConsume>): void {
    const name = this.#topology.named(args.queueName)
    this.#consuming.checkTag(args.consumerTag)
    if (name === REPLY_TO) {
      this.#consuming.consumeReplies(args)
      return
    }
    this.#mayRead(name)
    if (isReplyQueue(name, this.#owner.release)) {
      const isOwn = name === this.#consuming.replyQueue
      const why = isOwn ? 'multiple consumers are unsupported for' : 'only creator channel may consume from'
      throw preconditionFailed(`${why} ${resource('queue', name, this.#owner.vhost.name)}`)
    }
    this.#consuming.consume(this.#topology.queue(name), args)
  }

  #get(args: methods.DecodedOf<typeof methods.BasicGet>): void {
    const name = this.#topology.named(args.queueName)
    this.#mayRead(name)
    if (isReplyQueue(name, this.#owner.release)) {
      throw notImplemented(`basic.get not supported by volatile ${resource('queue', name, this.#owner.vhost.name)}`)
    }
    this.#consuming.get(this.#topology.queue(name), args.noAck)
  }

  #mayRead(queueName: string): void {
    const { user, vhost, release } = this.#owner
    user.check('read', 'queue', queueName, vhost.name, release)
  }

  #settle(tag: number, multiple: boolean, how: Settlement): void {
    this.#consuming.settle(tag, multiple, how, this.#publishing.isTransactional)
  }

  static readonly #handlers: ReadonlyMap<number, Handler> = new Map<number, Handler>([
    on(methods.ChannelOpen, () => {
      throw openedTwice()
    }),
    on(methods.ChannelFlow, (channel, { active }) => {
      if (!active) throw notImplemented('active=false')
      channel.#reply(methods.ChannelFlowOk, { active })
    }),
    on(methods.AccessRequest, channel => channel.#reply(methods.AccessRequestOk, { ticket: 1 })),
    on(methods.ExchangeDeclare, (channel, args) => {
      channel.#topology.declareExchange(args)
      channel.#reply(methods.ExchangeDeclareOk, {}, args.noWait)
    }),
    on(methods.ExchangeDelete, (channel, args) => {
      channel.#topology.deleteExchange(args.exchangeName, args.ifUnused)
      channel.#reply(methods.ExchangeDeleteOk, {}, args.noWait)
    }),
    on(methods.ExchangeBind, (channel, args) => {
      channel.#topology.bindExchange(args, true)
      channel.#reply(methods.ExchangeBindOk, {}, args.noWait)
    }),
    on(methods.ExchangeUnbind, (channel, args) => {
      channel.#topology.bindExchange(args, false)
      channel.#reply(methods.ExchangeUnbindOk, {}, args.noWait)
    }),
    on(methods.QueueDeclare, (channel, args) => {
      channel.#reply(methods.QueueDeclareOk, channel.#topology.declareQueue(args), args.noWait)
    }),
    on(methods.QueueBind, (channel, args) => {
      channel.#topology.bindQueue(args.queueName, args)
      channel.#reply(methods.QueueBindOk, {}, args.noWait)
    }),
    on(methods.QueueUnbind, (channel, args) => {
      channel.#topology.unbindQueue(args.queueName, args)
      channel.#reply(methods.QueueUnbindOk, {})
    }),
    on(methods.QueuePurge, (channel, args) => {
      const messageCount = channel.#topology.purgeQueue(channel.#topology.named(args.queueName))
      channel.#reply(methods.QueuePurgeOk, { messageCount }, args.noWait)
    }),
    on(methods.QueueDelete, (channel, args) => {
      const name = channel.#topology.named(args.queueName)
      const messageCount = channel.#topology.deleteQueue(name, args.ifUnused, args.ifEmpty)
      channel.#reply(methods.QueueDeleteOk, { messageCount }, args.noWait)
    }),
    on(methods.BasicQos, (channel, { prefetchSize, prefetchCount, connectionGlobal }) => {
      channel.#consuming.qos(prefetchSize, prefetchCount, connectionGlobal)
      channel.#reply(methods.BasicQosOk, {})
    }),
    on(methods.BasicConsume, (channel, args) => channel.#consume(args)),
    on(methods.BasicCancel, (channel, args) => channel.#consuming.cancel(args.consumerTag, args.noWait)),
    on(methods.BasicCancelOk, (channel, { consumerTag }) => {
      if (!channel.#owner.release.takesCancelOk) throw commandInvalid('unimplemented method')
      if (!channel.#consuming.has(consumerTag)) throw breakage()
      channel.#consuming.cancel(consumerTag, true)
    }),
    on(methods.BasicGet, (channel, args) => channel.#get(args)),
    on(methods.BasicAck, (channel, { deliveryTag, multiple }) => {
      channel.#settle(deliveryTag, multiple, 'ack')
    }),
    on(methods.BasicNack, (channel, { deliveryTag, multiple, requeue }) => {
      channel.#settle(deliveryTag, multiple, requeue ? 'nack' : 'nack-dead')
    }),
    on(methods.BasicReject, (channel, { deliveryTag, requeue }) => {
      channel.#settle(deliveryTag, false, requeue ? 'reject' : 'reject-dead')
    }),
    on(methods.BasicRecover, (channel, { requeue }) => {
      channel.#consuming.recover(requeue)
      channel.#reply(methods.BasicRecoverOk, {})
    }),
    on(methods.BasicRecoverAsync, (channel, { requeue }) => channel.#consuming.recover(requeue)),
    on(methods.ConfirmSelect, (channel, { noWait }) => {
      channel.#publishing.confirmSelect()
      channel.#reply(methods.ConfirmSelectOk, {}, noWait)
    }),
    on(methods.TxSelect, channel => {
      channel.#publishing.transactionSelect()
      channel.#reply(methods.TxSelectOk, {})
    }),
    on(methods.TxCommit, channel => channel.#publishing.commit(() => channel.#consuming.commit())),
    on(methods.TxRollback, channel => {
      channel.#publishing.rollback()
      channel.#consuming.rollback()
      channel.#reply(methods.TxRollbackOk, {})
    }),
  ])
}

function openedTwice(): Refusal {
  return channelError("second 'channel.open' seen")
}

/** A row of the table of what a channel does. */
function on<M extends methods.AnyMethod>(
  method: M,
  run: (channel: Channel, args: methods.DecodedOf<M>) => void,
): [number, Handler] {
  return [method.key, run as Handler]
}
