import type { Channel } from '../../channel/channel.ts'
import type { Acker } from '../../channel/consume/acker.ts'
import type { Consumer, DeliverySink } from '../../channel/consume/delivery-sink.ts'
import type { ConsumeArguments } from '../../channel/options.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { abortedBy, ChannelClosedError, ConsumerCancelledError } from '../../errors.ts'
import { atNoCall } from '../../lib/call-site.ts'
import { deferred } from '../../lib/deferred.ts'
import { asError } from '../../lib/thrown.ts'
import type { FieldTable } from '../../protocol/values.ts'

/** What to consume, and how. */
export interface ConsumeRequest {
  readonly prefetchCount: number
  readonly noAck: boolean
  readonly exclusive: boolean
  readonly arguments: ConsumeArguments | undefined
}

/** Settlements that the broker's channel never keeps back. */
const UNHURRIED = 24
/** Milliseconds, and round trips of a cancel, in which a quorum queue agrees to settlements. */
const LEAST_AGREEMENT = 50
const AGREEMENTS = 3

/** One consumer on a channel of its own, through the lives that recovery gives the channel. */
export class ConsumerChannel {
  readonly #source: ChannelSource
  readonly #channel: Channel
  readonly #request: ConsumeRequest
  readonly #sink: DeliverySink
  #consumer: Consumer | undefined
  #renewal: Promise<void> | undefined
  /** Another renewal follows the present one. */
  #isWantedAgain = false
  readonly #ended = deferred<Error>()
  #cancelTook: number | undefined
  #over = false

  private constructor(source: ChannelSource, channel: Channel, request: ConsumeRequest, sink: DeliverySink) {
    this.#source = source
    this.#channel = channel
    this.#request = request
    this.#sink = sink
    const { queueName } = sink
    // Before it consumes: the cancel may come with the consume-ok. Either of two, while one replaces the other.
    channel.addCancellationCallback((_channel, consumerTag, error) => {
      // It could not be recovered: that says why.
      if (error.cause !== undefined) return this.#end(error)
      const text = `the server cancelled the consumer of queue "${queueName}": the queue was deleted or moved, or the consumer took too long`
      this.#end(atNoCall(new ConsumerCancelledError(text, { queueName, consumerTag })))
    })
    channel.waitClosed().then(
      () => this.#end(new ChannelClosedError(`the channel of the consumer of queue "${queueName}" was closed`)),
      // Many consumers have channels: the error says which one it was.
      (error: unknown) =>
        this.#end(channel.recovering.ending?.errorForForgotten(`consuming from "${queueName}"`) ?? asError(error)),
    )
  }

  /** Open a channel and have `sink` consume: one round trip. */
  static async open(
    source: ChannelSource,
    request: ConsumeRequest,
    sink: DeliverySink,
    signal: AbortSignal | undefined,
  ): Promise<ConsumerChannel> {
    const what = `consuming from "${sink.queueName}"`
    const channel = await source.openingChannel({ what, signal })
    const made = new ConsumerChannel(source, channel, request, sink)
    try {
      const { prefetchCount, noAck, exclusive, arguments: args } = request
      const limited = noAck ? Promise.resolve() : channel.basicQos({ prefetchCount, signal })
      const consuming = channel.consumeInto(sink, { noAck, exclusive, arguments: args, signal })
      const [limit, consumed] = await Promise.allSettled([limited, consuming])
      // If both failed, the first error says more.
      if (limit.status === 'rejected') throw limit.reason
      if (consumed.status === 'rejected') throw consumed.reason
      made.#consumer = consumed.value
      return made
    } catch (error) {
      void channel.close()
      // The abort may have closed the channel first, and that error says less.
      throw signal?.aborted ? abortedBy(signal, what) : error
    }
  }

  #end(error: Error): void {
    if (this.#over) return
    this.#over = true
    this.#acker?.end(() => error)
    void this.#channel.close()
    this.#ended.resolve(error)
  }

  get #acker(): Acker | undefined {
    return this.#channel.recovering.session?.acker
  }

  /** Resolves to the reason when the broker ends the consumer or the channel; never when the program does. */
  get ended(): Promise<Error> {
    return this.#ended.promise
  }

  get consumerTag(): string | undefined {
    return this.#consumer?.tag
  }

  /** Milliseconds in which the broker wants an ack, as far as the program has said so. */
  get ackTimeout(): number | undefined {
    const name = 'x-consumer-timeout'
    const timeout = this.#request.arguments?.[name] ?? this.#queueArguments?.[name]
    return typeof timeout === 'number' ? timeout : undefined
  }

  get #queueArguments(): FieldTable | undefined {
    return this.#channel.recovering.topology?.queueArguments(this.#sink.queueName)
  }

  /**
   * Consume once more, and cancel the consumer there is: its unacked messages stay its own, and count for the new one's
   * window no more. In this order, since an auto-delete queue goes with its last consumer.
   */
  async renewWindow(): Promise<void> {
    const { exclusive, arguments: args } = this.#request
    const position = this.#consumer?.position
    if (position?.isStream === true) {
      this.#acker?.makeRoom(position)
      return
    }
    // A consumer that has its queue for itself keeps another one away, too, and a single active one would hand its queue
    // to the next in line. In a stream, another one would start elsewhere.
    const isSingle = exclusive || this.#queueArguments?.['x-single-active-consumer'] === true
    if (isSingle || position?.isUncertain === true) return
    if (this.#renewal !== undefined) {
      this.#isWantedAgain = true
      return
    }
    do {
      this.#isWantedAgain = false
      this.#renewal = this.#renew(args)
      await this.#renewal
    } while (this.#isWantedAgain && !this.#over)
    this.#renewal = undefined
  }

  /** Never rejects. */
  async #renew(args: ConsumeArguments | undefined): Promise<void> {
    const before = this.#consumer
    try {
      this.#consumer = await this.#channel.consumeInto(this.#sink, { arguments: args })
      if (before !== undefined) await this.#channel.basicCancel(before.tag)
    } catch (error) {
      this.#end(asError(error))
    }
  }

  /** The offset at which the next consumer of a stream goes on, if it is known. */
  get resumeOffset(): bigint | Date | undefined {
    return this.#consumer?.position.resumeOffset
  }

  /** Cancel at the broker, and wait for the deliveries that are on their way. Never rejects. */
  async cancel(): Promise<void> {
    const channel = this.#channel
    this.#isWantedAgain = false
    // Until then there may be two.
    if (this.#renewal !== undefined) await this.#renewal
    const { tag } = this.#consumer ?? {}
    // A consumer that has ended, or whose broker is gone, need not be cancelled.
    if (this.#over || tag === undefined || channel.recovering.session?.state !== 'open') return
    const { clock } = this.#source
    const start = clock.now()
    await channel.basicCancel(tag).catch(() => {})
    this.#cancelTook = clock.now() - start
  }

  /**
   * Close the channel. Never rejects.
   *
   * The broker's channel keeps settlements back while 32 of them wait for a quorum queue to agree, and closing the
   * channel loses those: the messages come again, though they were acked. The broker sends no signal when they are
   * through, but a cancel waits for the queue to agree, too: it shows how long that takes.
   */
  async close(): Promise<void> {
    this.#over = true
    // It may be called by a getter of a message, in which nothing can be written.
    await undefined
    const acker = this.#acker
    if (this.#cancelTook !== undefined && acker?.over === false && acker.sent > UNHURRIED) {
      const pause = Math.max(LEAST_AGREEMENT, AGREEMENTS * this.#cancelTook)
      await new Promise<void>(resolve => {
        this.#source.after(pause, resolve)
      })
    }
    await this.#channel.close()
  }
}
