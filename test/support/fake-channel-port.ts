import type { ChannelPort, ChannelReceiver, FlushWaiter, OutgoingBytes } from '../../src/channel/port.ts'
import { PublishEncoder } from '../../src/protocol/publish-encoder.ts'
import { Writer } from '../../src/protocol/writer.ts'
import { VirtualClock } from './virtual-clock.ts'

/** A deadline that a test lets expire. */
export interface FakeDeadline {
  readonly milliseconds: number
  readonly expire: () => void
  cancelled: boolean
  cancel(): void
}

/** A connection as a channel sees it, in which nothing happens but what a test does. */
export class FakeChannelPort implements ChannelPort, OutgoingBytes {
  readonly writer = new Writer()
  readonly clock = new VirtualClock()
  readonly frameMax = 4096
  readonly publishes = new PublishEncoder(this.writer, 4096)
  readonly maxMessageSize = 1_000_000
  rpcTimeout = 20_000
  publishable = true
  isBlocked = false
  readonly unblockedAt = 0
  readonly bufferedBytes = 0
  takesRejectOfStream = false
  takesCancelOk = false
  readonly server = 'broker:5672'
  readonly outgoing: OutgoingBytes = this
  readonly endpoint = {
    connectionId: 1,
    serverAddress: 'broker',
    serverPort: 5672,
    virtualHost: '/',
    connectionName: 'test',
  }
  /** Operations that wait for the broker. */
  waiting = 0
  heldBytes = 0
  readonly deadlines: FakeDeadline[] = []
  readonly reported: unknown[] = []

  /** The deadlines that still run. */
  get running(): FakeDeadline[] {
    return this.deadlines.filter(deadline => !deadline.cancelled)
  }

  written(): void {}
  methodWritten(): void {}
  answered(): void {}
  publishWritten(): undefined {}
  whenFlushed(waiter: FlushWaiter): void {
    waiter.sent()
  }
  whenWritable(waiter: FlushWaiter): void {
    waiter.sent()
  }
  operationStarted(): void {
    this.waiting++
  }
  operationEnded(): void {
    this.waiting--
  }
  buffered(bytes: number): void {
    this.heldBytes += bytes
  }
  afterRead(run: () => void): void {
    run()
  }
  after(milliseconds: number, expired: () => void): FakeDeadline {
    const deadline: FakeDeadline = {
      milliseconds,
      cancelled: false,
      cancel: () => {
        deadline.cancelled = true
      },
      expire: () => {
        if (deadline.cancelled) return
        deadline.cancelled = true
        expired()
      },
    }
    this.deadlines.push(deadline)
    return deadline
  }
  attach(_session: ChannelReceiver): void {}
  release(_channelId: number): void {}
  report(error: unknown): void {
    this.reported.push(error)
  }
}
