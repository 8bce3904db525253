import type { CallOptions } from '../../channel/call-options.ts'
import type { Channel } from '../../channel/channel.ts'
import type { CloseReason } from '../../channel/close-reason.ts'
import type { ConfirmWindow, PublishKeeper } from '../../channel/publish/confirm-window.ts'
import {
  boundPublish,
  describeMessage,
  notSent,
  outcomeOf,
  type PendingPublish,
  pendingPublish,
  promiseOf,
  refuse,
} from '../../channel/publish/message.ts'
import type { ChannelSource } from '../../connection/channel-source.ts'
import { type AmqpError, BufferFullError, ChannelClosedError } from '../../errors.ts'
import { atMost } from '../../lib/at-most.ts'
import { Fifo } from '../../lib/fifo.ts'
import { WaitList } from '../../lib/wait-list.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { isFatal, judge, takeTurn } from './poison-search.ts'

/** Milliseconds before the next channel is opened where the last ones settled nothing, doubled each time. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 5_000
/**
 * Milliseconds after a recovery in which the broker's nacks may come of its fail-over: a quorum queue of RabbitMQ 3.10
 * that has no leader nacks all from a channel that first publishes to it then, for as long as that channel lives.
 */
const FAIL_OVER = 2_000
/** Milliseconds until such a channel is replaced: a leader is elected, and what is under way settled. */
const REPLACE_PAUSE = 200

/**
 * Messages that are published until the broker has confirmed them, on a confirm channel that is opened when it is needed
 * and replaced when it is lost. Each message is in one of two places, both in the order of the publishes:
 *
 *     publish ──▶ queue: not written (again) ──write──▶ the channel's unconfirmed ──ack, nack, return──▶ settled
 *                   ▲                                        │
 *                   └──── unknown fates, to the front ───────┴── channel or connection ended ──▶ refused
 */
export class ConfirmedPublishing implements PublishKeeper {
  readonly #source: ChannelSource
  readonly #maxInFlight: number
  readonly #resent: (count: number) => void
  readonly #forgetEnd: () => void
  /** Nothing but timeouts and signals. */
  readonly #bounds: WaitList
  readonly #queue = new Fifo<PendingPublish>()
  #state: 'open' | 'closing' | 'closed' = 'open'
  #channel: Channel | undefined
  /** The life of the channel, while it can be written to. */
  #publishing: ConfirmWindow | undefined
  #opening = false
  /** The channel was opened so soon after a recovery that its nacks may be passing. */
  #failingOver = false
  /**
   * Messages that may be unconfirmed at a time: one while it is to be found out which of several the broker refuses, none
   * while the channel is about to be replaced.
   */
  #limit: number
  /** How many at the head of the queue are suspected. */
  #suspects = 0
  /** The broker may close the connection over one of them: they are published in a turn, which this ends. */
  #fatal = false
  #endTurn = ignore
  /** The only one there was in the last turn, when the broker closed the connection. */
  #accused: PendingPublish | undefined
  /** Channels in a row that settled nothing. */
  #barren = 0
  #emptied: (() => void) | undefined
  #closing: Promise<void> | undefined

  /** `resent` is told how many messages were written again. */
  constructor(source: ChannelSource, maxInFlight: number, resent: (count: number) => void) {
    this.#source = source
    this.#bounds = new WaitList(source)
    this.#maxInFlight = maxInFlight
    this.#limit = maxInFlight
    this.#resent = resent
    this.#forgetEnd = source.onEnded(() => this.#rejectAll())
  }

  /** Messages whose fate is not known yet. */
  get pending(): number {
    return this.#queue.length + (this.#publishing?.unsettled ?? 0)
  }

  /** Resolves when the message is safe. Payload and properties are kept as they are until then. May throw. */
  publish(
    payload: Uint8Array | string,
    exchange: string,
    routingKey: string,
    properties: BasicProperties | undefined,
    mandatory: boolean,
    bounds: CallOptions | undefined,
  ): Promise<void> {
    const entry = pendingPublish(payload, exchange, routingKey, properties, mandatory, true)
    const promise = promiseOf(entry)
    if (bounds !== undefined) boundPublish(entry, this.#bounds, bounds, error => this.#giveUp(entry, error))
    try {
      this.#add(entry)
    } catch (error) {
      entry.bound?.leave()
      throw notSent(error)
    }
    return promise
  }

  /** Nobody waits for it any more: it is not sent (again). */
  #giveUp(entry: PendingPublish, error: Error): void {
    if (this.#queue.remove(entry)) {
      refuse(entry, error)
      this.#suspects = Math.min(this.#suspects, this.#queue.length)
      this.progressed()
    } else if (this.#publishing === undefined) refuse(entry, error)
    else this.#publishing.abandon(entry, error)
  }

  #add(entry: PendingPublish): void {
    if (this.#state !== 'open' || this.#source.ending !== undefined) throw this.#closedError(entry)
    const publishing = this.#publishing
    if (publishing !== undefined && this.#queue.length === 0 && publishing.unsettled < this.#limit) {
      if (publishing.write(entry)) return
    }
    const { exchange, routingKey, mandatory, properties, payload = '' } = entry
    this.#source.publishes.check(exchange, routingKey, mandatory, properties, payload)
    if (this.#queue.length >= this.#source.maxWaiting) {
      throw new BufferFullError(
        `${describeMessage(entry)} was refused: ${this.#queue.length} publishes wait already, the limit set by maxWaiting`,
      )
    }
    this.#queue.push(entry)
    if (publishing === undefined) this.#open()
  }

  #closedError(entry: PendingPublish): AmqpError {
    const what = describeMessage(entry)
    const outcome = outcomeOf(entry)
    const { ending } = this.#source
    if (ending !== undefined) return ending.errorFor(what, false, outcome)
    const text = `${what} failed: its publisher was closed${entry.writes > 0 ? ' before the broker had confirmed it' : ''}`
    return new ChannelClosedError(text, { outcome })
  }

  // ---- the channel

  #open(): void {
    if (this.#opening || this.#state === 'closed' || this.#source.ending !== undefined) return
    this.#opening = true
    this.#begin().catch((error: unknown) => this.#source.report(error, 'unhandled'))
  }

  async #begin(): Promise<void> {
    try {
      // What is written from a microtask on leaves together: channel.open, confirm.select and the first messages.
      await (this.#barren > 1 ? this.#pause() : undefined)
      if (this.#fatal) this.#endTurn = await takeTurn(this.#source)
      const channel = await this.#source.openingChannel({ publisherConfirms: true })
      const { window: publishing } = channel.lives
      if (this.#state === 'closed' || publishing === undefined) {
        this.#endTurn()
        void channel.close()
        this.#barren++
      } else {
        publishing.keptBy(this)
        this.#channel = channel
        this.#publishing = publishing
        this.#failingOver = this.#source.clock.now() - this.#source.recoveredAt < FAIL_OVER
      }
    } catch (error) {
      this.#endTurn()
      // The end of the connection is told by itself, and anything else is passing.
      this.#barren++
      if (this.#source.ending === undefined) this.#source.report(error, 'warn')
    } finally {
      this.#opening = false
    }
    this.progressed()
  }

  #pause(): Promise<void> {
    const milliseconds = Math.min(FIRST_PAUSE * 2 ** (this.#barren - 2), LONGEST_PAUSE)
    return new Promise(resolve => this.#source.after(milliseconds, resolve))
  }

  /** Write what waits, as far as that may be now. */
  #drain(): void {
    if (this.#queue.length === 0) return
    const publishing = this.#publishing
    if (publishing === undefined) {
      this.#open()
      return
    }
    let again = 0
    for (let entry = this.#queue.peek(); entry !== undefined; entry = this.#queue.peek()) {
      if (publishing.unsettled >= this.#limit) break
      try {
        if (!publishing.write(entry)) break
        if (entry.writes > 1) again++
      } catch (error) {
        refuse(entry, notSent(error))
      }
      this.#queue.shift()
      if (this.#suspects > 0) this.#suspects--
    }
    if (again > 0) this.#resent(again)
    this.#tellEmptied()
  }

  progressed(): void {
    const suspecting = this.#fatal || this.#limit !== this.#maxInFlight
    if (suspecting && this.#suspects === 0 && this.#publishing?.unsettled === 0) {
      this.#limit = this.#maxInFlight
      this.#fatal = false
      this.#accused = undefined
      this.#endTurn()
    }
    if (this.#queue.length > 0) this.#drain()
    else if (this.#emptied !== undefined) this.#tellEmptied()
  }

  nacked(): boolean {
    if (this.#failingOver && this.#limit > 0) {
      const channel = this.#channel
      this.#limit = 0
      this.#source.after(REPLACE_PAUSE, () => void channel?.close())
    }
    return this.#failingOver
  }

  ended(publishing: ConfirmWindow, unsettled: readonly PendingPublish[], ending: CloseReason): void {
    if (publishing !== this.#publishing) return
    const channel = this.#channel
    this.#publishing = undefined
    this.#channel = undefined
    // It is not to come back with the next connection; here it is not over yet for those who do that.
    queueMicrotask(() => void channel?.close())
    this.#endTurn()
    const suspecting = this.#fatal || (this.#limit > 0 && this.#limit !== this.#maxInFlight)
    const { refused, unknown, found } = judge(unsettled, ending, this.#accused)
    this.#accused = this.#fatal && unsettled.length === 1 && isFatal(ending) ? unsettled[0] : undefined
    // What closed the connection may have come from a channel of the program's: it says less of what became of this.
    const outcome = isFatal(ending) ? 'unknown' : 'refused'
    for (const entry of refused) refuse(entry, ending.errorFor(describeMessage(entry), true, outcome))
    this.#barren = refused.length > 0 || publishing.lastTag > unsettled.length ? 0 : this.#barren + 1
    if (!found || suspecting || this.#suspects > 0) this.#suspects += unknown.length
    this.#fatal = this.#suspects > 0 && (this.#fatal || isFatal(ending))
    this.#limit = this.#suspects > 0 ? 1 : this.#maxInFlight
    const newer = this.#queue.takeAll()
    for (const entry of unknown) this.#queue.push(entry)
    for (const entry of newer) this.#queue.push(entry)
    this.#tellEmptied()
    if (this.#queue.length > 0) this.#open()
  }

  // ---- the end

  #rejectAll(): void {
    this.#endTurn()
    const publishing = this.#publishing
    this.#publishing = undefined
    const unsettled = publishing?.takeUnsettled() ?? []
    for (const entry of [...unsettled, ...this.#queue.takeAll()]) refuse(entry, this.#closedError(entry))
    this.#tellEmptied()
  }

  #tellEmptied(): void {
    if (this.#emptied === undefined || this.pending > 0) return
    this.#emptied()
    this.#emptied = undefined
  }

  /** Wait for what is pending, but no longer than `timeout` milliseconds; then reject the rest. Never rejects itself. */
  close(timeout: number): Promise<void> {
    this.#closing ??= this.#close(timeout)
    return this.#closing
  }

  async #close(timeout: number): Promise<void> {
    const end = this.#source.clock.now() + timeout
    this.#state = 'closing'
    if (this.pending > 0) {
      const emptied = new Promise<void>(resolve => {
        this.#emptied = resolve
      })
      await atMost(this.#source, timeout, emptied)
    }
    this.#state = 'closed'
    const channel = this.#channel
    this.#channel = undefined
    this.#rejectAll()
    this.#forgetEnd()
    if (channel === undefined) return
    await atMost(this.#source, end - this.#source.clock.now(), channel.close())
  }
}

function ignore(): void {}
