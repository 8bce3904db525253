import {
  type Attributes,
  type BatchObservableCallback,
  type Context,
  type ContextManager,
  context,
  type Link,
  type MeterProvider,
  type Observable,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  type TextMapPropagator,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'

/** What is active while a function runs, and not after it: to follow promises would make all of a history slower. */
export class OfCalls implements ContextManager {
  #active = ROOT_CONTEXT

  active(): Context {
    return this.#active
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>>(
    within: Context,
    run: F,
    that?: ThisParameterType<F>,
    ...args: A
  ): ReturnType<F> {
    const before = this.#active
    this.#active = within
    try {
      return run.apply(that, args)
    } finally {
      this.#active = before
    }
  }

  bind<T>(_: Context, target: T): T {
    return target
  }

  enable(): this {
    return this
  }

  disable(): this {
    return this
  }
}

/** What the client says to a tracer. */
export class Spans implements TracerProvider {
  readonly all: { name: string; says: string[]; ended: number; attributes: Attributes; id: string }[] = []

  getTracer() {
    const startSpan = (name: string, options: SpanOptions = {}, parent: Context = context.active()): Span =>
      this.#start(name, options, trace.getSpanContext(parent))
    return { startSpan, startActiveSpan: () => undefined as never }
  }

  /** Its own span, and that of another trace, by the number. */
  named({ spanId }: SpanContext): string {
    return this.all.find(({ id }) => id === spanId)?.name ?? spanId
  }

  #start(name: string, { kind = 0, attributes = {}, links = [] }: SpanOptions, parent?: SpanContext): Span {
    const own: SpanContext = {
      traceId: parent?.traceId ?? `trace of ${name}`,
      spanId: `${this.all.length}`,
      traceFlags: 1,
    }
    const says = [SpanKind[kind] ?? '?', ...(parent === undefined ? [] : [`in ${this.named(parent)}`])]
    const linked = ({ context: to }: Link): number => says.push(`to ${this.named(to)}`)
    for (const link of links) linked(link)
    const kept = { name, says, ended: 0, attributes: { ...attributes }, id: own.spanId }
    this.all.push(kept)
    const tell = (what: string): Span => {
      says.push(what)
      return span
    }
    const span: Span = {
      spanContext: () => own,
      isRecording: () => kept.ended === 0,
      setAttribute: (key, value) => {
        kept.attributes[key] = value
        return span
      },
      setAttributes: more => {
        Object.assign(kept.attributes, more)
        return span
      },
      addEvent: event => tell(event.replace('asyncamqp.', '')),
      addLink: link => {
        linked(link)
        return span
      },
      addLinks: () => span,
      setStatus: ({ message = '' }) => tell(message === '' ? 'failed' : 'failed with its text'),
      updateName: () => span,
      end: () => void kept.ended++,
      recordException: error => void tell(`exception ${typeof error === 'object' ? error.message : error}`),
    }
    return span
  }
}

/** What the client says to a meter, and what it answers when it is asked. */
export class Figures {
  readonly counts = new Map<string, number>()
  readonly #callbacks = new Map<BatchObservableCallback, readonly Observable[]>()

  get provider(): MeterProvider {
    const add = (metric: string, value: number, attributes: Attributes = {}): void => {
      const key = `${metric.replace(/^(asyncamqp|messaging)\./, '')} ${described(attributes)}`
      this.counts.set(key, (this.counts.get(key) ?? 0) + value)
    }
    const observable = (name: string) => ({ name, addCallback: () => {}, removeCallback: () => {} })
    const meter = {
      createHistogram: (name: string) => ({
        record: (seconds: number, attributes: Attributes) =>
          add(name, seconds >= 0 && seconds < 600 ? 1 : Number.NaN, attributes),
      }),
      createCounter: (name: string) => ({
        add: (count: number, attributes: Attributes) => add(name, count, attributes),
      }),
      createObservableCounter: observable,
      createObservableUpDownCounter: observable,
      addBatchObservableCallback: (callback: BatchObservableCallback, of: readonly Observable[]) =>
        void this.#callbacks.set(callback, of),
      removeBatchObservableCallback: (callback: BatchObservableCallback) => void this.#callbacks.delete(callback),
    }
    this.#observe = (observed, value, attributes) =>
      add((observed as unknown as { name: string }).name, value, attributes)
    return { getMeter: () => meter } as unknown as MeterProvider
  }

  #observe: (observed: Observable, value: number, attributes?: Attributes) => void = () => {}

  /** All of which there is any, sorted. */
  read(): string[] {
    for (const callback of this.#callbacks.keys())
      void callback({ observe: (of, value, attributes) => this.#observe(of, value, attributes) })
    return [...this.counts].flatMap(([key, count]) => (count === 0 ? [] : [`${key}: ${Math.ceil(count)}`])).sort()
  }
}

const DESCRIBING = [
  'messaging.operation.name',
  'messaging.destination.template',
  'error.type',
  'asyncamqp.connection.state',
]

function described(attributes: Attributes): string {
  return DESCRIBING.flatMap(key => attributes[key] ?? []).join(' ')
}

/** The trace of a message is in a header of it. */
export const PROPAGATOR: Pick<TextMapPropagator, 'inject' | 'extract'> = {
  inject: (of, carrier, setter) => {
    const { traceId = '', spanId = '' } = trace.getSpanContext(of) ?? {}
    setter.set(carrier, 'trace', `${traceId}/${spanId}`)
  },
  extract: (of, carrier, getter) => {
    const [traceId, spanId] = String(getter.get(carrier, 'trace') ?? '').split('/')
    if (traceId === undefined || spanId === undefined) return of
    return trace.setSpanContext(of, { traceId, spanId, traceFlags: 1, isRemote: true })
  },
}
