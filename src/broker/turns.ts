import { Fifo } from '../lib/fifo.ts'

/**
 * The work that waits, in order. In RabbitMQ each channel and each queue is a process with a
 * mailbox: a message of a queue to a channel waits for the methods that the channel has already received. One line for all of
 * them keeps that order.
 */
export class Turns {
  readonly #line = new Fifo<() => void>()
  readonly #after: () => void
  #running = false

  /** `after` is called each time that nothing is left to do; it may post more. */
  constructor(after: () => void) {
    this.#after = after
  }

  /** Do it when everything posted before has been done. */
  post(turn: () => void): void {
    this.#line.push(turn)
  }

  /** Do all that waits. Does nothing if that is going on already. */
  run(): void {
    if (this.#running) return
    this.#running = true
    try {
      do {
        for (let turn = this.#line.shift(); turn !== undefined; turn = this.#line.shift()) turn()
        this.#after()
      } while (this.#line.length > 0)
    } finally {
      this.#running = false
    }
  }
}
