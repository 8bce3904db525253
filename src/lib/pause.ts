import { type Cancellation, onAbort } from './abort-listeners.ts'
import type { TimerOptions, TimerSource } from './clock.ts'

/** Wait that long, but no longer than until `signal` is aborted, which may be so already. Never rejects. */
export function pause(
  timers: TimerSource,
  milliseconds: number,
  signal: AbortSignal | Cancellation,
  options?: TimerOptions,
): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise(resolve => {
    const timer = timers.after(
      milliseconds,
      () => {
        aborted.cancel()
        resolve()
      },
      options,
    )
    const aborted = onAbort(signal, () => {
      timer.cancel()
      resolve()
    })
  })
}
