import type { Timer } from '../lib/clock.ts'
import { ReplyCode } from '../protocol/constants.ts'
import * as methods from '../protocol/methods.ts'
import type { FieldTable } from '../protocol/values.ts'
import { Channel, type ChannelOwner } from './channel.ts'
import type { ConfirmFate, ReplyReceiver } from './channel-host.ts'
import type { Published } from './channel-publishing.ts'
import type { ClientPort, ConnectionHost } from './connection-host.ts'
import { FrameInput } from './frame-input.ts'
import { FrameOutput } from './frame-output.ts'
import { type Agreed, hasCapability, type Limits, ServerHandshake, SilentRefusal } from './handshake.ts'
import { Heartbeats } from './heartbeats.ts'
import { Intake } from './intake.ts'
import type { Message } from './message.ts'
import { answerTo, HEADER_SIZE } from './protocol-header.ts'
import { type AtFault, Breakdown, channelError, notAllowed, Refusal } from './refusals.ts'
import type { Release } from './release.ts'
import type { User } from './users.ts'
import type { VirtualHost } from './virtual-host.ts'

/**
 *     greeting ──header──▶ handshake ──open──▶ running ──refused, or closed by a test──▶ closing ──close-ok──▶ closed
 *                              │                  └──────────────connection.close──────────────────────────────▲
 *                              └──refused──▶ closing, or silent: closed after a while
 */
type State = 'greeting' | 'handshake' | 'running' | 'closing' | 'silent' | 'closed'

/** Milliseconds from the first byte to connection.open-ok. */
const HANDSHAKE_TIMEOUT = 10_000
const REFUSED_LOGIN_DELAY = 3_000
const CLOSE_TIMEOUT = 30_000

/** One connection of a client, from its first byte on. */
export class ClientConnection implements ChannelOwner {
  readonly peer: string
  readonly #host: ConnectionHost
  readonly #port: ClientPort
  readonly #intake: Intake
  readonly #input: FrameInput
  readonly #output: FrameOutput
  readonly #heartbeats: Heartbeats
  readonly #channels = new Map<number, Channel>()
  #state: State = 'greeting'
  #header: Buffer = Buffer.alloc(0)
  #handshake: ServerHandshake | undefined
  #agreed: Agreed | undefined
  /** Cuts the connection if the client does not go on in time. */
  #deadline: Timer | undefined

  constructor(host: ConnectionHost, port: ClientPort) {
    this.#host = host
    this.#port = port
    this.peer = port.peer
    this.#output = new FrameOutput(port)
    this.#intake = new Intake(port)
    this.#input = new FrameInput(
      {
        method: (channel, method, args) => this.#intake.do(() => this.#method(channel, method, args)),
        published: (channel, published) => this.#intake.do(() => this.#published(channel, published)),
      },
      host.release,
    )
    this.#heartbeats = new Heartbeats(host.clock, {
      beat: () => {
        if (this.#intake.isFrozen) return
        this.#output.heartbeat()
        host.written(this)
        host.run()
      },
      silent: () => {
        if (!this.#intake.isBlocked && !this.#intake.isFrozen) this.reset()
      },
    })
    this.#cutAfter(HANDSHAKE_TIMEOUT)
  }

  // ---- as its channels see it

  get release(): Release {
    return this.#host.release
  }
  get user(): User {
    return this.#open.user
  }
  get vhost(): VirtualHost {
    return this.#open.vhost
  }
  get capabilities(): { readonly cancelNotify: boolean } {
    return { cancelNotify: hasCapability(this.clientProperties, 'consumer_cancel_notify') }
  }
  get replies(): Map<string, ReplyReceiver> {
    return this.#host.replies
  }

  post(turn: () => void): void {
    this.#host.post(turn)
  }

  send<M extends methods.AnyMethod>(channel: number, method: M, args: methods.ArgumentsOf<M>): void {
    this.#output.method(channel, method, args)
    this.#host.written(this)
  }

  sendContent<M extends methods.AnyMethod>(
    channel: number,
    method: M,
    args: methods.ArgumentsOf<M>,
    message: Message,
  ): void {
    this.#output.content(channel, method, args, message)
    this.#host.written(this)
  }

  afterWriting(turn: () => void): void {
    this.#output.afterWriting(turn)
    this.#host.written(this)
  }

  uniqueName(prefix: string): string {
    return this.#host.uniqueName(prefix)
  }

  confirmFate(message: Message): ConfirmFate {
    return this.#host.confirmFate(message)
  }

  withhold(message: Message, confirm: () => void): void {
    this.#host.withhold(message, confirm)
  }

  published(message: Message): void {
    this.#host.published(message, this)
  }

  channelClosed(channel: Channel): void {
    if (this.#channels.get(channel.number) === channel) this.#channels.delete(channel.number)
  }

  // ---- what a test looks at

  get isOpen(): boolean {
    return this.#state === 'running'
  }
  get isBlocked(): boolean {
    return this.#intake.isBlocked
  }
  get clientProperties(): FieldTable {
    return this.#handshake?.clientProperties ?? {}
  }
  get limits(): Limits {
    return this.#agreed ?? this.#host.limits
  }
  get channels(): readonly Channel[] {
    return [...this.#channels.values()]
  }

  /** What the client calls itself, or where it comes from. */
  get name(): string {
    const { connection_name: name } = this.clientProperties
    return typeof name === 'string' ? name : this.peer
  }

  // ---- what happens to it

  /** The channels of connections that end together, and their exclusive queues. */
  static endChannels(connections: readonly ClientConnection[]): void {
    Channel.end(
      connections.flatMap(connection => connection.channels),
      'closed',
    )
    for (const connection of connections) {
      connection.#channels.clear()
      const vhost = connection.#agreed?.vhost
      for (const queue of [...(vhost?.queues.values() ?? [])]) if (queue.owner === connection) vhost?.deleteQueue(queue)
    }
  }

  /** Bytes have come. */
  receive(bytes: Buffer): void {
    this.#intake.do(() => {
      this.#heartbeats.received()
      this.#take(bytes)
    })
    this.#host.run()
  }

  /** The stream is over: the client has ended it, or it broke. What came before is done first. */
  lost(): void {
    this.#intake.do(() => this.#host.post(() => this.#finish()))
    this.#host.run()
  }

  /** Close it, for a reason that the client gets. */
  fail(refusal: Refusal, method?: AtFault): void {
    if (this.#state !== 'running' && this.#state !== 'handshake') return
    const { replyCode, replyText } = refusal
    const isRefusedLogin = this.#state === 'handshake' && replyCode === ReplyCode.ACCESS_REFUSED
    this.#endChannels()
    this.#state = 'closing'
    const { classId = 0, methodId = 0 } = method ?? {}
    this.send(0, methods.ConnectionClose, { replyCode, replyText, classId, methodId })
    this.#cutAfter(isRefusedLogin ? REFUSED_LOGIN_DELAY : CLOSE_TIMEOUT)
    // A client that was blocked is read again, for its close-ok.
    if (!this.#intake.isBlocked) return
    this.#intake.unblock()
    this.#readOn()
  }

  /** End the stream after what was written. */
  end(): void {
    this.flush()
    this.#finish()
    this.#port.end()
    this.#host.run()
  }

  /** Cut the stream. */
  destroy(): void {
    this.#finish()
    this.#port.destroy()
    this.#host.run()
  }

  /** Cut it as RabbitMQ does: the client gets a reset. */
  reset(): void {
    this.#finish()
    this.#port.reset()
    this.#host.run()
  }

  /** Neither read nor write, as if the network or the process stood still; or go on. */
  freeze(frozen: boolean): void {
    this.#intake.freeze(frozen)
    if (frozen) return
    this.#host.written(this)
    this.#readOn()
  }

  /** Publishers may go on. */
  unblock(): void {
    if (!this.#intake.isBlocked) return
    this.#intake.unblock()
    if (hasCapability(this.clientProperties, 'connection.blocked')) this.send(0, methods.ConnectionUnblocked, {})
    this.#readOn()
  }

  /** Write the collected bytes. */
  flush(): void {
    if (this.#intake.isFrozen) return
    if (this.#output.flush()) this.#heartbeats.sent()
    for (const turn of this.#output.due()) this.#host.post(turn)
  }

  /** The stream takes more. */
  drained(): void {
    this.#output.drained()
    this.#host.written(this)
    this.#host.run()
  }

  get #open(): Agreed {
    if (this.#agreed === undefined) throw new Error('the connection is not open')
    return this.#agreed
  }

  #readOn(): void {
    for (const turn of this.#intake.held()) this.#guard(() => this.#intake.do(turn))
  }

  #take(bytes: Buffer): void {
    this.#guard(() => {
      const rest = this.#state === 'greeting' ? this.#greet(bytes) : bytes
      if (rest.length > 0 && this.#state !== 'greeting' && this.#state !== 'closed') this.#input.push(rest)
    })
  }

  /** What the client does wrong ends its connection. What came in front of it is done first. */
  #guard(run: () => void): void {
    try {
      run()
    } catch (error) {
      this.#intake.do(() => this.#host.post(() => this.#refuse(error)))
    }
  }

  #refuse(error: unknown, method?: AtFault): void {
    if (error instanceof SilentRefusal) this.#silence()
    else if (error instanceof Breakdown) this.reset()
    else if (!(error instanceof Refusal)) throw error
    else if (this.#state === 'running' || this.#handshake?.tells(error) === true)
      this.fail(error, error.method ?? method)
    else if (this.#state === 'handshake') this.#silence()
  }

  /** The client gets no answer, and has to wait. */
  #silence(): void {
    this.#state = 'silent'
    this.#cutAfter(REFUSED_LOGIN_DELAY)
  }

  /** The protocol header; returns what comes after it. */
  #greet(bytes: Buffer): Buffer {
    this.#header = Buffer.concat([this.#header, bytes])
    if (this.#header.length < HEADER_SIZE) return Buffer.alloc(0)
    const rest = this.#header.subarray(HEADER_SIZE)
    const answer = answerTo(this.#header.subarray(0, HEADER_SIZE), this.#host.release)
    if (answer !== undefined) {
      this.#output.bytes(answer)
      this.#host.written(this)
      this.#host.post(() => this.end())
      this.#state = 'closed'
      return rest
    }
    this.#state = 'handshake'
    const host = this.#host
    this.#handshake = new ServerHandshake({
      release: host.release,
      limits: host.limits,
      certificateName: this.#port.certificateName,
      vhosts: host.vhosts,
      authenticate: (login, password) => host.authenticate(login, password),
      send: (method, args) => this.send(0, method, args),
    })
    return rest
  }

  #method(channel: number, method: methods.AnyMethod, args: Record<string, unknown>): void {
    if (channel === 0) this.#methodOfConnection(method, args)
    else if (this.#state === 'running') {
      const receiver = this.#channelFor(channel)
      // The client may open it again in the same write.
      if (method === methods.ChannelCloseOk && receiver?.isClosing === true) this.#channels.delete(channel)
      receiver?.receive(method, args)
    }
  }

  #methodOfConnection(method: methods.AnyMethod, args: Record<string, unknown>): void {
    if (this.#state === 'handshake') this.#shakeHands(method, args)
    else if (method === methods.ConnectionClose && this.#state !== 'silent') this.#closedByClient()
    else if (method === methods.ConnectionCloseOk && this.#state === 'closing') this.end()
    else if (this.#state === 'running') {
      if (method === methods.ConnectionUpdateSecret) this.send(0, methods.ConnectionUpdateSecretOk, {})
      else this.#host.post(() => this.fail(channelError('unexpected method in connection state running'), method))
    }
  }

  #shakeHands(method: methods.AnyMethod, args: Record<string, unknown>): void {
    try {
      this.#agreed = this.#handshake?.receive(method, args)
    } catch (error) {
      this.#refuse(error, method === methods.ConnectionStartOk ? undefined : method)
      return
    }
    const { frameMax, heartbeat } = this.#handshake?.limits ?? this.#host.limits
    if (method === methods.ConnectionTuneOk) {
      this.#input.frameMax = frameMax
      this.#output.frameMax = frameMax
      this.#heartbeats.start(heartbeat)
    }
    if (this.#agreed === undefined) return
    this.#state = 'running'
    this.#deadline?.cancel()
    this.#input.takesChannels = true
  }

  #published(channel: number, published: Published): void {
    if (this.#state !== 'running') return
    const { alarm } = this.#host
    if (alarm !== undefined) this.#block(alarm)
    // RabbitMQ stops at the content header: a message that has no more than that has come.
    const waits = this.#intake.isBlocked && published.body.length > 0
    if (waits) this.#intake.do(() => this.#published(channel, published))
    else this.#channelFor(channel)?.receivePublish(published)
  }

  #block(reason: string): void {
    this.#intake.block()
    if (!hasCapability(this.clientProperties, 'connection.blocked')) return
    this.#host.post(() => this.send(0, methods.ConnectionBlocked, { reason }))
  }

  #channelFor(number: number): Channel | undefined {
    const known = this.#channels.get(number)
    if (known !== undefined) return known
    const { channelMax } = this.limits
    if (channelMax !== 0 && this.#channels.size >= channelMax) {
      throw notAllowed(
        `number of channels opened (${this.#channels.size}) has reached the negotiated channel_max (${channelMax})`,
      )
    }
    const channel = new Channel(number, this)
    this.#channels.set(number, channel)
    return channel
  }

  /** It runs after the remaining work of its channels. */
  #closedByClient(): void {
    this.#host.post(() => {
      if (this.#state === 'running') this.#endChannels()
      this.send(0, methods.ConnectionCloseOk, {})
      if (this.#state !== 'running') return
      this.#state = 'closing'
      this.#cutAfter(CLOSE_TIMEOUT)
    })
  }

  #endChannels(): void {
    ClientConnection.endChannels([this])
  }

  #cutAfter(milliseconds: number): void {
    this.#deadline?.cancel()
    this.#deadline = this.#host.clock.after(milliseconds, () => {
      // Once it goes on, it has as long again.
      if (this.#intake.isFrozen) this.#cutAfter(milliseconds)
      else this.reset()
    })
  }

  #finish(): void {
    this.#deadline?.cancel()
    this.#heartbeats.stop()
    this.#endChannels()
    this.#state = 'closed'
    this.#intake.discard()
    this.#output.discard()
    this.#host.closed(this)
  }
}
