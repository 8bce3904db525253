import { abortedBy, atCallSite, BufferFullError, TimeoutError } from '../errors.ts'
import { Fifo } from '../lib/fifo.ts'
import type { CallContext } from './calls.ts'
import type { Deadline } from './port.ts'

interface Operation {
  run(): void
  readonly context: CallContext
  fail(error: Error): void
}

/** What the program asked of a channel while its connection is being recovered: done in that order afterwards. */
export class DeferredOperations {
  readonly #after: (milliseconds: number, expired: () => void) => Deadline
  readonly #most: number
  readonly #operations = new Fifo<Operation>()

  /** More than `most` are refused. */
  constructor(most: number, after: (milliseconds: number, expired: () => void) => Deadline) {
    this.#most = most
    this.#after = after
  }

  /** Do `operation` later, unless it is given up before. */
  add<T>(operation: () => Promise<T>, context: CallContext): Promise<T> {
    const { what, site, signal, timeout, outcome } = context
    if (signal?.aborted) return Promise.reject(abortedBy(signal, what, outcome))
    if (this.#operations.length >= this.#most) {
      return Promise.reject(
        new BufferFullError(
          `${what} was refused: ${this.#operations.length} operations wait already, the limit set by maxWaiting`,
        ),
      )
    }
    return new Promise((resolve, reject) => {
      const giveUp = (error: Error): void => {
        if (this.#operations.remove(entry)) entry.fail(error)
      }
      const aborted = (): void => {
        if (signal !== undefined) giveUp(abortedBy(signal, what, outcome))
      }
      signal?.addEventListener('abort', aborted, { once: true })
      const deadline =
        timeout === undefined
          ? undefined
          : this.#after(timeout, () =>
              giveUp(
                new TimeoutError(`${what} was not sent within ${timeout} ms: the connection is being recovered`, {
                  outcome,
                }),
              ),
            )
      const unbind = (): void => {
        signal?.removeEventListener('abort', aborted)
        deadline?.cancel()
      }
      const entry: Operation = {
        context,
        run: () => {
          unbind()
          operation().then(resolve, reject)
        },
        fail: error => {
          unbind()
          reject(atCallSite(error, site))
        },
      }
      this.#operations.push(entry)
    })
  }

  get length(): number {
    return this.#operations.length
  }

  /** Do the first ones that `may` says of, up to one of which it does not. */
  runWhile(may: (context: CallContext) => boolean): void {
    for (let next = this.#operations.peek(); next !== undefined && may(next.context); next = this.#operations.peek()) {
      this.#operations.shift()
      next.run()
    }
  }

  runAll(): void {
    if (this.#operations.length === 0) return
    for (const operation of this.#operations.takeAll()) operation.run()
  }

  failAll(makeError: (context: CallContext) => Error): void {
    if (this.#operations.length === 0) return
    for (const operation of this.#operations.takeAll()) operation.fail(makeError(operation.context))
  }
}
