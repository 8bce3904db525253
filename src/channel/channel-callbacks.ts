import type { ConsumerCancelledError } from '../errors.ts'
import { callSafely, inContext } from '../lib/call-safely.ts'
import type { Properties } from '../protocol/received-properties.ts'
import type { ReturnEnvelope, ReturnedMessage } from './consume/delivery.ts'
import type { ErrorReporter } from './port.ts'

type OnReturn<Channel> = (channel: Channel, body: Buffer, envelope: ReturnEnvelope, properties: Properties) => unknown

type OnCancellation<Channel> = (channel: Channel, consumerTag: string, error: ConsumerCancelledError) => unknown

/** The program's callbacks for what the server sends unasked, each in the context in which it was set. Most channels have none. */
export class ChannelCallbacks<Channel> {
  readonly #channel: Channel
  readonly #reporter: ErrorReporter
  #onReturn: OnReturn<Channel> | undefined
  /** That runs it in its context. */
  #runOnReturn: OnReturn<Channel> | undefined
  readonly #onCancellation: OnCancellation<Channel>[] = []

  /** `channel` is what they are called with first. */
  constructor(channel: Channel, reporter: ErrorReporter) {
    this.#channel = channel
    this.#reporter = reporter
  }

  get onReturn(): OnReturn<Channel> | undefined {
    return this.#onReturn
  }

  set onReturn(callback: OnReturn<Channel> | undefined) {
    this.#onReturn = callback
    this.#runOnReturn = callback === undefined ? undefined : inContext(callback)
  }

  addOnCancellation(callback: OnCancellation<Channel>): void {
    this.#onCancellation.push(inContext(callback))
  }

  /** A message came back. Returns whether a callback has got it. */
  returned({ body, envelope, properties }: ReturnedMessage): boolean {
    const onReturn = this.#runOnReturn
    if (onReturn === undefined) return false
    this.#run(() => onReturn(this.#channel, body, envelope, properties))
    return true
  }

  /** A consumer was cancelled. Returns whether a callback has got that. */
  cancelled(error: ConsumerCancelledError): boolean {
    // One that a callback adds is called from the next time on.
    const callbacks = [...this.#onCancellation]
    for (const callback of callbacks) this.#run(() => callback(this.#channel, error.consumerTag, error))
    return callbacks.length > 0
  }

  /** Run code of the program. */
  #run(call: () => unknown): void {
    callSafely(call, thrown => this.#reporter.report(thrown, 'unhandled'))
  }
}
