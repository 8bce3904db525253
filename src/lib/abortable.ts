import { asError } from '../errors.ts'
import { onAbort } from './abort-listeners.ts'

/**
 * What `ask` answers, unless `signal` is aborted before: then this rejects with the signal's reason, and an answer that
 * comes all the same goes to `late`. `ask` is code of the program's: it may throw, or answer never.
 */
export function abortable<T>(
  signal: AbortSignal,
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
    new Promise<T>(answer => answer(ask())).then(
      answer => {
        registration.cancel()
        if (aborted) late(answer)
        else resolve(answer)
      },
      error => {
        registration.cancel()
        reject(error)
      },
    )
  })
}
