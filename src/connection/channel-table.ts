import type { CloseReason } from '../channel/close-reason.ts'
import type { ChannelReceiver, FrameReceiver } from '../channel/port.ts'
import { NoChannelAvailableError, ProtocolError } from '../errors.ts'
import { ignore } from '../lib/ignore.ts'
import type { FrameSink } from '../protocol/frame-parser.ts'
import { ChannelOpenOk } from '../protocol/methods.ts'
import { ChannelIds } from './channel-ids.ts'

/** Takes frames that are dropped. */
const ABSORBER: FrameReceiver = {
  methodFrame: (_buffer, _start, end) => end + 1,
  headerFrame: ignore,
  bodyFrame: ignore,
}

/**
 * Takes the frames of a new channel whose number is that of one which the server closed: up to open-ok they are the old
 * channel's.
 */
class Reopening implements FrameReceiver {
  readonly channel: ChannelReceiver
  readonly #opened: () => void
  readonly headerFrame = ABSORBER.headerFrame
  readonly bodyFrame = ABSORBER.bodyFrame

  constructor(channel: ChannelReceiver, opened: () => void) {
    this.channel = channel
    this.#opened = opened
  }

  methodFrame(buffer: Buffer, start: number, end: number, limit: number): number {
    const key = end - start >= 4 ? buffer.readUInt32BE(start) : 0
    if (key !== ChannelOpenOk.key) return ABSORBER.methodFrame(buffer, start, end, limit)
    this.#opened()
    return this.channel.methodFrame(buffer, start, end, limit)
  }
}

/**
 * The receivers of frames by their channel, with channel 0 as one of them. A parser gives every frame here.
 *
 *     free ──take, attach──▶ in use ──close-ok──▶ free
 *                              └──the server closed it──▶ absorbing ──take, attach──▶ absorbing ──open-ok──▶ in use
 *
 * RabbitMQ sends channel.close while deliveries of that channel are still on their way to the socket: they come after it,
 * until it has read our close-ok, and now and then after the open-ok of a new channel of that number. They go back to the queue,
 * and are dropped, here or by that channel. A frame on any other number that is not in use breaks the protocol.
 */
export class ChannelTable implements FrameSink {
  /** By channel number. */
  readonly #receivers: (FrameReceiver | undefined)[]
  readonly #server: string
  #ids = new ChannelIds(1)
  #ended: CloseReason | undefined

  /** `server` is for messages. */
  constructor(zero: FrameReceiver, server: string) {
    this.#receivers = [zero]
    this.#server = server
  }

  /** The highest number, as agreed with the server; 0 for no limit. Before it is set no channel may be attached. */
  set channelMax(channelMax: number) {
    this.#ids = new ChannelIds(channelMax)
  }

  /** Numbers that are taken. */
  get inUse(): number {
    return this.#ids.inUse
  }

  /** Whether a number is free. */
  get available(): boolean {
    return this.#ended === undefined && this.#ids.available
  }

  /** All that are attached, by their numbers. */
  *channels(): Iterable<ChannelReceiver> {
    for (let id = 1; id < this.#receivers.length; id++) {
      const receiver = this.#receivers[id]
      if (receiver instanceof Reopening) yield receiver.channel
      else if (receiver !== undefined && receiver !== ABSORBER) yield receiver as ChannelReceiver
    }
  }

  /**
   * A free channel number.
   *
   * @throws NoChannelAvailableError if all are in use; the reason if the connection is over.
   */
  take(): number {
    if (this.#ended !== undefined) throw this.#ended.errorFor('channel.open', false)
    const id = this.#ids.take()
    if (id === undefined) throw this.exhausted('channel.open')
    return id
  }

  /** The error for what needs a channel when all numbers are in use. */
  exhausted(what: string): NoChannelAvailableError {
    return new NoChannelAvailableError(
      `${what} was not sent: all ${this.#ids.channelMax} channels of the connection to ${this.#server} are in use`,
    )
  }

  /** From now on the frames of its number go to this channel. */
  attach(channel: ChannelReceiver): void {
    const { id } = channel
    const absorbs = this.#receivers[id] === ABSORBER
    channel.isSuccessor = absorbs
    this.#receivers[id] = absorbs
      ? new Reopening(channel, () => {
          this.#receivers[id] = channel
        })
      : channel
  }

  /** The channel is over, and its number may serve another. `mayFollow` if frames of it may still come. */
  release(id: number, mayFollow: boolean): void {
    const receiver = this.#receivers[id]
    if (receiver === undefined || receiver === ABSORBER) return
    this.#receivers[id] = mayFollow ? ABSORBER : undefined
    this.#ids.release(id, mayFollow)
  }

  /**
   * The connection is over: every channel gets the reason, and later frames of the same read are dropped.
   */
  end(ending: CloseReason): void {
    this.#ended = ending
    this.#receivers[0] = ABSORBER
    for (const channel of this.channels()) channel.connectionEnded(ending)
  }

  // ---- frames

  methodFrame(channelId: number, buffer: Buffer, start: number, end: number, limit: number): number {
    const receiver = this.#receivers[channelId] ?? this.#stray(channelId, 'a method')
    return receiver.methodFrame(buffer, start, end, limit)
  }

  headerFrame(channelId: number, buffer: Buffer, start: number, end: number, length: number): void {
    const receiver = this.#receivers[channelId] ?? this.#stray(channelId, 'a content header')
    receiver.headerFrame(buffer, start, end, length)
  }

  bodyFrame(channelId: number, buffer: Buffer, start: number, end: number, ended: boolean): void {
    const receiver = this.#receivers[channelId] ?? this.#stray(channelId, 'a body')
    receiver.bodyFrame(buffer, start, end, ended)
  }

  heartbeatFrame(): void {}

  #stray(channelId: number, what: string): FrameReceiver {
    if (this.#ended !== undefined) return ABSORBER
    throw new ProtocolError(`${what} came on channel ${channelId}, which is not open`, { replyCode: 504 })
  }
}
