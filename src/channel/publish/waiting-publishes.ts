import { abortedBy, BufferFullError, TimeoutError } from '../../errors.ts'
import { Fifo } from '../../lib/fifo.ts'
import type { BasicProperties } from '../../protocol/properties.ts'
import type { Deadline } from '../port.ts'
import type { PendingPublish } from './confirms.ts'

/** A publish that is not written yet: the broker blocks, or too much waits for the socket already. */
export interface WaitingPublish {
  readonly payload: Uint8Array | string
  readonly exchange: string
  readonly routingKey: string
  readonly properties: BasicProperties | undefined
  readonly mandatory: boolean
  /** Its entry among the unconfirmed, where the channel is in confirm mode and somebody waits. */
  readonly pending: PendingPublish | undefined
  readonly resolve: (written: void | PromiseLike<void>) => void
  readonly reject: (error: Error) => void
}

/** What bounds the publishes of a channel through all its lives: one that waits may be written in a later one. */
export interface PublishBounds {
  after(milliseconds: number, expired: () => void): Deadline
  /** Nobody waits for that publish any more, wherever it is; `makeError` makes what its caller is told. */
  giveUp(publish: WaitingPublish, makeError: (outcome: 'notSent' | 'unknown') => Error): void
}

/** Publishes of one channel in the order they were made, holding the caller's payloads by reference. */
export class WaitingPublishes {
  readonly #queue = new Fifo<WaitingPublish>()
  readonly #most: number
  #emptied: (() => void)[] = []

  /** More than `most` are refused. */
  constructor(most: number) {
    this.#most = most
  }

  get length(): number {
    return this.#queue.length
  }

  /** `what` names the publish in the error that refuses it. */
  add(publish: WaitingPublish, what: () => string): void {
    if (this.#queue.length >= this.#most) {
      throw new BufferFullError(
        `${what()} was refused: ${this.#queue.length} publishes wait already, the limit set by maxWaiting`,
      )
    }
    this.#queue.push(publish)
  }

  /** Write what may be written: `write` returns false to stop before the publish it was given. */
  drain(mayWrite: (publish: WaitingPublish) => boolean, write: (publish: WaitingPublish) => void): void {
    for (let next = this.#queue.peek(); next !== undefined && mayWrite(next); next = this.#queue.peek()) {
      this.#queue.shift()
      write(next)
    }
    if (this.#queue.length === 0) this.#wake()
  }

  /** Take a publish out again. Returns false where it was written already. */
  remove(publish: WaitingPublish): boolean {
    const removed = this.#queue.remove(publish)
    if (removed && this.#queue.length === 0) this.#wake()
    return removed
  }

  /** Resolves when none waits. */
  empty(): Promise<void> {
    return this.#queue.length === 0 ? Promise.resolve() : new Promise(resolve => this.#emptied.push(resolve))
  }

  #wake(): void {
    const emptied = this.#emptied
    this.#emptied = []
    for (const resolve of emptied) resolve()
  }

  /** Reject everything. Returns how many promises there were. */
  failAll(makeError: (publish: WaitingPublish) => Error): number {
    const all = this.#queue.takeAll()
    for (const publish of all) publish.reject(makeError(publish))
    this.#wake()
    return all.length
  }

  /** All of them, which are no longer here: the channel's next life writes them. */
  takeAll(): WaitingPublish[] {
    const all = this.#queue.takeAll()
    this.#wake()
    return all
  }
}

/**
 * Bound a publish: past `timeout` milliseconds, or aborted, `giveUp` says whether the message was still unsent and
 * stops waiting for it. Returns how to end the bound.
 */
export function boundPublish(
  signal: AbortSignal | undefined,
  timeout: number | undefined,
  after: (milliseconds: number, expired: () => void) => Deadline,
  what: () => string,
  giveUp: (makeError: (outcome: 'notSent' | 'unknown') => Error) => void,
): () => void {
  const aborted = (): void => {
    if (signal !== undefined) giveUp(outcome => abortedBy(signal, what(), outcome))
  }
  signal?.addEventListener('abort', aborted, { once: true })
  const deadline =
    timeout === undefined
      ? undefined
      : after(timeout, () =>
          giveUp(
            outcome =>
              new TimeoutError(
                `${what()} was not ${outcome === 'notSent' ? 'sent' : 'confirmed'} within ${timeout} ms`,
                { outcome },
              ),
          ),
        )
  return () => {
    signal?.removeEventListener('abort', aborted)
    deadline?.cancel()
  }
}
