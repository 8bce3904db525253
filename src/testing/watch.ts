import type { BrokerEngine } from '../broker/broker.ts'
import { TimeoutError } from '../errors.ts'
import { rejectAtAwait } from '../lib/await-site.ts'
import type { Timer } from '../lib/clock.ts'
import { checkWait } from './check-options.ts'

/** What bounds a wait. */
export interface WaitOptions {
  /** Milliseconds to wait before it rejects. Default: 5,000. */
  readonly timeout?: number | undefined
}

const WAIT = 5_000

/** @internal Lets promises wait for a state of the broker. */
export class Watch {
  readonly #engine: BrokerEngine
  readonly #waiting = new Set<() => void>()
  #ended = false

  constructor(engine: BrokerEngine) {
    this.#engine = engine
    engine.onChange = () => {
      for (const look of [...this.#waiting]) look()
    }
  }

  /** No condition can become true any more: all waits reject. */
  end(): void {
    this.#ended = true
    for (const look of [...this.#waiting]) look()
  }

  /**
   * @throws TimeoutError if `isSo` does not come true in time; `state` says what was seen instead. What `isSo` throws ends
   * the wait, too.
   */
  until(isSo: () => boolean, what: string, state: () => string, options: WaitOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      checkWait(what, options)
      if (isSo()) {
        resolve()
        return
      }
      const { timeout = WAIT } = options
      let timer: Timer | undefined
      const look = () => {
        try {
          if (isSo()) resolve()
          else if (!this.#ended) return
          else reject(new Error(`the broker was disposed of before ${what}: ${state()}`))
        } catch (error) {
          reject(error)
        }
        this.#waiting.delete(look)
        timer?.cancel()
      }
      if (this.#ended) {
        look()
        return
      }
      this.#waiting.add(look)
      const expired = () => {
        this.#waiting.delete(look)
        const text = `timed out after ${timeout} ms, waiting until ${what}: ${state()}`
        rejectAtAwait(resolve, reject, new TimeoutError(text))
      }
      timer = this.#engine.clock.after(timeout, expired, { keepsProcessAlive: true })
    })
  }
}
