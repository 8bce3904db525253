import type { PublishOptions } from '../../channel/options.ts'
import { describePublish, notSent } from '../../channel/publish/message.ts'
import type { ChannelSource, Closable } from '../../connection/channel-source.ts'
import { BufferFullError } from '../../errors.ts'
import { atMost } from '../../lib/at-most.ts'
import { ignore } from '../../lib/ignore.ts'
import { describeWait, type WaitBounds, WaitList } from '../../lib/wait-list.ts'
import { checkOptions, durationOption, signalOption } from '../../protocol/option-check.ts'
import { type BasicProperties, PUBLISH_OPTIONS } from '../../protocol/properties.ts'
import { closedError } from '../closed-error.ts'
import type { Encoded, Encoder } from './encoder.ts'

/** A message before its payload is encoded, with the options that the program gave. */
export interface Unencoded {
  readonly payload: unknown
  readonly exchange: string
  readonly routingKey: string
  readonly properties: BasicProperties | undefined
  readonly options: PublishOptions | undefined
}

/** Counts what is being encoded for it. */
export interface Counter {
  encodes(change: 1 | -1): void
}

/** Publishes what is encoded; `timeLeft` is what is left of the timeout. */
export type Send = (
  encoded: Encoded,
  options: PublishOptions | undefined,
  timeLeft: number | undefined,
) => Promise<void>

/** Encodes payloads and hands them on in the order of the calls, also if the encoding of one takes longer than that of the next. */
export class EncodingQueue {
  readonly #source: ChannelSource
  readonly #publishTimeout: number | undefined
  readonly #waits: WaitList
  /** A close of the connection waits for what is not handed on yet. */
  readonly #part: Closable = { bringsWork: true, close: ({ timeout }) => this.emptied(timeout) }
  /** Resolves when all so far are handed on, or have failed. */
  #last: Promise<unknown> = Promise.resolve()
  #waiting = 0
  #isClosed = false
  #forgetEnd: (() => void) | undefined

  constructor(source: ChannelSource, publishTimeout: number | undefined) {
    this.#source = source
    this.#publishTimeout = publishTimeout
    this.#waits = new WaitList(source, 'the encoding of its payload')
  }

  /** Payloads that are not handed on yet. */
  get waiting(): number {
    return this.#waiting
  }

  /** Publish what `encoder` makes of a message, by `send`. */
  async publish(encoder: Encoder, message: Unencoded, counter: Counter, send: Send): Promise<void> {
    let sent: Promise<void> | undefined
    try {
      const { payload, exchange, routingKey, properties, options } = message
      const what = (): string => describePublish(exchange, routingKey, properties, 0)
      checkOptions('publish', options, PUBLISH_OPTIONS)
      const { clock, maxWaiting } = this.#source
      const timeout = durationOption('publish', 'timeout', options?.timeout) ?? this.#publishTimeout
      const signal = signalOption('publish', 'signal', options?.signal)
      this.#assertUsable(what)
      // One is encoded also if none may wait.
      if (this.#waiting >= Math.max(1, maxWaiting)) {
        const waiting = `${this.#waiting} publishes wait already, the limit set by maxWaiting`
        throw new BufferFullError(`${what()} was refused: ${waiting}`)
      }
      const start = clock.now()
      const encoded = encoder.encode(what, payload, properties)
      encoded.catch(ignore)
      // A schema may have closed it: nothing would end the wait.
      this.#assertUsable(what)
      // A schema may have published, too: that goes first.
      const before = this.#last
      const encoding = Promise.all([encoded, before])
      const bounds: WaitBounds = { what, timeout, signal, outcome: 'notSent' }
      const handedOn = this.#bounded(encoding, bounds, counter).then(([encoded]) => {
        if (timeout === undefined) sent = send(encoded, options, undefined)
        else sent = send(encoded, { ...options, timeout }, Math.max(0, timeout - (clock.now() - start)))
      })
      // Without their results, of which each would hold that of the one before.
      this.#last = Promise.allSettled([before, handedOn]).then(ignore)
      await handedOn
    } catch (error) {
      throw notSent(error)
    }
    await sent
  }

  #assertUsable(what: () => string): void {
    const { ending } = this.#source
    if (ending !== undefined) throw ending.errorFor(what(), false, 'notSent')
    if (this.#isClosed) throw closedError(this.#source, what(), 'publisher', 'notSent')
  }

  /** The same as `work`, within bounds and the life of the connection. */
  #bounded(work: Promise<[Encoded, unknown]>, bounds: WaitBounds, counter: Counter): Promise<[Encoded, unknown]> {
    if (this.#waiting++ === 0) {
      this.#source.register(this.#part)
      this.#forgetEnd = this.#source.onEnded(ending =>
        this.#waits.failAll(({ what }) => ending.errorFor(describeWait({ what }), false, 'notSent')),
      )
    }
    counter.encodes(1)
    return new Promise((resolve, reject) => {
      const over = (): void => {
        counter.encodes(-1)
        if (--this.#waiting > 0) return
        this.#forgetEnd?.()
        this.#source.unregister(this.#part)
      }
      const failed = (error: Error): void => {
        over()
        reject(error)
      }
      const place = this.#waits.enter({ granted: () => {}, failed }, bounds)
      const settle = (run: () => void): void => {
        if (place.list === undefined) return
        place.leave()
        run()
      }
      work.then(
        encoded =>
          settle(() => {
            over()
            resolve(encoded)
          }),
        error => settle(() => failed(error)),
      )
    })
  }

  /** Wait until all so far are handed on, but no longer than that. Never rejects. */
  async emptied(timeout: number): Promise<void> {
    // A connection that is being closed calls it when the first one is about to be put in.
    await undefined
    await atMost(this.#source, timeout, this.#last)
  }

  /** Wait in the same way, and then reject what is left. Later publishes are refused at once. */
  async close(timeout: number): Promise<void> {
    this.#isClosed = true
    await this.emptied(timeout)
    this.#waits.failAll(of => closedError(this.#source, describeWait(of), 'publisher', 'notSent'))
  }
}
