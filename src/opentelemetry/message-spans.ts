import {
  type Attributes,
  type Context,
  context,
  type Link,
  type Span,
  type SpanOptions,
  trace,
} from '@opentelemetry/api'
import type { ProcessContext } from '../diagnostics/process.ts'
import type { PublishContext } from '../diagnostics/publish.ts'
import type { RpcCallContext, RpcHandleContext } from '../diagnostics/rpc.ts'
import { CARRIER, isEmpty } from './carrier.ts'
import { ATTRIBUTES, EVENTS, FORMER_NAMES, OPERATIONS, type OperationNames } from './conventions.ts'
import { type Destination, Destinations } from './destinations.ts'
import { errorAttributes, errorType, recordFailure } from './failures.ts'
import { runWithin, type Telemetry } from './telemetry.ts'

/** A message on its way, or the work on one. */
export type TracedMessage = PublishContext | ProcessContext | RpcCallContext | RpcHandleContext

/** What is kept on the context of a message until it is over. */
interface Ongoing {
  readonly span: Span
  readonly destination: Destination
  readonly startedAt: number
}

/** How a message ended, if that is worth an event. */
const OUTCOME_EVENTS: Readonly<Partial<Record<string, string>>> = {
  returned: EVENTS.returned,
  nacked: EVENTS.nacked,
  requeued: EVENTS.requeued,
  rejected: EVENTS.rejected,
  retried: EVENTS.retried,
  copied: EVENTS.copied,
  lost: EVENTS.lost,
}

/** The spans of one operation on single messages. */
abstract class MessageSpans<C extends TracedMessage> {
  protected readonly telemetry: Telemetry
  protected readonly destinations: Destinations
  /** The key under which a context holds its `Ongoing`: a `WeakMap` would cost several times as much. */
  readonly #key = Symbol('span')

  constructor(telemetry: Telemetry, operation: OperationNames) {
    this.telemetry = telemetry
    this.destinations = new Destinations(operation)
  }

  protected begin(traced: C, destination: Destination, options: SpanOptions, parent: Context): Span {
    const { tracer, metrics } = this.telemetry
    const span = tracer.startSpan(destination.spanName, options, parent)
    const isRecording = span.isRecording()
    // If nothing of it is kept, its end is not looked at.
    if (!isRecording && !metrics.areRead) return span
    const ongoing: Ongoing = { span, destination, startedAt: metrics.areRead ? performance.now() : 0 }
    const kept = traced as unknown as { [key: symbol]: Ongoing }
    kept[this.#key] = ongoing
    if (!isRecording) return span
    span.setAttributes(destination.details)
    const { messageId, correlationId } = traced
    if (messageId !== undefined) span.setAttribute(ATTRIBUTES.messageId, messageId)
    if (correlationId !== undefined) span.setAttribute(ATTRIBUTES.correlationId, correlationId)
    span.setAttribute(ATTRIBUTES.bodySize, traced.bodySize)
    this.telemetry.connections.add(traced, span)
    return span
  }

  finish(traced: C): void {
    const kept = traced as unknown as { [key: symbol]: Ongoing | undefined }
    const ongoing = kept[this.#key]
    if (ongoing === undefined) return
    kept[this.#key] = undefined
    const { span, destination, startedAt } = ongoing
    const { error, outcome } = traced
    const type = error === undefined ? '' : errorType(error)
    if (startedAt > 0) this.measure((performance.now() - startedAt) / 1_000, destination.metricAttributes, type)
    // Also one that does not record any more, since a handler has ended it.
    this.telemetry.connections.remove(traced)
    if (span.isRecording()) {
      const event = OUTCOME_EVENTS[outcome ?? '']
      if (outcome !== undefined) span.setAttribute(ATTRIBUTES.outcome, outcome)
      if (event !== undefined) span.addEvent(event, error === undefined ? {} : errorAttributes(error))
      if (error !== undefined) recordFailure(span, error, this.telemetry.recordExceptions)
    }
    span.end()
  }

  /** @param errorType `''` if there was no error */
  protected abstract measure(seconds: number, attributes: Attributes, errorType: string): void
}

function withErrorType(attributes: Attributes, errorType: string): Attributes {
  return errorType === '' ? attributes : { ...attributes, [ATTRIBUTES.errorType]: errorType }
}

/** Of publishes. The span is the context that the message carries. */
export class PublishSpans extends MessageSpans<PublishContext> {
  constructor(telemetry: Telemetry) {
    super(telemetry, OPERATIONS.publish)
  }

  start(traced: PublishContext): void {
    const { propagator } = this.telemetry
    const destination = this.destinations.of(traced, '')
    const active = context.active()
    const { headers } = traced
    const given = isEmpty(headers)
      ? undefined
      : trace.getSpanContext(propagator.extract(withoutSpan(active), headers, CARRIER))
    // A message that is passed on within its trace goes on under the new span. One that was given the context of another
    // trace, by an outbox for instance, keeps it.
    if (given !== undefined && given.traceId !== trace.getSpanContext(active)?.traceId) {
      this.begin(traced, destination, withLinks(destination, [{ context: given }]), active)
      return
    }
    const span = this.begin(traced, destination, destination.options, active)
    propagator.inject(trace.setSpan(active, span), headers, CARRIER)
  }

  protected measure(seconds: number, attributes: Attributes, errorType: string): void {
    const { metrics } = this.telemetry
    metrics.operationDuration.record(seconds, withErrorType(attributes, errorType))
    metrics.sent.add(attributes, errorType)
  }
}

/** Of the work on messages. Each is a child of the span that sent the message, and has a link to it. */
export class ProcessSpans extends MessageSpans<ProcessContext> {
  constructor(telemetry: Telemetry) {
    super(telemetry, OPERATIONS.process)
  }

  start(traced: ProcessContext): void {
    const { propagator, processParent, metrics } = this.telemetry
    const destination = this.destinations.of(traced, traced.queueName)
    const active = context.active()
    const { headers } = traced
    const received =
      headers === undefined ? withoutSpan(active) : propagator.extract(withoutSpan(active), headers, CARRIER)
    const sender = trace.getSpanContext(received)
    // The span in which the consumer was registered has mostly ended, and cannot be the parent of all of its messages.
    const registration = trace.getSpanContext(active)
    const links: Link[] = []
    if (sender !== undefined) links.push({ context: sender })
    if (processParent === 'message' && registration !== undefined) links.push({ context: registration })
    const parent = processParent === 'message' ? received : active
    const span = this.begin(traced, destination, withLinks(destination, links), parent)
    runWithin(traced, trace.setSpan(received, span))
    metrics.consumed.add(destination.metricAttributes, '')
    if (!span.isRecording()) return
    const { deliveryTag, redelivered, deliveryCount } = traced
    span.setAttributes({ [ATTRIBUTES.deliveryTag]: deliveryTag, [FORMER_NAMES.deliveryTag]: deliveryTag })
    if (redelivered) span.addEvent(EVENTS.redelivered, { [ATTRIBUTES.deliveryCount]: deliveryCount })
  }

  protected measure(seconds: number, attributes: Attributes, errorType: string): void {
    this.telemetry.metrics.processDuration.record(seconds, withErrorType(attributes, errorType))
  }
}

/** Spans that contain others: calls of RPC clients, and the handling of requests by RPC servers. */
export class RpcSpans extends MessageSpans<RpcCallContext | RpcHandleContext> {
  readonly #duration: 'operationDuration' | 'processDuration'

  constructor(telemetry: Telemetry, operation: OperationNames, duration: 'operationDuration' | 'processDuration') {
    super(telemetry, operation)
    this.#duration = duration
  }

  start(traced: RpcCallContext | RpcHandleContext): void {
    const destination = this.destinations.of(traced, 'queueName' in traced ? traced.queueName : '')
    const active = context.active()
    runWithin(traced, trace.setSpan(active, this.begin(traced, destination, destination.options, active)))
  }

  protected measure(seconds: number, attributes: Attributes, errorType: string): void {
    this.telemetry.metrics[this.#duration].record(seconds, withErrorType(attributes, errorType))
  }
}

/** Without a spread, which would cost each message more than all else here. */
function withLinks({ options }: Destination, links: Link[]): SpanOptions {
  return links.length === 0 ? options : { kind: options.kind, attributes: options.attributes, links }
}

function withoutSpan(active: Context): Context {
  return trace.getSpan(active) === undefined ? active : trace.deleteSpan(active)
}
