import { placeOfCall, rejection } from '../../lib/call-site.ts'
import type { TimerSource } from '../../lib/clock.ts'
import { ackBatch } from './ack-batch.ts'
import type { CheckedBatch } from './consumer-options.ts'
import type { Message } from './message.ts'
import type { Loop, MessageResult } from './message-loop.ts'

type BatchResult = IteratorResult<Message[], undefined>

/** The source of a loop's batches, and how it ends. */
export interface BatchStream {
  readonly timers: TimerSource
  /** The next message, which `given` gets too. Rejects if `signal` is aborted first, or the consumer ended with an error. */
  take(loop: BatchLoop, signal: AbortSignal | undefined): Promise<MessageResult>
  /** Only this loop has messages of the consumer. */
  isAlone(): boolean
  /** Close because a loop was left. */
  leave(loop: BatchLoop): Promise<void>
}

/** One loop over batches of a consumer: it acks a batch when it asks for the next one. */
export class BatchLoop implements Loop, AsyncIterableIterator<Message[]> {
  readonly #batch: CheckedBatch
  readonly #stream: BatchStream
  #current: Message[] = []
  /** Ends the wait for more of a batch that has begun: its time is over, or no more messages will come. */
  #full: AbortController | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(batch: CheckedBatch, stream: BatchStream) {
    this.#batch = batch
    this.#stream = stream
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  /** One call after the other, from any caller. */
  async next(): Promise<BatchResult> {
    const next = this.#last.then(() => this.#next())
    this.#last = next.catch(() => {})
    try {
      return await next
    } catch (error) {
      throw rejection(error, placeOfCall())
    }
  }

  async #next(): Promise<BatchResult> {
    ackBatch(this.#current, this.#stream.isAlone())
    this.#current = []
    do {
      // Until there is one, only the end of the consumer ends the wait.
      const { done } = await this.#stream.take(this, undefined)
      if (done === true) return { value: undefined, done }
      await this.#fill()
      // The broker may have taken all of them back.
    } while (!this.#keepHeld())
    return { value: [...this.#current], done: false }
  }

  /** Wait for more, for as long as a batch may take. */
  async #fill(): Promise<void> {
    const { size, wait } = this.#batch
    const full = new AbortController()
    this.#full = full
    const timer = this.#stream.timers.after(wait, () => full.abort())
    try {
      while (this.#current.length < size) {
        const { done } = await this.#stream.take(this, full.signal)
        if (done === true) return
      }
    } catch (error) {
      if (!full.signal.aborted) throw error
    } finally {
      timer.cancel()
      this.#full = undefined
    }
  }

  /** The broker delivers again the messages that it has taken back meanwhile. Returns whether anything is left. */
  #keepHeld(): boolean {
    this.#current = this.#current.filter(({ isHeld }) => isHeld)
    return this.#current.length > 0
  }

  given(message: Message): boolean {
    // The broker has taken back those before, which no caller has seen: it delivers them again.
    if (this.#current[0]?.isHeld === false) this.#current = []
    this.#current.push(message)
    return true
  }

  get unsettled(): number {
    return this.#current.filter(({ isHeld }) => isHeld).length
  }

  flush(): void {
    this.#full?.abort()
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
