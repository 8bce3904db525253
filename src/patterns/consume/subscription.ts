import type { Channel } from '../../channel/channel.ts'
import type { Envelope } from '../../channel/consume/delivery.ts'
import type { StreamPosition } from '../../channel/consume/stream-position.ts'
import type { ConsumeArguments } from '../../channel/options.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { ChannelClosedError, ConsumerCancelledError } from '../../errors.ts'
import type { Properties } from '../../protocol/received-properties.ts'
import { Life } from './life.ts'
import { Message } from './message.ts'

/** What to consume, and how. */
export interface SubscriptionRequest {
  readonly queueName: string
  readonly prefetchCount: number
  readonly noAck: boolean
  readonly exclusive: boolean
  readonly arguments: ConsumeArguments | undefined
}

export interface SubscriptionEvents {
  /** A promise keeps further messages back until it resolves. */
  delivered(message: Message): Promise<void> | undefined
  /** The connection was lost: what was delivered is the broker's again. The consumer comes back with the next one. */
  lost(error: Error): void
  /** It has come back. */
  resumed(): void
  /** The broker ended it, or the channel: nothing more comes. */
  ended(error: Error): void
}

/** Settlements that the broker's channel never keeps back. */
const UNHURRIED = 24
/** Milliseconds, and round trips of a cancel, in which a quorum queue agrees to settlements. */
const LEAST_AGREEMENT = 50
const AGREEMENTS = 3

/** One consumer on a channel of its own, through the lives that recovery gives the channel. */
export class Subscription {
  readonly channel: Channel
  readonly #source: ChannelSource
  readonly #request: SubscriptionRequest
  readonly #events: SubscriptionEvents
  #life: Life | undefined
  #position: StreamPosition | undefined
  #tag = ''
  #cancelTook: number | undefined
  #lost = false
  #over = false

  private constructor(
    source: ChannelSource,
    channel: Channel,
    request: SubscriptionRequest,
    events: SubscriptionEvents,
  ) {
    this.#source = source
    this.channel = channel
    this.#request = request
    this.#events = events
  }

  /** Open a channel and consume: one round trip. */
  static async open(
    source: ChannelSource,
    request: SubscriptionRequest,
    events: SubscriptionEvents,
    signal: AbortSignal | undefined,
  ): Promise<Subscription> {
    const channel = await source.openingChannel({ signal })
    const subscription = new Subscription(source, channel, request, events)
    try {
      await subscription.#consume(signal)
    } catch (error) {
      void channel.close()
      throw error
    }
    return subscription
  }

  async #consume(signal: AbortSignal | undefined): Promise<void> {
    const { channel } = this
    const { queueName, prefetchCount, noAck, exclusive, arguments: args } = this.#request
    channel.addCancellationCallback(() => {
      this.#end(
        new ConsumerCancelledError(
          `the server cancelled the consumer of queue "${queueName}": the queue was deleted or moved, or the consumer took too long`,
          { queueName, consumerTag: this.#tag },
        ),
      )
    })
    const limited = noAck ? Promise.resolve() : channel.basicQos({ prefetchCount, signal })
    // One at a time: a callback returns a promise only to keep the next ones back.
    const consuming = channel.basicConsume(this.#deliver, queueName, {
      noAck,
      exclusive,
      arguments: args,
      concurrency: 1,
      signal,
    })
    const [limit, consumed] = await Promise.allSettled([limited, consuming])
    // Where both failed, the first says more.
    if (limit.status === 'rejected') throw limit.reason
    if (consumed.status === 'rejected') throw consumed.reason
    this.#tag = consumed.value.consumerTag
    this.#position = channel.lives.subscriptions.consumers()[0]?.position
    this.#begin()
    channel.waitClosed().then(
      () => this.#end(new ChannelClosedError(`the channel of the consumer of queue "${queueName}" was closed`)),
      (error: Error) => this.#end(error),
    )
  }

  readonly #deliver = (channel: Channel, body: Buffer, envelope: Envelope, properties: Properties): unknown => {
    if (this.#request.noAck) return this.#events.delivered(new Message(body, envelope, properties, undefined))
    let life = this.#life
    if (life?.isOf(channel.lives.session) !== true) life = this.#begin()
    return this.#events.delivered(new Message(body, envelope, properties, life))
  }

  /** A life of the channel has begun. */
  #begin(): Life | undefined {
    const { session } = this.channel.lives
    if (session === undefined || this.#life?.isOf(session)) return this.#life
    const life = new Life(session)
    this.#life = life
    session.onOver = ({ error }) => {
      const reason = error ?? new ChannelClosedError(`the consumer of queue "${this.#request.queueName}" was closed`)
      life.end(reason)
      // Whether the channel has another life is known once it has been told itself.
      process.nextTick(() => this.#ended(reason))
    }
    return life
  }

  #ended(reason: Error): void {
    const { lives } = this.channel
    if (this.#over || this.#lost || !lives.isOpen) return
    this.#lost = true
    this.#events.lost(reason)
    const what = `basic.consume of "${this.#request.queueName}"`
    lives
      .use(async () => {}, { what, site: undefined })
      .then(
        () => {
          if (this.#over) return
          this.#lost = false
          this.#begin()
          this.#events.resumed()
        },
        // It was closed instead, which its end tells.
        () => {},
      )
  }

  #end(error: Error): void {
    if (this.#over) return
    this.#over = true
    this.#life?.end(error)
    void this.channel.close()
    this.#events.ended(error)
  }

  /** Where the next consumer of a stream goes on, as far as that is known. */
  get resumeOffset(): bigint | Date | undefined {
    return this.#position?.resumeOffset
  }

  /** Have the broker send nothing more, and wait for what is on its way here. Never rejects. */
  async cancel(): Promise<void> {
    const { channel } = this
    // A consumer that is not there, or whose broker is not, needs no cancelling.
    if (this.#over || channel.lives.session?.state !== 'open') return
    const consumers = channel.lives.subscriptions.consumers()
    const start = this.#source.clock.now()
    await channel.basicCancel(this.#tag).catch(() => {})
    this.#cancelTook = this.#source.clock.now() - start
    // What came with noAck is gone at the broker: it is taken to the last.
    if (this.#request.noAck) await Promise.all(consumers.map(({ sink }) => sink.idle()))
  }

  /** Called after each settlement, and when nothing can be settled any more. */
  set settled(told: () => void) {
    if (this.#life !== undefined) this.#life.settled = told
  }

  /**
   * Close the channel. Never rejects.
   *
   * The broker's channel keeps settlements back while 32 of them wait for a quorum queue to agree, and closing the
   * channel loses those: the messages come again, though they were acked. Nothing tells when they are through, but a
   * cancel waits for the queue to agree, too: it tells how long that takes.
   */
  async close(): Promise<void> {
    this.#over = true
    const life = this.#life
    if (this.#cancelTook !== undefined && life?.over === false && life.sent > UNHURRIED) {
      const pause = Math.max(LEAST_AGREEMENT, AGREEMENTS * this.#cancelTook)
      await new Promise<void>(resolve => {
        this.#source.after(pause, resolve)
      })
    }
    await this.channel.close()
  }
}
