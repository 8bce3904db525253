import type { Channel } from '../../src/channel/channel.ts'
import type { CloseReason } from '../../src/channel/close-reason.ts'
import type { Deadline } from '../../src/channel/port.ts'
import type { ChannelSource, Closable, SourcedChannelOptions } from '../../src/connection/channel-source.ts'
import type { AmqpProtocol } from '../../src/index.ts'
import { systemClock } from '../../src/lib/clock.ts'
import { PublishEncoder } from '../../src/protocol/publish-encoder.ts'
import { Writer } from '../../src/protocol/writer.ts'

/** A source of a protocol's channels whose time passes when the test says so. */
export class ProtocolSource implements ChannelSource {
  readonly #protocol: AmqpProtocol
  readonly publishing = this
  readonly clock = systemClock
  readonly ending: CloseReason | undefined = undefined
  readonly blockedReason: string | undefined = undefined
  readonly maxMessageSize = 128 * 1024 * 1024
  readonly maxWaiting = Number.POSITIVE_INFINITY
  readonly publishTimeout = undefined
  readonly slowHandlerThreshold = Number.POSITIVE_INFINITY
  readonly serverProperties = {}
  readonly endpoint = {
    connectionId: 1,
    serverAddress: 'broker',
    serverPort: 5672,
    virtualHost: '/',
    connectionName: 'test',
  }
  readonly publishes = new PublishEncoder(new Writer(), 131_072)
  readonly publishGoal = 'its turn to be written'
  readonly recoveredAt = Number.NEGATIVE_INFINITY
  readonly parts = new Set<Closable>()
  deadlines: (() => void)[] = []

  constructor(protocol: AmqpProtocol) {
    this.#protocol = protocol
  }

  get state(): AmqpProtocol['state'] {
    return this.#protocol.state
  }

  channel(options?: SourcedChannelOptions): Promise<Channel> {
    return this.#protocol.channel(options)
  }

  openingChannel({ publisherConfirms, signal }: SourcedChannelOptions = {}): Promise<Channel> {
    return this.#protocol.channel({ publisherConfirms, signal })
  }

  tryOpenChannel(): undefined {}

  readonly channelWanted = false

  after(_milliseconds: number, expired: () => void): Deadline {
    this.deadlines.push(expired)
    return {
      cancel: () => {
        this.deadlines = this.deadlines.filter(each => each !== expired)
      },
    }
  }

  /** The time of every deadline there is has come. */
  expireAll(): void {
    for (const expired of this.deadlines.splice(0)) expired()
  }

  register(part: Closable): void {
    this.parts.add(part)
  }

  occurred(_name: string, _details: unknown, emit?: () => void): void {
    emit?.()
  }

  unregister(part: Closable): void {
    this.parts.delete(part)
  }

  onEnded(): () => void {
    return () => {}
  }

  report(error: unknown): void {
    throw error
  }
}
