import { ConsumerCancelledError } from '../../errors.ts'
import { atNoCall } from '../../lib/call-site.ts'
import { ignore } from '../../lib/ignore.ts'
import { nextTick } from '../../lib/platform.ts'
import {
  type AnyMethod,
  type ArgumentsOf,
  BasicCancel,
  BasicCancelOk,
  BasicConsume,
  BasicConsumeOk,
} from '../../protocol/methods.ts'
import { cutText } from '../../protocol/text.ts'
import type { CallContext, ReplyKey, ReplyObserver } from '../calls.ts'
import type { CloseReason } from '../close-reason.ts'
import type { ChannelPort } from '../port.ts'
import type { Acker } from './acker.ts'
import { Deliveries } from './deliveries.ts'
import type { Consumer } from './delivery-sink.ts'
import { TagGate } from './tag-gate.ts'

/** The outcome of a basic.consume at the broker, whether or not a caller still waits for it. */
export interface ConsumeObserver {
  /** Its bytes are in the buffer. */
  written(): void
  /** consume-ok has come. */
  consuming(): void
  /** No caller waited for it any more, and it was cancelled. */
  gone(): void
}

/** What becomes of consumers without the program. */
export interface ConsumerEvents {
  /** The broker has ended a consumer: its tag may serve another. */
  consumerGone(consumerTag: string): void
  /** Nothing more comes for a consumer in this life, beside what came in the same read. */
  left(consumer: Consumer): void
  /** The server cancelled a consumer; called at the end of the read. */
  cancelled(error: ConsumerCancelledError, consumer: Consumer): void
}

/** The life of the channel. */
export interface ConsumeCallsHost {
  readonly id: number
  readonly acker: Acker
  /** Throw if nothing can be sent on this channel any more. */
  assertOpen(context: CallContext): void
  encode<M extends AnyMethod>(method: M, args: ArgumentsOf<M>): void
  /** The same for what the server asked for. */
  answer<M extends AnyMethod>(method: M, args: ArgumentsOf<M>): void
  /** `write` a synchronous method, and wait for the reply with that key. */
  start<R>(
    context: CallContext,
    method: AnyMethod,
    replyKey: ReplyKey,
    write: () => ReplyObserver<R> | undefined,
  ): Promise<R>
}

/** basic.consume and basic.cancel in one life of a channel, both ways, and the consumers that it has by them. */
export class ConsumeCalls {
  readonly deliveries: Deliveries
  readonly #port: ChannelPort
  readonly #life: ConsumeCallsHost
  readonly #events: ConsumerEvents
  readonly #tags: TagGate

  constructor(port: ChannelPort, life: ConsumeCallsHost, events: ConsumerEvents) {
    this.deliveries = new Deliveries(port, life.id, life.acker, consumer => events.left(consumer))
    this.#port = port
    this.#life = life
    this.#events = events
    this.#tags = new TagGate(port)
  }

  /**
   * Consume; the consumer's callbacks start once the promise has resolved. If it rejects, the consumer has ended,
   * unless it is a consumer `again`, which may be tried once more in another life.
   */
  consume(
    consumer: Consumer,
    args: ArgumentsOf<typeof BasicConsume>,
    context: CallContext,
    again = false,
    observer?: ConsumeObserver,
  ): Promise<void> {
    const { tag, sink } = consumer
    const started = this.#tags.pass(tag, 'consume', context, () => this.#consume(consumer, args, context, observer))
    // nextTick runs after all pending microtasks: code that awaits the promise, however far up, goes first.
    started.then(
      () => nextTick(() => sink.start()),
      () => {
        if (!again) sink.discard()
      },
    )
    return started
  }

  #consume(
    consumer: Consumer,
    args: ArgumentsOf<typeof BasicConsume>,
    context: CallContext,
    observer: ConsumeObserver | undefined,
  ): Promise<void> {
    const { tag, position } = consumer
    const began = (): void => position.began(this.#port.clock.wallTime())
    let answered = ignore
    const replied = (_reply: unknown, abandoned: boolean): void => {
      began()
      observer?.consuming()
      this.#life.acker.inTurn(() => {
        // The program does not know this consumer: let the broker forget it too, and give back what it sent.
        if (abandoned) {
          const cancel = { what: `basic.cancel of consumer "${tag}"`, site: undefined }
          this.#cancel(tag, false, cancel, () => observer?.gone(), ignore).catch(ignore)
        }
        answered()
      })
    }
    const write = (): ReplyObserver<void> => {
      this.deliveries.add(consumer)
      try {
        this.#life.encode(BasicConsume, args)
      } catch (error) {
        this.deliveries.remove(consumer)
        throw error
      }
      if (args.noWait === true) began()
      else answered = this.#tags.written(tag, 'consume')
      observer?.written()
      return { replied }
    }
    if (args.noWait === true) {
      this.#life.assertOpen(context)
      write()
      return Promise.resolve()
    }
    return this.#life.start(context, BasicConsume, `${BasicConsumeOk.key} ${tag}`, write)
  }

  /**
   * Cancel a consumer; RabbitMQ answers a cancel only if it does not overtake the consume-ok. With noWait too: only
   * cancel-ok says that nothing more comes under the tag. `effect` runs when the consumer is no longer the caller's: it
   * is given the consumer that was cancelled, if this life has one under the tag. `written` runs when the bytes are in
   * the buffer.
   */
  cancel(
    tag: string,
    noWait: boolean,
    options: Partial<CallContext> = {},
    effect: (consumer: Consumer | undefined) => void = ignore,
    written: () => void = ignore,
  ): Promise<void> {
    const context = { what: `basic.cancel of consumer "${tag}"`, site: undefined, ...options }
    return this.#tags.pass(tag, 'cancel', context, () => this.#cancel(tag, noWait, context, effect, written))
  }

  #cancel(
    tag: string,
    noWait: boolean,
    context: CallContext,
    effect: (consumer: Consumer | undefined) => void,
    written: () => void,
  ): Promise<void> {
    const consumer = this.deliveries.consumer(tag)
    const atOnce = noWait || consumer === undefined
    let answered = ignore
    const replied = (): void => {
      if (consumer !== undefined) {
        this.deliveries.remove(consumer)
        consumer.sink.cancelled()
      }
      if (!atOnce) effect(consumer)
      this.#life.acker.inTurn(answered)
    }
    const write = (): ReplyObserver<void> => {
      this.#life.encode(BasicCancel, { consumerTag: tag })
      answered = this.#tags.written(tag, 'cancel', noWait)
      written()
      if (atOnce) effect(consumer)
      return { replied }
    }
    const start = (bounds: CallContext, write: () => ReplyObserver<void>): Promise<void> =>
      this.#life.start(bounds, BasicCancel, `${BasicCancelOk.key} ${tag}`, write)
    if (!noWait) return start(context, write)
    this.#life.assertOpen(context)
    const observer = write()
    consumer?.sink.cancelled()
    start({ what: context.what, site: undefined }, () => observer).catch(ignore)
    return Promise.resolve()
  }

  /** The server ended a consumer. */
  serverCancelled({ consumerTag, noWait }: ArgumentsOf<typeof BasicCancel>): void {
    const consumer = this.deliveries.consumer(consumerTag)
    if (consumer !== undefined) {
      this.deliveries.remove(consumer)
      consumer.sink.cancelled()
    }
    // Before the program can use the tag again. A tag that is not UTF-8 was not made here, and is longer as text than on
    // the wire.
    const isAwaited = noWait !== true || (consumer !== undefined && this.#port.takesCancelOk)
    if (isAwaited) this.#life.answer(BasicCancelOk, { consumerTag: cutText(consumerTag) })
    // The program may have given it up.
    if (this.#tags.consumerGone(consumerTag) || consumer === undefined) return
    this.#events.consumerGone(consumerTag)
    const { queueName } = consumer.sink
    const error = atNoCall(
      new ConsumerCancelledError(
        `the server cancelled consumer "${consumerTag}" of queue "${queueName}": the queue was deleted or moved, or the consumer took too long`,
        { queueName, consumerTag },
      ),
    )
    this.#port.afterRead(() => this.#events.cancelled(error, consumer))
  }

  /** The life is over, or channel.close is written: what waits for its turn is not. */
  failAll(ending: CloseReason): void {
    this.#tags.failAll(what => ending.errorFor(what, false))
  }
}
