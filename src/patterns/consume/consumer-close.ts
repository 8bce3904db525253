import type { ChannelSource } from '../../connection/channel-source.ts'
import { atMost } from '../../lib/at-most.ts'
import type { ConsumerChannel } from './consumer-channel.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { FailurePolicy } from './failure-policy.ts'
import type { StoredOffsets } from './stored-offsets.ts'

/** Milliseconds that the broker may take to agree to the end of a channel, past the timeout of a close. */
const CHANNEL_CLOSE_GRACE = 500
/** Unseen messages for whose sake it is worth waiting for those in hand, and for how many milliseconds. */
const MANY_UNSEEN = 8
const IN_HAND_PATIENCE = 250

/** The parts of a consumer that a close brings to their end. */
export interface ConsumerParts {
  readonly source: ChannelSource
  readonly noAck: boolean
  readonly dispatcher: Dispatcher
  readonly policy: FailurePolicy
  readonly offsets: StoredOffsets | undefined
}

/**
 * The graceful close of a consumer, within `timeout` milliseconds for all of it; what is not done by then is given back:
 *
 *     cancelled at the broker ──▶ unseen messages given back ──▶ handlers end ──▶ loops settle ──▶ its channel is closed
 */
export class ConsumerClose {
  /** Resolves when the handlers have ended, and if no loop has a message, all the rest. Never rejects. */
  readonly handlers: Promise<void>
  /** Resolves when all is done. Never rejects. */
  readonly all: Promise<void>
  readonly #parts: ConsumerParts
  readonly #channel: ConsumerChannel | undefined
  readonly #deadline: number

  /** `ended` is called when all is done. */
  constructor(parts: ConsumerParts, channel: ConsumerChannel | undefined, timeout: number, ended: () => void) {
    this.#parts = parts
    this.#channel = channel
    this.#deadline = parts.source.clock.now() + timeout
    const stopped = this.#stop()
    this.all = stopped.then(() => this.#finish(ended))
    this.handlers = stopped.then(() => (parts.dispatcher.takers.loopsHold ? undefined : this.all))
  }

  get #timeLeft(): number {
    return this.#deadline - this.#parts.source.clock.now()
  }

  async #stop(): Promise<void> {
    const { source, noAck, dispatcher, policy } = this.#parts
    const quiet = (): boolean => dispatcher.handlersIdle && !dispatcher.takers.loopsHold
    policy.hurry()
    if (this.#channel !== undefined) await atMost(source, this.#timeLeft, this.#channel.cancel())
    if (noAck) {
      if (dispatcher.hasHandler) await this.#until(() => dispatcher.unseen === 0)
    } else {
      dispatcher.giveBackInHand()
      // If what is in hand is settled soon, one nack gives back all the others.
      if (dispatcher.unseen > MANY_UNSEEN) await this.#until(quiet, IN_HAND_PATIENCE)
      dispatcher.giveBackUnseen(!quiet())
    }
    if (dispatcher.hasHandler) await this.#until(() => dispatcher.handlersIdle)
  }

  async #finish(ended: () => void): Promise<void> {
    const { source, dispatcher, policy, offsets } = this.#parts
    await this.#until(() => !dispatcher.takers.loopsHold)
    dispatcher.giveUp()
    const closed = Promise.all([this.#channel?.close(), policy.close(), offsets?.close()])
    await atMost(source, Math.max(this.#timeLeft, CHANNEL_CLOSE_GRACE), closed)
    ended()
  }

  #until(condition: () => boolean, most = Number.POSITIVE_INFINITY): Promise<void> {
    const { source, dispatcher } = this.#parts
    return atMost(source, Math.min(this.#timeLeft, most), dispatcher.until(condition))
  }
}
