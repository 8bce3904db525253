import type { TimerSource } from '../lib/clock.ts'
import type { FieldTable } from '../protocol/values.ts'
import type { QueueType } from './argument-tables.ts'
import type { Consumer, Delivery, Receiver, Settlement, Settler, Stored } from './consumer.ts'
import type { Message } from './message.ts'
import type { Release } from './release.ts'

export type DeathReason = 'expired' | 'rejected' | 'maxlen' | 'delivery_limit'

/** What a queue needs of the broker. */
export interface QueueHost {
  readonly release: Release
  readonly timers: TimerSource
  readonly vhostName: string
  now(): number
  /** The time of day, in milliseconds since 1970. */
  date(): number
  /** Send a message to the dead-letter exchange of its queue, if it has one. `failures`: of its deliveries. */
  deadLetter(queue: Queue, message: Message, reason: DeathReason, failures: number): void
  /** The queue has ended by itself: it is not used any more. */
  queueEnded(queue: Queue): void
  /** Run it after everything that was posted before. */
  post(turn: () => void): void
  /** Carry out the effects of timers. */
  run(): void
}

export interface QueueIdentity {
  readonly name: string
  readonly durable: boolean
  readonly autoDelete: boolean
  /** The connection that alone may use it. */
  readonly owner: object | undefined
  readonly arguments: FieldTable
}

/** A waiter for the answer whether a queue has taken a message. */
export interface Receipt {
  /** `failsCommit`: a transaction that is being committed fails if it was not taken. */
  settled(taken: boolean, failsCommit?: boolean): void
}

/** A queue, of whatever type. */
export interface Queue extends Settler, QueueIdentity {
  readonly type: QueueType
  readonly messageCount: number
  readonly consumers: readonly Consumer[]
  /** As in queue.declare-ok. */
  readonly consumerCount: number
  /** Messages that no consumer has, in the order in which they would be given. */
  readonly ready: readonly Stored[]
  readonly unacked: readonly Delivery[]
  /** Messages that came back, and are not ready before their time. */
  readonly delayed: readonly Stored[]
  /** Messages that were gone with it when it ended, ready or not; of a stream, those that its consumers had. */
  readonly lost: number
  /** `publisher` is the channel it came by; undefined for a dead letter. */
  publish(message: Message, receipt: Receipt | undefined, publisher?: object): void
  /** @throws Refusal if queues of this type do not know basic.get. */
  get(receiver: Receiver, noAck: boolean): Delivery | undefined
  settle(deliveries: readonly Delivery[], settlement: Settlement): void
  /** `announce` is called at the time at which RabbitMQ answers: before the first message. @throws Refusal */
  consume(consumer: Consumer, announce: () => void): void
  cancel(consumer: Consumer, announce: () => void): void
  /** Channels are gone: their consumers go, and their unsettled messages come back, if there are any. */
  receiversGone(receivers: ReadonlySet<Receiver>): void
  /** A channel may have more messages again. */
  receiverReady(receiver: Receiver): void
  /** @throws Refusal if queues of this type cannot be emptied. */
  purge(): number
  /** Somebody has declared it again. */
  touch(): void
  /** It is no more: its consumers are cancelled, and its messages are gone. */
  end(): void
  /**
   * The broker has stopped, in order or not, and starts again: messages that are not persistent are gone, and delivered
   * ones come back.
   */
  restart(kept: (stored: Stored) => boolean, inOrder: boolean): void
  /** Stop giving messages, or go on. */
  hold(held: boolean): void
}
