import { withoutNumber } from '../../channel/close-reason.ts'
import type { RecoveringChannel } from '../../channel/recovering-channel.ts'
import type { LifecycleEvents } from '../../diagnostics/lifecycle-events.ts'
import type { Clock } from '../../lib/clock.ts'
import type { Connection } from '../connection.ts'
import type { RecoverySettings } from '../settings/settings.ts'
import { Attempts, type AttemptsHost } from './attempts.ts'
import { Backoff } from './backoff.ts'
import { BareChannel } from './bare-channel.ts'
import { ConsumerRecovery } from './consumer-recovery.ts'
import { Patience } from './patience.ts'
import type { PendingTopology } from './pending-topology.ts'
import type { TopologyRecord } from './records.ts'
import type { Topology } from './topology.ts'
import { TopologyRecovery } from './topology-recovery.ts'

/** Milliseconds for which consumers that the broker refuses hold up `recovered`. */
const LATE_CONSUMERS = 2_500

/** What the connection keeps for the next one: undefined if nothing but channels is recovered. */
export interface KeptTopology {
  readonly topology: Topology
  readonly pending: PendingTopology
}

/** What a recovery brought back. */
export type RecoveredCounts = Omit<LifecycleEvents['connection.recovered'], 'attempts' | 'durationMs'>

/** What a recovery needs of the connection it is for. */
export interface RecoveryHost extends AttemptsHost {
  readonly kept: KeptTopology | undefined
  /** The channels that will go on, oldest first. */
  channels(): readonly RecoveringChannel[]
  /** More of what publishes need is back. */
  routesChanged(): void
  /** The connection to restore everything on, whose channels have their numbers. */
  connected(connection: Connection): void
  failed(what: string, error: Error, willRetry: boolean): void
  renamed(oldName: string, newName: string): void
}

/**
 * One recovery: from the loss of a connection until everything is back, or nothing is tried any more.
 *
 *     pause ──▶ dial ──▶ channels and modes ──▶ each channel: its consumers ──▶ usable
 *       ▲        │            └──▶ exchanges, queues, bindings ──▶ calls and publishes that need them
 *       └─failed─┴─────────────────────────────────lost
 */
export class Recovery {
  readonly #host: RecoveryHost
  readonly #clock: Clock
  readonly #attempts: Attempts
  #topology: TopologyRecovery | undefined
  #consumers: ConsumerRecovery | undefined
  #patience: Patience
  /** A consumer made the server close the connection: each is tried alone, to know which. */
  #consumersInTurn = false
  /** The waiters for entries of the ledger. */
  #waiting: (() => void)[] = []
  #topologyIsBack = false

  /** `flapping` connections were lost as soon as they were back: they count as attempts. */
  constructor(host: RecoveryHost, settings: RecoverySettings, clock: Clock, flapping: number) {
    this.#host = host
    this.#clock = clock
    this.#attempts = new Attempts(host, clock, new Backoff(settings, clock, flapping), settings.maxAttempts)
    this.#patience = new Patience(clock, 0)
  }

  /** Give it up: `run` rejects. */
  cancel(): void {
    this.#attempts.cancel()
  }

  /** Attempts that were begun. */
  get attempts(): number {
    return this.#attempts.made
  }

  /** Calls need wait for nothing any more. */
  get topologyIsBack(): boolean {
    return this.#topologyIsBack
  }

  /** Resolves when all is restored but what `runLate` goes on with. Rejects with the last error if it is given up. */
  run(): Promise<void> {
    return this.#attempts.run(connection => this.#restoreOn(connection))
  }

  /** What is back, and how many entries of the ledger and consumers are not. */
  get counts(): RecoveredCounts {
    const { topology } = this.#host.kept ?? {}
    const left = this.#topology?.left ?? []
    const back = (kind: TopologyRecord['kind'], all: number): number =>
      all - left.filter(record => record.kind === kind).length
    const channels = this.#host.channels()
    const consumers = channels.reduce((sum, { recordedConsumers }) => sum + recordedConsumers.size, 0)
    const missing = channels.reduce((sum, { recordedConsumers }) => sum + recordedConsumers.missing().length, 0)
    return {
      channels: channels.length,
      exchanges: back('exchange', topology?.exchanges.length ?? 0),
      queues: back('queue', topology?.queues.length ?? 0),
      bindings: back('binding', topology?.bindings.length ?? 0),
      consumers: consumers - missing,
      stillMissing: left.length + missing,
    }
  }

  /**
   * After `run`, keep trying the entities that the broker still refuses, for as long as the connection lasts. Never
   * rejects.
   */
  async runLate(): Promise<void> {
    await Promise.all([this.#topology?.runLate(), this.#consumers?.runLate()])
  }

  /** Wait for `promise`, but no longer than that. */
  #atMost(milliseconds: number, promise: Promise<unknown>): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(milliseconds, resolve)
      const finished = (settle: () => void): void => {
        timer.cancel()
        settle()
      }
      promise.then(
        () => finished(resolve),
        (error: unknown) => finished(() => reject(error)),
      )
    })
  }

  async #restoreOn(connection: Connection): Promise<void> {
    try {
      await this.#restore(connection)
    } catch (error) {
      // If the program closes, it closes this connection in order.
      if (!this.#attempts.isCancelled) connection.abandon('not everything could be restored')
      throw error
    } finally {
      this.#progressed()
    }
  }

  async #restore(connection: Connection): Promise<void> {
    const { channelMax = Number.POSITIVE_INFINITY, heartbeat = 0 } = connection.negotiated ?? {}
    this.#patience = new Patience(this.#clock, heartbeat)
    const { kept } = this.#host
    kept?.pending.lost()
    this.#topologyIsBack = false
    this.#topology = kept && this.#topologyRecovery(kept, connection)
    const consumers = this.#consumerRecovery(connection)
    this.#consumers = consumers
    const all = this.#host.channels()
    const channels = all.slice(0, channelMax)
    for (const channel of all.slice(channelMax)) this.#closeUnfit(channel, connection.server, channelMax)
    // Recreated entities need a channel number, too.
    const first = kept === undefined ? channels.length : Math.min(channels.length, channelMax - 1)
    const begun = channels.slice(0, first).map(channel => this.#begin(channel, connection))
    this.#host.connected(connection)
    const topology = this.#restoreTopology(connection)
    const restored = channels.map(async (channel, index) => {
      if (index >= first) {
        await topology
        await this.#begin(channel, connection)
      } else await begun[index]
      await this.#restoreConsumers(channel, consumers, connection)
      channel.reopened()
      if (this.#topologyIsBack) channel.resumed()
    })
    const everything = Promise.all([topology, ...begun, ...restored])
    // Late parts go on by themselves; an error in them ends the connection.
    everything.catch(() => {
      if (!this.#attempts.isCancelled) connection.abandon('not everything could be restored')
    })
    await Promise.all([topology, ...begun])
    await this.#atMost(LATE_CONSUMERS, everything)
    this.#attempts.throwIfCancelled()
    if (connection.state !== 'open') throw new Error('the new connection was lost before all was restored')
  }

  async #restoreTopology(connection: Connection): Promise<void> {
    await this.#topology?.run()
    assertOpen(connection)
    this.#topologyIsBack = true
    for (const channel of this.#host.channels()) channel.resumed()
    this.#host.routesChanged()
  }

  /** What both of its parts need. */
  #port(connection: Connection) {
    return {
      patience: this.#patience,
      channel: () => new BareChannel(connection),
      pause: async (milliseconds: number) => {
        await this.#attempts.pause(milliseconds)
        assertOpen(connection)
      },
      failed: (what: string, error: Error, willRetry: boolean) => this.#host.failed(what, error, willRetry),
    }
  }

  #topologyRecovery({ topology, pending }: KeptTopology, connection: Connection): TopologyRecovery {
    return new TopologyRecovery(topology, pending, {
      ...this.#port(connection),
      progressed: () => this.#progressed(),
      renamed: (oldName, newName) => this.#host.renamed(oldName, newName),
      lateQueue: (queueName, error) => {
        if (connection.state === 'open') void this.#consumers?.queueSettled(queueName, error)
      },
    })
  }

  #consumerRecovery(connection: Connection): ConsumerRecovery {
    return new ConsumerRecovery({
      ...this.#port(connection),
      inTurn: this.#consumersInTurn,
      closedConnection: () => {
        this.#consumersInTurn = true
      },
      channels: () => this.#host.channels(),
      begin: channel => this.#begin(channel, connection),
      assertOpen: () => assertOpen(connection),
      isLocked: queueName => this.#topology?.isLocked(queueName) === true,
      isAutoDelete: queueName => this.#host.kept?.topology.queue(queueName)?.definition.autoDelete === true,
      remake: async queueNames => this.#topology?.remake(queueNames),
    })
  }

  #progressed(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const run of waiting) run()
    this.#host.routesChanged()
  }

  /** This server allows fewer channels than the one that was lost. */
  #closeUnfit(channel: RecoveringChannel, server: string, channelMax: number): void {
    const ending = withoutNumber(channel.id, server, channelMax)
    channel.close(ending)
    if (ending.error !== undefined) this.#host.failed(`channel ${channel.id}`, ending.error, false)
  }

  async #begin(channel: RecoveringChannel, connection: Connection): Promise<void> {
    if (channel.isOver) return
    try {
      await channel.begin(connection, connection.channels.take())
    } catch (error) {
      // The program may have closed it meanwhile.
      if (!channel.isOver) throw error
    }
  }

  async #restoreConsumers(
    channel: RecoveringChannel,
    consumers: ConsumerRecovery,
    connection: Connection,
  ): Promise<void> {
    const { recordedConsumers } = channel
    if (recordedConsumers.size === 0) return
    const pending = this.#host.kept?.pending
    while (pending !== undefined && recordedConsumers.queueNames().some(name => !pending.queueIsBack(name))) {
      await new Promise<void>(resolve => this.#waiting.push(resolve))
      assertOpen(connection)
    }
    await consumers.restore(channel)
  }
}

function assertOpen(connection: Connection): void {
  if (connection.state !== 'open') throw new Error('the new connection was lost before all was restored')
}
