import type { Clock, Timer } from '../lib/clock.ts'

export interface HeartbeatEvents {
  /** Nothing was sent for half of the interval: send a heartbeat. */
  beat(): void
  /** Nothing came for two intervals: the client is dead. */
  silent(): void
}

/** Heartbeats of one connection, both ways (§4.2.7). */
export class Heartbeats {
  readonly #clock: Clock
  readonly #events: HeartbeatEvents
  #interval = 0
  #sentAt = 0
  #receivedAt = 0
  #sending: Timer | undefined
  #receiving: Timer | undefined

  constructor(clock: Clock, events: HeartbeatEvents) {
    this.#clock = clock
    this.#events = events
  }

  /** `seconds` 0: none. */
  start(seconds: number): void {
    this.#interval = seconds * 1000
    if (seconds === 0) return
    this.#sentAt = this.#clock.now()
    this.#receivedAt = this.#sentAt
    this.#watchSending()
    this.#watchReceiving()
  }

  sent(): void {
    this.#sentAt = this.#clock.now()
  }

  received(): void {
    this.#receivedAt = this.#clock.now()
  }

  stop(): void {
    this.#sending?.cancel()
    this.#receiving?.cancel()
  }

  #watchSending(): void {
    const half = this.#interval / 2
    this.#sending = this.#clock.after(this.#sentAt + half - this.#clock.now(), () => {
      if (this.#clock.now() >= this.#sentAt + half) {
        this.sent()
        this.#events.beat()
      }
      this.#watchSending()
    })
  }

  #watchReceiving(): void {
    const limit = 2 * this.#interval
    this.#receiving = this.#clock.after(this.#receivedAt + limit - this.#clock.now(), () => {
      const isSilent = this.#clock.now() >= this.#receivedAt + limit
      // The next two intervals, for an owner that does not end the connection.
      if (isSilent) this.received()
      this.#watchReceiving()
      if (isSilent) this.#events.silent()
    })
  }
}
