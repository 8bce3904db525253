import type { ErrorReporter } from '../channel/port.ts'
import { limitsEachConsumer } from '../channel/rabbitmq.ts'
import { ConnectionTimes } from '../diagnostics/connection-times.ts'
import { LifecycleReporter } from '../diagnostics/lifecycle-reporter.ts'
import { likenessOf, withCount } from '../diagnostics/repeats.ts'
import type { EndpointSource } from '../diagnostics/server-context.ts'
import type { ConnectionStats } from '../diagnostics/stats.ts'
import { AuthenticationError, ConnectionFailedError, ConnectionLostError } from '../errors.ts'
import { surface, warn } from '../lib/call-safely.ts'
import { asError } from '../lib/thrown.ts'
import type { FieldTable } from '../protocol/values.ts'
import type { Connection } from './connection.ts'
import type { ConnectionRole } from './connection-state.ts'
import type { EmitEvent } from './protocol-events.ts'
import type { RecoveredCounts } from './recovery/recovery.ts'
import type { Settings } from './settings/settings.ts'

/** The connection that is reported on. */
export interface ReportedConnection extends EndpointSource {
  stats(): ConnectionStats
}

/**
 * What becomes known of one long-lived connection: by events of the program, in the log, by diagnostics channels, and to
 * `onError`. Its methods run the program's code: call them when a change of state is complete.
 */
export class ConnectionReporter extends LifecycleReporter implements ErrorReporter {
  readonly times: ConnectionTimes
  readonly #connection: ReportedConnection
  readonly #settings: Settings
  readonly #emit: EmitEvent
  readonly #role: ConnectionRole
  #warnedOfQos = false

  constructor(connection: ReportedConnection, settings: Settings, emit: EmitEvent, role: ConnectionRole) {
    super(connection, settings.logger, settings.clock)
    this.times = new ConnectionTimes(settings.clock)
    this.#connection = connection
    this.#settings = settings
    this.#emit = emit
    this.#role = role
  }

  /** Give an error to `onError`; if there is none, the program's own goes unhandled, others are warned of. */
  report(thrown: unknown, fallback: 'unhandled' | 'warn', what?: string): void {
    const { onError, logger } = this.#settings
    const error = asError(thrown)
    if (onError !== undefined) onError(error)
    else if (fallback === 'unhandled') surface(error)
    else if (logger !== undefined) this.reported(error, what)
    else this.repeats.say(likenessOf(error), times => warn(error, withCount(error.message, times)))
  }

  /** The connection has ended so, and no promise says it. A log has a line of the loss, or of giving up. */
  reportEnd(error: Error): void {
    const { onError, logger } = this.#settings
    if (onError !== undefined || logger === undefined) this.report(error, 'warn')
  }

  warn(text: string): void {
    this.#settings.logger?.write('warn', text, { event: 'warning', ...this.#connection.endpoint })
  }

  /** A channel has set one limit for all its consumers: warn once if this server takes it for the limit of each. */
  globalQosSet(serverProperties: Readonly<FieldTable>, server: string): void {
    if (!limitsEachConsumer(serverProperties) || this.#warnedOfQos) return
    this.#warnedOfQos = true
    this.warn(
      `basic.qos with connectionGlobal: true limits each consumer, and not the channel, on RabbitMQ ${String(serverProperties['version'])} at ${server}: several consumers hold as many messages each; use basicQos without connectionGlobal`,
    )
  }

  // ---- the first connection

  connecting(attempt: number, delay: number, error: Error | undefined): void {
    const delayMs = Math.round(delay)
    const details = { attempt, delayMs, error, stats: () => this.#connection.stats() }
    this.occurred('connection.connecting', details, () => this.#emit('connecting', attempt, delayMs, error, this.#role))
  }

  opened({ peer, negotiated }: Connection): void {
    const { product, version } = negotiated?.serverProperties ?? {}
    const opened = {
      durationMs: this.times.opened(),
      encrypted: peer.encrypted,
      serverProduct: typeof product === 'string' ? product : undefined,
      serverVersion: typeof version === 'string' ? version : undefined,
      heartbeatSeconds: negotiated?.heartbeat ?? 0,
      stats: () => this.#connection.stats(),
    }
    this.occurred('connection.opened', opened, () => this.#emit('connected', this.#role))
  }

  // ---- the broker blocks publishers

  blocked(reason: string): void {
    this.times.blocked()
    this.occurred('connection.blocked', { reason }, () => this.#emit('blocked', reason, this.#role))
  }

  /** It does so no longer, or the connection is gone that was blocked: listeners that got `blocked` get `unblocked`. */
  unblocked(connectionEnded: boolean): void {
    const blockedMs = this.times.unblocked()
    if (blockedMs === undefined) return
    this.occurred('connection.unblocked', { blockedMs, connectionEnded }, () => this.#emit('unblocked', this.#role))
  }

  // ---- a loss, and the recovery

  /** The connection was open for `openMs`. */
  lost(error: Error, openMs: number, willRecover: boolean): void {
    const reason = error instanceof ConnectionLostError ? error.reason : 'closedByServer'
    this.occurred('connection.lost', { error, reason, openMs, willRecover }, () =>
      this.#emit('disconnected', error, this.#role),
    )
  }

  recovering(attempt: number, delay: number, error: Error | undefined): void {
    const delayMs = Math.round(delay)
    this.occurred('connection.recovering', { attempt, delayMs, error }, () =>
      this.#emit('recovering', attempt, delayMs, error, this.#role),
    )
  }

  attemptFailed(attempt: number, error: Error, nextDelay: number | undefined): void {
    const hasAttempts = error instanceof ConnectionFailedError || error instanceof AuthenticationError
    const servers = hasAttempts ? error.attempts : []
    const nextDelayMs = nextDelay === undefined ? undefined : Math.round(nextDelay)
    this.occurred('connection.recovery_attempt_failed', { attempt, error, servers, nextDelayMs }, () =>
      this.#emit('recoveryAttemptFailed', attempt, error, this.#role),
    )
  }

  failed(what: string, error: Error, willRetry: boolean): void {
    this.occurred('entity.recovery_failed', { entity: what, error, willRetry }, () =>
      this.#emit('recoveryFailed', what, error),
    )
  }

  renamed(oldName: string, newName: string): void {
    this.occurred('queue.renamed', { oldName, newName }, () => this.#emit('queueRenamed', oldName, newName))
  }

  gaveUp(error: Error, attempts: number): void {
    this.occurred('connection.recovery_failed', { error, attempts, durationMs: this.times.recoveringMs })
  }

  /** That took `durationMs`. */
  recovered(attempts: number, durationMs: number, counts: RecoveredCounts): void {
    this.occurred('connection.recovered', { attempts, durationMs, ...counts }, () =>
      this.#emit('recovered', this.#role),
    )
  }

  /** It is over for good; undefined if the program asked for that. */
  closed(error: Error | undefined): void {
    this.times.closed()
    this.repeats.flush()
    this.occurred('connection.closed', { error }, () => this.#emit('closed', ...(error === undefined ? [] : [error])))
  }
}
