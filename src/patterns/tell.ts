import type { ErrorReporter } from '../channel/port.ts'
import { emitSafely, type SafeEmitter } from '../lib/safe-emitter.ts'

/** Tell the listeners of an event. One that throws is reported, and keeps nobody else from being told. */
export function tell<Events extends Record<keyof Events, unknown[]>, K extends keyof Events & string>(
  emitter: SafeEmitter<Events>,
  reporter: ErrorReporter,
  event: K,
  ...args: Events[K]
): void {
  emitSafely(emitter, thrown => reporter.report(thrown, 'unhandled'), event, ...args)
}
