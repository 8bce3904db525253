import type { Consumer, Message } from '../../../src/index.ts'
import type { Consuming } from '../journal.ts'
import type { Taker } from '../steps.ts'
import type { Desk } from './desk.ts'

/** Messages of one batch at most, and milliseconds that it waits to be full. */
const BATCH = { size: 3, wait: 100 }
/** Virtual milliseconds after which the program knows that a message is lost which it could not settle. */
const KNOWN = 2_000

/** One consumer whose messages several takers share, each in its own way: the taker that has a message settles it, and no other. */
export class SharedConsumer {
  readonly #desk: Desk
  readonly #consumer: Consumer
  readonly #consuming: Consuming
  readonly #prefetch: number
  readonly #work: (id: string) => Promise<void>
  readonly #isOpen: () => boolean

  /** `isOpen` until the program closes its connection. */
  constructor(
    desk: Desk,
    consumer: Consumer,
    consuming: Consuming,
    prefetch: number,
    work: (id: string) => Promise<void>,
    isOpen: () => boolean,
  ) {
    this.#desk = desk
    this.#consumer = consumer
    this.#consuming = consuming
    this.#prefetch = prefetch
    this.#work = work
    this.#isOpen = isOpen
  }

  /** After a while in which messages come. */
  async start(takers: readonly Taker[], after: number): Promise<void> {
    if (after > 0) await this.#desk.sleep(after)
    const iterator = this.#consumer[Symbol.asyncIterator]()
    const workers = takers.filter(taker => taker === 'worker').length
    for (const [number, taker] of takers.entries()) {
      // One alone is a loop, which asks for one message after the other.
      const way = taker === 'worker' && workers === 1 ? 'loop' : taker
      // The end of its consumer, or of its connection.
      this.#take(way, iterator, number).catch(() => {})
    }
  }

  #take(taker: Taker, iterator: AsyncIterator<Message, undefined>, number: number): Promise<void> {
    switch (taker) {
      case 'worker':
        return this.#oneByOne(() => iterator.next(), number)
      case 'next':
        return this.#oneByOne(() => this.#consumer.next(), number)
      case 'loop':
        return this.#loop(number)
      case 'batches':
        return this.#batches(number)
    }
  }

  #see(message: Message, number: number): string {
    const id = this.#desk.idOf(message.body, message.properties, message.envelope)
    this.#desk.journal.seen(this.#consuming, id, message.envelope.isRedeliver, number)
    return id
  }

  async #oneByOne(next: () => Promise<IteratorResult<Message, undefined>>, number: number): Promise<void> {
    for (;;) {
      const { value } = await next()
      if (value === undefined) return
      const id = this.#see(value, number)
      await this.#work(id)
      if (value.ack()) this.#desk.journal.settled.add(id)
      else this.#desk.clock.after(KNOWN, () => this.#judgeLost(value, id))
    }
  }

  /** What cannot be settled is lost, or else it was settled in the taker's stead. */
  #judgeLost({ signal }: Message, id: string): void {
    const { closing, closed, number } = this.#consuming
    if (closing || closed || signal.aborted || !this.#isOpen()) return
    this.#desk.journal.violations.push(`consumer ${number} had ${id} in hand, and it was settled in its stead`)
  }

  async #loop(number: number): Promise<void> {
    for await (const message of this.#consumer) {
      const id = this.#see(message, number)
      await this.#work(id)
      this.#desk.journal.settled.add(id)
    }
  }

  async #batches(number: number): Promise<void> {
    for await (const batch of this.#consumer.batches({ ...BATCH, size: Math.min(BATCH.size, this.#prefetch) })) {
      for (const { signal, properties } of batch)
        if (signal.aborted)
          this.#desk.journal.violations.push(`${properties.messageId} was handed out when it was lost already`)
      const ids = batch.map(message => this.#see(message, number))
      for (const id of ids) await this.#work(id)
      for (const id of ids) this.#desk.journal.settled.add(id)
    }
  }
}
