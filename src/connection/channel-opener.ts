import { Channel } from '../channel/channel.ts'
import type { CloseReason } from '../channel/close-reason.ts'
import type { ChannelHost, RecoveringChannel } from '../channel/recovering-channel.ts'
import { abortedBy, ConnectionLostError } from '../errors.ts'
import { describeWait, type WaitBounds, WaitList } from '../lib/wait-list.ts'
import type { SourcedChannelOptions } from './channel-source.ts'
import type { Connection } from './connection.ts'

/** What opening a channel needs of the long-lived connection. */
export interface OpenerHost extends ChannelHost {
  /** The connection to open channels on; undefined while there is none. */
  readonly usable: Connection | undefined
  /** What is waited for while there is none, in errors: `the connection to be recovered`. */
  readonly goal: string
  /** Why it is closed for good. */
  readonly ending: CloseReason | undefined
  /** A channel begins its first life. */
  remember(channel: RecoveringChannel): void
  /** channel.open is written: the channel may be used like any other. */
  begun(channel: RecoveringChannel): void
  /** Asks the parts to close a channel that they do not need at the moment. Returns whether one will. */
  giveUpChannel(): boolean
}

/** A channel on its way: methods may be called before `opened` resolves. */
export interface OpeningChannel {
  readonly channel: Channel
  /** Resolves at open-ok, once its modes are set. Its rejection is handled. */
  readonly opened: Promise<void>
}

/**
 * Opens all channels of the program. If there is none for a caller at once, the caller waits its turn:
 *
 *     open ──▶ a connection? ──no──▶ #connections ──connected──┐
 *                   │ ◀─────────────────────────────────────────┘
 *                   └─yes──▶ a number? ──no──▶ #numbers ──a number is freed──▶ channel.open is written
 *                                └─yes────────────────────────────────────────────▲
 */
export class ChannelOpener {
  readonly #host: OpenerHost
  // Each is made for the first that waits.
  #connections: WaitList | undefined
  #numbers: WaitList | undefined
  #givingOut = false

  constructor(host: OpenerHost) {
    this.#host = host
  }

  /** Somebody waits for a channel number: a channel that is not needed should be closed. */
  get wanted(): boolean {
    return this.#numbers !== undefined && this.#numbers.length > 0
  }

  /**
   * Write channel.open, at once if that is possible.
   *
   * @param patient wait for a channel number, too. Otherwise it waits for one only if a part will give one up.
   * @throws NoChannelAvailableError, AbortError, TimeoutError, or the reason if the connection is over.
   */
  open(options: SourcedChannelOptions, patient: boolean): OpeningChannel | Promise<OpeningChannel> {
    const { what = 'channel.open', signal, timeout, site } = options
    const { ending, usable, clock } = this.#host
    // Called by a getter of a message: channel.open can only be written when that is encoded.
    if (usable?.writer.isGuarded === true) return Promise.resolve().then(() => this.open(options, patient))
    if (signal?.aborted) throw abortedBy(signal, what)
    if (ending !== undefined) throw ending.errorFor(what, false)
    if (usable !== undefined && this.#hasNumber(usable)) return this.#begin(usable, options, patient)
    const bounds = { what, signal, timeout, site }
    if (usable !== undefined) return this.#openOn(usable, options, patient, bounds)
    const since = clock.now()
    this.#connections ??= new WaitList(this.#host, () => this.#host.goal)
    return this.#connections.wait(bounds, () => {
      const timeLeft = timeout === undefined ? undefined : timeout - (clock.now() - since)
      return this.#openOn(this.#connection(), options, patient, { ...bounds, timeLeft })
    })
  }

  /** Like that, if nothing has to be waited for; otherwise undefined. */
  tryOpen(options: SourcedChannelOptions): OpeningChannel | undefined {
    const { usable } = this.#host
    if (usable === undefined || usable.writer.isGuarded || !this.#hasNumber(usable)) return undefined
    return this.#begin(usable, options, false)
  }

  #openOn(
    connection: Connection,
    options: SourcedChannelOptions,
    patient: boolean,
    bounds: WaitBounds,
  ): OpeningChannel | Promise<OpeningChannel> {
    if (this.#hasNumber(connection)) return this.#begin(connection, options, patient)
    if (!this.#host.giveUpChannel() && !patient) throw connection.channels.exhausted(describeWait(bounds))
    this.#numbers ??= new WaitList(this.#host, 'a free channel number')
    return this.#numbers.wait(bounds, () => this.#begin(this.#connection(), options, patient))
  }

  #hasNumber(connection: Connection): boolean {
    return !this.wanted && connection.channels.available
  }

  #connection(): Connection {
    const { usable } = this.#host
    if (usable === undefined) throw new Error('cannot open a channel: there is no connection')
    return usable
  }

  #begin(connection: Connection, options: SourcedChannelOptions, patient: boolean): OpeningChannel {
    const { returnCallback, signal } = options
    const channel = new Channel(this.#host, options, returnCallback)
    const { recovering } = channel
    const id = connection.channels.take()
    this.#host.remember(recovering)
    const opened = recovering.begin(connection, id, { signal })
    this.#host.begun(recovering)
    opened.catch(error => {
      // A caller that has it waits with it for the next connection. Otherwise no caller has it: it must not come back.
      if (patient && error instanceof ConnectionLostError) return
      void recovering.closeByProgram(200, 'the channel was not opened')
    })
    return { channel, opened }
  }

  /** A number is free. */
  numberFreed(): void {
    if (!this.wanted || this.#givingOut) return
    this.#givingOut = true
    // From a microtask, channel.open leaves in one write with what its caller calls next; at the end of this read, alone.
    queueMicrotask(() => this.#giveOut())
  }

  #giveOut(): void {
    this.#givingOut = false
    while (this.wanted && this.#host.usable?.channels.available === true) this.#numbers?.wakeNext()
  }

  /** There is a connection again. */
  connected(): void {
    this.#giveOut()
    // A recovery that goes on keeps the last number for itself.
    while (this.#host.usable !== undefined && this.#connections?.wakeNext() === true);
  }

  /** The connection is over for good. */
  failAll(ending: CloseReason): void {
    const error = (bounds: WaitBounds): Error => ending.errorFor(describeWait(bounds), false)
    this.#connections?.failAll(error)
    this.#numbers?.failAll(error)
  }
}
