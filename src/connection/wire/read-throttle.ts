import type { Timer, TimerSource } from '../../lib/clock.ts'
import { transition } from '../../lib/transition.ts'
import type { Transport } from './transport.ts'

/** Times the limit that may wait for callbacks while the program waits for the broker. */
const HARD_LIMIT = 4
/** Milliseconds before one more read past the hard limit; they double up to the last. */
const FIRST_SIP = 50
const LAST_SIP = 5_000

/**
 * Changes of state, all made by `#to`:
 *
 *     reading ──too much waits──▶ paused ──sip, heartbeat──▶ once ──bytes came──▶ paused
 *        ▲                          │                          │
 *        └──────little enough waits─┴──────────────────────────┘
 */
type State = 'reading' | 'paused' | 'once'

const NEXT: Record<State, readonly State[]> = {
  reading: ['paused'],
  paused: ['reading', 'once'],
  once: ['paused', 'reading'],
}

/**
 * Whether a connection reads. It stops while more than `limit` bytes of deliveries wait for their callbacks. While the
 * program waits for the broker, it goes on up to four times that: the callbacks may be waiting themselves. Beyond that it
 * reads small amounts, ever more rarely, so that awaited replies come in the end and memory stays bounded in practice.
 */
export class ReadThrottle {
  readonly #transport: Transport
  readonly #limit: number
  readonly #timers: TimerSource
  #held = 0
  #awaiting = 0
  #state: State = 'reading'
  #sip: Timer | undefined
  #sipPause = FIRST_SIP

  constructor(transport: Transport, limit: number, timers: TimerSource) {
    this.#transport = transport
    this.#limit = limit
    this.#timers = timers
  }

  #to(state: State): void {
    const wasPaused = this.#state === 'paused'
    this.#state = transition('reading', NEXT, this.#state, state)
    if (state === 'paused') this.#transport.pause()
    else if (wasPaused) this.#transport.resume()
  }

  /** Bytes that wait for their callbacks. */
  get waiting(): number {
    return this.#held
  }

  /** Bytes that wait for their callbacks, added or taken away. */
  buffered(bytes: number): void {
    this.#held += bytes
    this.#reconsider()
  }

  /** One more operation waits for the broker. */
  operationStarted(): void {
    this.#awaiting++
    this.#reconsider()
  }

  /** One less does. */
  operationEnded(): void {
    this.#awaiting--
    this.#reconsider()
  }

  #reconsider(): void {
    if (this.#state !== 'reading' || this.#held > this.#limit) this.#decide()
  }

  #decide(): void {
    const soft = this.#state === 'reading' ? this.#limit : this.#limit / 2
    const mayRead = this.#held <= soft || (this.#awaiting > 0 && this.#held <= HARD_LIMIT * this.#limit)
    if (mayRead !== (this.#state === 'reading')) this.#to(mayRead ? 'reading' : 'paused')
    this.#arm()
  }

  /** Past the hard limit, a call that waits for a frame gets it in the end. */
  #arm(): void {
    if (this.#state === 'reading' || this.#awaiting === 0) {
      this.#sip?.cancel()
      this.#sip = undefined
      this.#sipPause = FIRST_SIP
    } else if (this.#state === 'paused' && this.#sip === undefined) {
      this.#sip = this.#timers.after(this.#sipPause, () => {
        this.#sip = undefined
        this.#sipPause = Math.min(2 * this.#sipPause, LAST_SIP)
        this.readOnce()
      })
    }
  }

  /** Read the present or next bytes once, in spite of the pause. */
  readOnce(): void {
    if (this.#state === 'paused') this.#to('once')
  }

  /** Bytes were read. */
  wasRead(): void {
    if (this.#state !== 'once') return
    this.#to('paused')
    this.#decide()
  }
}
