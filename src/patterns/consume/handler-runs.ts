import type { ProcessTrace } from '../../diagnostics/process.ts'
import { follow, isAwaited } from '../../lib/call-safely.ts'
import type { TimerSource } from '../../lib/clock.ts'
import { AsyncResource, scopeOfCall } from '../../lib/platform.ts'
import type { BatchHandler, ConsumerSettings, MessageHandler } from './consumer-options.ts'
import type { FailedMessages } from './failed-messages.ts'
import type { Message } from './message.ts'

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

/** What a dispatcher gives messages to. */
export interface Runs {
  /** It takes another message. */
  readonly free: boolean
  /** How many messages it takes, of which no more may be decoded at a time. */
  readonly places: number
  /** Handlers that have begun and not ended. */
  readonly running: number
  readonly concurrency: number
  /** Messages of handlers that run, or will, that are not settled. */
  readonly unsettled: number
  /** No handler runs, or will without another message. */
  readonly isIdle: boolean
  /** What each handler that runs works on; of a batch, its first message. */
  working(): readonly Message[]
  /** Handle a message; `trace` follows the work on it. */
  start(message: Message, trace: ProcessTrace | undefined): void
  /** No more messages will come: handle what is collected. */
  flush(): void
  /** Give back, for `reason`, what handlers have in hand that do not end. */
  giveUp(reason: Error): void
}

/** Calls a handler with messages and settles them by how that ends. */
export class HandlerRuns implements Runs {
  readonly #handler: MessageHandler
  readonly #concurrency: number
  readonly #failed: FailedMessages
  /** A place is free again. */
  readonly #freed: () => void
  /** That of the consumer. */
  readonly #context = new AsyncResource('asyncamqp')
  readonly #runs: Run[] = []
  readonly #freeRuns: Run[] = []
  #running = 0

  constructor(handler: MessageHandler, concurrency: number, failed: FailedMessages, freed: () => void) {
    this.#handler = handler
    this.#concurrency = concurrency
    this.#failed = failed
    this.#freed = freed
  }

  get free(): boolean {
    return this.#running < this.#concurrency
  }

  get places(): number {
    return this.#concurrency - this.#running
  }

  start(message: Message, trace: ProcessTrace | undefined): void {
    this.#running++
    if (trace === undefined) this.#call(message, undefined)
    else trace.run(this.#context, HandlerRuns.#callTraced, this, message)
  }

  static #callTraced(runs: HandlerRuns, _context: unknown, message: Message, trace: ProcessTrace): void {
    runs.#call(message, trace)
  }

  #call(message: Message, trace: ProcessTrace | undefined): void {
    const handler = this.#handler
    let result: unknown
    try {
      // A context of its own: what it enters stays with it.
      if (trace !== undefined) result = handler(message)
      else result = scopeOfCall(this.#context).runInAsyncScope(handler, undefined, message)
    } catch (error) {
      this.#running--
      this.#fail(message, trace, error)
      return
    }
    if (!isAwaited(result)) {
      this.#running--
      this.#succeed(message, trace)
      return
    }
    const run = this.#freeRuns.pop() ?? this.#addRun()
    run.message = message
    run.trace = trace
    follow(result, run.finished, run.failed)
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
    if (failed) this.#fail(message, trace, error)
    else this.#succeed(message, trace)
    // What follows is other messages' work, in the context of this one.
    if (trace === undefined) this.#freed()
    else this.#context.runInAsyncScope(this.#freed)
  }

  #succeed(message: Message, trace: ProcessTrace | undefined): void {
    message.ack()
    this.#failed.succeeded(message)
    trace?.done()
  }

  #fail(message: Message, trace: ProcessTrace | undefined, error: unknown): void {
    this.#failed.report([message], 'handler', error)
    this.#failed.settle(message, trace, 'handler', error)
  }

  get running(): number {
    return this.#running
  }

  get concurrency(): number {
    return this.#concurrency
  }

  working(): readonly Message[] {
    return this.#runs.flatMap(({ message }) => message ?? [])
  }

  get unsettled(): number {
    return this.#runs.filter(({ message }) => message?.isHeld === true).length
  }

  get isIdle(): boolean {
    return this.#running === 0
  }

  /** It collects nothing. */
  flush(): void {}

  giveUp(reason: Error): void {
    for (const { message } of this.#runs) message?.giveBack(reason)
  }
}

/** What calls a handler. Only programs with batches load the code for them. */
export type MakeRuns = (
  handler: MessageHandler | BatchHandler,
  settings: ConsumerSettings,
  failed: FailedMessages,
  timers: TimerSource,
  freed: () => void,
) => Runs

export const oneByOne: MakeRuns = (handler, { concurrency }, failed, _timers, freed) =>
  new HandlerRuns(handler as MessageHandler, concurrency, failed, freed)
