import type { ChannelSource } from '../../connection/channel-source.ts'
import { inContext } from '../../lib/call-safely.ts'
import { ignore } from '../../lib/ignore.ts'
import { anew, asError } from '../../lib/thrown.ts'
import { type CheckedAction, type CheckedRetries, checkFailureAction, type FailureDecider } from './failure-action.ts'
import type { FailureCopies } from './failure-copies.ts'
import type { HeldBack } from './held-back.ts'
import { type Message, nameOf, StreamMessage } from './message.ts'
import { RepeatedFailures } from './repeated-failures.ts'

/** @internal Settles the messages whose handlers failed. */
export class FailurePolicy {
  readonly #source: ChannelSource
  readonly #onFailure: CheckedAction | FailureDecider
  /** A function of the program in the context in which the consumer was made. */
  readonly #asRegistered: FailureDecider
  readonly #failures = new RepeatedFailures()
  /** Undefined if no message is ever copied. */
  readonly #copies: FailureCopies | undefined
  readonly #heldBack: HeldBack

  constructor(
    source: ChannelSource,
    onFailure: CheckedAction | FailureDecider,
    heldBack: HeldBack,
    copies: FailureCopies | undefined,
  ) {
    this.#source = source
    this.#onFailure = onFailure
    this.#asRegistered = inContext(typeof onFailure === 'function' ? onFailure : ignore)
    this.#copies = copies
    this.#heldBack = heldBack
  }

  /**
   * Settle a message whose handler failed; `isWithin` the context of the work on it, which is traced: in that its copy is
   * published, and a function of the program decides. Never rejects.
   */
  async settle(message: Message, error: unknown, isWithin: boolean): Promise<void> {
    const action = await this.#decide(message, error, isWithin)
    // Settled by the program, or the broker's again.
    if (!message.isHeld) return
    await this.#apply(action, message, error)
  }

  async #apply(action: CheckedAction, message: Message, error: unknown): Promise<void> {
    if (action === 'reject') message.reject()
    else if (action === 'drop') message.ack()
    else if (action === 'requeue') {
      await this.#pause(message)
      message.reject({ requeue: true })
    } else if ('retries' in action) await this.#retry(message, error, action)
    else await this.#insteadOf(message, 'copied', copies => copies.park(message, error, action))
  }

  async #decide(message: Message, error: unknown, isWithin: boolean): Promise<CheckedAction> {
    const onFailure = this.#onFailure
    if (typeof onFailure !== 'function') return onFailure
    try {
      const decide = isWithin ? onFailure : this.#asRegistered
      const answer = await decide(message, error)
      return checkFailureAction(`what onFailure returns for ${nameOf(message)}`, answer) ?? 'requeue'
    } catch (second) {
      this.#source.report(second, 'unhandled')
      return 'requeue'
    }
  }

  /** A handler succeeded: if its message had failed before, that is over. */
  succeeded(message: Message): void {
    if (message.envelope.isRedeliver && this.#failures.any) this.#failures.forget(message)
  }

  /** The longer, the more often the message has failed. */
  #pause(message: Message): Promise<void> {
    return this.#heldBack.holdAfter(this.#failures.count(message))
  }

  async #retry(message: Message, error: unknown, { retries, delays, otherwise }: CheckedRetries): Promise<void> {
    const made = message.retries
    if (made >= retries) {
      await this.#apply(otherwise, message, error)
      return
    }
    const delay = delays[Math.min(made, delays.length - 1)] ?? 0
    if (message instanceof StreamMessage && message.isOfStream) {
      await this.#heldBack.hold(delay)
      message.nack()
    } else await this.#insteadOf(message, 'retried', copies => copies.delay(message, delay))
  }

  /** Ack a message once its copy is safe, or requeue it. If the broker takes it back before that, the copy is not needed. */
  async #insteadOf(
    message: Message,
    outcome: 'retried' | 'copied',
    publish: (copies: FailureCopies) => Promise<void>,
  ): Promise<void> {
    try {
      // Never so, since only actions with a copy get here: but an ack without one would lose the message.
      if (this.#copies === undefined) throw new Error('a message needs a copy, and its consumer makes none')
      await publish(this.#copies)
      const { trace } = message
      if (message.ack()) trace?.copied(outcome)
    } catch (failure) {
      if (!message.isHeld) return
      const what = `the copy of ${nameOf(message)}, whose handler failed, was not published, and it goes back to its queue`
      const error = asError(failure)
      // `onError` gets nothing but the error, and several copies may fail for the same one.
      this.#source.report(anew(error, `${what}: ${error.message}`), 'warn')
      // It counts towards no delivery limit, if the broker can do that: the message has not failed another time.
      await this.#pause(message)
      message.nack()
    }
  }

  /** Give back at once what is held back, now and later: nothing is waited for any more. */
  hurry(): void {
    this.#heldBack.hurry()
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.hurry()
    await this.#copies?.close()
  }
}
