import type { ErrorReporter } from '../../channel/port.ts'
import type { Lifetime } from '../../lib/at-most.ts'
import { follow } from '../../lib/call-safely.ts'

/**
 * Ask the program whether an attempt that failed was the last. If it throws, or does not answer within `milliseconds` or
 * before the end of the connection, that is not a yes.
 */
export function asksToGiveUp(
  owner: Lifetime & ErrorReporter,
  milliseconds: number,
  ask: () => unknown,
): Promise<boolean> {
  return new Promise(resolve => {
    const forgetEnd = owner.onEnded(() => answered(false))
    const timer = owner.after(milliseconds, () => answered(false))
    const answered = (answer: unknown): void => {
      forgetEnd()
      timer.cancel()
      resolve(Boolean(answer))
    }
    const failed = (thrown: unknown): void => {
      owner.report(thrown, 'unhandled')
      answered(false)
    }
    try {
      const answer = ask()
      if (!follow(answer, answered, failed)) answered(answer)
    } catch (thrown) {
      failed(thrown)
    }
  })
}
