import { ignore } from '../lib/ignore.ts'
import type { CallContext } from './calls.ts'
import type { ChannelSession } from './channel-session.ts'
import type { Consumer } from './consume/delivery-sink.ts'
import type { PublishingConnection } from './publish/publishing.ts'
import { DIRECT_REPLY_TO } from './rabbitmq.ts'

/**
 * Milliseconds between the last acks and a close. A channel of RabbitMQ hands a quorum queue 32 settlements at a time,
 * and forgets the rest when it is closed: acked messages would come again. Nothing says when the queue has all.
 */
const LEAST_SETTLING = 50

/** The channel whose work it is. */
export interface ChannelWorkHost {
  readonly host: PublishingConnection
  /** The life there is, unless something has to be made again first. */
  readonly openSession: ChannelSession | undefined
  readonly consumers: readonly Consumer[]
  readonly receivers: Iterable<Consumer>
  /** How many publishes and calls wait. */
  readonly waiting: number
  use<T>(operation: (session: ChannelSession) => Promise<T>, context: CallContext): Promise<T>
  useBehindPublishes<T>(operation: (session: ChannelSession) => Promise<T>, context: CallContext): Promise<T>
}

/** What a channel has under way, which comes to its end before its connection is closed. */
export class ChannelWork {
  readonly #channel: ChannelWorkHost
  /** Milliseconds that the broker took to agree to the end of the consumers. */
  #cancelTook = 0
  /** Ends the wait of `drain` for the broker's queues. */
  #stopSettling: () => void = ignore

  constructor(channel: ChannelWorkHost) {
    this.#channel = channel
  }

  /** Whether `drain` has anything to do. */
  get isBusy(): boolean {
    const { openSession, consumers, waiting } = this.#channel
    if (openSession === undefined) return false
    const { acker, unsettled } = openSession
    return consumers.length > 0 || unsettled > 0 || waiting > 0 || acker.sent > 0 || acker.waits
  }

  /**
   * Stop the consumers of queues, and let the callbacks end that run: these may publish, and wait for replies. Never
   * rejects; the caller bounds it.
   */
  async stopConsumers(): Promise<void> {
    const { openSession, host } = this.#channel
    const consumers = [...this.#channel.receivers].filter(({ sink }) => sink.queueName !== DIRECT_REPLY_TO)
    if (openSession === undefined || consumers.length === 0) return
    const started = host.clock.now()
    await Promise.all(
      consumers.map(({ tag, sink }) => {
        sink.cancelled()
        const context = { what: `basic.cancel of consumer "${tag}"`, site: undefined }
        return this.#channel.use(life => life.consuming.cancel(tag, false), context).catch(ignore)
      }),
    )
    this.#cancelTook = host.clock.now() - started
    await Promise.all(consumers.map(({ sink }) => sink.idle()))
  }

  /** Wait until publishes are settled, a commit is answered, and acks have come through. Never rejects; the caller bounds it. */
  async drain(): Promise<void> {
    const { openSession, host } = this.#channel
    if (openSession === undefined) return
    const context = { what: 'waitForConfirms', site: undefined }
    await this.#channel.useBehindPublishes(life => life.waitForConfirms(context), context).catch(ignore)
    if (openSession.acker.sent === 0 || openSession.state !== 'open') return
    const settling = Math.max(LEAST_SETTLING, 3 * this.#cancelTook)
    await new Promise<void>(resolve => {
      const deadline = host.after(settling, resolve)
      this.#stopSettling = () => {
        deadline.cancel()
        resolve()
      }
    })
  }

  /** The life is over: there is nothing to wait for. */
  stop(): void {
    this.#stopSettling()
  }
}
