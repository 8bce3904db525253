import { type ConnectionAttempt, MessageReturnedError } from '../errors.ts'
import type { Clock } from '../lib/clock.ts'
import { channel } from '../lib/platform.ts'
import type { LifecycleEvent, LifecycleEventName, LifecycleEvents } from './lifecycle-events.ts'
import { LIFECYCLE_EVENT_NAMES, lineOf } from './log-lines.ts'
import type { LogLevel, LogWriter } from './logger.ts'
import { likenessOf, Repeats, withCount } from './repeats.ts'
import type { EndpointSource } from './server-context.ts'

/** What a structured logger gets in another form. */
interface EventFields {
  readonly error?: Error | undefined
  readonly servers?: readonly ConnectionAttempt[]
}

/** What lifecycle events are reported to. */
export interface LifecycleSink {
  /** `name` has happened, as `details` say. `emit` gives it to the program, as an event of one of its objects. */
  occurred<N extends LifecycleEventName>(name: N, details: LifecycleEvents[N], emit?: () => void): void
}

/** Kept for good: Bun forgets the subscribers of a channel that nothing else holds. */
const CHANNELS = new Map(LIFECYCLE_EVENT_NAMES.map(name => [name, channel(`asyncamqp:${name}`)]))

/**
 * The one place that reports what happens to a connection: to the log, to the diagnostics channel, and by an event of the
 * program. Call it when a change of state is complete: it runs the program's code.
 */
export class LifecycleReporter implements LifecycleSink {
  readonly #source: EndpointSource
  readonly #log: LogWriter | undefined
  /** Lines and warnings that may come very often. */
  protected readonly repeats: Repeats
  /** Errors that have a line. */
  #logged: WeakSet<Error> | undefined

  constructor(source: EndpointSource, log: LogWriter | undefined, clock: Clock) {
    this.#source = source
    this.#log = log
    this.repeats = new Repeats(clock)
  }

  occurred<N extends LifecycleEventName>(name: N, details: LifecycleEvents[N], emit?: () => void): void {
    const plain = CHANNELS.get(name)
    if (this.#log !== undefined || plain?.hasSubscribers === true) {
      const event: LifecycleEvent<N> = { ...this.#source.endpoint, ...details }
      this.#write(name, event)
      // Node turns an error of a subscriber into an uncaught exception, which does not reach this code.
      if (plain?.hasSubscribers === true) plain.publish(event)
    }
    emit?.()
  }

  #write<N extends LifecycleEventName>(name: N, event: LifecycleEvent<N>): void {
    const line = this.#log === undefined ? undefined : lineOf(name, event)
    if (line === undefined) return
    const [level, text, key] = line
    const { error, servers, ...fields } = event as EventFields
    // A channel's end that no promise of the program says was reported already.
    if (name === 'channel.closed' && this.#hasLine(error)) return
    const tried = servers?.map(({ cause, ...attempt }) => ({ ...attempt, cause: cause.message }))
    this.#line(level, text, key, error, { event: name, ...fields, servers: tried })
  }

  #line(level: LogLevel, text: string, key: string | undefined, error: Error | undefined, fields: object): void {
    if (error !== undefined) {
      this.#logged ??= new WeakSet()
      this.#logged.add(error)
    }
    // A returned message is data of the program.
    const err = error instanceof MessageReturnedError ? undefined : error
    const write = (times: number): void => this.#log?.write(level, withCount(text, times), { ...fields, err })
    if (key === undefined) write(1)
    else this.repeats.say(key, write)
  }

  #hasLine(error: Error | undefined): boolean {
    return error !== undefined && this.#logged?.has(error) === true
  }

  /**
   * Log an error that no promise of the program rejects with, unless another line has it; `what` is the operation that
   * failed.
   */
  reported(error: Error, what: string | undefined): void {
    if (this.#hasLine(error)) return
    const before = what === undefined ? '' : `${what}: `
    const fields = { event: 'error', ...this.#source.endpoint }
    this.#line('warn', before + error.message, before + likenessOf(error), error, fields)
  }
}
