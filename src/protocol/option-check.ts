import { EncodeError } from '../errors.ts'
import { encodeError } from './encode-error.ts'
import { inspectShort } from './inspect-short.ts'
import { shortstrFault } from './text.ts'

/**
 * Our options by their names in other clients, in lower case and without separators. What follows a colon is shown, too.
 */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  username: ['login'],
  user: ['login'],
  pass: ['password'],
  passwd: ['password'],
  vhost: ['virtualhost'],
  tls: ['ssl'],
  tlsoptions: ['ssl'],
  rejectunauthorized: ['verifySsl'],
  insecure: ['verifySsl'],
  hostname: ['host'],
  hosts: ['servers'],
  urls: ['servers'],
  reconnect: ['recovery', 'recovered'],
  end: ['closed'],
  retry: ['recovery', 'retries'],
  maxretries: ['maxAttempts', 'retries'],
  connectiontimeout: ['connectTimeout'],
  timeout: ['connectTimeout'],
  calltimeout: ['rpcTimeout'],
  confirmtimeout: ['publishTimeout'],
  initialmaxretries: ['firstAttempts'],
  credentials: ['loginMethod'],
  mechanism: ['loginMethod'],
  authmechanism: ['loginMethod'],
  name: ['connectionName'],
  log: ['logger'],
  onreturn: ['returnCallback'],
  confirm: ['publisherConfirms'],
  prefetch: ['prefetchCount'],
  global: ['connectionGlobal'],
  autoack: ['noAck'],
  tag: ['consumerTag'],
  args: ['arguments'],
  exchange: ['exchangeName'],
  queue: ['queueName'],
  type: ['messageType'],
  persistent: ['deliveryMode: 2'],
  ttl: ['expiration', 'arguments: { "x-message-ttl": ... }'],
  allupto: ['multiple'],
  cc: ['headers: { CC: [...] }'],
  bcc: ['headers: { BCC: [...] }'],
}

/** What RabbitMQ takes as an argument of a queue, an exchange or a consumer, and other clients as an option. */
const ARGUMENTS: readonly string[] = [
  'alternate-exchange',
  'x-consumer-timeout',
  'x-dead-letter-exchange',
  'x-dead-letter-routing-key',
  'x-dead-letter-strategy',
  'x-delayed-type',
  'x-delivery-limit',
  'x-expires',
  'x-initial-cluster-size',
  'x-max-age',
  'x-max-length',
  'x-max-length-bytes',
  'x-max-priority',
  'x-message-ttl',
  'x-overflow',
  'x-priority',
  'x-queue-leader-locator',
  'x-queue-mode',
  'x-queue-type',
  'x-quorum-initial-group-size',
  'x-single-active-consumer',
  'x-stream-filter',
  'x-stream-filter-size-bytes',
  'x-stream-match-unfiltered',
  'x-stream-max-segment-size-bytes',
  'x-stream-offset',
]

/** Options whose value no message may show. */
const SECRETS: ReadonlySet<string> = new Set(['password', 'secret', 'passphrase'])

/**
 * Refuse an unknown option, so that a misspelt one is not ignored. Those of `internal` are taken, but no error names them.
 *
 * @throws EncodeError that names the option, and the one that was probably meant.
 */
export function checkOptions(
  what: string,
  options: object | undefined,
  known: readonly string[],
  internal: readonly string[] = [],
): void {
  if (options === undefined) return
  try {
    if (typeof options !== 'object' || options === null || Array.isArray(options)) {
      throw new EncodeError(`${what}: the options must be an object, not ${inspectShort(options)}`)
    }
    for (const name in options) {
      if (!known.includes(name) && !internal.includes(name) && Object.hasOwn(options, name)) {
        throw new EncodeError(`${what}: unknown option ${inspectShort(name)}; ${hintFor(name, known)}`)
      }
    }
  } catch (thrown) {
    // A proxy of the program may throw anything.
    throw encodeError(what, thrown)
  }
}

/** Events that Node listens for by itself: `error` in `events.once()` and `events.on()`. */
const NODE_EVENTS: readonly string[] = ['error', 'newListener', 'removeListener']

/**
 * A check that refuses a listener for an event that `what` does not have, which would never be called.
 *
 * @throws EncodeError that names the event, and the one that was probably meant.
 */
export function eventCheck(what: string, events: Readonly<Record<string, true>>): (event: string | symbol) => void {
  return event => {
    if (typeof event !== 'string' || Object.hasOwn(events, event) || NODE_EVENTS.includes(event)) return
    throw new EncodeError(`${what}: no event is named ${inspectShort(event)}; ${hintFor(event, Object.keys(events))}`)
  }
}

/**
 * The hint in the error for an unknown name: the known name or the argument of the broker that was probably meant, or else
 * all known names.
 */
export function hintFor(name: string, known: readonly string[]): string {
  const meant = nearest(name, known)
  return meant === undefined ? `known are ${known.join(', ')}` : `did you mean ${meant}?`
}

function nearest(name: string, known: readonly string[]): string | undefined {
  const wanted = plain(name)
  const synonyms = (Object.hasOwn(SYNONYMS, wanted) && SYNONYMS[wanted]) || []
  const synonym = synonyms.find(other => known.includes(other.replace(/:.*/, '')))
  if (synonym !== undefined) return synonym.includes(':') ? synonym : `"${synonym}"`

  let best: string | undefined
  let bestDistance = Math.min(3, Math.floor(wanted.length / 3) + 1)
  const candidates = known.includes('arguments') ? [...known, ...ARGUMENTS] : known
  for (const candidate of candidates) {
    const distance = editDistance(wanted, plain(candidate))
    if (distance < bestDistance) {
      best = candidate
      bestDistance = distance
    }
  }
  if (best === undefined) return undefined
  return known.includes(best) ? `"${best}"` : `arguments: { "${best}": ... }`
}

function plain(name: string): string {
  return name
    .replace(/^x-/, '')
    .toLowerCase()
    .replace(/[^a-z0-9]/g, '')
}

/** Insertions, deletions, replacements and swaps of neighbours between two short names. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const replaced = at(last, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1)
      let distance = Math.min(at(last, j) + 1, at(row, j - 1) + 1, replaced)
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        distance = Math.min(distance, at(beforeLast, j - 2) + 1)
      }
      row.push(distance)
    }
    beforeLast = last
    last = row
  }
  return at(last, b.length)
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? Number.POSITIVE_INFINITY
}

/** The error for a value that `name` cannot have. */
export function badValue(what: string, name: string, allowed: string, value: unknown): EncodeError {
  const secret = SECRETS.has(name.slice(name.lastIndexOf('.') + 1))
  const given =
    secret && value !== undefined && value !== null ? `a value of type ${typeof value}` : inspectShort(value)
  return new EncodeError(`${what}: "${name}" must be ${allowed}, not ${given}`)
}

/** @throws EncodeError for anything but `true`, `false` and `undefined`. */
export function booleanOption(what: string, name: string, value: unknown): boolean | undefined {
  if (value === undefined || typeof value === 'boolean') return value
  throw badValue(what, name, 'true or false', value)
}

/** @throws EncodeError for anything but a string and `undefined`. */
export function stringOption(what: string, name: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === 'string') return value
  throw badValue(what, name, 'a string', value)
}

/**
 * A short string of AMQP: at most 255 bytes of UTF-8. §4.2.5.3
 *
 * @throws EncodeError for anything else but `undefined`.
 */
export function shortStringOption(what: string, name: string, value: unknown): string | undefined {
  const text = stringOption(what, name, value)
  if (text !== undefined && text.length > 85 && Buffer.byteLength(text) > 255) {
    throw new EncodeError(`${what}: "${name}" has ${Buffer.byteLength(text)} bytes; AMQP allows 255`)
  }
  if (text?.isWellFormed() === false) throw new EncodeError(`${what}: "${name}" ${shortstrFault(text)}`)
  return text
}

/** @throws EncodeError for anything but an integer from `least` to `most` and `undefined`. */
export function integerOption(
  what: string,
  name: string,
  value: unknown,
  least = 0,
  most: number = Number.MAX_SAFE_INTEGER,
): number | undefined {
  if (value === undefined) return value
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  const range = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`
  throw badValue(what, name, `an integer ${range}`, value)
}

/** @throws EncodeError for anything but an integer of `least` or more, `Infinity` (no limit) and `undefined`. */
export function limitOption(what: string, name: string, value: unknown, least = 0): number | undefined {
  if (value === undefined || value === Number.POSITIVE_INFINITY) return value
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least) return value
  throw badValue(what, name, `an integer of ${least} or more, or Infinity for no limit`, value)
}

/** @throws EncodeError for anything but milliseconds of `least` or more, `Infinity` (no limit) and `undefined`. */
export function durationOption(what: string, name: string, value: unknown, least = 0): number | undefined {
  if (value === undefined) return value
  if (typeof value === 'number' && value >= least) return value
  throw badValue(what, name, `a number of milliseconds, ${least} or more, or Infinity for no limit`, value)
}

/** @throws EncodeError for anything but one of `allowed` and `undefined`. */
export function choiceOption<T extends string>(
  what: string,
  name: string,
  value: unknown,
  allowed: readonly T[],
): T | undefined {
  if (value === undefined) return value
  const choice = allowed.find(one => one === value)
  if (choice === undefined) throw badValue(what, name, allowed.map(one => `"${one}"`).join(' or '), value)
  return choice
}

/** @throws EncodeError for anything but a function and `undefined`. */
export function functionOption<F>(what: string, name: string, value: F): F {
  if (value === undefined || typeof value === 'function') return value
  throw badValue(what, name, 'a function', value)
}

/** @throws EncodeError for anything but an AbortSignal and `undefined`. */
export function signalOption(what: string, name: string, value: unknown): AbortSignal | undefined {
  if (value === undefined || isSignal(value)) return value
  throw badValue(what, name, 'an AbortSignal', value)
}

// By its shape, since a signal may come from another realm or a polyfill.
function isSignal(value: unknown): value is AbortSignal {
  return (
    typeof value === 'object' &&
    value !== null &&
    'aborted' in value &&
    typeof value.aborted === 'boolean' &&
    'addEventListener' in value &&
    typeof value.addEventListener === 'function' &&
    'removeEventListener' in value &&
    typeof value.removeEventListener === 'function'
  )
}
