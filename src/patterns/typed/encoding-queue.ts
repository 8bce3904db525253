import type { PublishOptions } from '../../channel/options.ts'
import { notSent } from '../../channel/publish/message.ts'
import type { ChannelSource, Closable } from '../../connection/channel-source.ts'
import { BufferFullError, ChannelClosedError } from '../../errors.ts'
import { atMost } from '../../lib/at-most.ts'
import { ignore } from '../../lib/ignore.ts'
import { type WaitBounds, WaitList } from '../../lib/wait-list.ts'
import { checkOptions, durationOption, signalOption } from '../../protocol/option-check.ts'
import { type BasicProperties, PUBLISH_OPTIONS } from '../../protocol/properties.ts'
import type { Encoded, Encoder } from './encoder.ts'

/** Publishes what is encoded, with the options that are left. */
export type Send = (
  payload: Uint8Array | string,
  properties: BasicProperties | undefined,
  options: PublishOptions | undefined,
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

  /** Publish what `encoder` makes of a payload, by `send`. */
  async publish(
    encoder: Encoder,
    payload: unknown,
    properties: BasicProperties | undefined,
    options: PublishOptions | undefined,
    send: Send,
  ): Promise<void> {
    let sent: Promise<void> | undefined
    try {
      checkOptions('publish', options, PUBLISH_OPTIONS)
      const { clock, maxWaiting } = this.#source
      const timeout = durationOption('publish', 'timeout', options?.timeout) ?? this.#publishTimeout
      const signal = signalOption('publish', 'signal', options?.signal)
      this.#assertUsable()
      // One is encoded also if none may wait.
      if (this.#waiting >= Math.max(1, maxWaiting)) {
        throw new BufferFullError(
          `publish was refused: ${this.#waiting} publishes wait already, the limit set by maxWaiting`,
        )
      }
      const start = clock.now()
      const encoded = encoder.encode('publish', payload, properties)
      encoded.catch(ignore)
      // A schema may have closed it: nothing would end the wait.
      this.#assertUsable()
      // A schema may have published, too: that goes first.
      const before = this.#last
      const encoding = Promise.all([encoded, before])
      const handedOn = this.#bounded(encoding, { what: 'publish', timeout, signal, outcome: 'notSent' }).then(
        ([encoded]) => {
          const left =
            timeout === undefined ? options : { ...options, timeout: Math.max(0, timeout - (clock.now() - start)) }
          sent = send(encoded.payload, encoded.properties, left)
        },
      )
      // Without their results, of which each would hold that of the one before.
      this.#last = Promise.allSettled([before, handedOn]).then(ignore)
      await handedOn
    } catch (error) {
      throw notSent(error)
    }
    await sent
  }

  #assertUsable(): void {
    const { ending } = this.#source
    if (ending !== undefined) throw ending.errorFor('publish', false, 'notSent')
    if (this.#isClosed) throw closedError()
  }

  /** The same as `work`, within bounds and the life of the connection. */
  #bounded(work: Promise<[Encoded, unknown]>, bounds: WaitBounds): Promise<[Encoded, unknown]> {
    if (this.#waiting++ === 0) {
      this.#source.register(this.#part)
      this.#forgetEnd = this.#source.onEnded(ending =>
        this.#waits.failAll(() => ending.errorFor('publish', false, 'notSent')),
      )
    }
    return new Promise((resolve, reject) => {
      const over = (): void => {
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
    this.#waits.failAll(closedError)
  }
}

function closedError(): ChannelClosedError {
  return new ChannelClosedError('publish failed: its publisher was closed', { outcome: 'notSent' })
}
