import type { ClientPort } from '../broker/connection-host.ts'
import type { Clock, Timer } from '../lib/clock.ts'

/** Puts off what the broker writes to its clients. */
export class SlowDown {
  /** How long; 0 for what is written at once. */
  milliseconds = 0
  readonly #clock: Clock
  readonly #putOff = new Set<Timer>()
  /** What waits for each port for which anything does. */
  readonly #waiting = new Set<(() => void)[]>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The same port, written to later. Nothing overtakes what is put off, not even when the delay ends. */
  slowed(port: ClientPort): ClientPort {
    const waiting: (() => void)[] = []
    const later = (act: () => void): void => {
      if (this.milliseconds === 0 && waiting.length === 0) {
        act()
        return
      }
      waiting.push(act)
      this.#waiting.add(waiting)
      const timer = this.#clock.after(this.milliseconds, () => {
        this.#putOff.delete(timer)
        waiting.shift()?.()
        if (waiting.length === 0) this.#waiting.delete(waiting)
      })
      this.#putOff.add(timer)
    }
    return {
      ...port,
      write: bytes => {
        let takesMore = true
        later(() => {
          takesMore = port.write(bytes)
        })
        return takesMore
      },
      end: () => later(() => port.end()),
    }
  }

  /** What is put off is written now. */
  hurry(): void {
    for (const waiting of this.#waiting) for (const act of waiting.splice(0)) act()
    this.#waiting.clear()
  }

  /** What is put off is not written any more. */
  stop(): void {
    for (const timer of this.#putOff) timer.cancel()
  }
}
