import { setTimeout as sleep } from 'node:timers/promises'

export interface UntilOptions {
  /** Milliseconds; default 15,000. */
  readonly timeout?: number
  /** Milliseconds between two looks; default 50. */
  readonly interval?: number
}

/**
 * Looks until there is something to see: resolves with the first value that is neither undefined nor false.
 *
 * @param what completes "Waited in vain until ...", the error's message when the time is over; a function is asked then
 */
export async function until<T>(
  what: string | (() => string),
  look: () => Promise<T | undefined | false> | T | undefined | false,
  { timeout = 15_000, interval = 50 }: UntilOptions = {},
): Promise<T> {
  const deadline = Date.now() + timeout
  for (;;) {
    const seen = await look()
    if (seen !== undefined && seen !== false) return seen
    if (Date.now() > deadline) {
      throw new Error(`Waited ${timeout} ms in vain until ${typeof what === 'string' ? what : what()}.`)
    }
    await sleep(interval)
  }
}
