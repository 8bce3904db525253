import type { Channel, ReturnCallback } from '../channel/channel.ts'
import type { CloseReason } from '../channel/close-reason.ts'
import type { Deadline, ErrorReporter } from '../channel/port.ts'
import type { RecoveringChannelOptions } from '../channel/recovering-channel.ts'
import type { LifecycleSink } from '../diagnostics/lifecycle-reporter.ts'
import type { EndpointSource } from '../diagnostics/server-context.ts'
import type { PartStats } from '../diagnostics/stats.ts'
import type { CallSite } from '../lib/call-site.ts'
import type { Clock, TimerOptions } from '../lib/clock.ts'
import type { PublishEncoder } from '../protocol/publish-encoder.ts'
import type { FieldTable } from '../protocol/values.ts'
import type { ConnectionState } from './connection-state.ts'

/** Something that `protocol.close()` closes before the connection. */
export interface Closable {
  /** Its handlers may need the other parts, so it is closed before them. */
  readonly bringsWork?: boolean
  /** Somebody needs a channel number: close a channel that is idle. Returns whether one will be free. */
  giveUpChannel?(): boolean
  /** Add its figures. */
  addStats?(stats: PartStats): void
  /** Finish the work under way, within `timeout` milliseconds. Never rejects. */
  close(options: { readonly timeout: number }): Promise<void>
}

export interface SourcedChannelOptions extends RecoveringChannelOptions {
  readonly returnCallback?: ReturnCallback | undefined
  /** What the channel is for, in errors of the wait for it: `queue.declare of "orders"`. Default: `channel.open`. */
  readonly what?: string | undefined
  readonly signal?: AbortSignal | undefined
  /** Milliseconds to wait for it. */
  readonly timeout?: number | undefined
  /** Where the program called. */
  readonly site?: CallSite | undefined
}

/** A connection, as far as the intent level sees it: a source of channels, with the state that outlives them. */
export interface ChannelSource extends ErrorReporter, EndpointSource, LifecycleSink {
  readonly state: ConnectionState
  /** The connection for publishes: this one, or another of the same protocol. */
  readonly publishing: ChannelSource
  readonly clock: Clock
  /** Why it is closed; undefined while it is not. */
  readonly ending: CloseReason | undefined
  /** Why the broker blocks publishers; undefined while it does not. */
  readonly blockedReason: string | undefined
  /** When the connection was last recovered, by `clock`. */
  readonly recoveredAt: number
  /** What the server says of itself. */
  readonly serverProperties: Readonly<FieldTable>
  /** Publishes of one part that may wait before further ones are refused. */
  readonly maxWaiting: number
  /** Bytes of a message, unpacked. */
  readonly maxMessageSize: number
  /** Milliseconds for a publish of the program without a timeout of its own; undefined: no limit. */
  readonly publishTimeout: number | undefined
  /** Milliseconds after which a handler is reported as slow. */
  readonly slowHandlerThreshold: number
  /** Checks messages before they wait. */
  readonly publishes: Pick<PublishEncoder, 'check'>
  /** What publishes wait for that are not written, for errors. */
  readonly publishGoal: string
  /**
   * A channel of its own. Waits for a number if all are in use, and for a recovery. Once there is a number, methods may be
   * called at once: they leave with channel.open in one write.
   *
   * @throws the reason if the connection is closed; AbortError, TimeoutError.
   */
  openingChannel(options?: SourcedChannelOptions): Promise<Channel>
  /** A channel whose channel.open is written before this returns, if nothing has to be waited for; else undefined. */
  tryOpenChannel(options?: SourcedChannelOptions): Channel | undefined
  /** Somebody waits for a channel number: close channels that are idle. */
  readonly channelWanted: boolean
  /** The process stays alive for it, unless the options say that no caller waits for it. It ends with the connection. */
  after(milliseconds: number, expired: () => void, options?: TimerOptions): Deadline
  /** `protocol.close()` will close it first. */
  register(part: Closable): void
  unregister(part: Closable): void
  /** Have `run` called once when the connection is closed for good. Returns how to take that back. */
  onEnded(run: (ending: CloseReason) => void): () => void
}
