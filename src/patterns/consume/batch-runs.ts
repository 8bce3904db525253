import type { ProcessTrace } from '../../diagnostics/process.ts'
import { inContext } from '../../lib/call-safely.ts'
import type { Timer, TimerSource } from '../../lib/clock.ts'
import { ackBatch } from './ack-batch.ts'
import type { BatchHandler, CheckedBatch } from './consumer-options.ts'
import type { FailedMessages } from './failed-messages.ts'
import type { MakeRuns, Runs } from './handler-runs.ts'
import type { Message } from './message.ts'

interface Entry {
  readonly message: Message
  readonly trace: ProcessTrace | undefined
}

/** Collects messages and calls a handler with arrays of them; settles each by how that ends. */
export class BatchRuns implements Runs {
  readonly concurrency: number
  readonly #handler: BatchHandler
  readonly #size: number
  readonly #wait: number
  readonly #failed: FailedMessages
  readonly #timers: TimerSource
  /** A batch is done. */
  readonly #freed: () => void
  /** The batch that is being collected. */
  #filling: Entry[] = []
  #timer: Timer | undefined
  /** The batches whose handlers run. */
  readonly #running = new Set<readonly Entry[]>()

  constructor(
    handler: BatchHandler,
    { size, wait }: CheckedBatch,
    concurrency: number,
    failed: FailedMessages,
    timers: TimerSource,
    freed: () => void,
  ) {
    // A context of its own: what the handler enters stays with it.
    this.#handler = inContext(handler)
    this.#size = size
    this.#wait = wait
    this.concurrency = concurrency
    this.#failed = failed
    this.#timers = timers
    this.#freed = freed
  }

  get free(): boolean {
    return this.#running.size < this.concurrency
  }

  get running(): number {
    return this.#running.size
  }

  get unsettled(): number {
    const batches = [...this.#running, this.#filling]
    return batches.flat().filter(({ message }) => message.isHeld).length
  }

  get isIdle(): boolean {
    return this.#running.size + this.#filling.length === 0
  }

  working(): readonly Message[] {
    return [...this.#running].flatMap(batch => batch[0]?.message ?? [])
  }

  /** One after the other, so that a batch is in order. */
  get places(): number {
    return this.free ? 1 : 0
  }

  start(message: Message, trace: ProcessTrace | undefined): void {
    // The broker has taken back those before: their batch begins again, also its time.
    if (this.#filling[0]?.message.isHeld === false) this.#forget()
    this.#filling.push({ message, trace })
    if (this.#filling.length >= this.#size) this.flush()
    else this.#timer ??= this.#timers.after(this.#wait, () => this.flush())
  }

  /** Returns what was collected. */
  #forget(): readonly Entry[] {
    this.#timer?.cancel()
    this.#timer = undefined
    const filled = this.#filling
    this.#filling = []
    return filled
  }

  /** Call the handler with the collected messages. */
  flush(): void {
    const filled = this.#forget()
    // The broker delivers again the messages that it has taken back meanwhile.
    const batch = filled.filter(({ message }) => message.isHeld)
    if (batch.length > 0) void this.#run(batch)
    else if (filled.length > 0) this.#freed()
  }

  /** Never rejects. */
  async #run(batch: readonly Entry[]): Promise<void> {
    this.#running.add(batch)
    const messages = batch.map(({ message }) => message)
    for (const { trace } of batch) trace?.begin()
    try {
      await this.#handler([...messages])
      this.#running.delete(batch)
      ackBatch(messages, this.#running.size + this.#failed.unsettled === 0)
      for (const { message, trace } of batch) {
        this.#failed.succeeded(message)
        trace?.done()
      }
    } catch (error) {
      this.#running.delete(batch)
      this.#failed.report(messages, 'handler', error)
      for (const { message, trace } of batch) this.#failed.settle(message, trace, 'handler', error)
    }
    this.#freed()
  }

  giveUp(reason: Error): void {
    this.#timer?.cancel()
    for (const batch of [...this.#running, this.#filling]) for (const { message } of batch) message.giveBack(reason)
    this.#filling = []
  }
}

/** The types of `protocol.consumer()` say that the handler takes arrays. */
export const inBatches: MakeRuns = (handler, { batch = { size: 1, wait: 0 }, concurrency }, failed, timers, freed) =>
  new BatchRuns(handler as BatchHandler, batch, concurrency, failed, timers, freed)
