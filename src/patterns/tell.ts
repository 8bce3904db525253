import type { EventEmitter } from 'node:events'
import type { ErrorReporter } from '../channel/port.ts'

/** Tell the listeners of an event. One that throws is reported, and keeps nobody else from being told. */
export function tell<Events extends Record<keyof Events, unknown[]>, K extends keyof Events & string>(
  emitter: EventEmitter<Events>,
  reporter: ErrorReporter,
  event: K,
  ...args: Events[K]
): void {
  for (const listener of (emitter as EventEmitter).rawListeners(event)) {
    const call = async (): Promise<void> => {
      await Reflect.apply(listener, emitter, args)
    }
    call().catch((error: unknown) => reporter.report(error, 'unhandled'))
  }
}
