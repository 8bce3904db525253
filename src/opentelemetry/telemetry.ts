import { type Context, context, type TextMapPropagator, type Tracer } from '@opentelemetry/api'
import type { Around } from '../diagnostics/server-context.ts'
import type { Connections } from './connections.ts'
import type { Metrics } from './metrics.ts'

/** The providers and options of one call of `instrument()`. */
export interface Telemetry {
  readonly tracer: Tracer
  readonly metrics: Metrics
  readonly connections: Connections
  readonly propagator: Pick<TextMapPropagator, 'inject' | 'extract'>
  readonly processParent: 'message' | 'registration'
  readonly recordExceptions: boolean
}

/** Run traced code in a context, and in the contexts that others have set around it. */
export function runWithin(traced: { around: Around | undefined }, within: Context): void {
  const { around } = traced
  traced.around = run => context.with(within, () => (around === undefined ? run() : around(run)))
}
