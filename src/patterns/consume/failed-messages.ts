import type { ProcessTrace } from '../../diagnostics/process.ts'
import { AsyncResource } from '../../lib/platform.ts'
import { describeThrown } from '../../lib/thrown.ts'
import type { FailurePolicy } from './failure-policy.ts'
import type { Message } from './message.ts'

/** What failed, in reports. */
export type Failing = 'handler' | 'decoding'

/** The messages of a consumer whose handler failed, or that could not be decoded, until they are settled. */
export class FailedMessages {
  readonly #policy: FailurePolicy
  readonly #report: (error: unknown, failing: Failing) => void
  /** One of them is settled. */
  readonly #settled: () => void
  /** That of the consumer: other messages follow, in the context of this one. */
  readonly #context = new AsyncResource('asyncamqp')
  readonly #failed = new Set<Message>()

  constructor(policy: FailurePolicy, report: (error: unknown, failing: Failing) => void, settled: () => void) {
    this.#policy = policy
    this.#report = report
    this.#settled = settled
  }

  /** None is being decided about, or waits to be settled. */
  get isIdle(): boolean {
    return this.#failed.size === 0
  }

  /** Those that are not settled, and that the broker has not taken back. */
  get unsettled(): number {
    let held = 0
    for (const message of this.#failed) if (message.isHeld) held++
    return held
  }

  /** Give back, for `reason`, what is not settled: nothing says when the program has decided. */
  giveUp(reason: Error): void {
    for (const message of this.#failed) message.giveBack(reason)
  }

  /** A handler succeeded: if its message had failed before, that is over. */
  succeeded(message: Message): void {
    this.#policy.succeeded(message)
  }

  /** Report why, unless the work was broken off since a message was taken away. */
  report(messages: readonly Message[], failing: Failing, error: unknown): void {
    if (!messages.some(message => isBrokenOff(message, error))) this.#report(error, failing)
  }

  /** Apply the failure policy to a message. */
  settle(message: Message, trace: ProcessTrace | undefined, failing: Failing, error: unknown): void {
    const { isHeld } = message
    if (isHeld) this.#failed.add(message)
    trace?.failed(error)
    trace?.done()
    if (!isHeld) return
    const settled = (): void => {
      this.#failed.delete(message)
      this.#context.runInAsyncScope(this.#settled)
    }
    this.#policy.settle(message, error, trace?.hasCalled === true).then(settled, (second: unknown) => {
      this.#report(second, failing)
      message.nack()
      settled()
    })
  }
}

/** Whether work was broken off because the message was taken away, which is not a failure of anything. */
function isBrokenOff({ controller }: Message, error: unknown): boolean {
  if (controller?.signal.aborted !== true) return false
  const { reason } = controller.signal
  if (error === reason || describeThrown(error).name === 'AbortError') return true
  try {
    return (error as Partial<Error>).cause === reason
  } catch {
    return false
  }
}
