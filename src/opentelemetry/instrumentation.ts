import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import {
  diag,
  type MeterProvider,
  metrics,
  propagation,
  type TextMapPropagator,
  type Tracer,
  type TracerProvider,
  trace,
} from '@opentelemetry/api'
import type { AmqpProtocol } from '../amqp-protocol.ts'
import type { LifecycleEvent } from '../diagnostics/lifecycle-events.ts'
import type { ConnectionStats } from '../diagnostics/stats.ts'
import { CallSpans, ConnectSpans } from './client-spans.ts'
import { Connections } from './connections.ts'
import { OPERATIONS, SCHEMA_URL } from './conventions.ts'
import { ProcessSpans, PublishSpans, RpcSpans } from './message-spans.ts'
import { Metrics } from './metrics.ts'
import type { Telemetry } from './telemetry.ts'

const NAME = 'asyncamqp'
/** The version of this package, as its package.json has it. */
const VERSION = '0.1.0'

/** Options of the instrumentation. */
export interface InstrumentOptions {
  /** Where spans go. Default: the global provider. */
  readonly tracerProvider?: TracerProvider | undefined
  /** Where metrics go. Default: the global provider that there is when the first message or connection is seen. */
  readonly meterProvider?: MeterProvider | undefined
  /** How the context of a message gets into its headers, and out of them. Default: the global propagator. */
  readonly propagator?: Pick<TextMapPropagator, 'inject' | 'extract'> | undefined
  /** This connection alone. Default: all of the process. */
  readonly protocol?: AmqpProtocol | undefined
  /**
   * What the span of the work on a message is a child of: `'message'`, the span that sent the message, or `'registration'`,
   * the span in which the consumer was registered. It has a link to the one that sent the message anyway.
   * Default: `'message'`.
   */
  readonly processParent?: 'message' | 'registration' | undefined
  /**
   * Record errors with their text and stack, which may hold data of a message. Without it, a span has the class and the
   * code of an error, and its text if this package made it. Default: false.
   */
  readonly recordExceptions?: boolean | undefined
}

const OPTIONS: Readonly<Record<keyof InstrumentOptions, (value: unknown) => boolean>> = {
  tracerProvider: has('getTracer'),
  meterProvider: has('getMeter'),
  propagator: has('extract'),
  protocol: has('stats'),
  processParent: value => value === 'message' || value === 'registration',
  recordExceptions: value => typeof value === 'boolean',
}

/** What `instrument()` returns: an instrumentation as `registerInstrumentations()` and `NodeSDK` take it. */
export interface AmqpInstrumentation {
  readonly instrumentationName: string
  readonly instrumentationVersion: string
  /** Start again after `disable()`. */
  enable(): void
  /** Make no more spans and metrics. Spans that are under way end now. */
  disable(): void
  /** Spans go there from now on. */
  setTracerProvider(tracerProvider: TracerProvider): void
  /** Metrics go there from now on, counted from 0. */
  setMeterProvider(meterProvider: MeterProvider): void
  /** It changes nothing: options are given to `instrument()`. */
  setConfig(config: object): void
  /** The configuration that it was given. */
  getConfig(): { enabled: boolean }
}

/**
 * Make spans and metrics for asyncamqp, from now on, until `disable()` is called on the returned object. Call it
 * before `connect()`: the state of a connection that was there before is measured only with the option `protocol`.
 *
 *     registerInstrumentations({ instrumentations: [instrument()] })
 *
 * @throws TypeError for an unknown option or a bad value
 */
export function instrument(options: InstrumentOptions = {}): AmqpInstrumentation {
  for (const [name, value] of Object.entries(options)) {
    if (!Object.hasOwn(OPTIONS, name)) {
      throw new TypeError(`instrument() has no option '${name}'; it has ${Object.keys(OPTIONS).join(', ')}`)
    }
    if (value !== undefined && !OPTIONS[name as keyof InstrumentOptions](value)) {
      throw new TypeError(`instrument(): the value of '${name}' is not one that this option can have`)
    }
  }
  return new Instrumentation(options)
}

/** What all contexts and messages of diagnostics channels have. */
interface Seen {
  readonly connectionId: number
}

interface OperationSpans<C> {
  start(traced: C): void
  finish(traced: C): void
  /** End the spans under way: their ends will not be seen. */
  close?(): void
}

class Instrumentation implements AmqpInstrumentation, Telemetry {
  readonly instrumentationName = NAME
  readonly instrumentationVersion = VERSION
  readonly propagator: Pick<TextMapPropagator, 'inject' | 'extract'>
  readonly processParent: 'message' | 'registration'
  readonly recordExceptions: boolean
  readonly connections: Connections
  tracer: Tracer
  readonly #protocol: AmqpProtocol | undefined
  /** Those of the protocol, which may have two; undefined if all of the process are traced. */
  #ids: ReadonlySet<number | undefined> | undefined
  /** Those whose state is measured. */
  readonly #connected = new Map<number, () => ConnectionStats>()
  #meterProvider: MeterProvider | undefined
  #metrics: Metrics | undefined
  /** One for each subscription; none while it is disabled. */
  #unsubscribers: (() => void)[] = []

  constructor(options: InstrumentOptions) {
    this.propagator = options.propagator ?? propagation
    this.processParent = options.processParent ?? 'message'
    this.recordExceptions = options.recordExceptions ?? false
    this.#protocol = options.protocol
    this.#meterProvider = options.meterProvider
    this.tracer = tracerOf(options.tracerProvider ?? trace.getTracerProvider())
    this.connections = new Connections(this)
    this.enable()
  }

  /** Made late: a meter of the global provider that is taken before the SDK has started stays an empty one. */
  get metrics(): Metrics {
    const provider = this.#meterProvider ?? metrics
    this.#metrics ??= new Metrics(provider.getMeter(NAME, VERSION, { schemaUrl: SCHEMA_URL }), this.#connected)
    return this.#metrics
  }

  enable(): void {
    if (this.#unsubscribers.length > 0) return
    const protocol = this.#protocol
    if (protocol !== undefined) {
      const { connectionId, publisherConnection } = protocol.stats()
      this.#ids = new Set([connectionId, publisherConnection?.connectionId])
      this.#measure(connectionId, () => protocol.stats())
    }
    this.#trace('connect', new ConnectSpans(this))
    this.#trace('call', new CallSpans(this))
    this.#trace('publish', new PublishSpans(this))
    this.#trace('process', new ProcessSpans(this))
    this.#trace('rpc.call', new RpcSpans(this, OPERATIONS.call, 'operationDuration'))
    this.#trace('rpc.handle', new RpcSpans(this, OPERATIONS.handle, 'processDuration'))
    for (const [name, listener] of this.connections.listeners) this.#on(`asyncamqp:${name}`, listener)
    // The figures of a protocol are the sums over both.
    for (const name of protocol === undefined ? ['connecting', 'opened'] : []) {
      this.#on<LifecycleEvent<'connection.opened'>>(`asyncamqp:connection.${name}`, ({ connectionId, stats }) =>
        this.#measure(connectionId, stats),
      )
    }
    this.#on('asyncamqp:connection.closed', ({ connectionId }) => this.#connected.delete(connectionId))
  }

  disable(): void {
    for (const unsubscribe of this.#unsubscribers) unsubscribe()
    this.#unsubscribers = []
    this.connections.close()
    this.#connected.clear()
    this.#closeMetrics()
  }

  setTracerProvider(tracerProvider: TracerProvider): void {
    this.tracer = tracerOf(tracerProvider)
  }

  setMeterProvider(meterProvider: MeterProvider): void {
    this.#closeMetrics()
    this.#meterProvider = meterProvider
    if (this.#connected.size > 0) void this.metrics
  }

  setConfig(): void {}

  /** The configuration that it was given. */
  getConfig(): { enabled: boolean } {
    return { enabled: this.#unsubscribers.length > 0 }
  }

  #measure(connectionId: number, stats: () => ConnectionStats): void {
    this.#connected.set(connectionId, stats)
    // From now on, it can be read.
    void this.metrics
  }

  #closeMetrics(): void {
    this.#metrics?.close()
    this.#metrics = undefined
  }

  #trace<C extends Seen>(operation: string, spans: OperationSpans<C>): void {
    this.#on<C>(`tracing:asyncamqp:${operation}:start`, traced => spans.start(traced))
    this.#on<C>(`tracing:asyncamqp:${operation}:asyncEnd`, traced => spans.finish(traced))
    this.#unsubscribers.push(() => spans.close?.())
  }

  /** An error in a subscriber would end the process. */
  #on<T extends Seen>(channel: string, listener: (message: T) => void): void {
    const guarded = (message: unknown): void => {
      try {
        if (this.#isMine(message as T)) listener(message as T)
      } catch (error) {
        diag.error(`${NAME}: ${channel} was not recorded`, error)
      }
    }
    subscribe(channel, guarded)
    this.#unsubscribers.push(() => unsubscribe(channel, guarded))
  }

  #isMine({ connectionId }: Seen): boolean {
    return this.#ids === undefined || this.#ids.has(connectionId)
  }
}

function tracerOf(provider: TracerProvider): Tracer {
  return provider.getTracer(NAME, VERSION, { schemaUrl: SCHEMA_URL })
}

function has(method: string): (value: unknown) => boolean {
  return value => typeof (value as { readonly [name: string]: unknown } | null)?.[method] === 'function'
}
