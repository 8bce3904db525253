import { withoutNumber } from '../../channel/close-reason.ts'
import type { RecoveringChannel } from '../../channel/recovering-channel.ts'
import { asError, ChannelClosedError, ConnectionClosedError, NoChannelAvailableError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Connection } from '../connection.ts'
import type { RecoverySettings } from '../settings/settings.ts'
import { pauseBefore } from './backoff.ts'
import type { Topology } from './topology.ts'
import {
  type Patience,
  pauseAfter,
  type RecoveryPort,
  recoverLocked,
  recoverQueue,
  recoverTopology,
} from './topology-recovery.ts'

const CONSUME = 'basic.consume'
/** Milliseconds between the tries of what is locked while all else has gone on. */
const LOCKED_PAUSE = 500

/** What a recovery needs of the session it is for. */
export interface RecoveryHost {
  readonly topology: Topology
  /** The channels that are to go on, oldest first. */
  channels(): readonly RecoveringChannel[]
  dial(signal: AbortSignal): Promise<Connection>
  /** The connection to restore everything on. */
  connected(connection: Connection): void
  /** A channel of the new connection for what is made again. */
  temporaryChannel(): ReturnType<RecoveryPort['channel']>
  recovering(attempt: number, delay: number): void
  failed(what: string, error: Error): void
  renamed(oldName: string, newName: string): void
}

/** One recovery: from the loss of a connection until everything is back, or nobody tries any more. */
export class Recovery {
  readonly #host: RecoveryHost
  readonly #settings: RecoverySettings
  readonly #cancelled = new AbortController()
  readonly #clock: Clock
  readonly #started: number
  readonly #port: RecoveryPort
  readonly #earlier: number
  #patience: Patience = { since: 0, heartbeat: 0 }
  /** Queues that the broker locks, for the old connection it may be. */
  #locked: string[] = []
  /** A consumer made the server close the connection: each is tried alone, to know which. */
  #consumersInTurn = false

  /** `earlier` attempts count for the pauses: those of connections that were lost as soon as they were back. */
  constructor(host: RecoveryHost, settings: RecoverySettings, clock: Clock, earlier: number) {
    this.#host = host
    this.#clock = clock
    this.#started = clock.now()
    this.#settings = settings
    this.#earlier = earlier
    const patience = (): Patience => this.#patience
    this.#port = {
      get patience() {
        return patience()
      },
      now: () => clock.now(),
      channel: () => host.temporaryChannel(),
      pause: milliseconds => this.#pause(milliseconds),
      failed: (what, error) => host.failed(what, error),
      renamed: (oldName, newName) => host.renamed(oldName, newName),
    }
  }

  /** Give it up: `run` rejects. */
  cancel(): void {
    this.#cancelled.abort()
  }

  /** Resolves when all is restored but what `recoverLocked` goes on with. Rejects with the last error where it was given up. */
  async run(): Promise<void> {
    const { maxAttempts, giveUpOn } = this.#settings
    for (let attempt = 1; ; attempt++) {
      const elapsed = this.#clock.now() - this.#started
      const delay = pauseBefore(attempt + this.#earlier, elapsed, this.#settings, () => this.#clock.random())
      this.#host.recovering(attempt, delay)
      await this.#pause(delay)
      try {
        await this.#restoreOn(await this.#host.dial(this.#cancelled.signal))
        return
      } catch (thrown) {
        const error = asError(thrown)
        this.#cancelled.signal.throwIfAborted()
        if (attempt >= maxAttempts || giveUpOn(error)) throw error
      }
    }
  }

  /** Its timer keeps the process alive: a program that is being reconnected has not ended. */
  #pause(milliseconds: number): Promise<void> {
    const { signal } = this.#cancelled
    signal.throwIfAborted()
    if (milliseconds === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const aborted = (): void => {
        timer.cancel()
        reject(asError(signal.reason))
      }
      const timer = this.#clock.after(
        milliseconds,
        () => {
          signal.removeEventListener('abort', aborted)
          resolve()
        },
        { keepsProcessAlive: true },
      )
      signal.addEventListener('abort', aborted, { once: true })
    })
  }

  async #restoreOn(connection: Connection): Promise<void> {
    if (this.#cancelled.signal.aborted) connection.abandon('the recovery was given up')
    this.#cancelled.signal.throwIfAborted()
    this.#host.connected(connection)
    this.#patience = { since: this.#clock.now(), heartbeat: connection.negotiated?.heartbeat ?? 0 }
    try {
      await this.#restore(connection)
    } catch (error) {
      // Where the program closes, it closes this connection in order.
      if (!this.#cancelled.signal.aborted) connection.abandon('not everything could be restored')
      throw error
    }
  }

  /** Channels and their modes first, then exchanges, queues and bindings, then consumers. */
  async #restore(connection: Connection): Promise<void> {
    const { channelMax = Number.POSITIVE_INFINITY } = connection.negotiated ?? {}
    const all = this.#host.channels()
    const channels = all.slice(0, channelMax)
    for (const lives of all.slice(channelMax)) this.#closeUnfit(lives, connection.server, channelMax)
    // What is made again needs a channel number, too.
    const first = Math.min(channels.length, channelMax - 1)
    await Promise.all(channels.slice(0, first).map(lives => this.#begin(lives, connection)))
    if (this.#settings.topology) this.#locked = await recoverTopology(this.#host.topology, this.#port)
    await Promise.all(channels.slice(first).map(lives => this.#begin(lives, connection)))
    if (this.#settings.topology) await this.#consumeAll(channels, connection)
    this.#cancelled.signal.throwIfAborted()
    if (connection.state !== 'open') throw new Error('the new connection was lost before all was restored')
  }

  /** This server allows fewer channels than the one that was lost. */
  #closeUnfit(lives: RecoveringChannel, server: string, channelMax: number): void {
    const ending = withoutNumber(lives.id, server, channelMax)
    lives.close(ending)
    if (ending.error !== undefined) this.#host.failed(`channel ${lives.id}`, ending.error)
  }

  async #begin(lives: RecoveringChannel, connection: Connection): Promise<void> {
    if (lives.isOver) return
    try {
      await lives.begin(connection, connection.channels.take())
    } catch (error) {
      // The program may have closed it meanwhile.
      if (!lives.isOver) throw error
    }
  }

  async #consumeAll(channels: readonly RecoveringChannel[], connection: Connection): Promise<void> {
    if (this.#consumersInTurn) for (const lives of channels) await this.#consume(lives, connection)
    else await Promise.all(channels.map(lives => this.#consume(lives, connection)))
  }

  async #consume(lives: RecoveringChannel, connection: Connection): Promise<void> {
    const tries = new Map<string, number>()
    for (;;) {
      const refused = await lives.subscriptions.consumeAgain(
        this.#consumersInTurn,
        queueName => !this.#locked.includes(queueName),
      )
      if (refused === undefined || lives.isOver) return
      const { tag, queueName, error } = refused
      if (connection.state !== 'open' || !lives.isOpen) {
        const guilty = error instanceof ConnectionClosedError && error.classId !== 0
        if (guilty && this.#consumersInTurn) this.#abandon(lives, tag, queueName, error)
        this.#consumersInTurn ||= guilty
        throw error
      }
      // The program's own acks may be refused, too: such a channel stays closed.
      if (error instanceof ChannelClosedError && (error.method ?? CONSUME) !== CONSUME) return
      const count = (tries.get(tag) ?? 0) + 1
      tries.set(tag, count)
      const pause = pauseAfter(error, count, this.#patience, this.#clock.now())
      if (pause !== undefined) await this.#pause(pause)
      else if (!lives.subscriptions.mayConsumeOtherwise(tag, error)) this.#abandon(lives, tag, queueName, error)
      if (count === 1) await recoverQueue(this.#host.topology, queueName, this.#port)
      await this.#begin(lives, connection)
    }
  }

  /**
   * Behind the recovery, try the queues that are locked until they are granted, and then their bindings and consumers, or
   * until nobody hopes any more. Never rejects: with the connection, or `cancel`, it just ends.
   */
  async recoverLocked(): Promise<void> {
    const { topology } = this.#host
    const refused = new Map<string, Error>()
    const failed = (what: string, error: Error): void => {
      refused.set(what, error)
      this.#host.failed(what, error)
    }
    const port = { ...this.#port, failed }
    while (this.#locked.length > 0) {
      try {
        await this.#pause(LOCKED_PAUSE)
        const tried = this.#locked
        this.#locked = await recoverLocked(topology, tried, port)
        this.#cancelled.signal.throwIfAborted()
        const free = tried.filter(name => !this.#locked.includes(name))
        await Promise.all(free.map(name => this.#consumeFrom(name, refused.get(`queue "${name}"`))))
      } catch (error) {
        if (!(error instanceof NoChannelAvailableError)) return
      }
    }
  }

  /** Start the consumers of a queue that is no longer locked, or end those of one that was refused with `refusal`. */
  async #consumeFrom(queueName: string, refusal: Error | undefined): Promise<void> {
    const channels = this.#host.channels()
    if (refusal !== undefined) {
      for (const lives of channels) {
        for (const tag of lives.subscriptions.missing(queueName)) this.#abandon(lives, tag, queueName, refusal)
      }
      return
    }
    const consume = async (lives: RecoveringChannel): Promise<void> => {
      const refused = await lives.subscriptions.consumeAgain(false, name => name === queueName)
      // The channel has gone with it, which tells the program; a lost connection has a recovery of its own.
      if (refused?.error instanceof ChannelClosedError) {
        this.#host.failed(`consumer "${refused.tag}" of queue "${queueName}"`, refused.error)
      }
    }
    await Promise.all(channels.map(consume))
  }

  #abandon(lives: RecoveringChannel, tag: string, queueName: string, error: Error): void {
    lives.abandonConsumer(tag, queueName, error)
    this.#host.failed(`consumer "${tag}" of queue "${queueName}"`, error)
  }
}
