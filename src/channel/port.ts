import type { EndpointSource } from '../diagnostics/server-context.ts'
import type { Clock } from '../lib/clock.ts'
import type { PublishEncoder } from '../protocol/publish-encoder.ts'
import type { Writer } from '../protocol/writer.ts'
import type { CloseReason } from './close-reason.ts'

/** Something that will happen at a time, unless it is cancelled. */
export interface Deadline {
  cancel(): void
}

/** A waiter for written bytes to leave. Exactly one of the two is called. */
export interface FlushWaiter {
  sent(): void
  lost(ending: CloseReason): void
}

/** Reports errors that no promise carries. */
export interface ErrorReporter {
  /**
   * Give an error to `onError`. If there is none, the program's own errors become unhandled rejections, and others
   * a warning, to the logger if there is one, which says `what` failed.
   */
  report(error: unknown, fallback: 'unhandled' | 'warn', what?: string): void
}

/** The receiver of the frames of a channel. */
export interface FrameReceiver {
  /** Returns the offset at which to go on: after the frame, or after its content if that was taken too. */
  methodFrame(buffer: Buffer, start: number, end: number, limit: number): number
  /** `length` is that of the whole payload, of which only the start is given if it is too large to be read. */
  headerFrame(buffer: Buffer, start: number, end: number, length: number): void
  bodyFrame(buffer: Buffer, start: number, end: number, ended: boolean): void
}

/** One life of a channel, as far as its connection sees it. */
export interface ChannelReceiver extends FrameReceiver {
  readonly id: number
  /** Its number was that of a channel that the server closed, and of which some deliveries may still come. */
  isSuccessor: boolean
  /** Publishes may be written again. */
  resume(): void
  /** The broker blocks the connection, or no longer. */
  blockedChanged(): void
  /** connection.close is written: the broker reads nothing more. */
  connectionClosing(): void
  connectionEnded(ending: CloseReason): void
}

/** What a connection does with the bytes in its writer. */
export interface OutgoingBytes {
  /** Something was written: it leaves at the end of this tick, or turn of the event loop, at the latest. */
  written(): void
  /** Like that, for a method: if there are many in one tick or turn, they do not wait for its end. */
  methodWritten(): void
  /** The method just written answers one of the server. Throws if the server reads no answers. */
  answered(): void
  /**
   * A publish was written: undefined if its caller may go on at once, `'full'` if it should wait until the
   * socket takes more, or else a promise that gives the event loop a turn.
   */
  publishWritten(): Promise<void> | 'full' | undefined
  /** Wait until the message that was just encoded has left; called before `publishWritten`. */
  whenFlushed(waiter: FlushWaiter): void
  /** Wait until the socket takes more. */
  whenWritable(waiter: FlushWaiter): void
}

/** A connection, as far as one life of a channel sees it. */
export interface ChannelPort extends ErrorReporter, EndpointSource {
  readonly writer: Writer
  readonly clock: Clock
  readonly publishes: PublishEncoder
  /** Agreed size in bytes of a whole frame. */
  readonly frameMax: number
  /** Largest body in bytes that is taken into memory. */
  readonly maxMessageSize: number
  /** Milliseconds that a synchronous method may stay unanswered. */
  readonly rpcTimeout: number
  /** Publishes may be written now: the broker does not block, and less than `maxBuffered` waits. */
  readonly publishable: boolean
  /** The broker blocks publishers, and may answer nothing meanwhile. */
  readonly isBlocked: boolean
  /** When it last stopped that, by `clock`; 0 if it never did. */
  readonly unblockedAt: number
  /** Encoded bytes that have not left. */
  readonly bufferedBytes: number
  /** The broker settles a message of a stream that is rejected. Brokers without this close the connection. */
  readonly takesRejectOfStream: boolean
  /** The server waits for basic.cancel-ok when it has cancelled a consumer. */
  readonly takesCancelOk: boolean
  /** `host:port` of the server, for messages. */
  readonly server: string
  readonly outgoing: OutgoingBytes

  /** One more of this program's operations waits for the broker. */
  operationStarted(): void
  /** One less does. */
  operationEnded(): void
  /** Bytes of deliveries that wait for their callbacks, added or taken away. */
  buffered(bytes: number): void
  /** Have `run` called at the end of this read. */
  afterRead(run: () => void): void
  after(milliseconds: number, expired: () => void): Deadline
  /** From now on the frames of its channel go to this session. */
  attach(session: ChannelReceiver): void
  /** The channel's life is over and its number may serve another. `mayFollow` if frames of it may still come. */
  release(channelId: number, mayFollow: boolean): void
}
