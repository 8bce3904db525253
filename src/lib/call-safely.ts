import { ignore } from './ignore.ts'
import { AsyncResource, emitWarning, scopeOfCall } from './platform.ts'
import { asError } from './thrown.ts'

/**
 * The program's code (callbacks, handlers, listeners, deciders) may throw anything, return anything, call back twice or
 * never. It is called from here, so that none of it comes back up our stack.
 */

/**
 * Call code of the program's for its own sake. What it throws, or what its promise rejects with, goes to `failed`.
 */
export function callSafely(call: () => unknown, failed: (thrown: unknown) => void): void {
  let result: unknown
  try {
    result = call()
  } catch (thrown) {
    failed(thrown)
    return
  }
  follow(result, ignore, failed)
}

/**
 * Wait for a value that code of the program returned. One of the two functions is called once, later, never within this call.
 * Returns false, and calls neither, if there is nothing to wait for.
 */
export function follow(
  result: unknown,
  finished: (value: unknown) => void,
  failed: (thrown: unknown) => void,
): boolean {
  if (!isAwaited(result)) return false
  try {
    // Its own `then` is not asked, and no further promise is made.
    if (result instanceof Promise) {
      promiseThen.call(result, finished, failed)
      return true
    }
  } catch {
    // An object that only claims to be a promise, or that has a foreign constructor.
  }
  // The language itself takes thenables apart, also those that throw, or call back at once or twice.
  new Promise(resolve => resolve(result)).then(finished, failed)
  return true
}

/** Whether `follow` waits for a value: it may be a promise, or have a `then`. */
export function isAwaited(result: unknown): boolean {
  return result !== null && (typeof result === 'object' || typeof result === 'function')
}

const promiseThen = Promise.prototype.then

/**
 * An error that no caller takes: it becomes an unhandled rejection, in a turn of its own.
 */
export function surface(thrown: unknown): void {
  void Promise.reject(asError(thrown))
}

/** A warning of the process has said what gets such errors in another way. */
let hasHint = false

/**
 * Emits a warning of the process with this error, or with its text and name if that is another one than its message, or if
 * it is of another realm, which Node refuses.
 */
export function warn(error: Error, text: string = error.message): void {
  try {
    if (text === error.message) {
      showStack(error)
      emitWarning(error)
      return
    }
  } catch {
    // Its text is all that can be shown.
  }
  emitWarning(text, error.name)
}

/** Node prints the name and the message of a warning, and its `detail`: that gets the lines of the stack. */
function showStack(error: Error): void {
  try {
    const { stack = '' } = error
    const at = stack.indexOf('\n    at ')
    if ('detail' in error) return
    const lines = at === -1 ? [] : [stack.slice(at + 1)]
    if (!hasHint) lines.push('(the option onError of connect() gets such errors)')
    hasHint = true
    if (lines.length === 0) return
    Object.defineProperty(error, 'detail', { value: lines.join('\n'), configurable: true, writable: true })
  } catch {
    // It may be frozen, or a proxy.
  }
}

/** Wraps `call` so that it never throws: its errors surface as uncaught ones. */
export function unthrowing<A extends unknown[]>(call: (...args: A) => unknown): (...args: A) => void {
  return (...args) => callSafely(() => call(...args), surface)
}

/**
 * Binds `call` to the present asynchronous context: it sees the AsyncLocalStorage of the program as it is here. A store
 * that it enters stays with that one run.
 */
export function inContext<T, A extends unknown[], R>(call: (this: T, ...args: A) => R): (this: T, ...args: A) => R {
  const context = new AsyncResource('asyncamqp')
  return function (...args) {
    return context.runInAsyncScope(() => scopeOfCall(context).runInAsyncScope(call, this, ...args))
  }
}
