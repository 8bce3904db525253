import type { ClientPort } from '../broker/connection-host.ts'
import type { Clock, Timer } from '../lib/clock.ts'
import { Fifo } from '../lib/fifo.ts'

interface PutOff {
  readonly act: () => void
  readonly timer: Timer
}

/** Puts off what the broker writes to its clients. */
export class SlowDown {
  #milliseconds = 0
  readonly #clock: Clock
  /** All of it is put off by the same time, so that it is due in this order. */
  readonly #putOff = new Fifo<PutOff>()
  /** How much of it must be written. */
  #due = 0
  #frozen = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Put off what is written from now on; 0 for no longer. What was put off is written now, in front of it. */
  by(milliseconds: number): void {
    this.hurry()
    this.#milliseconds = milliseconds
  }

  /** The same port, written to later. A stream counts as full only for what is written at once. */
  slowed(port: ClientPort): ClientPort {
    return {
      ...port,
      write: bytes => {
        let takesMore = true
        this.#later(() => {
          takesMore = port.write(bytes)
        })
        return takesMore
      },
      end: () => this.#later(() => port.end()),
    }
  }

  /** Write nothing of what was put off; or what is due by now. */
  freeze(frozen: boolean): void {
    this.#frozen = frozen
    this.#write()
  }

  #later(act: () => void): void {
    if (this.#milliseconds === 0 && this.#putOff.length === 0) act()
    else {
      const timer = this.#clock.after(this.#milliseconds, () => {
        this.#due++
        this.#write()
      })
      this.#putOff.push({ act, timer })
    }
  }

  /** What is put off is written now, or after `freeze(false)`. */
  hurry(): void {
    this.#due = Number.POSITIVE_INFINITY
    this.#write()
  }

  #write(): void {
    // One by one, since what a client answers at once comes after the rest.
    while (!this.#frozen && this.#due > 0) {
      const next = this.#putOff.shift()
      this.#due = next === undefined ? 0 : this.#due - 1
      next?.timer.cancel()
      next?.act()
    }
  }

  /** What is put off is not written any more. */
  stop(): void {
    for (const { timer } of this.#putOff.takeAll()) timer.cancel()
  }
}
