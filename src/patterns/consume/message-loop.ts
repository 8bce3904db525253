import type { Message } from './message.ts'

export type MessageResult = IteratorResult<Message, undefined>

/** A loop, as a dispatcher sees it. */
export interface Loop {
  /** Messages in its hand that are not settled. */
  readonly unsettled: number
  /** A message answers one of its questions. Returns false if the program is to settle it. */
  given(message: Message): boolean
  /** No more messages will come: it may hand on what it has collected. */
  flush(): void
  /** Give back what it has in hand. */
  giveBack(reason: Error): void
}

/** The source of a loop's messages, and how it ends. */
export interface MessageStream {
  take(loop: MessageLoop): Promise<MessageResult>
  /** Close because a loop was left. */
  leave(loop: MessageLoop): Promise<void>
}

/** What follows it runs before what follows an answer, whose rejection is the caller's alone to follow. */
const GIVEN = Promise.resolve()

/**
 * One loop over a consumer: it acks a message when it asks for the next one. A caller that asks for several at once is not a
 * loop, and may work on all of them at the same time: from then on each message is the program's to settle.
 */
export class MessageLoop implements Loop, AsyncIterator<Message, undefined> {
  readonly #stream: MessageStream
  #current: Message | undefined
  /** Calls whose callers have no answer yet. */
  #asked = 0
  #isLoop = true
  readonly #heard = (): void => {
    this.#asked--
  }

  constructor(stream: MessageStream) {
    this.#stream = stream
  }

  next(): Promise<MessageResult> {
    if (this.#asked > 0) this.#isLoop = false
    this.#asked++
    if (this.#isLoop) {
      const current = this.#current
      this.#current = undefined
      current?.ack()
    }
    return this.#stream.take(this)
  }

  given(message: Message): boolean {
    // One that waited here is given at once, and its caller has not seen it when it asks again in the same tick.
    void GIVEN.then(this.#heard)
    if (this.#isLoop) this.#current = message
    return this.#isLoop
  }

  get unsettled(): number {
    return this.#current?.isHeld === true ? 1 : 0
  }

  /** It collects nothing. */
  flush(): void {}

  giveBack(reason: Error): void {
    this.#current?.giveBack(reason)
    this.#current = undefined
  }

  /** The loop was left: its messages in hand go back, and the consumer is closed. */
  async return(): Promise<MessageResult> {
    // Left by the code that works on the message: no report is needed.
    this.#current?.nack()
    this.#current = undefined
    await this.#stream.leave(this)
    return { value: undefined, done: true }
  }
}
