import type { Timer, TimerSource } from '../../lib/clock.ts'
import { transition } from '../../lib/transition.ts'
import type { Transport } from './transport.ts'

/** Times the limit that may wait for callbacks while the program waits for the broker. */
const HARD_LIMIT = 4
/** Bytes of deliveries that may be under way ahead of an answer: in the broker, and in the buffers of both kernels. */
const AHEAD = 16 * 1024 * 1024
/** Milliseconds before the hard limit is raised by them; they double up to the last. */
const FIRST_PAUSE = 10
const LAST_PAUSE = 60_000

/**
 * Changes of state, all made by `#to`:
 *
 *     reading ──too much waits──▶ paused ──heartbeat──▶ once ──bytes came──▶ paused
 *        ▲                          │                          │
 *        └──────little enough waits─┴──────────────────────────┘
 *     any ──end()──▶ ended
 */
type State = 'reading' | 'paused' | 'once' | 'ended'

const NEXT: Record<State, readonly State[]> = {
  reading: ['paused', 'ended'],
  paused: ['reading', 'once', 'ended'],
  once: ['paused', 'reading', 'ended'],
  ended: [],
}

/**
 * Whether a connection reads. It stops while more than `limit` bytes of deliveries wait for their callbacks. While the
 * program waits for the broker, it goes on up to four times that: the callbacks may be waiting themselves. Beyond that it
 * reads what may be under way ahead of an answer, which then comes nearly always; else as much again, ever more rarely, so
 * that memory stays bounded in practice.
 */
export class ReadThrottle {
  readonly #transport: Transport
  readonly #limit: number
  /** The hard limit, which is raised for a while. */
  #most: number
  readonly #timers: TimerSource
  #held = 0
  #awaiting = 0
  #state: State = 'reading'
  #raise: Timer | undefined
  #pause = FIRST_PAUSE

  constructor(transport: Transport, limit: number, timers: TimerSource) {
    this.#transport = transport
    this.#limit = limit
    this.#most = HARD_LIMIT * limit
    this.#timers = timers
  }

  #to(state: State): void {
    const wasPaused = this.#state === 'paused'
    this.#state = transition('reading', NEXT, this.#state, state)
    if (state === 'paused') this.#transport.pause()
    else if (wasPaused && state !== 'ended') this.#transport.resume()
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
    if (this.#state === 'ended' || (this.#state === 'reading' && this.#held <= this.#limit)) return
    this.#decide()
  }

  #decide(): void {
    const soft = this.#state === 'reading' ? this.#limit : this.#limit / 2
    const mayRead = this.#held <= soft || (this.#awaiting > 0 && this.#held <= this.#most)
    if (mayRead !== (this.#state === 'reading')) this.#to(mayRead ? 'reading' : 'paused')
    this.#arm()
  }

  /** Past the hard limit, a call that waits for a frame gets it in the end. A socket that reads nothing keeps no process alive. */
  #arm(): void {
    const hardLimit = HARD_LIMIT * this.#limit
    if (this.#awaiting === 0 || this.#held <= hardLimit) {
      this.#raise?.cancel()
      this.#raise = undefined
      this.#most = hardLimit
      this.#pause = FIRST_PAUSE
    } else if (this.#state === 'paused' && this.#raise === undefined) {
      const raise = (): void => {
        this.#raise = undefined
        this.#most = this.#held + AHEAD
        this.#pause = Math.min(2 * this.#pause, LAST_PAUSE)
        this.#decide()
      }
      this.#raise = this.#timers.after(this.#pause, raise, { keepsProcessAlive: true })
    }
  }

  /** Read the present or next bytes once, in spite of the pause. */
  readOnce(): void {
    if (this.#state === 'paused') this.#to('once')
  }

  /** Bytes were read. */
  wasRead(): void {
    if (this.#state === 'once') this.#to('paused')
  }

  /** The connection has ended. */
  end(): void {
    this.#to('ended')
    this.#raise?.cancel()
  }
}
