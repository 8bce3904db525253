import type { Channel } from 'node:diagnostics_channel'
import { surface } from '../lib/call-safely.ts'
import { ignore } from '../lib/ignore.ts'
import { channel } from '../lib/platform.ts'
import type { Around } from './server-context.ts'

/** The fields that the context of every operation has, for the events at its end. */
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
    const {
      hasSubscribers,
      _stores: stores,
      runStores,
    } = this.start as Channel & {
      readonly _stores?: ReadonlyMap<object, unknown>
    }
    return hasSubscribers && stores?.size !== 0 && typeof runStores === 'function'
  }

  /**
   * Runs an operation that is over when its promise settles. It always returns its own promise, which rejects with thrown
   * errors.
   */
  promise<T>(context: C, run: () => Promise<T>): Promise<T>
  promise<S, A, B, T>(context: C, run: Run<S, C, A, B, Promise<T>>, self: S, a: A, b: B): Promise<T>
  promise<S, A, B, T>(context: C, run: Run<S, C, A, B, Promise<T>>, self?: S, a?: A, b?: B): Promise<T> {
    const call = { operation: this, run, self: self as S }
    return this.begin(context, followed<S, C, A, B, T>, call, a as A, b as B)
  }

  /**
   * Runs an operation whose promise the program may ignore: its rejection is handled already, and thrown errors are
   * thrown again. If there is nothing to wait for, `run` returns undefined, and it is over at once.
   */
  forgettable<S, A, B>(
    context: C,
    run: Run<S, C, A, B, Promise<void> | undefined>,
    self: S,
    a: A,
    b: B,
  ): Promise<void> | undefined {
    const promise = this.begin(context, forgotten<S, C, A, B>, { operation: this, run, self }, a, b)
    if (promise !== undefined) return promise
    context.succeeded()
    this.finish(context)
    return undefined
  }

  /**
   * Publish its end when `promise` has settled, in the contexts that subscribers have bound to `start`, if it is called
   * there.
   */
  follow<T>(context: C, promise: Promise<T>): Promise<T> {
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
  begin<S, A, B, T>(context: C, run: Run<S, C, A, B, T>, self: S, a: A, b: B): T {
    try {
      if (this.bindsStores) return this.start.runStores(context, () => within(context, run, self, a, b))
      this.start.publish(context)
      return context.around === undefined ? run(self, context, a, b) : within(context, run, self, a, b)
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

/** It takes fixed parameters, since a closure or a rest parameter would slow down each message. */
type Run<S, C, A, B, T> = (self: S, context: C, a: A, b: B) => T

/** What is called within `begin`, and who follows its promise. */
interface Call<S, C extends Outcomes, A, B, T> {
  readonly operation: Operation<C>
  readonly run: Run<S, C, A, B, T>
  readonly self: S
}

function followed<S, C extends Outcomes, A, B, T>(
  { operation, run, self }: Call<S, C, A, B, Promise<T>>,
  context: C,
  a: A,
  b: B,
): Promise<T> {
  try {
    return operation.follow(context, run(self, context, a, b))
  } catch (error) {
    return operation.follow(context, Promise.reject(error))
  }
}

function forgotten<S, C extends Outcomes, A, B>(
  { operation, run, self }: Call<S, C, A, B, Promise<void> | undefined>,
  context: C,
  a: A,
  b: B,
): Promise<void> | undefined {
  let promise: Promise<void> | undefined
  try {
    promise = run(self, context, a, b)
  } catch (error) {
    operation.follow(context, Promise.reject(error)).catch(ignore)
    throw error
  }
  if (promise === undefined && (operation.bindsStores || context.around !== undefined)) promise = Promise.resolve()
  if (promise !== undefined) operation.follow(context, promise).catch(ignore)
  return promise
}

function within<S, C extends Outcomes, A, B, T>(context: C, run: Run<S, C, A, B, T>, self: S, a: A, b: B): T {
  const { around } = context
  return around === undefined ? run(self, context, a, b) : runWithin(around, () => run(self, context, a, b))
}

/** Call `run` exactly once, whatever a subscriber's function makes of it. Errors that it throws by itself surface. */
function runWithin<T>(around: Around, run: () => T): T {
  const call = new OneCall(run)
  try {
    around(() => call.result())
  } catch (thrown) {
    if (!call.threw(thrown)) surface(thrown)
  }
  return call.result()
}

/** Is made once, and has the same result each time. */
class OneCall<T> {
  readonly #run: () => T
  #state: 'new' | 'returned' | 'threw' = 'new'
  #value: unknown

  constructor(run: () => T) {
    this.#run = run
  }

  result(): T {
    if (this.#state === 'new') this.#make()
    if (this.#state === 'threw') throw this.#value
    return this.#value as T
  }

  #make(): void {
    try {
      this.#value = this.#run()
      this.#state = 'returned'
    } catch (error) {
      this.#value = error
      this.#state = 'threw'
    }
  }

  threw(thrown: unknown): boolean {
    return this.#state === 'threw' && this.#value === thrown
  }
}
