import type { ErrorReporter } from '../../channel/port.ts'
import { describeThrown } from '../../errors.ts'
import { follow } from '../../lib/call-safely.ts'
import type { MessageHandler } from './consumer-options.ts'
import type { FailurePolicy } from './failure-policy.ts'
import type { Message } from './message.ts'

/** One place among those that may run at the same time. Made once for many messages: no closures for each. */
class Run {
  message: Message | undefined
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
  /** A place is free again. */
  readonly #freed: () => void
  readonly #runs: Run[] = []
  readonly #freeRuns: Run[] = []
  #running = 0
  #settling = 0
  #idle: (() => void)[] = []

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

  start(message: Message): void {
    this.#running++
    let result: unknown
    try {
      result = this.#handler(message)
    } catch (error) {
      this.#running--
      this.#failed(message, error)
      return
    }
    const run = this.#freeRuns.pop() ?? this.#addRun()
    if (follow(result, run.finished, run.failed)) run.message = message
    else {
      this.#freeRuns.push(run)
      this.#running--
      this.#succeeded(message)
    }
  }

  #addRun(): Run {
    const run = new Run(this.#ended)
    this.#runs.push(run)
    return run
  }

  readonly #ended = (run: Run, failed: boolean, error: unknown): void => {
    const { message } = run
    if (message === undefined) return
    run.message = undefined
    this.#freeRuns.push(run)
    this.#running--
    if (failed) this.#failed(message, error)
    else this.#succeeded(message)
    this.#freed()
    this.#checkIdle()
  }

  #succeeded(message: Message): void {
    message.settle('ack', false)
    this.#policy.succeeded(message)
  }

  #failed(message: Message, error: unknown): void {
    // Work that was broken off because the message was taken away is not a failure of anything.
    const brokenOff = message.controller?.signal.aborted === true && isAbort(error)
    if (!brokenOff) this.#reporter.report(error, 'warn')
    if (message.life === undefined || message.life.over) return
    this.#settling++
    void this.#policy.settle(message, error).then(() => {
      this.#settling--
      this.#checkIdle()
    })
  }

  /** No handler runs, and what failed is settled. */
  get isIdle(): boolean {
    return this.#running + this.#settling === 0
  }

  /** Resolves when that is so. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve()
    return new Promise(resolve => this.#idle.push(resolve))
  }

  #checkIdle(): void {
    if (this.#idle.length === 0 || !this.isIdle) return
    const idle = this.#idle
    this.#idle = []
    for (const resolve of idle) resolve()
  }

  /** Give back what handlers have in hand that do not end. */
  giveUp(): void {
    for (const { message } of this.#runs) message?.nack()
  }
}

function isAbort(error: unknown): boolean {
  return describeThrown(error).name === 'AbortError'
}
