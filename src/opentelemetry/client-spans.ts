import { context, type Span, trace } from '@opentelemetry/api'
import type { CallContext } from '../diagnostics/call.ts'
import type { ConnectContext } from '../diagnostics/connecting.ts'
import { ATTRIBUTES, clientOperation } from './conventions.ts'
import { isNamedByBroker, operationAttributes } from './destinations.ts'
import { errorType, recordFailure } from './failures.ts'
import type { Telemetry } from './telemetry.ts'

/**
 * Of methods with a reply, by their names in AMQP. They have a span only within another one: otherwise each declare at
 * the start of a program would be a trace.
 */
export class CallSpans {
  readonly #telemetry: Telemetry
  readonly #ongoing = new Map<CallContext, { readonly span: Span | undefined; readonly startedAt: number }>()

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry
  }

  start(traced: CallContext): void {
    const { method, target } = traced
    const operation = clientOperation(method)
    const active = context.active()
    if (trace.getSpan(active) === undefined) {
      this.#ongoing.set(traced, { span: undefined, startedAt: performance.now() })
      return
    }
    const known = target !== undefined && target !== '' && !isNamedByBroker(target)
    const span = this.#telemetry.tracer.startSpan(known ? `${method} ${target}` : method, {
      kind: operation.kind,
      attributes: {
        ...operationAttributes(operation),
        ...(target !== undefined && { [ATTRIBUTES.destinationName]: target }),
        ...(known && { [ATTRIBUTES.destinationTemplate]: target }),
        [ATTRIBUTES.serverAddress]: traced.serverAddress,
        [ATTRIBUTES.serverPort]: traced.serverPort,
        [ATTRIBUTES.clientId]: traced.connectionName,
        [ATTRIBUTES.virtualHost]: traced.virtualHost,
      },
    })
    this.#ongoing.set(traced, { span, startedAt: performance.now() })
  }

  finish(traced: CallContext): void {
    const ongoing = this.#ongoing.get(traced)
    if (ongoing === undefined) return
    this.#ongoing.delete(traced)
    const { span, startedAt } = ongoing
    const { error, serverAddress, serverPort } = traced
    const { metrics, recordExceptions } = this.#telemetry
    // Targets are left out: a program may declare a queue for each of its own clients.
    metrics.operationDuration.record((performance.now() - startedAt) / 1_000, {
      ...operationAttributes(clientOperation(traced.method)),
      [ATTRIBUTES.serverAddress]: serverAddress,
      [ATTRIBUTES.serverPort]: serverPort,
      ...(error !== undefined && { [ATTRIBUTES.errorType]: errorType(error) }),
    })
    if (span === undefined) return
    if (error !== undefined) recordFailure(span, error, recordExceptions)
    span.end()
  }

  close(): void {
    for (const { span } of this.#ongoing.values()) span?.end()
    this.#ongoing.clear()
  }
}

const CONNECT = clientOperation('connect')

/** Of attempts to connect. Those of a recovery are children of its span. */
export class ConnectSpans {
  readonly #telemetry: Telemetry
  readonly #ongoing = new Map<ConnectContext, Span>()

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry
  }

  start(traced: ConnectContext): void {
    const { tracer, connections } = this.#telemetry
    const recovery = traced.recovering ? connections.recoveryOf(traced) : undefined
    const active = context.active()
    const span = tracer.startSpan(
      `connect ${traced.servers[0] ?? ''}`,
      {
        kind: CONNECT.kind,
        attributes: {
          ...operationAttributes(CONNECT),
          [ATTRIBUTES.clientId]: traced.connectionName,
          [ATTRIBUTES.attempt]: traced.attempt,
        },
      },
      recovery === undefined ? active : trace.setSpan(active, recovery),
    )
    this.#ongoing.set(traced, span)
  }

  finish(traced: ConnectContext): void {
    const span = this.#ongoing.get(traced)
    if (span === undefined) return
    this.#ongoing.delete(traced)
    const { serverAddress, serverPort, virtualHost, error } = traced
    if (serverAddress !== undefined) span.setAttribute(ATTRIBUTES.serverAddress, serverAddress)
    if (serverPort !== undefined) span.setAttribute(ATTRIBUTES.serverPort, serverPort)
    if (virtualHost !== undefined) span.setAttribute(ATTRIBUTES.virtualHost, virtualHost)
    if (error !== undefined) recordFailure(span, error, this.#telemetry.recordExceptions)
    span.end()
  }

  close(): void {
    for (const span of this.#ongoing.values()) span.end()
    this.#ongoing.clear()
  }
}
