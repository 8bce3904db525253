import type { Deadline } from '../../channel/port.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { ChannelClosedError, ConsumerCancelledError } from '../../errors.ts'

/** Milliseconds that a failed message is held back. */
const FIRST_PAUSE = 1_000
const LAST_PAUSE = 60_000
/** The share of the broker's ack timeout that a pause may take: the handler needs some of it, too. */
const ACK_TIMEOUT_SHARE = 1 / 3
/** Prefetch windows that messages may be held back in before others wait for them. */
const MOST_WINDOWS = 16

/**
 * Failed messages, each of which stays unacked for a pause before it goes back to its queue. If they take half of the
 * prefetch window, the consumer gets a new one, so that they keep no others away; and no pause outlasts the time that
 * the broker gives an ack.
 */
export class HeldBack {
  readonly #source: ChannelSource
  readonly #prefetchCount: number
  readonly #makeRoom: () => void
  readonly #held = new Set<{ readonly deadline: Deadline; release(): void }>()
  /** The messages of the present window. */
  #window = { held: 0 }
  #longestPause = Number.POSITIVE_INFINITY
  #hurrying = false

  /** `makeRoom` has the consumer given a new prefetch window. */
  constructor(source: ChannelSource, prefetchCount: number, makeRoom: () => void) {
    this.#source = source
    this.#prefetchCount = prefetchCount
    this.#makeRoom = makeRoom
  }

  /** Hold a message back that has failed `failures` times before. */
  holdAfter(failures: number): Promise<void> {
    return this.hold(Math.min(FIRST_PAUSE * 2 ** failures, LAST_PAUSE))
  }

  /** Hold a message back for `milliseconds`, or as long as the broker waits for an ack. */
  async hold(milliseconds: number): Promise<void> {
    if (this.#hurrying) return
    const pause = Math.min(milliseconds, this.#longestPause)
    const window = this.#window
    window.held++
    const released = new Promise<void>(release => {
      const entry = {
        deadline: this.#source.after(pause, () => {
          this.#held.delete(entry)
          release()
        }),
        release,
      }
      this.#held.add(entry)
    })
    if (this.#isCrowded) {
      this.#window = { held: 0 }
      this.#makeRoom()
    }
    await released
    window.held--
  }

  /** A window of one message is meant to keep all others away. */
  get #isCrowded(): boolean {
    const most = this.#prefetchCount
    return most > 1 && this.#window.held * 2 >= most && this.#held.size < MOST_WINDOWS * most
  }

  /** The broker takes back what is not acked within this many milliseconds. */
  boundBy(ackTimeout: number): void {
    this.#longestPause = Math.min(this.#longestPause, ackTimeout * ACK_TIMEOUT_SHARE)
  }

  /** The broker ended the consumer, perhaps since an ack took too long. RabbitMQ before 4.3 says how long it waited. */
  ended(error: Error): void {
    const [, waited] = /delivery acknowledgement .*timed out.*Timeout value used: (\d+) ms/.exec(error.message) ?? []
    if (error instanceof ChannelClosedError && waited !== undefined) this.boundBy(Number(waited))
    else if (error instanceof ConsumerCancelledError && this.#held.size > 0) {
      this.#longestPause = Math.max(FIRST_PAUSE, Math.min(LAST_PAUSE, this.#longestPause) / 2)
    }
    // The broker has them back: they take no place of a window any more.
    this.#release()
  }

  /** Give back at once what is held back, now and later: nothing is waited for any more. */
  hurry(): void {
    this.#hurrying = true
    this.#release()
  }

  #release(): void {
    for (const { deadline, release } of this.#held) {
      deadline.cancel()
      release()
    }
    this.#held.clear()
  }
}
