import { isLimitReached, tuneOkHint } from '../channel/rabbitmq.ts'
import {
  AmqpError,
  AuthenticationError,
  abortedBy,
  type ConnectionAttempt,
  ConnectionFailedError,
  ConnectionLostError,
  EncodeError,
  FrameError,
  ProtocolError,
  TimeoutError,
} from '../errors.ts'
import { Cancellation, onAbort } from '../lib/abort-listeners.ts'
import { atNoCall } from '../lib/call-site.ts'
import type { Clock } from '../lib/clock.ts'
import { asError } from '../lib/thrown.ts'
import { Connection, type ConnectionEvents } from './connection.ts'
import type { ServerOrder } from './settings/options.ts'
import type { ServerSettings } from './settings/server-settings.ts'
import type { Settings } from './settings/settings.ts'
import { socketReason, underneath } from './wire/socket-error.ts'

/** A try that failed, with the server it was made at. */
interface FailedAttempt extends ConnectionAttempt {
  readonly encrypted: boolean
  /** The value that the program asked for; 0 means that of the server. */
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
 * The servers in the order in which to try them. The one whose connection was lost comes last: if it is only silent, it
 * would take its share of the time first.
 */
export function inOrder(
  servers: readonly ServerSettings[],
  order: ServerOrder,
  lostServer: string | undefined,
  clock: Clock,
): ServerSettings[] {
  const lost = servers.findIndex(server => addressOf(server) === lostServer)
  const rotated = [...servers.slice(lost + 1), ...servers.slice(0, lost + 1)]
  if (order !== 'random') return rotated
  const last = lost === -1 ? [] : rotated.splice(-1)
  return [...shuffled(rotated, clock), ...last]
}

export function addressOf({ host, port }: ServerSettings): string {
  return `${host}:${port}`
}

/**
 * Open a connection to one of `servers`, in this order, or all at once in a race, all within `settings.connectTimeout`.
 *
 * @throws ConnectionFailedError with every attempt, AuthenticationError if the only server refuses the login or the
 * virtual host, AbortError or TimeoutError by `signal`.
 */
export async function dial(
  servers: readonly ServerSettings[],
  settings: Settings,
  events: ConnectionEvents,
  signal: Cancellation | undefined,
): Promise<Connection> {
  const what = `connect to ${servers.map(addressOf).join(', ')}`
  if (signal?.aborted) throw abortedBy(signal, what)
  const failures: FailedAttempt[] = []
  const end = settings.clock.now() + settings.connectTimeout
  if (settings.serverOrder === 'race') {
    const winner = await race(servers, settings, events, signal, failures)
    if (winner !== undefined) return winner
  } else {
    for (const [index, server] of servers.entries()) {
      const limit = Math.max(1, (end - settings.clock.now()) / (servers.length - index))
      try {
        return await attempt(server, settings, events, signal, limit)
      } catch (error) {
        failures.push(failureOf(error))
        if (signal?.aborted) break
      }
    }
  }
  if (signal?.aborted) throw abortedBy(signal, what)
  // That of a recovery, or in the background, belongs to no call; connect() shows its own.
  throw atNoCall(failed(what, failures))
}

/** All at once through the whole handshake: the first that is open wins, the others are closed. */
async function race(
  servers: readonly ServerSettings[],
  settings: Settings,
  events: ConnectionEvents,
  signal: Cancellation | undefined,
  failures: FailedAttempt[],
): Promise<Connection | undefined> {
  const finished = new Cancellation()
  const aborted = signal === undefined ? undefined : onAbort(signal, () => finished.abort())
  let winner: Connection | undefined
  const attempts = servers.map(async server => {
    try {
      const connection = await attempt(server, settings, events, finished, settings.connectTimeout)
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
  aborted?.cancel()
  return winner
}

async function attempt(
  server: ServerSettings,
  settings: Settings,
  events: ConnectionEvents,
  signal: Cancellation | undefined,
  limit: number,
): Promise<Connection> {
  let step = settings.createTransport === undefined ? 'connect' : 'transport'
  const ended = new Cancellation()
  const aborted = signal === undefined ? undefined : onAbort(signal, () => ended.abort(abortedBy(signal, 'connect')))
  const timer = settings.clock.after(
    limit,
    () => {
      ended.abort(
        new TimeoutError(`no answer within ${Math.round(limit)} ms; it was waiting for ${describeStep(step)}`),
      )
    },
    { keepsProcessAlive: true },
  )
  try {
    return await Connection.open(server, settings, events, ended, next => {
      step = next
    })
  } catch (error) {
    throw new Failure({
      server: addressOf(server),
      step,
      cause: asError(ended.aborted ? ended.reason : error),
      encrypted: server.tls !== undefined,
      frameMax: settings.frameMax,
    })
  } finally {
    timer.cancel()
    aborted?.cancel()
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
  if (step === 'transport') return 'the transport of createTransport'
  if (step === 'password') return 'the answer of the password function'
  if (step.startsWith('SASL ')) return `the response of the SASL mechanism ${step.slice(5)}`
  return step
}

/** OpenSSL's codes for alerts of the server. TLSV13 in Node, TLSV1 in Bun. */
const WANTS_CERTIFICATE = /^ERR_SSL_(TLSV1\w*_ALERT_CERTIFICATE_REQUIRED|SSLV3_ALERT_HANDSHAKE_FAILURE)$/
const REFUSES_CERTIFICATE = /^ERR_SSL_\w+_ALERT_(\w*CERTIFICATE\w*|UNKNOWN_CA)$/

/** What to do about it, if that is known. */
function hint({ step, cause, encrypted, frameMax }: FailedAttempt): string {
  const { code = '' } = underneath(cause)
  if (code === 'ECONNREFUSED') return ' (nothing listens there)'
  if (step === 'lookup' || code === 'ENOTFOUND') return ' (is the name right?)'
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || (code === 'EPROTO' && step === 'tls')) {
    return ' (this does not look like a TLS port; then use amqp:// or leave ssl out)'
  }
  if (code === 'ECONNRESET' && step === 'connection.start' && !encrypted) {
    return ' (is this the TLS port? then use amqps:// or ssl)'
  }
  if (step === 'connection.start' && cause instanceof TimeoutError) {
    return ' (is it frozen, still starting, or not an AMQP port?)'
  }
  if (step === 'connection.open-ok' && cause instanceof ConnectionLostError) return tuneOkHint(frameMax)
  if (WANTS_CERTIFICATE.test(code)) {
    return ' (does the server want a certificate of the client? then give cert and key in ssl)'
  }
  if (REFUSES_CERTIFICATE.test(code)) {
    return ' (the server says so of the certificate of the client: of cert in ssl, or certfile in the URL)'
  }
  if (code.startsWith('ERR_OSSL_')) {
    return ' (is what ssl or the URL give as key and certificate PEM, do both belong together, and does the key need a passphrase?)'
  }
  if (
    code === 'SELF_SIGNED_CERT_IN_CHAIN' ||
    code === 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' ||
    code === 'DEPTH_ZERO_SELF_SIGNED_CERT'
  ) {
    return " (if the broker's certificate is your own, give the content of its CA's PEM file in ssl: { ca })"
  }
  return ''
}

/** Why an attempt failed, and what to do about it. */
function reasonOf(failure: FailedAttempt): string {
  return socketReason(failure.cause) + hint(failure)
}

function failed(what: string, failures: readonly FailedAttempt[]): Error {
  const [only] = failures
  const attempts = failures.map(({ server, step, cause }) => ({ server, step, cause }))
  if (only === undefined) return new ConnectionFailedError(`${what} failed`, { attempts: [] })
  if (failures.length === 1 && only.cause instanceof AuthenticationError) {
    const { message, replyCode, replyText } = only.cause
    return new AuthenticationError(`${what} failed: ${message}`, { replyCode, replyText, attempts, cause: only.cause })
  }
  if (failures.length === 1) {
    return new ConnectionFailedError(`${what} failed: ${reasonOf(only)}`, {
      attempts,
      cause: only.cause,
    })
  }
  const each = failures.map(one => `${one.server}: ${reasonOf(one)}`)
  return new ConnectionFailedError(`${what} failed: ${each.join('; ')}`, { attempts, cause: only.cause })
}

/** Whether one of the servers refused the login. */
export function isRefusedLogin(error: unknown): boolean {
  if (error instanceof ConnectionFailedError) return error.attempts.some(({ cause }) => isRefusedLogin(cause))
  return error instanceof AuthenticationError && error.replyCode === 403
}

/**
 * Whether no later attempt can succeed: a server refuses the login or the virtual host, or each has a certificate that is
 * not trusted, speaks another protocol, or cannot take the arguments of the program.
 */
export function isFinal(error: unknown): boolean {
  if (!(error instanceof ConnectionFailedError)) return isRefusal(error)
  const { attempts } = error
  return attempts.some(({ cause }) => isRefusal(cause)) || (attempts.length > 0 && attempts.every(isMismatch))
}

function isRefusal(error: unknown): boolean {
  if (!(error instanceof AuthenticationError)) return false
  const { cause, replyText = '' } = error
  // `failed` puts the server into the message of another one.
  if (cause instanceof AuthenticationError) return isRefusal(cause)
  // An error with a cause comes from a password function that failed: it may succeed the next time.
  return cause === undefined && !isLimitReached(replyText)
}

function isMismatch({ step, cause }: ConnectionAttempt): boolean {
  if (cause instanceof FrameError || cause instanceof ProtocolError || cause instanceof EncodeError) return true
  const { code = '' } = underneath(cause)
  // With TLS 1.3 the client has finished its handshake when the server looks at its certificate.
  if (WANTS_CERTIFICATE.test(code) || REFUSES_CERTIFICATE.test(code)) return true
  // Error codes of OpenSSL and Node for TLS have underscores, those of the system for broken sockets have none.
  return step === 'tls' && !(cause instanceof AmqpError) && code.includes('_')
}

function shuffled<T>(items: readonly T[], clock: Clock): T[] {
  const left = [...items]
  const order: T[] = []
  while (left.length > 0) order.push(...left.splice(Math.floor(clock.random() * left.length), 1))
  return order
}
