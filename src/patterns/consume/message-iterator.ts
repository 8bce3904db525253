import type { Message } from './message.ts'

/** Where an iterator gets its messages, and how it ends. */
export interface MessageStream {
  take(iterator: MessageIterator): Promise<IteratorResult<Message, undefined>>
  /** Close because a loop was left. */
  leave(iterator: MessageIterator): Promise<void>
}

/** One loop over a consumer: it acks a message when the next one is asked for. */
export class MessageIterator implements AsyncIterator<Message, undefined> {
  readonly #stream: MessageStream
  #current: Message | undefined
  /** Given to earlier calls of `next` that did not wait for each other. */
  #others: Message[] = []

  constructor(stream: MessageStream) {
    this.#stream = stream
  }

  next(): Promise<IteratorResult<Message, undefined>> {
    const current = this.#current
    if (current !== undefined) {
      this.#current = undefined
      current.settle('ack', false)
    }
    return this.#stream.take(this)
  }

  /** It will return this message. */
  given(message: Message): void {
    const current = this.#current
    if (current?.life !== undefined) this.#others = [...this.#others.filter(isHeld), current]
    this.#current = message
  }

  /** The loop was left: what it has in hand goes back, and the consumer is closed. */
  async return(): Promise<IteratorResult<Message, undefined>> {
    this.giveBack()
    await this.#stream.leave(this)
    return { value: undefined, done: true }
  }

  /** What it gave to the program and is not settled yet. */
  held(): Message[] {
    const all = this.#current === undefined ? this.#others : [...this.#others, this.#current]
    return all.filter(isHeld)
  }

  giveBack(): void {
    for (const message of this.held()) message.nack()
    this.#current = undefined
    this.#others = []
  }
}

function isHeld(message: Message): boolean {
  return message.life !== undefined && !message.life.over
}
