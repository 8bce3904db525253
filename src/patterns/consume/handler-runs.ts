import type { ErrorReporter } from '../../channel/port.ts'
import type { ProcessTrace } from '../../diagnostics/process.ts'
import { describeThrown } from '../../errors.ts'
import { follow } from '../../lib/call-safely.ts'
import { AsyncResource } from '../../lib/platform.ts'
import type { MessageHandler } from './consumer-options.ts'
import type { FailurePolicy } from './failure-policy.ts'
import type { Message } from './message.ts'
import { asFirstPublished } from './retried.ts'

/** One place among those that may run at the same time. Made once for many messages: no closures for each. */
class Run {
  message: Message | undefined
  trace: ProcessTrace | undefined
  readonly #ended: (run: Run, failed: boolean, error: unknown) => void

  constructor(ended: (run: Run, failed: boolean, error: unknown) => void) {
    this.#ended = ended
  }

  readonly finished = (): void => this.#ended(this, false, undefined)
  readonly failed = (error: unknown): void => this.#ended(this, true, error)
}

/** Calls a handler with messages and settles them by how that ends. */
export class HandlerRuns {
  readonly #handler: MessageHandler
  readonly #concurrency: number
  readonly #policy: FailurePolicy
  readonly #reporter: ErrorReporter
  /** A place is free again, or a failed message is settled. */
  readonly #freed: () => void
  readonly #runs: Run[] = []
  readonly #freeRuns: Run[] = []
  #running = 0
  #settling = 0

  constructor(
    handler: MessageHandler,
    concurrency: number,
    policy: FailurePolicy,
    reporter: ErrorReporter,
    freed: () => void,
  ) {
    this.#handler = handler
    this.#concurrency = concurrency
    this.#policy = policy
    this.#reporter = reporter
    this.#freed = freed
  }

  get free(): boolean {
    return this.#running < this.#concurrency
  }

  /** The message for the handler: one that comes back from a wait for its next attempt is as it was first published. */
  prepare(message: Message): Message {
    return this.#policy.mayRetry ? asFirstPublished(message) : message
  }

  /** Call the handler with a message; `trace` follows the work on it. */
  start(message: Message, trace: ProcessTrace | undefined): void {
    this.#running++
    let result: unknown
    try {
      // A context of its own: what it enters stays with it.
      if (trace === undefined)
        result = new AsyncResource('asyncamqp').runInAsyncScope(this.#handler, undefined, message)
      else result = trace.run(this.#handler, message)
    } catch (error) {
      this.#running--
      this.#failed(message, trace, error)
      return
    }
    const run = this.#freeRuns.pop() ?? this.#addRun()
    if (follow(result, run.finished, run.failed)) {
      run.message = message
      run.trace = trace
    } else {
      this.#freeRuns.push(run)
      this.#running--
      this.#succeeded(message, trace)
    }
  }

  #addRun(): Run {
    const run = new Run(this.#ended)
    this.#runs.push(run)
    return run
  }

  readonly #ended = (run: Run, failed: boolean, error: unknown): void => {
    const { message, trace } = run
    if (message === undefined) return
    run.message = undefined
    run.trace = undefined
    this.#freeRuns.push(run)
    this.#running--
    if (failed) this.#failed(message, trace, error)
    else this.#succeeded(message, trace)
    this.#freed()
  }

  #succeeded(message: Message, trace: ProcessTrace | undefined): void {
    message.ack()
    this.#policy.succeeded(message)
    trace?.done()
  }

  #failed(message: Message, trace: ProcessTrace | undefined, error: unknown): void {
    const { isHeld } = message
    if (isHeld) this.#settling++
    trace?.failed(error)
    trace?.done()
    if (!isBrokenOff(message, error)) this.#reporter.report(error, 'warn')
    if (!isHeld) return
    const settled = (): void => {
      this.#settling--
      this.#freed()
    }
    this.#policy.settle(message, error).then(settled, (second: unknown) => {
      this.#reporter.report(second, 'warn')
      message.nack()
      settled()
    })
  }

  /** Handlers that have begun and not ended. */
  get running(): number {
    return this.#running
  }

  get concurrency(): number {
    return this.#concurrency
  }

  /** Messages that are not settled: of handlers that run, and of those that failed. */
  get unsettled(): number {
    return this.#settling + this.#runs.filter(({ message }) => message?.isHeld === true).length
  }

  /** No handler runs, and what failed is settled. */
  get isIdle(): boolean {
    return this.#running + this.#settling === 0
  }

  /** Give back, for `reason`, what handlers have in hand that do not end. */
  giveUp(reason: Error): void {
    for (const { message } of this.#runs) message?.giveBack(reason)
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
