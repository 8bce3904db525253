import type { CloseReason } from '../channel/close-reason.ts'
import type { ChannelPort, ChannelReceiver, Deadline } from '../channel/port.ts'
import { takesCancelOk, takesRejectOfStream } from '../channel/rabbitmq.ts'
import type { LogWriter } from '../diagnostics/logger.ts'
import type { Endpoint } from '../diagnostics/server-context.ts'
import { FrameError, ProtocolError } from '../errors.ts'
import { type Cancellation, onAbort } from '../lib/abort-listeners.ts'
import type { Clock } from '../lib/clock.ts'
import { Deadlines } from '../lib/deadlines.ts'
import { type Deferred, deferred } from '../lib/deferred.ts'
import { transition } from '../lib/transition.ts'
import { HEARTBEAT_FRAME, PROTOCOL_HEADER } from '../protocol/constants.ts'
import { ConnectionClose, type DecodedOf } from '../protocol/methods.ts'
import type { PublishEncoder } from '../protocol/publish-encoder.ts'
import { cutText } from '../protocol/text.ts'
import type { Writer } from '../protocol/writer.ts'
import { ChannelTable } from './channel-table.ts'
import { ChannelZero, type ChannelZeroEvents } from './channel-zero.ts'
import { closedByProgram, closedByServer, lost, violated } from './close-reasons.ts'
import { type Negotiated, shakeHands } from './settings/handshake.ts'
import type { ServerSettings } from './settings/server-settings.ts'
import type { Settings } from './settings/settings.ts'
import { EarlyHandler } from './wire/early-handler.ts'
import { FrameReader } from './wire/frame-reader.ts'
import { guardedFactory } from './wire/guarded-transport.ts'
import { Heartbeat, type HeartbeatPort } from './wire/heartbeat.ts'
import { socketReason } from './wire/socket-error.ts'
import { connectSocket, type MakeTransport } from './wire/socket-transport.ts'
import type { Transport, TransportHandler, TransportPeer } from './wire/transport.ts'
import { WriteBatcher, type WriteGate } from './wire/write-batcher.ts'

/** What a connection reports. */
export interface ConnectionEvents {
  report(error: unknown, fallback: 'unhandled' | 'warn'): void
  /** The broker blocks publishers of this connection for this reason; undefined when it no longer does. */
  blocked(connection: Connection, reason: string | undefined): void
  /** A channel number is free again. */
  channelReleased(): void
  /** An open connection is over, and every promise of it has been settled. */
  ended(connection: Connection, ending: CloseReason): void
}

/**
 * Changes of state, all made by `#to`:
 *
 *     opening ──open-ok──▶ open ──close──▶ closing ──close-ok, limit──▶ closed
 *        └───────────────────┴── server's close, socket lost, violation ──▲
 */
type State = 'opening' | 'open' | 'closing' | 'closed'

const NEXT: Record<State, readonly State[]> = {
  opening: ['open', 'closed'],
  open: ['closing', 'closed'],
  closing: ['closed'],
  closed: [],
}

/** Bytes of a frame before the sizes are agreed on. */
const FRAME_MAX_BEFORE_TUNE = 131_072
/** Milliseconds that the socket may take to close after the last bytes. */
const LINGER = 1_000

/** One life of a connection: from the protocol header on one transport until that is closed. */
export class Connection implements ChannelPort, TransportHandler, ChannelZeroEvents, HeartbeatPort, WriteGate {
  readonly maxMessageSize: number
  readonly rpcTimeout: number
  readonly clock: Clock
  readonly server: string
  readonly endpoint: Endpoint
  /** Publishes may be written: the connection is open, not blocked, and less than `maxBuffered` waits. */
  publishable = false
  publishes: PublishEncoder
  negotiated: Negotiated | undefined
  /** Why the broker blocks publishers; undefined while it does not. */
  blockedReason: string | undefined
  unblockedAt = 0
  frameMax = FRAME_MAX_BEFORE_TUNE
  readonly #events: ConnectionEvents
  readonly #transport: Transport
  readonly outgoing: WriteBatcher
  readonly #incoming: FrameReader
  readonly #deadlines: Deadlines
  /** The receivers of the frames, and the channel numbers that are free. */
  readonly channels: ChannelTable
  readonly #zero: ChannelZero
  #heartbeat: Heartbeat | undefined
  #state: State = 'opening'
  #ending: CloseReason | undefined
  #closing: Deferred | undefined

  private constructor(
    transport: Transport,
    settings: Settings,
    { host, port, virtualhost }: ServerSettings,
    events: ConnectionEvents,
    waitingFor: (step: string) => void,
  ) {
    this.#events = events
    this.#transport = transport
    this.maxMessageSize = settings.maxMessageSize
    this.rpcTimeout = settings.rpcTimeout
    this.clock = settings.clock
    this.#deadlines = new Deadlines(settings.clock)
    this.server = `${host}:${port}`
    const { connectionId, connectionName } = settings
    this.endpoint = { connectionId, serverAddress: host, serverPort: port, virtualHost: virtualhost, connectionName }
    this.#zero = new ChannelZero(this, this, waitingFor)
    this.channels = new ChannelTable(this.#zero, this.server)
    const { maxBuffered } = settings
    this.outgoing = new WriteBatcher(transport, this.clock, maxBuffered, this)
    this.#incoming = new FrameReader(transport, this.channels, this.clock, maxBuffered, FRAME_MAX_BEFORE_TUNE)
    this.publishes = this.outgoing.encoder(FRAME_MAX_BEFORE_TUNE)
  }

  /**
   * Connect to one server, and open the connection. `step` is called with the name of each awaited step.
   *
   * @throws the reason of the failure; nothing is left open.
   */
  static async open(
    server: ServerSettings,
    settings: Settings,
    events: ConnectionEvents,
    signal: Cancellation,
    step: (step: string) => void,
  ): Promise<Connection> {
    const handler = new EarlyHandler<Connection>()
    const maker = transportMaker(settings)
    const makeTransport = settings.frameLog === undefined ? maker : await traced(maker, settings.frameLog)
    const end = (why: string): void => {
      const { owner: connection } = handler
      if (connection !== undefined) connection.#end(lost(connection.server, 'socket', why))
    }
    const giveUp = (): void => end('the attempt was given up')
    // Before that of the transport, which then shares its listener: to add one and take it away costs Node some 10 µs.
    const aborted = signal.aborted ? undefined : onAbort(signal, giveUp)
    try {
      const transport = await makeTransport(server, handler, signal, step)
      // First of all: the server makes its answer while the rest is made here.
      transport.write([PROTOCOL_HEADER])
      const connection = new Connection(transport, settings, server, events, step)
      handler.begin(connection)
      if (signal.aborted) giveUp()
      await connection.#open(settings, server)
      return connection
    } catch (error) {
      end('the handshake failed')
      throw error
    } finally {
      aborted?.cancel()
    }
  }

  async #open(settings: Settings, server: ServerSettings): Promise<void> {
    await shakeHands(this.#zero, settings, server)
    // The broker may have closed, or blocked, in the bytes after its open-ok.
    this.#throwEnded()
    this.#to('open')
    this.gateChanged()
    this.#zero.opened()
    // What came with open-ok counts as read only now.
    this.#incoming.readEnds()
    this.#throwEnded()
  }

  #throwEnded(): void {
    if (this.#ending !== undefined) throw this.#ending.error ?? this.#ending.errorFor('connect', false)
  }

  #to(state: State): void {
    this.#state = transition('a connection', NEXT, this.#state, state)
  }

  get state(): State {
    return this.#state
  }

  /** Why it is over; undefined while it is not. */
  get ending(): CloseReason | undefined {
    return this.#ending
  }

  get peer(): TransportPeer {
    return this.#transport.peer
  }

  get writer(): Writer {
    return this.outgoing.writer
  }

  get takesRejectOfStream(): boolean {
    return takesRejectOfStream(this.negotiated?.serverProperties ?? {})
  }

  /** Encoded bytes that have not left. */
  get bufferedBytes(): number {
    return this.outgoing.buffered
  }

  /** Bytes of deliveries that wait for callbacks. */
  get receivedBytesWaiting(): number {
    return this.#incoming.throttle.waiting
  }

  get takesCancelOk(): boolean {
    return takesCancelOk(this.negotiated?.serverProperties ?? {})
  }

  get isBlocked(): boolean {
    return this.blockedReason !== undefined
  }

  // ---- what channel 0 reports

  tuned(negotiated: Negotiated): void {
    this.negotiated = negotiated
    this.frameMax = negotiated.frameMax
    this.#incoming.frameMax = negotiated.frameMax
    this.publishes = this.outgoing.encoder(negotiated.frameMax)
    this.channels.channelMax = negotiated.channelMax
    if (negotiated.heartbeat > 0) {
      this.#heartbeat = new Heartbeat(negotiated.heartbeat, this.clock, this)
    }
  }

  blocked(reason: string | undefined): void {
    // Publishes wait for connection.unblocked: it must be read.
    if (!this.isBlocked && reason !== undefined) this.operationStarted()
    if (this.isBlocked && reason === undefined) this.operationEnded()
    if (this.isBlocked) this.unblockedAt = this.clock.now()
    this.blockedReason = reason
    this.gateChanged()
    this.#zero.blockedChanged()
    for (const channel of this.channels.channels()) channel.blockedChanged()
    this.afterRead(() => {
      // A block that ended in the same read does not count.
      if (this.#state !== 'closed') this.#events.blocked(this, reason)
    })
  }

  serverClosed({ replyCode, replyText, classId, methodId }: DecodedOf<typeof ConnectionClose>): void {
    // Both sides closed at once: the program got what it asked for.
    if (this.#state === 'closing') this.#end(closedByProgram(this.server))
    else this.#end(closedByServer(this.server, replyCode, replyText, classId, methodId))
  }

  closeAgreed(): void {
    if (this.#state !== 'closing') throw new ProtocolError('connection.close-ok came when it was not due')
    this.#end(closedByProgram(this.server), true)
  }

  // ---- heartbeats

  get lastWrite(): number {
    return this.outgoing.lastWrite
  }

  get lastRead(): number {
    return this.#incoming.lastRead
  }

  readOnce(): void {
    this.#incoming.throttle.readOnce()
  }

  beat(): void {
    const { writer } = this
    writer.begin()
    writer.reserve(HEARTBEAT_FRAME.length)
    writer.bytes(HEARTBEAT_FRAME)
    this.outgoing.flush()
  }

  dead(interval: number): void {
    const silence = `nothing came for ${2 * interval} s, two heartbeat intervals`
    this.#end(lost(this.server, 'heartbeat', silence))
  }

  // ---- the channels' side

  attach(session: ChannelReceiver): void {
    this.channels.attach(session)
  }

  release(channelId: number, mayFollow: boolean): void {
    this.channels.release(channelId, mayFollow)
    this.#events.channelReleased()
  }

  operationStarted(): void {
    this.#incoming.throttle.operationStarted()
  }

  operationEnded(): void {
    this.#incoming.throttle.operationEnded()
  }

  buffered(bytes: number): void {
    this.#incoming.throttle.buffered(bytes)
  }

  afterRead(run: () => void): void {
    this.#incoming.afterRead(run)
  }

  after(milliseconds: number, expired: () => void): Deadline {
    return this.#deadlines.after(milliseconds, expired)
  }

  report(error: unknown, fallback: 'unhandled' | 'warn'): void {
    this.#events.report(error, fallback)
  }

  gateChanged(): void {
    const publishable = this.#state === 'open' && !this.isBlocked && !this.outgoing.full
    this.publishable = publishable
    if (publishable) for (const channel of this.channels.channels()) channel.resume()
  }

  // ---- the transport's side

  onBytes(buffer: Buffer, length: number): void {
    if (this.#state === 'closed') return
    this.outgoing.readStarts()
    try {
      this.#incoming.read(buffer, length)
    } catch (error) {
      this.#violated(error)
    }
    this.#incoming.readEnds()
    this.outgoing.readEnds()
  }

  onDrain(): void {
    this.outgoing.onDrain()
  }

  onEnd(): void {
    const { encrypted } = this.peer
    const why = this.#incoming.isSilent ? this.#incoming.explain(encrypted) : undefined
    this.#end(lost(this.server, 'end', why ?? 'the server ended the stream'))
  }

  onClose(error: Error | undefined): void {
    // An error is expensive to make, and most connections have ended in order by now.
    if (this.#state !== 'closed') {
      this.#end(
        error === undefined
          ? lost(this.server, 'end', 'the stream ended')
          : lost(this.server, 'socket', socketReason(error), error),
      )
    }
    this.#deadlines.clear()
  }

  /** The server broke the protocol: send it the reply code (§4.10), and give the connection up. */
  #violated(thrown: unknown): void {
    if (this.#state === 'closed') return
    if (!(thrown instanceof FrameError || thrown instanceof ProtocolError)) throw thrown
    const why = this.#state === 'opening' ? this.#incoming.explain(this.peer.encrypted) : undefined
    const error = why === undefined ? thrown : new FrameError(why, { cause: thrown })
    if (this.#state === 'open') {
      const replyText = cutText(error.message)
      this.#zero.send(ConnectionClose, { replyCode: error.replyCode, replyText, classId: 0, methodId: 0 })
    }
    this.#end(violated(this.server, error))
  }

  // ---- the end

  /**
   * Close the connection (connection.close). Resolves when the server has agreed, or after `timeout` milliseconds; it
   * never rejects.
   */
  close(replyCode: number, replyText: string, timeout: number): Promise<void> {
    if (this.#state === 'closed') return Promise.resolve()
    if (this.#closing !== undefined) return this.#closing.promise
    this.#closing = deferred()
    this.#to('closing')
    this.publishable = false
    this.operationStarted()
    this.#zero.send(ConnectionClose, { replyCode, replyText, classId: 0, methodId: 0 })
    for (const channel of this.channels.channels()) channel.connectionClosing()
    this.after(timeout, () => {
      this.#end(closedByProgram(this.server))
      this.#transport.destroy()
    })
    return this.#closing.promise
  }

  /** Give an open connection up at once: it cannot be used. */
  abandon(why: string): void {
    if (this.#state === 'open') {
      this.#zero.send(ConnectionClose, { replyCode: 200, replyText: why, classId: 0, methodId: 0 })
    }
    this.#end(lost(this.server, 'socket', why))
  }

  /** Give the server a new secret before the old one expires (connection.update-secret). */
  updateSecret(secret: string, reason: string): Promise<void> {
    if (this.#ending !== undefined) return Promise.reject(this.#ending.errorFor('connection.update-secret', false))
    return this.#zero.updateSecret(secret, reason)
  }

  /** The one place where a connection ends; `agreed` if the server sends nothing more. */
  #end(reason: CloseReason, agreed = false): void {
    if (this.#state === 'closed') return
    const wasOpen = this.#state !== 'opening'
    // After a connection.close of the program's, however it ends is the end that was asked for.
    const ending = this.#state === 'closing' ? closedByProgram(this.server) : reason
    this.#to('closed')
    this.#ending = ending
    this.publishable = false
    this.#heartbeat?.stop()
    this.#incoming.throttle.end()
    this.#deadlines.clear()
    this.outgoing.flush()
    this.#transport.end(agreed)
    this.#deadlines.after(LINGER, () => this.#transport.destroy())
    this.#zero.fail(ending)
    this.channels.end(ending)
    this.outgoing.fail(ending)
    this.#closing?.resolve()
    this.blockedReason = undefined
    if (wasOpen) this.#events.ended(this, ending)
  }
}

/** How the program wants to reach a server. */
function transportMaker({ createTransport }: Settings): MakeTransport {
  if (createTransport === undefined) return connectSocket
  const factory = guardedFactory(createTransport)
  return (target, handler, { signal }, onStep) => factory(target, handler, signal, onStep)
}

/** Only programs that want a trace load its code. */
async function traced(makeTransport: MakeTransport, log: LogWriter): Promise<MakeTransport> {
  return (await import('./wire/tracing-transport.ts')).tracing(makeTransport, log)
}
