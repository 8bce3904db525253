import type { EventEmitter } from 'node:events'
import type { ErrorReporter } from '../channel/port.ts'
import { emitSafely } from '../lib/safe-emitter.ts'

/** Call the listeners of an event. Errors of a listener are reported, and the others are still called. */
export function emitEvent<Events extends Record<keyof Events, unknown[]>, K extends keyof Events & string>(
  emitter: EventEmitter<Events>,
  reporter: ErrorReporter,
  event: K,
  ...args: Events[K]
): void {
  emitSafely(emitter, thrown => reporter.report(thrown, 'unhandled'), event, ...args)
}
