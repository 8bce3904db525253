import type { Deadline } from '../../channel/port.ts'
import type { ChannelSource, Closable } from '../../connection/channel-source.ts'
import { atMost } from '../../lib/at-most.ts'
import { showing } from '../../lib/await-site.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { loadTyped } from '../typed/load.ts'
import type { TypedPublishOptions } from '../typed/publish-options.ts'
import type { TypedPublishing } from '../typed/typed-publishing.ts'
import type { Payload } from './payload.ts'
import { type PublishDefaults, type PublishTyped, publishTo } from './publish-to.ts'
import { ReliablePublisher } from './reliable-publisher.ts'

/** Channels that publishes may take up: one for each exchange, the last for all exchanges past that. */
const MOST_CHANNELS = 16
/** Milliseconds without a publish after which a channel is closed, at twice that at the latest. */
const IDLE = 30_000
/** If nothing is pending on a channel, it can be closed at once. */
const AT_ONCE = { timeout: 0 }

interface ExchangePublisher {
  readonly publisher: ReliablePublisher
  used: boolean
}

/** The publishers of `protocol.publish`: a confirm channel for each exchange, so that a refusal disturbs no other exchange. */
export class DefaultPublishers implements Closable {
  readonly #source: ChannelSource
  readonly #resent: (count: number) => void
  readonly #toExchange: PublishDefaults
  /** By the default exchange. */
  readonly #toQueue: PublishDefaults
  readonly #byExchange = new Map<string, ExchangePublisher>()
  #common: ExchangePublisher | undefined
  /** Made for the first message with a schema or codecs. */
  #typed: Promise<TypedPublishing> | undefined
  #sweep: Deadline | undefined
  #closed = false

  /**
   * `resent` is called with the number of messages that were written again; `entry` is the method that the program
   * calls.
   */
  constructor(source: ChannelSource, resent: (count: number) => void, entry: PublishDefaults['entry']) {
    this.#source = source
    this.#resent = resent
    this.#toExchange = { mandatory: false, persistent: true, entry, typed: this.#publishTyped }
    this.#toQueue = { ...this.#toExchange, mandatory: true }
    source.register(this)
  }

  /** Publishers that there are, each with a channel unless it was given up. */
  get size(): number {
    return this.#byExchange.size + (this.#common === undefined ? 0 : 1)
  }

  publish(
    payload: Payload,
    exchangeName: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    options: TypedPublishOptions | undefined,
    timeLeft?: number,
  ): Promise<void> {
    const publisher = this.publisherTo(exchangeName)
    const defaults = exchangeName === '' ? this.#toQueue : this.#toExchange
    return publishTo(publisher, payload, exchangeName, routingKey, properties, options, defaults, timeLeft)
  }

  /** The publisher of what goes to this exchange now. */
  publisherTo(exchangeName: string): ReliablePublisher {
    const chosen = this.#byExchange.get(exchangeName) ?? this.#choose(exchangeName)
    chosen.used = true
    return chosen.publisher
  }

  readonly #publishTyped: PublishTyped = async (...message) => {
    this.#typed ??= this.#loadTyped()
    try {
      await (await this.#typed).publish(...message)
    } catch (error) {
      throw showing(error, this.#publishTyped)
    }
  }

  /** A close of the connection waits for it, and then for the messages that waited for it. */
  #loadTyped(): Promise<TypedPublishing> {
    const loaded = loadTyped().then(({ TypedPublishing }) => new TypedPublishing(this.#source, this))
    const part: Closable = { bringsWork: true, close: ({ timeout }) => atMost(this.#source, timeout, loaded) }
    this.#source.register(part)
    const unregister = (): void => this.#source.unregister(part)
    loaded.then(unregister, unregister)
    return loaded
  }

  #choose(exchangeName: string): ExchangePublisher {
    // After what waits there already, even if there is room elsewhere by now: messages stay in order.
    if (this.#common !== undefined && this.#common.publisher.pending > 0) return this.#common
    if (this.#byExchange.size < MOST_CHANNELS - 1 || this.#closeOneIdle()) {
      const own = this.#make(exchangeName)
      this.#byExchange.set(exchangeName, own)
      return own
    }
    this.#common ??= this.#make()
    return this.#common
  }

  #make(exchangeName?: string): ExchangePublisher {
    const publisher = new ReliablePublisher(this.#source, {
      exchangeName,
      publishTimeout: this.#source.publishTimeout,
      resent: this.#resent,
    })
    if (this.#closed) void publisher.close(AT_ONCE)
    else if (this.#source.ending === undefined) this.#sweep ??= this.#sweepLater()
    return { publisher, used: true }
  }

  /** Make room: the exchange that was used first goes first. Returns false if all are busy. */
  #closeOneIdle(): boolean {
    for (const [exchangeName, { publisher }] of this.#byExchange) {
      if (publisher.pending > 0) continue
      this.#byExchange.delete(exchangeName)
      void publisher.close(AT_ONCE)
      return true
    }
    return false
  }

  #sweepIdle(): void {
    this.#sweep = undefined
    for (const [exchangeName, one] of this.#byExchange) if (retire(one)) this.#byExchange.delete(exchangeName)
    if (this.#common !== undefined && retire(this.#common)) this.#common = undefined
    if (this.size > 0) this.#sweep = this.#sweepLater()
  }

  #sweepLater(): Deadline {
    return this.#source.after(IDLE, () => this.#sweepIdle(), { keepsProcessAlive: false })
  }

  /** No more publishers are made. Those that there are close by themselves. */
  async close(): Promise<void> {
    this.#closed = true
    this.#sweep?.cancel()
  }
}

/** Close what was not used since the last look. Returns whether it was. */
function retire(one: ExchangePublisher): boolean {
  const idle = !one.used && one.publisher.pending === 0
  if (idle) void one.publisher.close(AT_ONCE)
  one.used = false
  return idle
}
