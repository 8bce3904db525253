import { type Cancellation, onAbort } from './abort-listeners.ts'
import { follow } from './call-safely.ts'
import { asError } from './thrown.ts'

/**
 * The answer of `ask`, unless `signal` is aborted before. Then this rejects with the reason of the signal, and a late
 * answer goes to `late`. `ask` is code of the program's: it may throw, or answer never.
 */
export function abortable<T>(
  signal: AbortSignal | Cancellation,
  ask: () => T | PromiseLike<T>,
  late: (answer: T) => void = () => {},
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(asError(signal.reason))
      return
    }
    let aborted = false
    const registration = onAbort(signal, () => {
      aborted = true
      reject(asError(signal.reason))
    })
    const answered = (answer: T): void => {
      registration.cancel()
      if (aborted) late(answer)
      else resolve(answer)
    }
    const failed = (error: unknown): void => {
      registration.cancel()
      reject(error)
    }
    try {
      const answer = ask()
      if (!follow(answer, value => answered(value as T), failed)) answered(answer as T)
    } catch (error) {
      failed(error)
    }
  })
}
