import { channel } from 'node:diagnostics_channel'

const EVENTS = ['start', 'end', 'error', 'asyncStart', 'asyncEnd'] as const

/** Every operation that is traced. */
export const OPERATIONS = ['connect', 'publish', 'process', 'settle', 'call', 'rpc.call', 'rpc.handle'] as const

export type TraceEvent = (typeof EVENTS)[number]

/** One operation that was seen, with its events in the order in which they came. */
export interface Recorded<C> {
  readonly context: C
  readonly events: TraceEvent[]
}

/** Records the events of the tracing channel of one operation, by their names. */
export class TraceRecorder<C extends object> {
  readonly operation: string
  readonly all: Recorded<C>[] = []
  readonly #byContext = new Map<object, Recorded<C>>()
  readonly #unsubscribe: (() => void)[] = []

  /** `seen` is called with each event, after it is recorded. */
  constructor(operation: string, seen: (event: TraceEvent, context: C) => void = () => {}) {
    this.operation = operation
    for (const event of EVENTS) {
      const on = channel(`tracing:asyncamqp:${operation}:${event}`)
      const take = (message: unknown): void => {
        const context = message as C
        const recorded = this.#byContext.get(context) ?? { context, events: [] }
        if (!this.#byContext.has(context)) this.all.push(recorded)
        this.#byContext.set(context, recorded)
        recorded.events.push(event)
        seen(event, context)
      }
      on.subscribe(take)
      this.#unsubscribe.push(() => on.unsubscribe(take))
    }
  }

  get contexts(): C[] {
    return this.all.map(({ context }) => context)
  }

  /** The events of each, as one text: `start end asyncStart asyncEnd`. */
  get events(): string[] {
    return this.all.map(({ events }) => events.join(' '))
  }

  /** What has started and is not over. */
  get open(): C[] {
    return this.all.filter(({ events }) => !events.includes('asyncEnd')).map(({ context }) => context)
  }

  stop(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
  }
}
