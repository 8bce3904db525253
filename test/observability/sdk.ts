import assert from 'node:assert/strict'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after } from 'node:test'
import { metrics, propagation, SpanKind, trace } from '@opentelemetry/api'
import { PrometheusExporter } from '@opentelemetry/exporter-prometheus'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import {
  InMemorySpanExporter,
  NodeTracerProvider,
  type ReadableSpan,
  type Sampler,
  SimpleSpanProcessor,
} from '@opentelemetry/sdk-trace-node'
import { until } from '../support/until.ts'

export type { ReadableSpan }

const KINDS = Object.fromEntries(Object.entries(SpanKind).map(([name, value]) => [value, name]))

/** OpenTelemetry's SDK, as the global one until the tests of the file are over, with the spans it exports. */
export class Sdk {
  readonly #exporter = new InMemorySpanExporter()
  readonly provider: NodeTracerProvider
  // 0 is its default port to it. Text is what Node takes for any free one.
  readonly #prometheus = new PrometheusExporter({
    host: '127.0.0.1',
    port: '0' as unknown as number,
    preventServerStart: true,
  })
  readonly #listening = this.#prometheus.startServer()
  readonly meterProvider = new MeterProvider({ readers: [this.#prometheus] })

  constructor(sampler?: Sampler) {
    const spanProcessors = [new SimpleSpanProcessor(this.#exporter)]
    this.provider = new NodeTracerProvider(sampler === undefined ? { spanProcessors } : { spanProcessors, sampler })
    this.provider.register()
    metrics.setGlobalMeterProvider(this.meterProvider)
    after(async () => {
      await this.provider.shutdown()
      await this.meterProvider.shutdown()
      for (const api of [trace, metrics, propagation]) api.disable()
    })
  }

  get spans(): readonly ReadableSpan[] {
    return this.#exporter.getFinishedSpans()
  }

  forget(): void {
    this.#exporter.reset()
  }

  /** The spans of one name, once there are so many. */
  async named(name: string, count = 1): Promise<ReadableSpan[]> {
    const look = (): ReadableSpan[] => this.spans.filter(span => span.name === name)
    return await until(
      () => `there are ${count} spans "${name}" among ${this.spans.map(({ name }) => name).join(', ')}`,
      () => (look().length >= count ? look() : undefined),
    )
  }

  async one(name: string): Promise<ReadableSpan> {
    const [span] = await this.named(name)
    assert.ok(span)
    return span
  }

  /** What Prometheus gets when it scrapes: every sample, by HTTP. */
  async scrape(): Promise<Sample[]> {
    await this.#listening
    const { port } = this.#server.address() as AddressInfo
    const response = await fetch(`http://127.0.0.1:${port}/metrics`, { headers: { connection: 'close' } })
    return samplesOf(await response.text())
  }

  /** The exporter does not say which port it got. */
  get #server(): Server {
    return (this.#prometheus as unknown as { readonly _server: Server })._server
  }
}

/** One line of what Prometheus scrapes. */
export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

function samplesOf(text: string): Sample[] {
  return Array.from(text.matchAll(/^(\w+)(?:\{(.*)\})? (\S+)/gm), ([, name = '', labels = '', value = '']) => ({
    name,
    labels: Object.fromEntries(
      Array.from(labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g), ([, key = '', value = '']) => [key, value]),
    ),
    value: Number(value),
  }))
}

/** `producer publish orders`, with the spans it has below it, in the order in which they began. */
export function tree(spans: readonly ReadableSpan[], parent?: string): unknown[] {
  const ids = new Set(spans.map(span => span.spanContext().spanId))
  return spans
    .filter(({ parentSpanContext: from }) =>
      parent === undefined ? from === undefined || !ids.has(from.spanId) : from?.spanId === parent,
    )
    .sort((one, other) => compare(one.startTime, other.startTime))
    .map(span => {
      const below = tree(spans, span.spanContext().spanId)
      const label = `${KINDS[span.kind]?.toLowerCase()} ${span.name}`
      return below.length === 0 ? label : { [label]: below }
    })
}

function compare(one: readonly [number, number], other: readonly [number, number]): number {
  return one[0] - other[0] || one[1] - other[1]
}
