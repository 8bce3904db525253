import { EventEmitter } from 'node:events'
import { showing } from './await-site.ts'
import { callSafely, inContext } from './call-safely.ts'

type Listener = (this: unknown, ...args: unknown[]) => unknown

/** Call the listeners of an event. Errors of a listener go to `failed`, and the others are still called. */
export function emitSafely<Events extends Record<keyof Events, unknown[]>, K extends keyof Events & string>(
  emitter: EventEmitter<Events>,
  failed: (thrown: unknown) => void,
  event: K,
  ...args: Events[K]
): void {
  for (const listener of (emitter as EventEmitter).rawListeners(event)) {
    callSafely(() => Reflect.apply(listener, emitter, args), failed)
  }
}

const { addListener, prependListener } = EventEmitter.prototype

/** `listener` as it is kept. EventEmitter finds it by its property `listener`, as it finds those of `once`. */
function kept(emitter: EventEmitter, event: string | symbol, listener: Listener, once: boolean): Listener {
  // EventEmitter says what is wrong.
  if (typeof listener !== 'function') return listener
  const listen = inContext(listener)
  const run: Listener = (...args) => {
    if (once) emitter.removeListener(event, run)
    return Reflect.apply(listen, emitter, args)
  }
  return Object.assign(run, { listener })
}

const methods = [
  ['on', addListener, false],
  ['addListener', addListener, false],
  ['once', addListener, true],
  ['prependListener', prependListener, false],
  ['prependOnceListener', prependListener, true],
] as const

/**
 * Have the listeners of a class's emitters run in the asynchronous context in which they were added. Not a base class,
 * since the declarations of public classes would name it.
 *
 * @param check throws for the name of an unknown event.
 */
export function keepListenerContexts(prototype: EventEmitter, check: (event: string | symbol) => void): void {
  for (const [name, add, once] of methods) {
    function listen(this: EventEmitter, event: string | symbol, listener: Listener): EventEmitter {
      try {
        check(event)
      } catch (error) {
        throw showing(error, listen)
      }
      return Reflect.apply(add, this, [event, kept(this, event, listener, once)])
    }
    Object.defineProperty(prototype, name, { value: listen, configurable: true, writable: true })
  }
}
