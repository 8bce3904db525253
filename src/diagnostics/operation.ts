import type { Channel } from 'node:diagnostics_channel'
import { surface } from '../lib/call-safely.ts'
import { channel } from '../lib/platform.ts'
import type { Around } from './server-context.ts'

/** What the context of every operation has, for the events that say how it ended. */
export interface Outcomes {
  /** It has succeeded. */
  succeeded(): void
  /** It has failed, with `error`. */
  failed(error: unknown): void
  /** What a subscriber wants it to run within. */
  readonly around?: Around | undefined
}

/**
 * The tracing channel of one operation: `tracing:asyncamqp:<name>:start`, and so on. These are the channels of
 * `diagnostics_channel.tracingChannel('asyncamqp:<name>')`, got by their names, since not every runtime has that function.
 *
 * Each operation that starts is published on `start` and, when its call has returned, on `end`. One that goes on after its
 * call is published once on `asyncStart` and `asyncEnd` when it is over, whichever way. One that failed is published on
 * `error` before that.
 *
 * A subscriber that throws is the runtime's to report: nothing of it comes up here.
 */
export class Operation<C extends Outcomes> {
  readonly start: Channel<unknown, C>
  readonly end: Channel<unknown, C>
  readonly asyncStart: Channel<unknown, C>
  readonly asyncEnd: Channel<unknown, C>
  readonly error: Channel<unknown, C>

  constructor(name: string) {
    const named = (event: string): Channel<unknown, C> =>
      channel(`tracing:asyncamqp:${name}:${event}`) as Channel<unknown, never>
    this.start = named('start')
    this.end = named('end')
    this.asyncStart = named('asyncStart')
    this.asyncEnd = named('asyncEnd')
    this.error = named('error')
  }

  /** Somebody subscribes to one of the five. It is asked for each message: five loads that are inlined. */
  get active(): boolean {
    return (
      this.start.hasSubscribers ||
      this.end.hasSubscribers ||
      this.asyncStart.hasSubscribers ||
      this.asyncEnd.hasSubscribers ||
      this.error.hasSubscribers
    )
  }

  /**
   * A store may be bound to `start`. Node keeps them in a map that it does not document, and `runStores` costs ten times as
   * much as `publish`; if there is no such map, `runStores` is called.
   */
  get bindsStores(): boolean {
    const { hasSubscribers, _stores: stores } = this.start as Channel & {
      readonly _stores?: ReadonlyMap<object, unknown>
    }
    return hasSubscribers && stores?.size !== 0
  }

  /** Do what is over when it returns. What it throws is thrown again. */
  sync<T>(context: C, run: () => T): T {
    return this.begin(context, () => {
      try {
        const result = run()
        context.succeeded()
        return result
      } catch (error) {
        this.failed(context, error)
        throw error
      }
    })
  }

  /** Do what is over when its promise settles. It always returns a promise, of its own: what is thrown rejects it. */
  promise<T>(context: C, run: () => Promise<T>): Promise<T> {
    return this.begin(context, () => {
      try {
        return this.#follow(context, run())
      } catch (error) {
        return this.#follow(context, Promise.reject(error))
      }
    })
  }

  /**
   * Do what the program may call and forget: that its promise rejects is handled already, and what is thrown is thrown
   * again.
   */
  forgettable<T>(context: C, run: () => Promise<T>): Promise<T> {
    return this.begin(context, () => {
      let promise: Promise<T>
      try {
        promise = run()
      } catch (error) {
        this.#follow(context, Promise.reject(error)).catch(ignore)
        throw error
      }
      this.#follow(context, promise).catch(ignore)
      return promise
    })
  }

  #follow<T>(context: C, promise: Promise<T>): Promise<T> {
    return promise.then(
      value => {
        context.succeeded()
        this.finish(context)
        return value
      },
      (error: unknown) => {
        this.failed(context, error)
        this.finish(context)
        throw error
      },
    )
  }

  /** Publish `start`, run the call in the contexts that subscribers have bound to it, and publish `end`. */
  begin<T>(context: C, run: () => T): T {
    const { start } = this
    try {
      if (this.bindsStores && typeof start.runStores === 'function') {
        return start.runStores(context, () => within(context.around, run))
      }
      start.publish(context)
      return within(context.around, run)
    } finally {
      this.end.publish(context)
    }
  }

  failed(context: C, error: unknown): void {
    context.failed(error)
    this.error.publish(context)
  }

  /** It is over. */
  finish(context: C): void {
    this.asyncStart.publish(context)
    this.asyncEnd.publish(context)
  }
}

function within<T>(around: Around | undefined, run: () => T): T {
  return around === undefined ? run() : runWithin(around, run)
}

/** Call `run` exactly once, whatever a subscriber's function makes of it. What that one throws by itself surfaces. */
function runWithin<T>(around: Around, run: () => T): T {
  let result: (() => T) | undefined
  let failure: unknown
  const once = (): T => {
    if (result === undefined) {
      try {
        const value = run()
        result = () => value
      } catch (error) {
        failure = error
        result = () => {
          throw error
        }
      }
    }
    return result()
  }
  try {
    around(once)
  } catch (thrown) {
    if (thrown !== failure) surface(thrown)
  }
  return once()
}

function ignore(): void {}
