import { tuneOkHint } from '../channel/rabbitmq.ts'
import {
  AuthenticationError,
  abortedBy,
  asError,
  type ConnectionAttempt,
  ConnectionFailedError,
  ConnectionLostError,
  TimeoutError,
} from '../errors.ts'
import type { Clock } from '../lib/clock.ts'
import { Connection, type ConnectionEvents } from './connection.ts'
import type { ServerSettings } from './settings/server-settings.ts'
import type { Settings } from './settings/settings.ts'

/** A try that failed, with the server it was made at. */
interface FailedAttempt extends ConnectionAttempt {
  readonly encrypted: boolean
  /** What the program asked for; 0: the server's. */
  readonly frameMax: number
}

/** Carries a failed attempt out of a promise. */
class Failure {
  readonly attempt: FailedAttempt
  constructor(attempt: FailedAttempt) {
    this.attempt = attempt
  }
}

/**
 * Open a connection to one of `servers`, all within `settings.connectTimeout`.
 *
 * @throws ConnectionFailedError with every attempt, AuthenticationError where the only server refuses the login or the
 * virtual host, AbortError or TimeoutError by `signal`.
 */
export async function dial(
  servers: readonly ServerSettings[],
  settings: Settings,
  events: ConnectionEvents,
  signal: AbortSignal | undefined,
): Promise<Connection> {
  const what = `connect to ${servers.map(server => `${server.host}:${server.port}`).join(', ')}`
  if (signal?.aborted) throw abortedBy(signal, what)
  const failures: FailedAttempt[] = []
  const end = settings.clock.now() + settings.connectTimeout
  if (settings.serverOrder === 'race') {
    const winner = await race(servers, settings, events, signal, failures)
    if (winner !== undefined) return winner
  } else {
    const order = settings.serverOrder === 'random' ? shuffled(servers, settings.clock) : servers
    for (const [index, server] of order.entries()) {
      const limit = Math.max(1, (end - settings.clock.now()) / (order.length - index))
      try {
        return await attempt(server, settings, events, signal, limit)
      } catch (error) {
        failures.push(failureOf(error))
        if (signal?.aborted) break
      }
    }
  }
  if (signal?.aborted) throw abortedBy(signal, what)
  throw failed(what, failures)
}

/** All at once through the whole handshake: the first that is open wins, the others are closed. */
async function race(
  servers: readonly ServerSettings[],
  settings: Settings,
  events: ConnectionEvents,
  signal: AbortSignal | undefined,
  failures: FailedAttempt[],
): Promise<Connection | undefined> {
  const finished = new AbortController()
  const both = signal === undefined ? finished.signal : AbortSignal.any([signal, finished.signal])
  let winner: Connection | undefined
  const attempts = servers.map(async server => {
    try {
      const connection = await attempt(server, settings, events, both, settings.connectTimeout)
      if (winner === undefined) {
        winner = connection
        finished.abort()
      } else await connection.close(200, 'another server was faster', 1_000)
      return connection
    } catch (error) {
      failures.push(failureOf(error))
      throw error
    }
  })
  await Promise.any(attempts).catch(() => undefined)
  return winner
}

async function attempt(
  server: ServerSettings,
  settings: Settings,
  events: ConnectionEvents,
  signal: AbortSignal | undefined,
  limit: number,
): Promise<Connection> {
  let step = 'connect'
  const expired = new AbortController()
  const timer = settings.clock.after(
    limit,
    () => {
      expired.abort(
        new TimeoutError(`no answer within ${Math.round(limit)} ms; it was waiting for ${describeStep(step)}`),
      )
    },
    { keepsProcessAlive: true },
  )
  const both = signal === undefined ? expired.signal : AbortSignal.any([signal, expired.signal])
  try {
    return await Connection.open(server, settings, events, both, next => {
      step = next
    })
  } catch (error) {
    const cause = expired.signal.aborted ? asError(expired.signal.reason) : asError(error)
    throw new Failure({
      server: `${server.host}:${server.port}`,
      step,
      cause,
      encrypted: server.tls !== undefined,
      frameMax: settings.frameMax,
    })
  } finally {
    timer.cancel()
  }
}

function failureOf(error: unknown): FailedAttempt {
  if (error instanceof Failure) return error.attempt
  throw error
}

function describeStep(step: string): string {
  if (step === 'lookup') return 'the address of the host'
  if (step === 'connect') return 'the TCP connection'
  if (step === 'tls') return 'the TLS handshake'
  return step
}

/** What to do about it, where that is known. */
function hint({ step, cause, encrypted, frameMax }: FailedAttempt): string {
  const { code } = cause as NodeJS.ErrnoException
  if (code === 'ECONNREFUSED') return ' (nothing listens there)'
  if (step === 'lookup' || code === 'ENOTFOUND') return ' (is the name right?)'
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || (code === 'EPROTO' && step === 'tls')) {
    return ' (this does not look like a TLS port; then use amqp:// or leave ssl out)'
  }
  if (code === 'ECONNRESET' && step === 'connection.start' && !encrypted) {
    return ' (is this the TLS port? then use amqps:// or ssl)'
  }
  if (step === 'connection.open-ok' && cause instanceof ConnectionLostError) return tuneOkHint(frameMax)
  if (
    code === 'SELF_SIGNED_CERT_IN_CHAIN' ||
    code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' ||
    code === 'DEPTH_ZERO_SELF_SIGNED_CERT'
  ) {
    return " (if the broker's certificate is your own, give its CA in ssl: { ca })"
  }
  return ''
}

function failed(what: string, failures: readonly FailedAttempt[]): Error {
  const [only] = failures
  if (only === undefined) return new ConnectionFailedError(`${what} failed`, { attempts: [] })
  if (failures.length === 1 && only.cause instanceof AuthenticationError) {
    const { message, replyCode, replyText } = only.cause
    return new AuthenticationError(`${what} failed: ${message}`, { replyCode, replyText, cause: only.cause })
  }
  const attempts = failures.map(({ server, step, cause }) => ({ server, step, cause }))
  if (failures.length === 1) {
    return new ConnectionFailedError(`${what} failed: ${only.cause.message.trim()}${hint(only)}`, {
      attempts,
      cause: only.cause,
    })
  }
  const each = failures.map(one => `${one.server}: ${one.cause.message.trim()}${hint(one)}`)
  return new ConnectionFailedError(`${what} failed: ${each.join('; ')}`, { attempts, cause: only.cause })
}

function shuffled<T>(items: readonly T[], clock: Clock): T[] {
  const left = [...items]
  const order: T[] = []
  while (left.length > 0) order.push(...left.splice(Math.floor(clock.random() * left.length), 1))
  return order
}
