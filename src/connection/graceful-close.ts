import type { LeavingSinks } from '../channel/consume/leaving-sinks.ts'
import type { RecoveringChannel } from '../channel/recovering-channel.ts'
import { atMost, type Lifetime } from '../lib/at-most.ts'
import type { Clock } from '../lib/clock.ts'
import type { Closable } from './channel-source.ts'

/** The share of the time that is kept for closing the connection itself. */
const CLOSE_SHARE = 0.2

/** What a graceful close needs of the connection that it is for. */
export interface GracefulHost extends Lifetime {
  readonly clock: Clock
  /** Parts of the intent level. */
  readonly parts: Iterable<Closable>
  readonly openChannels: Iterable<RecoveringChannel>
  readonly leaving: LeavingSinks
}

/**
 * Lets what the program has under way come to its end before the connection is closed, within a time for all of it:
 *
 *     parts and consumers that bring work in ──▶ the other parts ──▶ channels ──▶ the connection
 *
 * A part that brings work in goes first: it may need the others.
 */
export class GracefulClose {
  readonly #host: GracefulHost
  readonly #end: number
  readonly #reserve: number
  /** Parts that brought work in when the others were being closed already. */
  readonly #joined: Promise<void>[] = []

  /** Within `timeout` milliseconds from now; `Infinity` is fine. */
  constructor(host: GracefulHost, timeout: number) {
    this.#host = host
    this.#end = host.clock.now() + timeout
    // Infinity less Infinity would be NaN.
    this.#reserve = Number.isFinite(timeout) ? timeout * CLOSE_SHARE : 0
  }

  /** Milliseconds that are left for closing the connection. */
  get timeLeft(): number {
    return Math.max(0, this.#end - this.#host.clock.now())
  }

  /** Milliseconds that are left for the work under way. */
  get #workLeft(): number {
    return Math.max(0, this.timeLeft - this.#reserve)
  }

  /** Resolves when all of it is done, the time is over, or the connection has ended. Never rejects. */
  async finishWork(): Promise<void> {
    const work = Promise.all([...this.#closing(true), this.#stopConsumers()])
    await atMost(this.#host, this.#workLeft, work)
    await this.#atMost(this.#joined)
    await this.#atMost(this.#closing(false))
    const busy = Array.from(this.#host.openChannels, ({ work }) => work).filter(work => work.isBusy)
    if (busy.length > 0) await this.#atMost(busy.map(work => work.drain()))
  }

  /** A part that brings work in, and began only after the close had: nothing else stops it. */
  join(part: Closable): void {
    this.#joined.push(part.close({ timeout: this.#workLeft }))
  }

  /** Those that others have stopped may not be done, either. */
  async #stopConsumers(): Promise<void> {
    const channels = [...this.#host.openChannels]
    await Promise.all(channels.map(({ work }) => work.stopConsumers()))
    await this.#host.leaving.idle()
  }

  #closing(bringsWork: boolean): Promise<void>[] {
    const parts = [...this.#host.parts].filter(part => (part.bringsWork === true) === bringsWork)
    const limit = { timeout: this.#workLeft }
    return parts.map(part => part.close(limit))
  }

  /** Once the time is over, it is not waited for: each wait takes a busy process a turn, and the close its time. */
  async #atMost(promises: readonly Promise<unknown>[]): Promise<void> {
    const time = this.#workLeft
    if (promises.length > 0 && time > 0) await atMost(this.#host, time, Promise.all(promises))
  }
}
