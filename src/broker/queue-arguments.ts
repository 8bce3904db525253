import type { FieldTable } from '../protocol/values.ts'
import { difference, type Entry, entryOf, isInteger } from './field-kinds.ts'
import { inequivalent, preconditionFailed, type Refusal, resource } from './refusals.ts'
import type { Release } from './release.ts'

export type QueueType = 'classic' | 'quorum' | 'stream'

/** The arguments of each type, in the order in which RabbitMQ compares those of two declarations. */
const ARGUMENTS: Readonly<Record<QueueType, readonly string[]>> = {
  classic: [
    'x-expires',
    'x-message-ttl',
    'x-dead-letter-exchange',
    'x-dead-letter-routing-key',
    'x-max-length',
    'x-max-length-bytes',
    'x-max-priority',
    'x-overflow',
    'x-queue-mode',
    'x-queue-version',
    'x-single-active-consumer',
    'x-queue-type',
    'x-queue-master-locator',
  ],
  quorum: [
    'x-dead-letter-exchange',
    'x-dead-letter-routing-key',
    'x-dead-letter-strategy',
    'x-expires',
    'x-max-length',
    'x-max-length-bytes',
    'x-max-in-memory-length',
    'x-max-in-memory-bytes',
    'x-overflow',
    'x-single-active-consumer',
    'x-queue-type',
    'x-quorum-initial-group-size',
    'x-delivery-limit',
    'x-message-ttl',
    'x-queue-leader-locator',
    'x-consumer-timeout',
  ],
  stream: [
    'x-max-length-bytes',
    'x-queue-type',
    'x-max-age',
    'x-stream-max-segment-size-bytes',
    'x-stream-filter-size-bytes',
    'x-initial-cluster-size',
    'x-queue-leader-locator',
  ],
}

const ALL_ARGUMENTS: ReadonlySet<string> = new Set(Object.values(ARGUMENTS).flat())
const OVERFLOWS: readonly unknown[] = ['drop-head', 'reject-publish', 'reject-publish-dlx']
const STRATEGIES: readonly unknown[] = ['at-most-once', 'at-least-once']
const LONGEST_TIME = 315_360_000_000
const MOST_PRIORITIES = 255

/** Says what is wrong with an argument, as Erlang prints it. */
type Check = (entry: Entry, table: FieldTable) => string | undefined

const wrongType = ({ kind }: Entry) => `{unacceptable_type,${kind}}`

const integer: Check = entry => {
  return isInteger(entry) ? undefined : `"expected integer, got ${entry.kind}"`
}

const notNegative: Check = (entry, table) =>
  integer(entry, table) ?? (Number(entry.value) < 0 ? `{value_negative,${entry.value}}` : undefined)

const time: Check = (entry, table) =>
  notNegative(entry, table) ?? (Number(entry.value) > LONGEST_TIME ? `{value_too_large,${entry.value}}` : undefined)

const positiveTime: Check = (entry, table) =>
  isInteger(entry) && Number(entry.value) === 0 ? '{value_zero,0}' : time(entry, table)

const text: Check = entry => (entry.kind === 'longstr' ? undefined : wrongType(entry))

const oneOf =
  (values: readonly unknown[], otherwise: string): Check =>
  entry =>
    entry.kind === 'longstr' ? (values.includes(entry.value) ? undefined : otherwise) : wrongType(entry)

const CHECKS: Readonly<Record<string, Check>> = {
  'x-expires': positiveTime,
  'x-message-ttl': time,
  'x-dead-letter-exchange': text,
  'x-dead-letter-routing-key': (entry, table) =>
    entry.kind !== 'longstr'
      ? wrongType(entry)
      : entryOf(table, 'x-dead-letter-exchange') === undefined
        ? 'routing_key_but_no_dlx_defined'
        : undefined,
  'x-dead-letter-strategy': oneOf(STRATEGIES, 'invalid_dlx_strategy'),
  'x-max-length': notNegative,
  'x-max-length-bytes': notNegative,
  'x-max-in-memory-length': notNegative,
  'x-max-in-memory-bytes': notNegative,
  'x-max-priority': (entry, table) =>
    notNegative(entry, table) ??
    (Number(entry.value) > MOST_PRIORITIES ? `{max_value_exceeded,${entry.value}}` : undefined),
  'x-overflow': oneOf(OVERFLOWS, 'invalid_overflow'),
  'x-single-active-consumer': entry => (entry.kind === 'bool' ? undefined : wrongType(entry)),
  'x-consumer-timeout': notNegative,
  'x-max-age': entry =>
    entry.kind !== 'longstr' ? wrongType(entry) : ageOf(String(entry.value)) ? undefined : 'invalid_max_age',
  'x-stream-max-segment-size-bytes': notNegative,
}

const UNITS: Readonly<Record<string, number>> = {
  Y: 31_536_000_000,
  M: 2_592_000_000,
  D: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
}

/** Milliseconds of an age such as `7D`; undefined where it is none. */
export function ageOf(age: string): number | undefined {
  const [, count, unit] = /^(\d+)([YMDhms])$/.exec(age) ?? []
  const milliseconds = Number(count) * (UNITS[unit ?? ''] ?? Number.NaN)
  return milliseconds > 0 ? milliseconds : undefined
}

/** The type of a queue by its arguments. @throws Refusal (406) where there is no such type. */
export function queueTypeOf(name: string, vhost: string, table: FieldTable): QueueType {
  const entry = entryOf(table, 'x-queue-type')
  if (entry === undefined || entry.value === '') return 'classic'
  const { kind, value } = entry
  if (kind === 'longstr' && Object.hasOwn(ARGUMENTS, String(value))) return value as QueueType
  const wrong = kind === 'longstr' ? `"unsupported queue type '${value}'"` : `{unacceptable_type,${kind}}`
  throw preconditionFailed(`invalid arg 'x-queue-type' for ${resource('queue', name, vhost)}: ${wrong}`)
}

/** @throws Refusal (406) where the arguments of a new queue are not what its type takes. */
export function checkQueueArguments(
  name: string,
  vhost: string,
  type: QueueType,
  table: FieldTable,
  { unknownArguments }: Release,
): void {
  for (const argument of ARGUMENTS[type]) {
    if (unknownArguments.has(argument)) continue
    const entry = entryOf(table, argument)
    const wrong = entry === undefined ? undefined : CHECKS[argument]?.(entry, table)
    if (wrong !== undefined) {
      throw preconditionFailed(`invalid arg '${argument}' for ${resource('queue', name, vhost)}: ${wrong}`)
    }
  }
  for (const argument of Object.keys(table)) {
    if (unknownArguments.has(argument)) continue
    if (ALL_ARGUMENTS.has(argument) && !ARGUMENTS[type].includes(argument)) {
      throw misplaced(argument, name, vhost, type)
    }
  }
}

const CONSUMER_ARGUMENTS: Readonly<Record<QueueType, readonly string[]>> = {
  classic: ['x-priority'],
  quorum: ['x-priority'],
  stream: ['x-stream-offset', 'x-stream-filter', 'x-stream-match-unfiltered'],
}

const ALL_CONSUMER_ARGUMENTS: ReadonlySet<string> = new Set(Object.values(CONSUMER_ARGUMENTS).flat())

/** @throws Refusal (406) where the arguments of a consumer are not what queues of this type take. */
export function checkConsumerArguments(name: string, vhost: string, type: QueueType, table: FieldTable): void {
  const known = CONSUMER_ARGUMENTS[type]
  const priority = known.includes('x-priority') ? entryOf(table, 'x-priority') : undefined
  const wrong = priority === undefined ? undefined : integer(priority, table)
  if (wrong !== undefined) {
    throw preconditionFailed(`invalid arg 'x-priority' for ${resource('queue', name, vhost)}: ${wrong}`)
  }
  for (const argument of Object.keys(table)) {
    if (ALL_CONSUMER_ARGUMENTS.has(argument) && !known.includes(argument)) throw misplaced(argument, name, vhost, type)
  }
}

function misplaced(argument: string, name: string, vhost: string, type: QueueType): Refusal {
  return preconditionFailed(
    `invalid arg '${argument}' for ${resource('queue', name, vhost)} of queue type rabbit_${type}_queue`,
  )
}

/** @throws Refusal (406) where another declaration of a queue of this type has other arguments. */
export function compareQueueArguments(
  name: string,
  vhost: string,
  type: QueueType,
  current: FieldTable,
  given: FieldTable,
): void {
  for (const argument of ARGUMENTS[type]) {
    const [one, other] = [entryOf(current, argument), entryOf(given, argument)]
    if (argument === 'x-queue-type' && (one ?? other)?.value === 'classic' && !(one && other)) continue
    const differ = difference(one, other)
    if (differ !== undefined) throw inequivalent(argument, resource('queue', name, vhost), ...differ)
  }
}

export function numberArgument(table: FieldTable, name: string): number | undefined {
  const value = entryOf(table, name)?.value
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined
}

export function textArgument(table: FieldTable, name: string): string | undefined {
  const value = entryOf(table, name)?.value
  return typeof value === 'string' ? value : undefined
}
