// Sets OpenTelemetry up for one process: metrics at http://localhost:PORT/metrics, and one line for each span, in the
// terminal or in the file that TRACE_FILE names. In production, an OTLP exporter takes the place of `SpanLines`.
import { appendFileSync } from 'node:fs'
import { metrics, trace } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  NodeTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
} from '@opentelemetry/sdk-trace-node'
import { instrument } from 'asyncamqp/opentelemetry'

const { TRACE_FILE } = process.env

/** One line of JSON for each span. */
class SpanLines implements SpanExporter {
  readonly #service: string

  constructor(service: string) {
    this.#service = service
  }

  export(spans: ReadableSpan[], done: (result: { code: number }) => void): void {
    for (const span of spans) {
      const { traceId, spanId } = span.spanContext()
      const line = JSON.stringify({
        service: this.#service,
        traceId,
        spanId,
        parentSpanId: span.parentSpanContext?.spanId,
        name: span.name,
        kind: span.kind,
        startMs: inMilliseconds(span.startTime),
        endMs: inMilliseconds(span.endTime),
        status: span.status.code,
        attributes: span.attributes,
        events: span.events.map(({ name, time }) => ({ name, atMs: inMilliseconds(time) })),
      })
      if (TRACE_FILE === undefined) console.log(line)
      else appendFileSync(TRACE_FILE, `${line}\n`)
    }
    done({ code: 0 })
  }

  async shutdown(): Promise<void> {}
}

const inMilliseconds = ([seconds, nanoseconds]: [number, number]): number => seconds * 1e3 + nanoseconds / 1e6

/** Call it before `connect()`. `port` is that of the metrics. */
export function startTelemetry(service: string, port: number): { stop(): Promise<void> } {
  const resource = resourceFromAttributes({ 'service.name': service })
  const tracerProvider = new NodeTracerProvider({
    resource,
    spanProcessors: [new SimpleSpanProcessor(new SpanLines(service))],
  })
  tracerProvider.register() // with W3C's propagator, and a context that follows promises
  const meterProvider = new MeterProvider({ resource, readers: [new PrometheusExporter({ port })] })
  metrics.setGlobalMeterProvider(meterProvider)
  const instrumentation = instrument()
  return {
    async stop() {
      instrumentation.disable()
      trace.disable()
      await Promise.all([tracerProvider.shutdown(), meterProvider.shutdown()])
    },
  }
}
