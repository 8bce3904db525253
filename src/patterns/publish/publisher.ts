import { EventEmitter } from 'node:events'
import type { PublishOptions } from '../../channel/options.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import type { PublisherStats } from '../../diagnostics/stats.ts'
import { placeOfCall, rejection } from '../../lib/call-site.ts'
import { INSPECT, type InspectArguments, inspected } from '../../lib/inspect.ts'
import { keepListenerContexts } from '../../lib/safe-emitter.ts'
import {
  booleanOption,
  checkOptions,
  choiceOption,
  durationOption,
  eventCheck,
  limitOption,
  shortStringOption,
} from '../../protocol/option-check.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { emitEvent } from '../emit-event.ts'
import type { CodecsOption } from '../typed/codec.ts'
import type { StandardSchema } from '../typed/standard-schema.ts'
import type { Payload } from './payload.ts'
import { type PublishDefaults, publishTo } from './publish-to.ts'
import { ReliablePublisher } from './reliable-publisher.ts'

/** Milliseconds that `close` waits for confirms. */
const CLOSE_TIMEOUT = 5_000

/** Options of `publisher()`. `Content` is what it publishes. */
export interface PublisherOptions<Content = Payload> extends CodecsOption {
  /** Default: `''`, the default exchange, which routes to the queue that the routing key names. */
  readonly exchangeName?: string | undefined
  /** Messages come back, and reject, if no queue gets them. Default: true for the default exchange, else false. */
  readonly mandatory?: boolean | undefined
  /** Messages without a `deliveryMode` get 2: in a durable queue they survive a restart of the broker. Default: true. */
  readonly persistent?: boolean | undefined
  /**
   * Number of messages that may wait for their confirms at a time; further ones wait, in order. It bounds messages on the
   * wire, and not those that wait with their payloads: for that, await `publish`. A loop that does not await fills the
   * memory, unless the connection's `maxWaiting` refuses more than may wait. Default: no limit.
   */
  readonly maxInFlight?: number | undefined
  /**
   * Milliseconds that a `publish` without a `timeout` of its own may take, its wait for a lost connection included; then it
   * rejects with `TimeoutError`. `Infinity` is no limit. Default: that of the connection, which has none unless it is set.
   */
  readonly publishTimeout?: number | undefined
  /**
   * What happens to a message that the broker nacked (basic.nack): a quorum queue without a majority nacks, and a queue
   * that is full with `x-overflow: 'reject-publish'`.
   *
   * - `'reject'` (the default): its `publish` rejects with `PublishFailedError`.
   * - `'retry'`: it is sent again, before anything newer, after a pause of 0.2 to 5 seconds that grows while nothing is
   *   confirmed, until the broker confirms it or until the `timeout` or `signal` of its `publish` ends. The pause also
   *   lasts until what is in flight is settled, for 30 seconds at most. Messages that are nacked count towards
   *   `maxInFlight`, so that a queue that stays full holds up all messages of this publisher: give such a queue a
   *   publisher of its own.
   */
  readonly onNack?: 'reject' | 'retry' | undefined
  /**
   * What the payloads must fit: a schema of Zod, Valibot, ArkType or any other library with the interface of Standard Schema.
   * What does not fit is not sent: its `publish` rejects with an `EncodeError` that has the `issues`. A payload is sent as it
   * is, not as what the schema makes of it; strings and numbers go as JSON too. Default: payloads are not checked.
   */
  readonly schema?: StandardSchema<Content, unknown> | undefined
}

const OPTIONS = [
  'exchangeName',
  'mandatory',
  'persistent',
  'maxInFlight',
  'publishTimeout',
  'onNack',
  'schema',
  'codecs',
]

/** Options of a publisher's `close()`. */
export interface PublisherCloseOptions {
  /** Milliseconds to wait for confirms; what is pending then rejects. Default: 5,000. */
  readonly timeout?: number | undefined
}

/** Events of a `Publisher` and what their listeners get. None needs a listener. */
export interface PublisherEvents {
  /**
   * This many messages were sent again, since a lost connection or a closed channel had left their fate unknown, or since
   * the broker nacked them (`onNack: 'retry'`, or while it was failing over).
   */
  resent: [count: number]
}

const PUBLISHER_EVENTS: Readonly<Record<keyof PublisherEvents, true>> = { resent: true }

/**
 * Publishes to one exchange until the broker has confirmed each message, on a channel of its own that is opened when it
 * is first needed and replaced when it was closed or lost. Made by `protocol.publisher()`.
 *
 * Messages whose fate is unknown are sent again, in the order they were published and before anything newer: each
 * arrives at least once, so that a receiver may see 3 4 5 3 4 5 6.
 */
export class Publisher<Content = Payload> extends EventEmitter<PublisherEvents> {
  static {
    keepListenerContexts(Publisher.prototype, eventCheck('publisher', PUBLISHER_EVENTS))
  }

  /** `''` is the default exchange. */
  readonly exchangeName: string
  readonly #defaults: PublishDefaults
  readonly #publisher: ReliablePublisher
  #closing: Promise<void> | undefined

  /** @internal Programs call `protocol.publisher()`. */
  constructor(source: ChannelSource, options: PublisherOptions<Content> = {}) {
    super()
    const what = 'publisher'
    checkOptions(what, options, OPTIONS)
    const exchangeName = shortStringOption(what, 'exchangeName', options.exchangeName) ?? ''
    this.exchangeName = exchangeName
    this.#defaults = {
      mandatory: booleanOption(what, 'mandatory', options.mandatory) ?? exchangeName === '',
      persistent: booleanOption(what, 'persistent', options.persistent) ?? true,
      entry: this.publish,
    }
    const maxInFlight = limitOption(what, 'maxInFlight', options.maxInFlight, 1)
    const publishTimeout = durationOption(what, 'publishTimeout', options.publishTimeout) ?? source.publishTimeout
    const retriesNacks = choiceOption(what, 'onNack', options.onNack, ['reject', 'retry']) === 'retry'
    if (source.ending !== undefined) throw source.ending.errorFor(what, false)
    this.#publisher = new ReliablePublisher(source, {
      exchangeName,
      maxInFlight,
      publishTimeout,
      retriesNacks,
      resent: count => emitEvent(this, source, 'resent', count),
    })
  }

  /** Messages that are published and whose fate is not known yet. */
  get pending(): number {
    return this.#publisher.pending
  }

  /** How many times a message was sent again. */
  get resent(): number {
    return this.#publisher.stats().resent
  }

  /** @internal What `console.log` shows of it. */
  [INSPECT](...args: InspectArguments): string {
    return inspected(this, { exchangeName: this.exchangeName, pending: this.pending, resent: this.resent }, args)
  }

  /**
   * Publish a message (basic.publish). Resolves when the broker has confirmed it: every queue it was routed to has it.
   * Without a `timeout` or `publishTimeout` it waits as long as a lost connection is being recovered. A nack on a channel
   * that was opened within 10 seconds of a recovery is not final, since a quorum queue gives it while it has no leader:
   * the message is sent again on another channel.
   *
   * @param payload an object or an array is sent as JSON. Neither it nor `properties` may be changed before the promise
   * has settled, since the message may be sent again.
   * @throws MessageReturnedError if it is mandatory and no queue wanted it, PublishFailedError if the broker nacked it (a
   * queue is full and rejects), ChannelClosedError if the broker closed the channel because of it (404: there
   * is no such exchange, 403: not allowed) or the publisher is closed, BufferFullError past `maxWaiting`, TimeoutError,
   * AbortError, EncodeError, and the reason if the connection is closed or cannot be recovered. `outcome`
   * says whether sending it again can duplicate it.
   */
  publish(payload: Content, routingKey: string, properties?: BasicProperties, options?: PublishOptions): Promise<void> {
    const { exchangeName } = this
    // Anything else is refused, or encoded before it gets here.
    const encoded = payload as Payload
    return publishTo(this.#publisher, encoded, exchangeName, routingKey, properties, options, this.#defaults)
  }

  /** @internal */
  protected get reliable(): ReliablePublisher {
    return this.#publisher
  }

  /** @internal Publish what was encoded; `timeLeft` is what is left of the timeout. */
  protected publishEncoded(
    payload: Payload,
    routingKey: string,
    properties: BasicProperties | undefined,
    options: PublishOptions | undefined,
    timeLeft: number | undefined,
  ): Promise<void> {
    const { exchangeName } = this
    return publishTo(this.#publisher, payload, exchangeName, routingKey, properties, options, this.#defaults, timeLeft)
  }

  /** Its figures at the moment. Nothing is counted for it meanwhile. */
  stats(): PublisherStats {
    return this.#publisher.stats()
  }

  /**
   * Wait until everything published is confirmed, then close the channel. Never rejects. A second call gets the same
   * promise.
   */
  close(options: PublisherCloseOptions = {}): Promise<void> {
    const site = placeOfCall()
    try {
      const timeout = closeTimeout(options)
      this.#closing ??= this.closeWithin(timeout)
      return this.#closing
    } catch (error) {
      return Promise.reject(rejection(error, site))
    }
  }

  /** @internal What `close` does with the checked timeout. */
  protected async closeWithin(timeout: number): Promise<void> {
    await this.#publisher.close({ timeout })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }
}

function closeTimeout(options: PublisherCloseOptions): number {
  checkOptions('close', options, ['timeout'])
  return durationOption('close', 'timeout', options.timeout) ?? CLOSE_TIMEOUT
}
