import type { PublishOptions } from '../../channel/options.ts'
import type { Deadline } from '../../channel/port.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { ConfirmedPublishing } from './confirmed-publishing.ts'
import type { Payload } from './payload.ts'
import { publishTo } from './publish-to.ts'

/** Channels that publishes may take up: one for each exchange, the last for all exchanges past that. */
const MOST_CHANNELS = 16
/** Milliseconds without a publish after which a channel is closed, at twice that at the latest. */
const IDLE = 30_000
/** A channel on which nothing is pending has nothing to wait for. */
const AT_ONCE = 0

interface ExchangePublishing {
  readonly publishing: ConfirmedPublishing
  used: boolean
}

/** Where `protocol.publish` publishes: a confirm channel for each exchange, so that one that is refused disturbs no other. */
export class DefaultPublishers {
  readonly #source: ChannelSource
  readonly #byExchange = new Map<string, ExchangePublishing>()
  #common: ExchangePublishing | undefined
  #sweep: Deadline | undefined
  #closed = false

  constructor(source: ChannelSource) {
    this.#source = source
    source.own({ close: ({ timeout }) => this.#close(timeout) })
  }

  /** Channels that are open, or will be for what waits. */
  get size(): number {
    return this.#byExchange.size + (this.#common === undefined ? 0 : 1)
  }

  publish(
    payload: Payload,
    exchangeName: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    options: PublishOptions | undefined,
  ): Promise<void> {
    const chosen = this.#byExchange.get(exchangeName) ?? this.#choose(exchangeName)
    chosen.used = true
    const mandatory = exchangeName === ''
    return publishTo(chosen.publishing, payload, exchangeName, routingKey, properties, options, mandatory, true)
  }

  #choose(exchangeName: string): ExchangePublishing {
    // Behind what waits there already, even where there is room elsewhere by now: messages stay in order.
    if (this.#common !== undefined && this.#common.publishing.pending > 0) return this.#common
    if (this.#byExchange.size < MOST_CHANNELS - 1 || this.#closeOneIdle()) {
      const own = this.#make()
      this.#byExchange.set(exchangeName, own)
      return own
    }
    this.#common ??= this.#make()
    return this.#common
  }

  #make(): ExchangePublishing {
    const publishing = new ConfirmedPublishing(this.#source, Number.POSITIVE_INFINITY, () => {})
    if (this.#closed) void publishing.close(AT_ONCE)
    else this.#sweep ??= this.#source.after(IDLE, () => this.#sweepIdle())
    return { publishing, used: true }
  }

  /** Make room: the exchange that was used first goes first. Returns false where all are busy. */
  #closeOneIdle(): boolean {
    for (const [exchangeName, { publishing }] of this.#byExchange) {
      if (publishing.pending > 0) continue
      this.#byExchange.delete(exchangeName)
      void publishing.close(AT_ONCE)
      return true
    }
    return false
  }

  #sweepIdle(): void {
    this.#sweep = undefined
    for (const [exchangeName, one] of this.#byExchange) if (retire(one)) this.#byExchange.delete(exchangeName)
    if (this.#common !== undefined && retire(this.#common)) this.#common = undefined
    if (this.size > 0) this.#sweep = this.#source.after(IDLE, () => this.#sweepIdle())
  }

  async #close(timeout: number): Promise<void> {
    this.#closed = true
    this.#sweep?.cancel()
    const all = [...this.#byExchange.values(), ...(this.#common === undefined ? [] : [this.#common])]
    await Promise.all(all.map(({ publishing }) => publishing.close(timeout)))
  }
}

/** Close what was not used since the last look. Returns whether it was. */
function retire(one: ExchangePublishing): boolean {
  const idle = !one.used && one.publishing.pending === 0
  if (idle) void one.publishing.close(AT_ONCE)
  one.used = false
  return idle
}
