import { AmqpError } from '../errors.ts'

/** Promises that reject in a moment. */
let underWay = 0

/**
 * Reject with an error that shows the lines of the program which await the promise. Unlike a `CallSite`, it costs a call
 * that succeeds nothing. V8 finds who awaits a promise while it is pending, from one whose outcome is handed to its `resolve`
 * as it is.
 */
export function rejectAtAwait(resolve: (never: never) => void, reject: (error: Error) => void, error: Error): void {
  underWay++
  failAtAwait(error).then(resolve, (shown: Error) => {
    underWay--
    reject(shown)
  })
}

async function failAtAwait(error: Error): Promise<never> {
  await undefined
  throw showing(error, failAtAwait)
}

/** Whether what is settled now must be settled by `settleAfter`, to keep the order. */
export function isRejecting(): boolean {
  return underWay > 0
}

/** Settle something after what is under way: it takes as many microtasks. */
export async function settleAfter(settle: () => void): Promise<void> {
  await undefined
  await undefined
  settle()
}

/** Give an error of this package the stack from the caller of `below` on. Never throws. */
export function showing<E>(error: E, below: (...never: never) => unknown): E {
  try {
    if (!(error instanceof AmqpError)) return error
    const { name, message, stack } = error
    Error.captureStackTrace(error, below)
    // Nothing is below a function that is not there: Bun leaves out the frame of one that ends with a call.
    if (stack !== undefined && error.stack === `${name}: ${message}`) error.stack = stack
  } catch {
    // It may be frozen; then it keeps its stack.
  }
  return error
}
