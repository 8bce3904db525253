import { type ConnectionAttempt, MessageReturnedError } from '../errors.ts'
import type { Clock } from '../lib/clock.ts'
import { channel } from '../lib/platform.ts'
import type { LifecycleEvent, LifecycleEventName, LifecycleEvents } from './lifecycle-events.ts'
import { LIFECYCLE_EVENT_NAMES, lineOf } from './log-lines.ts'
import type { LogLevel, LogWriter } from './logger.ts'
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

/** Milliseconds in which a line that may come very often is written once, and lines that are remembered for that. */
const REPEATED = 60_000
const MOST_REMEMBERED = 100

/**
 * The one place that reports what happens to a connection: to the log, to the diagnostics channel, and by an event of the
 * program. Call it when a change of state is complete: it runs the program's code.
 */
export class LifecycleReporter implements LifecycleSink {
  readonly #source: EndpointSource
  readonly #log: LogWriter | undefined
  readonly #clock: Clock
  /** Errors that have a line. */
  #logged: WeakSet<Error> | undefined
  /** Keys of lines, with when they were written and how often they were left out since. */
  #remembered: Map<string, { readonly since: number; leftOut: number }> | undefined

  constructor(source: EndpointSource, log: LogWriter | undefined, clock: Clock) {
    this.#source = source
    this.#log = log
    this.#clock = clock
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
    const tried = servers?.map(({ cause, ...attempt }) => ({ ...attempt, cause: cause.message }))
    this.#line(level, text, key, error, { event: name, ...fields, servers: tried })
  }

  #line(level: LogLevel, text: string, key: string | undefined, error: Error | undefined, fields: object): void {
    const written = key === undefined ? text : this.#unlessRepeated(text, key, error)
    if (error !== undefined) {
      this.#logged ??= new WeakSet()
      this.#logged.add(error)
    }
    // A returned message is data of the program.
    const err = error instanceof MessageReturnedError ? undefined : error
    if (written !== undefined) this.#log?.write(level, written, { ...fields, err })
  }

  #unlessRepeated(text: string, key: string, error: Error | undefined): string | undefined {
    if (error !== undefined && this.#logged?.has(error) === true) return undefined
    const now = this.#clock.now()
    this.#remembered ??= new Map()
    const known = this.#remembered.get(key)
    if (known !== undefined && now - known.since < REPEATED) {
      known.leftOut++
      return undefined
    }
    if (this.#remembered.size >= MOST_REMEMBERED) this.#remembered.clear()
    this.#remembered.set(key, { since: now, leftOut: 0 })
    return known === undefined || known.leftOut === 0 ? text : `${text} (and ${known.leftOut} times more before)`
  }

  /**
   * Log an error that no promise of the program rejects with, unless another line has it; `what` is the operation that
   * failed.
   */
  reported(error: Error, what: string | undefined): void {
    const text = what === undefined ? error.message : `${what}: ${error.message}`
    this.#line('warn', text, text, error, { event: 'error', ...this.#source.endpoint })
  }
}
