import type { Channel } from '../channel/channel.ts'
import type { CloseReason } from '../channel/close-reason.ts'
import { LeavingSinks } from '../channel/consume/leaving-sinks.ts'
import { FinalEnd } from '../channel/final-end.ts'
import type { Deadline } from '../channel/port.ts'
import { PLAIN_ROUTES, type PublishRoutes } from '../channel/publish-routes.ts'
import type { RecoveringChannel } from '../channel/recovering-channel.ts'
import type { TopologyRecorder } from '../channel/topology-recorder.ts'
import type { LifecycleEventName, LifecycleEvents } from '../diagnostics/lifecycle-events.ts'
import type { Endpoint } from '../diagnostics/server-context.ts'
import type { ConnectionStats } from '../diagnostics/stats.ts'
import { abortedBy } from '../errors.ts'
import type { Clock, TimerOptions } from '../lib/clock.ts'
import { Deadlines } from '../lib/deadlines.ts'
import { asError } from '../lib/thrown.ts'
import { transition } from '../lib/transition.ts'
import { describeWait, type WaitBounds, WaitList } from '../lib/wait-list.ts'
import type { PublishEncoder } from '../protocol/publish-encoder.ts'
import type { FieldTable } from '../protocol/values.ts'
import { ChannelOpener, type OpenerHost, type OpeningChannel } from './channel-opener.ts'
import type { ChannelSource, Closable, SourcedChannelOptions } from './channel-source.ts'
import { closedByProgram, gaveUp, neverOpened } from './close-reasons.ts'
import type { Connection, ConnectionEvents } from './connection.ts'
import { ConnectionReporter } from './connection-reporter.ts'
import type { ConnectionState } from './connection-state.ts'
import { connectionStats } from './connection-stats.ts'
import { FirstConnection } from './first-connection.ts'
import { GracefulClose, type GracefulHost } from './graceful-close.ts'
import { Logins } from './logins.ts'
import { NotConnected } from './not-connected.ts'
import type { EmitEvent } from './protocol-events.ts'
import { Flapping } from './recovery/flapping.ts'
import { asksToGiveUp } from './recovery/give-up.ts'
import { PendingTopology } from './recovery/pending-topology.ts'
import { type KeptTopology, Recovery } from './recovery/recovery.ts'
import { Topology } from './recovery/topology.ts'
import type { Settings } from './settings/settings.ts'
import type { TransportPeer } from './wire/transport.ts'

/**
 * Changes of state, all made by `#to`:
 *
 *     connecting ──▶ open ──close()──────────▶ closing ──▶ closed
 *                    │  ▲                         ▲          ▲
 *        connection lost └──all restored── recovering ──given up
 *
 * Also while it is connecting, `close()` and giving up end it.
 */
const NEXT: Record<ConnectionState, readonly ConnectionState[]> = {
  connecting: ['open', 'closing', 'closed'],
  open: ['recovering', 'closing', 'closed'],
  recovering: ['open', 'closing', 'closed'],
  closing: ['closed'],
  closed: [],
}

/** Milliseconds for the server to agree to the end of a connection that went with another. */
const CLOSE_TIME = 1_000

const NO_HEARTBEAT =
  'heartbeat is 0: a connection that falls silent is not noticed, and what waits for the broker without a timeout may wait for ever; leave heartbeat out, or set publishTimeout'

/** The long life that a program sees: the connection it has at the moment, and the channels that go with it. */
export class RecoveringConnection implements ConnectionEvents, OpenerHost, GracefulHost, ChannelSource {
  readonly keepsTopology: boolean
  /** The connection that has the topology, if this one is for publishes alone. */
  readonly #main: RecoveringConnection | undefined
  #kept: KeptTopology | undefined
  /** Of the other connection's topology. */
  #recorder: TopologyRecorder | undefined
  publishing: RecoveringConnection = this
  readonly maxMessageSize: number
  readonly maxWaiting: number
  readonly publishTimeout: number | undefined
  readonly slowHandlerThreshold: number
  readonly clock: Clock
  readonly #settings: Settings
  readonly #channels = new Set<RecoveringChannel>()
  readonly leaving = new LeavingSinks()
  /** They keep the process alive: the program waits for something. */
  #deadlines: Deadlines | undefined
  /** Those that the process does not stay alive for. They are few and long: nothing wakes it up before their time. */
  #upkeep: Deadlines | undefined
  readonly #opener = new ChannelOpener(this)
  /** Calls that wait for a connection, beside those that open a channel. */
  #waiting: WaitList | undefined
  #first: FirstConnection | undefined
  #recovery: Recovery | undefined
  readonly #flapping = new Flapping()
  #parts: Set<Closable> | undefined
  #endedListeners: Set<(ending: CloseReason) => void> | undefined
  #state: ConnectionState = 'connecting'
  #connection: Connection | undefined
  /** While there is no connection. */
  #notConnected: NotConnected | undefined
  readonly #logins: Logins
  readonly #reporter: ConnectionReporter
  /** Of channels that are closed. */
  readonly #past = { published: 0, delivered: 0 }
  readonly #final = new FinalEnd()
  #closing: Promise<void> | undefined
  #graceful: GracefulClose | undefined

  /** If `main` is given, this connection is for publishes alone: `main` is that of everything else, which has the topology. */
  constructor(settings: Settings, emit: EmitEvent, main?: RecoveringConnection) {
    this.#settings = settings
    this.#main = main
    if (main !== undefined) main.publishing = this
    this.maxMessageSize = settings.maxMessageSize
    this.maxWaiting = settings.maxWaiting
    this.publishTimeout = settings.publishTimeout
    this.slowHandlerThreshold = settings.slowHandlerThreshold
    this.clock = settings.clock
    this.#reporter = new ConnectionReporter(this, settings, emit, main === undefined ? 'main' : 'publisher')
    this.#logins = new Logins(settings, this, main)
    this.keepsTopology = main === undefined
  }

  /** What its recovery makes again; undefined if that is nothing. Made when the first entity is named, or for a recovery. */
  get kept(): KeptTopology | undefined {
    if (this.#kept === undefined && this.keepsTopology && this.#settings.recovery?.topology === true) {
      const topology = new Topology(this.clock, text => this.#reporter.warn(text))
      this.#kept = { topology, pending: new PendingTopology(topology) }
    }
    return this.#kept
  }

  get topology(): TopologyRecorder | undefined {
    if (this.#main === undefined) return this.kept?.topology
    this.#recorder ??= this.#main.kept?.topology.otherRecorder()
    return this.#recorder
  }

  get routes(): PublishRoutes {
    return this.#main?.routes ?? this.kept?.pending ?? PLAIN_ROUTES
  }

  /** Parts of the intent level, which `close()` ends before the connection. */
  get parts(): Iterable<Closable> {
    return this.#parts ?? []
  }

  /**
   * Open the first connection, in at most `attempts` attempts. If it fails, the error is for the caller if that
   * `isAwaiting` it; else this never rejects, and the end is reported as that of an open connection.
   */
  async open(attempts: number, isAwaiting: boolean): Promise<void> {
    const first = new FirstConnection(
      {
        dial: (signal, attempt) => this.#logins.connect(signal, attempt),
        trying: (attempt, delay, error) => this.#reporter.connecting(attempt, delay, error),
        givesUpOn: error => this.#givesUpOn(error),
      },
      this.#settings,
      attempts,
    )
    this.#first = first
    if (this.#settings.heartbeat === 0) this.#reporter.warn(NO_HEARTBEAT)
    // The caller can listen to the first event.
    await undefined
    try {
      await first.run(connection => this.#connected(connection, first.wasLate))
    } catch (thrown) {
      const ending = neverOpened(asError(thrown))
      if (isAwaiting) ending.takenCareOf()
      if (this.ending === undefined) this.#end(ending)
      if (isAwaiting) throw thrown
    } finally {
      // A close would cancel it, and the reason of an aborted signal is an error with a stack.
      this.#first = undefined
    }
  }

  /** There is a first connection; `wasLate` if its server may have only just started. */
  #connected(connection: Connection, wasLate: boolean): void {
    this.#connection = connection
    this.#notConnected = undefined
    this.#to('open')
    if (wasLate) this.#flapping.recoveredAt = this.clock.now()
    if (connection.ending === undefined) this.#goOn()
    this.#reporter.opened(connection)
    this.#blockedUnseen(connection)
    this.#endedUnseen(connection)
  }

  /** Calls that waited for a connection go on. */
  #goOn(): void {
    this.#opener.connected()
    this.#waiting?.wakeAll()
  }

  #to(state: ConnectionState): void {
    this.#state = transition('a connection', NEXT, this.#state, state)
  }

  get state(): ConnectionState {
    return this.#state
  }

  /** The present connection, or the last one; undefined before the first. */
  get connection(): Connection | undefined {
    return this.#connection
  }

  /** What errors and figures are about: the connection there is, or was last. */
  get #known(): Connection | NotConnected {
    if (this.#connection !== undefined) return this.#connection
    this.#notConnected ??= new NotConnected(this.#settings)
    return this.#notConnected
  }

  get endpoint(): Endpoint {
    return this.#known.endpoint
  }

  get peer(): TransportPeer {
    return this.#known.peer
  }

  /** Of the last connection: the next one will hardly negotiate smaller frames. */
  get publishes(): Pick<PublishEncoder, 'check'> {
    return this.#known.publishes
  }

  /** Why the broker blocks publishers; undefined while it does not, and when all is over. */
  get blockedReason(): string | undefined {
    return this.#state === 'closed' ? undefined : this.#connection?.blockedReason
  }

  get goal(): string {
    return this.#state === 'connecting' ? 'the first connection' : 'the connection to be recovered'
  }

  get publishGoal(): string {
    if (this.#isConnecting) return this.goal
    const { blockedReason } = this
    if (blockedReason === undefined) return 'its turn to be written'
    return `connection.unblocked: the broker blocks publishers${blockedReason === '' ? '' : ` (${blockedReason})`}`
  }

  // ---- channels

  /** Waits for a channel number only if a part will give one up. */
  openChannel(options: SourcedChannelOptions): OpeningChannel | Promise<OpeningChannel> {
    return this.#opener.open(options, false)
  }

  async openingChannel(options: SourcedChannelOptions = {}): Promise<Channel> {
    // The program learns from its own methods why it could not be opened.
    return (await this.#opener.open(options, true)).channel
  }

  tryOpenChannel(options: SourcedChannelOptions = {}): Channel | undefined {
    return this.#opener.tryOpen(options)?.channel
  }

  get serverProperties(): Readonly<FieldTable> {
    return this.#connection?.negotiated?.serverProperties ?? {}
  }

  get channelWanted(): boolean {
    return this.#opener.wanted
  }

  /** The connection that channels may be opened on; undefined while there is none. */
  get usable(): Connection | undefined {
    const connection = this.#connection
    const stands = this.#state === 'open' || this.#state === 'closing' || this.#state === 'recovering'
    if (!stands || connection?.state !== 'open') return undefined
    // The recovery needs a number for itself, and one for each channel: the broker may have closed some over their consumers.
    const { channelMax = 0 } = connection.negotiated ?? {}
    const isTight = channelMax > 0 && Math.max(connection.channels.inUse, this.#channels.size) >= channelMax - 1
    return this.#state === 'recovering' && isTight ? undefined : connection
  }

  begun(channel: RecoveringChannel): void {
    channel.reopened()
    if (this.#state !== 'recovering' || this.#recovery?.topologyIsBack === true) channel.resumed()
  }

  get openChannels(): Iterable<RecoveringChannel> {
    return this.#channels
  }

  remember(channel: RecoveringChannel): void {
    this.#channels.add(channel)
  }

  giveUpChannel(): boolean {
    for (const part of this.parts) if (part.giveUpChannel?.() === true) return true
    return false
  }

  /** More of what publishes need is back. */
  routesChanged(): void {
    for (const channel of this.#channels) channel.routesChanged()
    if (this.publishing !== this) this.publishing.routesChanged()
  }

  channelReleased(): void {
    this.#opener.numberFreed()
  }

  get recoveredAt(): number {
    return this.#flapping.recoveredAt
  }

  get ending(): CloseReason | undefined {
    return this.#final.reason
  }

  register(part: Closable): void {
    this.#parts ??= new Set()
    this.#parts.add(part)
    if (part.bringsWork === true) this.#graceful?.join(part)
  }

  unregister(part: Closable): void {
    this.#parts?.delete(part)
  }

  onEnded(run: (ending: CloseReason) => void): () => void {
    this.#endedListeners ??= new Set()
    this.#endedListeners.add(run)
    return () => this.#endedListeners?.delete(run)
  }

  forget(channel: RecoveringChannel): void {
    this.#channels.delete(channel)
    this.#past.published += channel.published
    this.#past.delivered += channel.delivered
  }

  after(milliseconds: number, expired: () => void, { keepsProcessAlive = true }: TimerOptions = {}): Deadline {
    if (!keepsProcessAlive) {
      this.#upkeep ??= new Deadlines(this.clock, { longestLeft: Number.POSITIVE_INFINITY })
      return this.#upkeep.after(milliseconds, expired)
    }
    this.#deadlines ??= new Deadlines(this.clock, { keepsProcessAlive })
    return this.#deadlines.after(milliseconds, expired)
  }

  globalQosSet(): void {
    this.#reporter.globalQosSet(this.serverProperties, this.#known.server)
  }

  recovers(ending: CloseReason): boolean {
    const { recovery } = this.#settings
    return (
      recovery !== undefined && ending.error !== undefined && (this.#state === 'open' || this.#state === 'recovering')
    )
  }

  // ---- what the connection reports

  report(thrown: unknown, fallback: 'unhandled' | 'warn', what?: string): void {
    this.#reporter.report(thrown, fallback, what)
  }

  blocked(connection: Connection, reason: string | undefined): void {
    // Another one is not the program's yet, or never will be; and the end was reported already.
    if (connection !== this.#connection || this.#state === 'closed') return
    if (reason === undefined) this.#reporter.unblocked(false)
    else this.#reporter.blocked(reason)
  }

  /** The broker may block a connection that is not yet the one there is. */
  #blockedUnseen(connection: Connection): void {
    if (connection.blockedReason !== undefined) this.blocked(connection, connection.blockedReason)
  }

  /** A connection may have ended when it was not yet the one there is. */
  #endedUnseen(connection: Connection): boolean {
    const { ending } = connection
    if (ending !== undefined) this.ended(connection, ending)
    return ending !== undefined
  }

  ended(connection: Connection, ending: CloseReason): void {
    // One that was slower than another in a race, or came too late.
    if (connection !== this.#connection) return
    // One that ends while it is being restored ends that attempt, and no more.
    if (this.#state === 'closed' || this.#state === 'recovering') {
      this.#kept?.pending.lost()
      // Nothing is under way any more.
      if (this.#state === 'closed') this.#deadlines?.clear()
      this.#reporter.unblocked(true)
      return
    }
    // The program has asked for the end, and has it.
    const reason = this.#state === 'closing' ? closedByProgram(connection.server) : ending
    const openMs = reason.error === undefined ? 0 : this.#reporter.times.lost()
    const emit = (): void => {
      if (reason.error !== undefined) this.#reporter.lost(reason.error, openMs, this.#state === 'recovering')
      this.#reporter.unblocked(true)
    }
    if (!this.recovers(reason)) {
      this.#end(reason, emit)
      return
    }
    this.#to('recovering')
    this.kept?.topology.connectionLost()
    // Also for publishes by the other connection, from now on.
    this.kept?.pending.lost()
    emit()
    // A listener may have closed it.
    if (this.state === 'recovering') void this.#recover(reason)
  }

  async #recover(ending: CloseReason): Promise<void> {
    const { recovery: settings } = this.#settings
    if (settings === undefined) return
    this.#recovery?.cancel()
    const recovery = new Recovery(
      {
        kept: this.kept,
        channels: () => [...this.#channels],
        routesChanged: () => this.routesChanged(),
        dial: (signal, attempt) => this.#logins.connect(signal, attempt),
        connected: connection => {
          this.#connection = connection
          this.#opener.connected()
          this.#blockedUnseen(connection)
        },
        trying: (attempt, delay, error) => this.#reporter.recovering(attempt, delay, error),
        attemptFailed: (attempt, error, nextDelay) => this.#reporter.attemptFailed(attempt, error, nextDelay),
        givesUpOn: error => this.#givesUpOn(error),
        failed: (what, error, willRetry) => this.#reporter.failed(what, error, willRetry),
        renamed: (oldName, newName) => this.#reporter.renamed(oldName, newName),
      },
      settings,
      this.clock,
      this.#flapping.lost(this.clock.now()),
    )
    this.#recovery = recovery
    try {
      await recovery.run()
    } catch (error) {
      if (this.ending !== undefined) return
      const failure = asError(error)
      const reason = gaveUp(this.#known.server, ending, failure)
      this.#end(reason, () => this.#reporter.gaveUp(failure, recovery.attempts))
      return
    }
    // The program may have closed it in the very last moment.
    if (this.ending !== undefined) return
    this.#flapping.recoveredAt = this.clock.now()
    const durationMs = this.#reporter.times.recovered()
    this.#to('open')
    if (this.#connection !== undefined && this.#endedUnseen(this.#connection)) return
    this.#goOn()
    void recovery.runLate()
    this.#reporter.recovered(recovery.attempts, durationMs, recovery.counts)
  }

  #givesUpOn(error: Error): Promise<boolean> {
    const { recovery, connectTimeout } = this.#settings
    return asksToGiveUp(this, connectTimeout, () => recovery?.giveUpOn(error))
  }

  // ---- what becomes known of it

  occurred<N extends LifecycleEventName>(name: N, details: LifecycleEvents[N], emit?: () => void): void {
    this.#reporter.occurred(name, details, emit)
  }

  stats(): ConnectionStats {
    return connectionStats(this, this.#reporter.times, this.#past)
  }

  // ---- the end

  /**
   * Close gracefully, within `timeout` milliseconds: consumers are stopped, handlers that run end, publishes are
   * confirmed, then the connection is closed. Never rejects. A second call returns the same promise.
   */
  close(replyCode: number, replyText: string, timeout: number): Promise<void> {
    this.#closing ??= this.#close(replyCode, replyText, timeout)
    return this.#closing
  }

  async #close(replyCode: number, replyText: string, timeout: number): Promise<void> {
    if (this.#state === 'closed') {
      this.leaving.discard()
      return
    }
    const wasOpen = this.#state === 'open'
    this.#to('closing')
    this.#first?.cancel()
    this.#recovery?.cancel()
    if (!wasOpen) {
      this.#end(closedByProgram(this.#known.server))
      // It may be called by a getter of a message that a recovery sends: nothing can be written in there.
      await undefined
      await this.#connection?.close(replyCode, replyText, timeout)
      return
    }
    const closing = new GracefulClose(this, timeout)
    this.#graceful = closing
    // Calls of the same tick go before the close.
    await undefined
    await closing.finishWork()
    await this.#connection?.close(replyCode, replyText, closing.timeLeft)
    if (this.ending === undefined) this.#end(closedByProgram(this.#known.server))
  }

  /** The other connection of its protocol is over for good. */
  endWith(ending: CloseReason): void {
    if (this.#state === 'closed') return
    this.#first?.cancel()
    this.#recovery?.cancel()
    this.#end(ending)
    void this.#connection?.close(200, 'the other connection has ended', CLOSE_TIME)
  }

  /** `emit` is called when everything has ended, before the event `closed`. */
  #end(ending: CloseReason, emit: () => void = () => {}): void {
    this.#to('closed')
    this.#final.reason = ending
    this.#upkeep?.clear()
    // What is under way on a connection that is still being closed keeps its time.
    if (this.#connection === undefined || this.#connection.state === 'closed') this.#deadlines?.clear()
    for (const channel of [...this.#channels]) channel.close(ending)
    this.#channels.clear()
    if (ending.error === undefined) this.leaving.discard()
    this.#opener.failAll(ending)
    this.#waiting?.failAll(bounds => ending.errorFor(describeWait(bounds), false))
    const listeners = this.#endedListeners ?? []
    this.#endedListeners = undefined
    for (const run of listeners) run(ending)
    const unheard = this.#final.settle()
    if (unheard !== undefined) this.#reporter.reportEnd(unheard)
    emit()
    this.#reporter.unblocked(true)
    this.#reporter.closed(ending.error)
  }

  /** Resolves when the program closed the connection; rejects with the reason if it was not asked for. */
  waitClosed(): Promise<void> {
    return this.#final.wait()
  }

  /** Give the server a new secret; later logins use it. */
  async updateSecret(secret: string, reason: string): Promise<void> {
    // At once: otherwise a login that is tried meanwhile, or after a lost reply, may fail because the old secret has expired.
    this.#logins.push(secret)
    const what = 'connection.update-secret'
    while (this.#isConnecting) await this.#wait({ what })
    if (this.ending !== undefined) throw this.ending.errorFor(what, false)
    await this.#connection?.updateSecret(secret, reason)
  }

  get #isConnecting(): boolean {
    return this.#state === 'connecting' || this.#state === 'recovering'
  }

  /** Wait for the next connection. */
  #wait(bounds: WaitBounds): Promise<void> {
    this.#waiting ??= new WaitList(this, () => this.goal)
    return this.#waiting.wait(bounds)
  }

  /** Resolves when the connection is open; rejects with the reason if it is closed. */
  async ready(bounds: WaitBounds): Promise<void> {
    if (this.#isConnecting) return this.#wait(bounds)
    const what = describeWait(bounds)
    if (bounds.signal?.aborted) throw abortedBy(bounds.signal, what)
    if (this.#state !== 'open') throw (this.ending ?? closedByProgram(this.#known.server)).errorFor(what, false)
  }
}
