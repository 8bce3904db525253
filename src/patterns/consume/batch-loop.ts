import { AbortError, TimeoutError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'
import { ackBatch } from './ack-batch.ts'
import type { CheckedBatch } from './consumer-options.ts'
import type { Message } from './message.ts'
import type { Loop, MessageResult } from './message-loop.ts'

type BatchResult = IteratorResult<Message[], undefined>

/** The source of a loop's batches, and how it ends. */
export interface BatchStream {
  readonly clock: Clock
  /** The next message, which `given` gets too. */
  take(loop: BatchLoop, bounds: { readonly timeout?: number; readonly signal: AbortSignal }): Promise<MessageResult>
  /** Only this loop has messages of the consumer. */
  isAlone(): boolean
  /** Close because a loop was left. */
  leave(loop: BatchLoop): Promise<void>
}

/** One loop over batches of a consumer: it acks a batch when it asks for the next one. */
export class BatchLoop implements Loop, AsyncIterableIterator<Message[]> {
  readonly #batch: CheckedBatch
  readonly #stream: BatchStream
  readonly #flushed = new AbortController()
  #current: Message[] = []
  #last: Promise<unknown> = Promise.resolve()

  constructor(batch: CheckedBatch, stream: BatchStream) {
    this.#batch = batch
    this.#stream = stream
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** One call after the other, from any caller. */
  next(): Promise<BatchResult> {
    const next = this.#last.then(() => this.#next())
    this.#last = next.catch(() => {})
    return next
  }

  async #next(): Promise<BatchResult> {
    ackBatch(this.#current, this.#stream.isAlone())
    this.#current = []
    const { size, wait } = this.#batch
    const { clock } = this.#stream
    let until = Number.POSITIVE_INFINITY
    while (this.#current.length < size) {
      const left = until - clock.now()
      const timeout = left === Number.POSITIVE_INFINITY ? {} : { timeout: Math.max(0, left) }
      try {
        const { done } = await this.#stream.take(this, { ...timeout, signal: this.#flushed.signal })
        if (done === true && !this.#keepHeld()) return { value: undefined, done }
        if (done === true) break
      } catch (error) {
        const isFlush = error instanceof TimeoutError || error instanceof AbortError
        if (this.#keepHeld() && isFlush) break
        if (!isFlush) throw error
        if (this.#flushed.signal.aborted) return { value: undefined, done: true }
        // The broker has taken all of them back.
        until = Number.POSITIVE_INFINITY
        continue
      }
      if (until === Number.POSITIVE_INFINITY) until = clock.now() + wait
    }
    return this.#keepHeld() ? { value: [...this.#current], done: false } : this.#next()
  }

  /** The broker delivers again the messages that it has taken back meanwhile. Returns whether anything is left. */
  #keepHeld(): boolean {
    this.#current = this.#current.filter(({ isHeld }) => isHeld)
    return this.#current.length > 0
  }

  given(message: Message): boolean {
    this.#current.push(message)
    return true
  }

  get unsettled(): number {
    return this.#current.filter(({ isHeld }) => isHeld).length
  }

  flush(): void {
    this.#flushed.abort()
  }

  giveBack(reason: Error): void {
    for (const message of this.#current) message.giveBack(reason)
    this.#current = []
  }

  /** The loop was left: its messages in hand go back, and the consumer is closed. */
  async return(): Promise<BatchResult> {
    for (const message of this.#current) message.nack()
    this.#current = []
    await this.#stream.leave(this)
    return { value: undefined, done: true }
  }
}
