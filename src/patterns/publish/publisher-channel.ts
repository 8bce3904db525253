import type { Channel } from '../../channel/channel.ts'
import type { Deadline } from '../../channel/port.ts'
import type { ConfirmWindow, PublishOwner } from '../../channel/publish/confirm-window.ts'
import type { ChannelSource, SourcedChannelOptions } from '../../connection/channel-source.ts'
import { TimeoutError } from '../../errors.ts'
import { ignore } from '../../lib/ignore.ts'
import { Mutex } from '../../lib/mutex.ts'
import { pause } from '../../lib/pause.ts'
import { transition } from '../../lib/transition.ts'

/** Pause in milliseconds before the third channel in a row that settled nothing. It doubles for each further one. */
const FIRST_PAUSE = 100
const LONGEST_PAUSE = 5_000

/**
 * Milliseconds after a recovery in which nacks may be caused by a fail-over: if a channel first publishes to a quorum
 * queue of RabbitMQ 3.10 that has no leader, the queue nacks everything from this channel, for as long as it lives. A
 * busy node needs some seconds for an election.
 */
const FAIL_OVER = 10_000
/** Milliseconds after a nack until its channel is replaced, at the earliest: a leader is elected. */
const REPLACE_PAUSE = 200
/**
 * Further milliseconds in which the broker may settle messages in flight after a fail-over. What it has not settled then is
 * sent again, and may arrive twice. Other nacks say nothing of that: a full queue nacks beside one that is only slow.
 */
const SETTLE_PAUSE = 5_000
/** Milliseconds that a channel on which the broker nacks stays at least: a queue that is full nacks on every channel. */
const LEAST_STAY = 1_000
/**
 * Milliseconds in which nothing is written after a nack that is final, so that all in flight may be settled and the channel
 * be replaced. If something is not, as by a queue that confirms late, the channel stays for `STALLED` before the next try:
 * messages for other queues do not wait for that one.
 */
const DRAIN = 1_000
/**
 * Milliseconds after which a channel is replaced if a message that is in flight was not settled. RabbitMQ 4.3 may go on
 * without a word on all that one channel publishes to a quorum queue that was without a leader, for as long as the channel
 * lives, while it confirms what comes by others, or goes to other queues. It doubles for each channel in a row that settled
 * nothing, up to `LONGEST_STALLED`: a broker that is only slow does not get more and more to do.
 */
const STALLED = 30_000
const LONGEST_STALLED = 120_000

const OPTIONS: SourcedChannelOptions = { publisherConfirms: true, recover: false }

/** By connection: publishers that search for a message over which the broker closes it take turns. */
const turns = new WeakMap<ChannelSource, Mutex>()

/**
 * Changes of state, all made by `#to`:
 *
 *     none ──open()──▶ opening ──▶ open ──a nack that may pass──▶ nacked ──after a pause──▶ leaving
 *      ▲                  │         │                               │                        │
 *      ├──stopOpening()───┘         │                               │                        │
 *      └──giveUp(), the channel ended───────────────────────────────┴──────the channel ended─┘
 *     open ──a nack that is final──▶ draining ──all is settled──▶ leaving
 *      ▲                               │ └──a message is not settled for long──▲
 *      └──────something is not─────────┘
 *     open ──a message is not settled for long──▶ leaving
 *     any ──end()──▶ closed
 *
 * In `nacked`, `draining` and `leaving` nothing is written. In `leaving` the channel is closed as soon as the broker has
 * settled what is in flight, so that another one takes its place.
 */
export type PublisherChannelState = 'none' | 'opening' | 'open' | 'nacked' | 'draining' | 'leaving' | 'closed'

const NEXT: Record<PublisherChannelState, readonly PublisherChannelState[]> = {
  none: ['opening', 'closed'],
  opening: ['open', 'none', 'closed'],
  open: ['nacked', 'draining', 'leaving', 'none', 'closed'],
  nacked: ['leaving', 'none', 'closed'],
  draining: ['open', 'leaving', 'none', 'closed'],
  leaving: ['none', 'closed'],
  closed: [],
}

/** The confirm channel of one publisher: opened when it is needed, given up when it is not, replaced when it nacks. */
export class PublisherChannel {
  readonly #source: ChannelSource
  readonly #owner: PublishOwner
  readonly #ready: () => void
  readonly #retriesNacks: boolean
  #state: PublisherChannelState = 'none'
  /** Ends what `opening` waits for. */
  #opening: AbortController | undefined
  #channel: Channel | undefined
  #window: ConfirmWindow | undefined
  /** The number of the channel there is, or was last. */
  channelId: number | undefined
  /** Its nacks may be temporary: it was opened soon after a recovery, or the program says so. */
  #nacksPass = false
  /** Until then it stays, though the broker nacks. */
  #staysUntil = 0
  /** The next look whether the broker still settles messages, or the end of the wait for those in flight. */
  #look: Deadline | undefined
  /** Channels in a row that settled nothing. */
  #fruitless = 0
  /** Ends this publisher's turn to publish alone; harmless if it has ended. */
  #endTurn: () => void = ignore

  /**
   * `owner` keeps the messages that are published on it; `ready` is called when it is open, or could not be opened.
   * `retriesNacks` says that all nacks may be passing.
   */
  constructor(source: ChannelSource, owner: PublishOwner, ready: () => void, retriesNacks: boolean) {
    this.#source = source
    this.#owner = owner
    this.#ready = ready
    this.#retriesNacks = retriesNacks
  }

  get state(): PublisherChannelState {
    return this.#state
  }

  /** What was published on it; undefined if there is none. */
  get window(): ConfirmWindow | undefined {
    return this.#window
  }

  #to(state: PublisherChannelState): void {
    this.#state = transition('a publisher', NEXT, this.#state, state)
  }

  /** Open it if there is none. `alone` if no other publisher of the connection may publish so at the same time. */
  open(alone: boolean): void {
    if (this.#state !== 'none') return
    this.#to('opening')
    // Nothing has to be waited for, nearly always: the messages leave with channel.open in one write.
    const mayOpenNow = !alone && this.#fruitless < 2
    const channel = mayOpenNow ? this.#source.tryOpenChannel(OPTIONS) : undefined
    if (channel !== undefined) {
      this.#opened(channel)
      return
    }
    this.#opening = new AbortController()
    void this.#wait(alone, this.#opening.signal)
  }

  /** Wait for a pause, a turn to publish alone, the connection and a channel number. Never rejects. */
  async #wait(alone: boolean, signal: AbortSignal): Promise<void> {
    let endTurn = ignore
    try {
      if (this.#fruitless > 1) await this.#pause(signal)
      if (alone) endTurn = await turnsOf(this.#source).acquire('a publish', signal)
      const channel = await this.#source.openingChannel({ ...OPTIONS, signal })
      if (signal.aborted) {
        endTurn()
        void channel.close()
        return
      }
      this.#endTurn = endTurn
      this.#opened(channel)
    } catch (error) {
      endTurn()
      if (!signal.aborted) this.#notOpened(error)
    }
  }

  #pause(signal: AbortSignal): Promise<void> {
    return pause(this.#source, Math.min(FIRST_PAUSE * 2 ** (this.#fruitless - 2), LONGEST_PAUSE), signal)
  }

  /** The channel that is being opened is not needed. */
  stopOpening(): void {
    if (this.#state !== 'opening') return
    this.#opening?.abort()
    this.#opening = undefined
    this.#to('none')
  }

  #opened(channel: Channel): void {
    this.#opening = undefined
    const { window } = channel.recovering.publishing
    if (window === undefined) {
      this.#notOpened()
      return
    }
    const { clock, state, recoveredAt } = this.#source
    window.ownedBy(this.#owner)
    this.#channel = channel
    this.#window = window
    this.channelId = channel.channelId
    const now = clock.now()
    this.#staysUntil = now + LEAST_STAY
    this.#nacksPass = this.#retriesNacks || state === 'recovering' || now - recoveredAt < FAIL_OVER
    this.#to('open')
    this.#watch(channel, window)
    this.#ready()
  }

  /** Replace the channel if the broker does not settle what it has got by now. */
  #watch(channel: Channel, window: ConfirmWindow): void {
    const { unconfirmed, oldest, settled, port } = window
    const since = this.#source.clock.now()
    const stalled = Math.min(STALLED * 2 ** this.#fruitless, LONGEST_STALLED)
    // A large message may be on its way for long.
    const isSent = unconfirmed > 0 && port.bufferedBytes === 0
    const look = (): void => {
      const isBlocked = port.isBlocked || port.unblockedAt >= since
      const mayLeave = this.#state === 'open' || this.#state === 'draining'
      if (mayLeave && isSent && window.oldest === oldest && !isBlocked) {
        const what = `${port.server} has left one of the ${window.unconfirmed} messages in flight on channel ${channel.channelId}, or more, without a confirm for ${stalled} ms`
        // The others will be settled, if any was.
        this.#leaveAfter(window.settled === settled ? 0 : SETTLE_PAUSE, channel)
        this.#source.report(new TimeoutError(`${what}: what is not confirmed is sent again on another channel`), 'warn')
      } else this.#watch(channel, window)
    }
    this.#look = this.#source.after(stalled, look, { keepsProcessAlive: false })
  }

  /** Write nothing more, and close the channel after a pause, or when all that is in flight is settled. */
  #leaveAfter(milliseconds: number, channel: Channel | undefined): void {
    this.#to('leaving')
    this.#look?.cancel()
    this.#look = this.#source.after(milliseconds, () => void channel?.close())
  }

  /** Everything but the connection's end, which is reported separately, passes. */
  #notOpened(error?: unknown): void {
    this.#opening = undefined
    this.#endTurn()
    this.#fruitless++
    this.#to('none')
    if (error !== undefined && this.#source.ending === undefined) this.#source.report(error, 'warn')
    this.#ready()
  }

  /**
   * The broker nacked a message. Returns whether that may be passing: the message is sent again by another channel. It may
   * go on nacking for as long as the channel lives, so another takes its place in any case.
   */
  nacked(): boolean {
    const channel = this.#channel
    if (this.#state !== 'open') return this.#nacksPass
    if (this.#nacksPass) {
      this.#to('nacked')
      this.#source.after(REPLACE_PAUSE, () => this.#replace(channel))
    } else if (this.#source.clock.now() >= this.#staysUntil) {
      this.#to('draining')
      this.#source.after(DRAIN, () => this.#stay(channel), { keepsProcessAlive: false })
    }
    return this.#nacksPass
  }

  /** Something in flight is not settled: write on by this channel. */
  #stay(channel: Channel | undefined): void {
    if (this.#state !== 'draining' || channel !== this.#channel) return
    this.#to('open')
    this.#staysUntil = this.#source.clock.now() + STALLED
    this.#ready()
  }

  #replace(channel: Channel | undefined): void {
    if (this.#state !== 'nacked' || channel !== this.#channel) return
    this.#leaveAfter(this.#retriesNacks ? STALLED : SETTLE_PAUSE, channel)
    this.progressed()
  }

  /** The broker settled messages. */
  progressed(): void {
    if (this.#window?.unconfirmed !== 0) return
    if (this.#state === 'draining') this.#to('leaving')
    if (this.#state === 'leaving') void this.#channel?.close()
  }

  /** Another publisher may publish alone. */
  endTurn(): void {
    this.#endTurn()
  }

  /** Close it: nothing is pending on it. Returns whether it was open. */
  giveUp(): boolean {
    if (this.#state !== 'open') return false
    const channel = this.#leave()
    this.#fruitless = 0
    void channel?.close()
    return true
  }

  /** Its life is over; `settled` if anything came of it. */
  ended(settled: boolean): void {
    this.#fruitless = settled ? 0 : this.#fruitless + 1
    this.#leave()
  }

  #leave(state: 'none' | 'closed' = 'none'): Channel | undefined {
    const channel = this.#channel
    this.#channel = undefined
    this.#window = undefined
    this.#look?.cancel()
    this.#look = undefined
    this.#endTurn()
    this.#to(state)
    return channel
  }

  /** No channel is opened any more. Returns the one there is, which is for the caller to close. */
  end(): Channel | undefined {
    this.#opening?.abort()
    this.#opening = undefined
    return this.#leave('closed')
  }
}

function turnsOf(source: ChannelSource): Mutex {
  const known = turns.get(source) ?? new Mutex(source)
  turns.set(source, known)
  return known
}
