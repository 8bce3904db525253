import type { Clock, Timer } from '../../lib/clock.ts'
import { nextTurn } from '../../lib/platform.ts'

/** What a heartbeat watches and does; times are those of the `Clock`. */
export interface HeartbeatPort {
  /** When bytes last left. */
  readonly lastWrite: number
  /** When bytes last came. */
  readonly lastRead: number
  /** Read what is there, once, also if reading is paused. */
  readOnce(): void
  beat(): void
  /** `interval` is that of the heartbeats, in seconds. */
  dead(interval: number): void
}

/**
 * Heartbeats both ways (§4.2.7): one is sent if nothing else left for half an interval, and a peer that is silent
 * for two intervals is dead.
 *
 * A busy process must not mistake its own pause for silence of the peer: before it decides, it reads the bytes that have
 * come. The limit while reading is paused: a live peer has sent something by then.
 */
export class Heartbeat {
  readonly #port: HeartbeatPort
  readonly #interval: number
  readonly #clock: Clock
  #timer: Timer | undefined
  #judging: (() => void) | undefined

  /** `seconds` is what both sides agreed on, above 0. */
  constructor(seconds: number, clock: Clock, port: HeartbeatPort) {
    this.#clock = clock
    this.#interval = seconds * 1000
    this.#port = port
    this.#arm()
  }

  stop(): void {
    this.#timer?.cancel()
    this.#judging?.()
    this.#timer = undefined
    this.#judging = undefined
  }

  #arm(): void {
    const due = Math.min(this.#sendDue(), this.#deadDue())
    this.#timer = this.#clock.after(Math.max(1, due - this.#clock.now()), () => this.#tick())
  }

  #sendDue(): number {
    return this.#port.lastWrite + this.#interval / 2
  }

  #deadDue(): number {
    return this.#port.lastRead + 2 * this.#interval
  }

  #tick(): void {
    const now = this.#clock.now()
    if (now >= this.#sendDue()) this.#port.beat()
    if (now < this.#deadDue()) {
      this.#arm()
      return
    }
    this.#port.readOnce()
    // Two turns: the first may come before the event loop has polled the socket.
    this.#judging = nextTurn(() => {
      this.#judging = nextTurn(() => {
        this.#judging = undefined
        if (this.#clock.now() < this.#deadDue()) this.#arm()
        else this.#port.dead(this.#interval / 1000)
      })
    })
  }
}
