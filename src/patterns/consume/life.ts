import type { ChannelSession } from '../../channel/channel-session.ts'
import type { Settlement } from '../../channel/consume/acker.ts'

/** The time in which what a channel delivered can be settled: until the broker takes it back. */
export class Life {
  readonly #session: ChannelSession
  #over = false
  #reason: Error | undefined
  #watched: Set<AbortController> | undefined
  /** Settlements that were sent. */
  sent = 0
  /** Called after each settlement; set only while somebody waits for the last one. */
  settled: (() => void) | undefined

  constructor(session: ChannelSession) {
    this.#session = session
  }

  isOf(session: ChannelSession | undefined): boolean {
    return this.#session === session
  }

  /** What it delivered is the broker's again. */
  get over(): boolean {
    return this.#over || this.#session.state !== 'open'
  }

  /** Returns whether anything was sent. */
  settle(how: Settlement, deliveryTag: number, requeue: boolean, multiple = false): boolean {
    const sent = !this.over && this.#session.acker.settle(how, deliveryTag, multiple, requeue)
    if (sent) this.sent++
    this.settled?.()
    return sent
  }

  /** A controller that is aborted when the life is over. */
  watch(): AbortController {
    const controller = new AbortController()
    if (this.#over) controller.abort(this.#reason)
    else {
      this.#watched ??= new Set()
      this.#watched.add(controller)
    }
    return controller
  }

  unwatch(controller: AbortController): void {
    this.#watched?.delete(controller)
  }

  end(reason: Error): void {
    if (this.#over) return
    this.#over = true
    this.#reason = reason
    this.settled?.()
    const watched = this.#watched
    if (watched === undefined) return
    this.#watched = undefined
    // Listeners are the program's: they are not to run in the middle of a read.
    process.nextTick(() => {
      for (const controller of watched) controller.abort(reason)
    })
  }
}
