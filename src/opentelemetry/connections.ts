import { type Attributes, ROOT_CONTEXT, type Span } from '@opentelemetry/api'
import type { LifecycleEvent, LifecycleEventName } from '../diagnostics/lifecycle-events.ts'
import type { Endpoint } from '../diagnostics/server-context.ts'
import { ATTRIBUTES, clientOperation, EVENTS } from './conventions.ts'
import { operationAttributes } from './destinations.ts'
import { errorAttributes, recordFailure } from './failures.ts'
import type { TracedMessage } from './message-spans.ts'
import { connectionAttributes } from './metrics.ts'
import type { Telemetry } from './telemetry.ts'

/** A message whose span is recorded and not over. */
interface Open {
  readonly traced: TracedMessage
  readonly span: Span
  /** How many sends of the message its span has recorded. */
  attempts: number
}

interface Identified {
  readonly connectionId: number
}

/** What is under way on one connection. */
class ConnectionSpans {
  readonly open = new Map<object, Open>()
  /** From the loss of the connection to its recovery. */
  recovery: Span | undefined
}

const RECOVER = clientOperation('recover')
const CONNECTION_ENDED = new Set(['CONNECTION_CLOSED', 'CONNECTION_FAILED', 'CONNECTION_LOST'])

/**
 * What happens to connections, as events of the spans that are under way on them, and a span for each recovery. Only spans
 * that are recorded are kept.
 */
export class Connections {
  readonly #telemetry: Telemetry
  readonly #byId = new Map<number, ConnectionSpans>()

  constructor(telemetry: Telemetry) {
    this.#telemetry = telemetry
  }

  add(traced: TracedMessage, span: Span): void {
    this.#of(traced).open.set(traced, { traced, span, attempts: 1 })
  }

  /** It is over. */
  remove(traced: TracedMessage): void {
    const open = this.#byId.get(traced.connectionId)?.open
    const entry = open?.get(traced)
    if (entry === undefined) return
    noteResent(entry)
    open?.delete(traced)
    this.#forget(traced)
  }

  /** Unless anything of it is under way: handlers may outlast a connection. */
  #forget({ connectionId }: Identified): void {
    const known = this.#byId.get(connectionId)
    if (known?.open.size === 0 && known.recovery === undefined) this.#byId.delete(connectionId)
  }

  recoveryOf(of: Identified): Span | undefined {
    return this.#byId.get(of.connectionId)?.recovery
  }

  /** End the spans under way: their ends will not be seen. */
  close(): void {
    for (const { open, recovery } of this.#byId.values()) {
      for (const { span } of open.values()) span.end()
      recovery?.end()
    }
    this.#byId.clear()
  }

  readonly #on: { readonly [N in LifecycleEventName]?: (event: LifecycleEvent<N>) => void } = {
    'connection.opened': event => {
      // A counter that comes up with its first count has no increase by it.
      const { reconnects, resent, blockedDuration } = this.#telemetry.metrics
      for (const counter of [reconnects, resent, blockedDuration]) counter.add(0, connectionAttributes(event))
    },
    'connection.lost': event => {
      if (event.willRecover) this.#of(event).recovery ??= this.#startRecovery(event)
      const recovery = this.recoveryOf(event)
      const attributes = { ...errorAttributes(event.error), [ATTRIBUTES.reason]: event.reason }
      recovery?.addEvent(EVENTS.connectionLost, attributes)
      for (const { span } of this.#openOn(event)) {
        span.addEvent(EVENTS.connectionLost, attributes)
        if (recovery?.isRecording() === true) span.addLink({ context: recovery.spanContext() })
      }
    },
    'connection.recovery_attempt_failed': event => {
      this.recoveryOf(event)?.addEvent(EVENTS.attemptFailed, {
        ...errorAttributes(event.error),
        [ATTRIBUTES.attempt]: event.attempt,
      })
    },
    'connection.recovered': event => {
      const { metrics } = this.#telemetry
      metrics.reconnects.add(1, connectionAttributes(event))
      metrics.recoveryDuration.record(event.durationMs / 1_000, connectionAttributes(event))
      this.#tellOpen(event, EVENTS.connectionRecovered, { [ATTRIBUTES.durationMs]: event.durationMs })
      this.#endRecovery(event, span => {
        span.setAttributes({ ...connectionAttributes(event), [ATTRIBUTES.attempt]: event.attempts })
      })
    },
    'connection.recovery_failed': event => {
      this.#endRecovery(event, span => recordFailure(span, event.error, this.#telemetry.recordExceptions))
    },
    'connection.blocked': event => {
      this.#tellOpen(event, EVENTS.blocked, { [ATTRIBUTES.reason]: event.reason })
    },
    'connection.unblocked': event => {
      this.#telemetry.metrics.blockedDuration.add(event.blockedMs / 1_000, connectionAttributes(event))
      this.#tellOpen(event, EVENTS.unblocked, { [ATTRIBUTES.durationMs]: event.blockedMs })
    },
    'connection.closed': event => {
      this.#endRecovery(event, () => {})
    },
    'publisher.resent': event => {
      this.#telemetry.metrics.resent.add(event.count, connectionAttributes(event))
      for (const open of this.#openOn(event)) noteResent(open)
    },
    'consumer.cancelled': event => {
      // It ended with its connection, which is counted as such.
      if (CONNECTION_ENDED.has((event.error as { readonly code?: string }).code ?? '')) return
      const attributes = { ...connectionAttributes(event), [ATTRIBUTES.destinationTemplate]: event.queueName }
      this.#telemetry.metrics.cancellations.add(1, attributes)
    },
  }

  /** What listens to what happens to connections, by its name. */
  get listeners(): [name: string, listener: (event: LifecycleEvent<LifecycleEventName>) => void][] {
    return Object.entries(this.#on) as []
  }

  #of({ connectionId }: Identified): ConnectionSpans {
    const known = this.#byId.get(connectionId)
    if (known !== undefined) return known
    const made = new ConnectionSpans()
    this.#byId.set(connectionId, made)
    return made
  }

  #startRecovery(info: Endpoint): Span {
    return this.#telemetry.tracer.startSpan(
      `recover ${info.serverAddress}:${info.serverPort}`,
      { kind: RECOVER.kind, attributes: { ...operationAttributes(RECOVER), ...connectionAttributes(info) } },
      ROOT_CONTEXT,
    )
  }

  #endRecovery(info: Endpoint, describe: (span: Span) => void): void {
    const connection = this.#byId.get(info.connectionId)
    if (connection?.recovery === undefined) return
    describe(connection.recovery)
    connection.recovery.end()
    connection.recovery = undefined
    this.#forget(info)
  }

  #openOn({ connectionId }: Identified): Iterable<Open> {
    return this.#byId.get(connectionId)?.open.values() ?? []
  }

  #tellOpen(info: Endpoint, name: string, attributes: Attributes): void {
    for (const { span } of this.#openOn(info)) span.addEvent(name, attributes)
  }
}

/** A message that was sent again since its span was last updated. */
function noteResent(open: Open): void {
  const { traced, span } = open
  if (!('attempts' in traced) || traced.attempts <= open.attempts) return
  open.attempts = traced.attempts
  span.addEvent(EVENTS.resent, { [ATTRIBUTES.attempt]: traced.attempts })
}
