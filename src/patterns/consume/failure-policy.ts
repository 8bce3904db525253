import type { ChannelSource } from '../../connection/channel-source.ts'
import { EncodeError } from '../../errors.ts'
import { inspectShort } from '../../protocol/inspect-short.ts'
import { checkOptions, shortStringOption } from '../../protocol/option-check.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import { ReliablePublisher } from '../publish/reliable-publisher.ts'
import { failureCopy, publishCopy } from './failure-copy.ts'
import type { HeldBack } from './held-back.ts'
import type { Message } from './message.ts'
import { RepeatedFailures } from './repeated-failures.ts'

/** Where copies of messages go whose handler failed. */
export interface ErrorDestination {
  /** '' is the default exchange, which routes to the queue that `routingKey` names. */
  readonly exchangeName: string
  readonly routingKey: string
}

/**
 * What becomes of a message whose handler failed:
 *
 * - `'requeue'`: back to its queue (basic.reject, which counts toward a quorum queue's delivery limit), after a pause
 *   that doubles from 1 s to 60 s while the same message fails.
 * - `'reject'`: to the dead-letter exchange of its queue. Where there is none, the message is gone.
 * - an error destination: a copy is published there with the error in its headers, and once the broker has it, the
 *   message is acked. What nobody takes there is requeued.
 */
export type FailureAction = 'requeue' | 'reject' | ErrorDestination

/** Decides about one failure, or settles the message itself. Nothing decided and nothing settled means `'requeue'`. */
export type FailureDecider = (
  message: Message,
  error: unknown,
) => FailureAction | undefined | void | Promise<FailureAction | undefined> | Promise<void>

/** @internal Settles the messages whose handlers failed. */
export class FailurePolicy {
  readonly #source: ChannelSource
  readonly #onFailure: FailureAction | FailureDecider
  readonly #failures = new RepeatedFailures()
  readonly #copies: ReliablePublisher
  readonly #heldBack: HeldBack

  constructor(source: ChannelSource, onFailure: FailureAction | FailureDecider, heldBack: HeldBack) {
    this.#source = source
    this.#onFailure = onFailure
    this.#copies = new ReliablePublisher(source)
    this.#heldBack = heldBack
  }

  /** Settle a message whose handler failed. Never rejects. */
  async settle(message: Message, error: unknown): Promise<void> {
    const action = await this.#decide(message, error)
    // Settled by the program, or the broker's again.
    if (!message.isHeld) return
    if (action === 'reject') message.reject()
    else if (action === 'requeue') await this.#requeue(message)
    else await this.#divert(message, error, action)
  }

  async #decide(message: Message, error: unknown): Promise<FailureAction> {
    const onFailure = this.#onFailure
    if (typeof onFailure !== 'function') return onFailure
    try {
      return checkFailureAction('onFailure', await onFailure(message, error)) ?? 'requeue'
    } catch (second) {
      this.#source.report(second, 'unhandled')
      return 'requeue'
    }
  }

  /** A handler succeeded: if its message had failed before, that is over. */
  succeeded(message: Message): void {
    if (message.envelope.isRedeliver && this.#failures.any) this.#failures.forget(message)
  }

  async #requeue(message: Message): Promise<void> {
    await this.#heldBack.hold(this.#failures.count(message))
    message.reject({ requeue: true })
  }

  async #divert(message: Message, error: unknown, destination: ErrorDestination): Promise<void> {
    try {
      const copy = failureCopy(message, error, properties => this.#check(destination, properties))
      await publishCopy(this.#copies, message.body, destination, copy)
      const { trace } = message
      if (message.ack()) trace?.copied()
    } catch (failure) {
      this.#source.report(failure, 'warn')
      await this.#requeue(message)
    }
  }

  #check({ exchangeName, routingKey }: ErrorDestination, properties: BasicProperties): void {
    this.#source.publishes.check(exchangeName, routingKey, true, properties, '')
  }

  /** Give back at once what is held back, now and later: nothing is waited for any more. */
  hurry(): void {
    this.#heldBack.hurry()
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.hurry()
    await this.#copies.close({ timeout: 0 })
  }
}

/** @throws EncodeError for anything but a known action and `undefined`. */
export function checkFailureAction(what: string, action: unknown): FailureAction | undefined {
  if (action === undefined || action === 'requeue' || action === 'reject') return action
  if (typeof action === 'object' && action !== null) {
    checkOptions(what, action, ['exchangeName', 'routingKey'])
    const { exchangeName, routingKey } = action as Partial<ErrorDestination>
    if (typeof exchangeName === 'string' && typeof routingKey === 'string') {
      shortStringOption(what, 'exchangeName', exchangeName)
      shortStringOption(what, 'routingKey', routingKey)
      return { exchangeName, routingKey }
    }
  }
  throw new EncodeError(
    `${what} must be "requeue", "reject" or { exchangeName, routingKey } with two strings, not ${inspectShort(action)}`,
  )
}
