import { AuthenticationError, ConnectionError, ConnectionFailedError } from '../errors.ts'
import type { LifecycleEvent, LifecycleEventName } from './lifecycle-events.ts'
import type { LogLevel } from './logger.ts'
import type { Endpoint } from './server-context.ts'

/**
 * A level and a text, which says what happened, on what and why, and what the client does next. Of lines with the same key
 * one is written in a minute.
 */
type Line = readonly [level: LogLevel, text: string, key?: string]

/** Undefined if another event has a line for it. */
const LINES: { readonly [N in LifecycleEventName]: (event: LifecycleEvent<N>) => Line | undefined } = {
  'connection.connecting': ({ delayMs, error }) =>
    error === undefined
      ? undefined
      : ['warn', `${error.message}; the next attempt follows in ${time(delayMs)}`, error.message],
  'connection.opened': ({ durationMs, encrypted, serverProduct, serverVersion, heartbeatSeconds, ...endpoint }) => [
    'info',
    `connected to ${server(endpoint)}, virtual host "${endpoint.virtualHost}", in ${time(durationMs)}: ${serverProduct} ${serverVersion}, ${encrypted ? 'TLS' : 'no TLS'}, heartbeat ${heartbeatSeconds} s`,
  ],
  'connection.lost': ({ error, openMs, willRecover, ...endpoint }) => {
    const why =
      error instanceof ConnectionError
        ? error.message
        : `the connection to ${server(endpoint)} was given up, since the server broke the protocol: ${error.message}`
    const next = willRecover ? 'reconnecting' : 'recovery is off, so it stays closed'
    return [willRecover ? 'warn' : 'error', `${why}; it was open for ${time(openMs)}; ${next}`]
  },
  'connection.recovering': () => undefined,
  'connection.recovery_attempt_failed': ({ attempt, error, servers, nextDelayMs }) => {
    const steps = servers.map(({ server, step }) => (servers.length === 1 ? step : `${server} ${step}`))
    const at = steps.length === 0 ? '' : ` (${steps.length === 1 ? 'step' : 'steps'} ${steps.join(', ')})`
    const next = nextDelayMs === undefined ? 'no other follows' : `the next one follows in ${time(nextDelayMs)}`
    return ['warn', `attempt ${attempt} to reconnect failed${at}: ${error.message}; ${next}`]
  },
  'connection.recovered': ({ attempts, durationMs, stillMissing, ...rest }) => {
    const back = [
      count(rest.channels, 'channel'),
      count(rest.exchanges, 'exchange'),
      count(rest.queues, 'queue'),
      count(rest.bindings, 'binding'),
      count(rest.consumers, 'consumer'),
    ]
    const missing = stillMissing === 0 ? '' : `; the broker still refuses ${stillMissing}, which are tried again`
    return [
      'info',
      `connected to ${server(rest)} again, ${time(durationMs)} after the loss, at attempt ${attempts}, with ${back.join(', ')}${missing}`,
    ]
  },
  'connection.recovery_failed': ({ error, attempts, durationMs, ...endpoint }) => [
    'error',
    `the connection to ${server(endpoint)} is given up, after ${count(attempts, 'attempt')} in ${time(durationMs)}: ${error.message}; it stays closed, and all that waits for it rejects`,
  ],
  'connection.closed': ({ error, ...endpoint }) => {
    if (error === undefined) return ['info', `the connection to ${server(endpoint)} was closed by the program`]
    const hasOpened = !(error instanceof ConnectionFailedError || error instanceof AuthenticationError)
    return hasOpened ? undefined : ['error', `${error.message}; no other attempt follows, and all that waits rejects`]
  },
  'connection.blocked': ({ reason, ...endpoint }) => [
    'warn',
    `the broker at ${server(endpoint)} takes no publishes: ${reason}; they wait`,
  ],
  'connection.unblocked': ({ blockedMs, connectionEnded, ...endpoint }) =>
    connectionEnded
      ? undefined
      : [
          'info',
          `the broker at ${server(endpoint)} no longer blocks publishes, after ${time(blockedMs)}; those that waited go out`,
        ],
  'entity.recovery_failed': ({ entity, error, willRetry }) => [
    'warn',
    `${entity} could not be recovered: ${error.message}; ${willRetry ? 'it is tried again' : 'it is given up'}, and the rest goes on`,
  ],
  'queue.renamed': ({ oldName, newName }) => [
    'info',
    `queue "${oldName}" was recovered as "${newName}", the name that the broker gave it; its old name goes on to mean it here`,
  ],
  'channel.closed': ({ error, replyText, method }) => [
    'warn',
    `${error.message}; what was pending on it rejects, or is sent again`,
    `${method} ${replyText}`,
  ],
  'consumer.cancelled': ({ queueName, error, willResume }) => {
    // The connection's own line says it for all of its consumers.
    if (error instanceof ConnectionError) return undefined
    const next =
      willResume === undefined
        ? '"onCancel" decides what follows'
        : willResume
          ? 'it will consume again'
          : 'it gets no more messages'
    return [
      'warn',
      `the consumer of queue "${queueName}" was stopped: ${error.message}; ${next}`,
      `stopped ${queueName}`,
    ]
  },
  'consumer.given_up': ({ queueName, error }) => [
    'error',
    `the consumer of queue "${queueName}" is closed for good: ${error.message}; it gets no more messages`,
  ],
  'consumer.resumed': ({ queueName, interruptedMs, error }) =>
    error instanceof ConnectionError
      ? undefined
      : [
          'info',
          `the consumer of queue "${queueName}" consumes again, after ${time(interruptedMs)}`,
          `resumed ${queueName}`,
        ],
  'consumer.slow_handlers': ({ queueName, slowHandlers, handlersRunning, longestMs, deliveryTag, messageId }) => [
    'warn',
    `${slowHandlers} of ${count(handlersRunning, 'handler')} of queue "${queueName}" ${slowHandlers === 1 ? 'is' : 'are'} slow: one has run for ${time(longestMs)} (delivery tag ${deliveryTag}${messageId === undefined ? '' : `, message "${messageId}"`}); what they work on stays unacked, and the broker takes it back after its consumer timeout`,
    `slow ${queueName}`,
  ],
  'publisher.resent': ({ exchangeName, count: resent, nacked }) => {
    const exchange = exchangeName === '' ? 'the default exchange' : `exchange "${exchangeName}"`
    const to = exchangeName === undefined ? '' : ` to ${exchange}`
    const what = `${count(resent, 'message')}${to} ${resent === 1 ? 'was' : 'were'} sent again`
    const refused = nacked === 0 ? '' : `, ${nacked} since the broker had refused them (basic.nack)`
    const unknown = resent - nacked
    const twice = unknown === 0 ? '' : `; receivers may see ${unknown} twice, since they may have arrived before`
    return ['warn', what + refused + twice, `resent${to} ${unknown === 0}`]
  },
}

/** All there are. */
export const LIFECYCLE_EVENT_NAMES = Object.keys(LINES) as LifecycleEventName[]

/** What the log says of an event; undefined if another event has a line for it. */
export function lineOf<N extends LifecycleEventName>(name: N, event: LifecycleEvent<N>): Line | undefined {
  return LINES[name](event)
}

function server({ serverAddress, serverPort }: Endpoint): string {
  return `${serverAddress}:${serverPort}`
}

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`
}

function time(milliseconds: number): string {
  if (milliseconds < 1_000) return `${milliseconds} ms`
  if (milliseconds < 120_000) return `${(milliseconds / 1_000).toFixed(1)} s`
  return `${Math.round(milliseconds / 60_000)} min`
}
