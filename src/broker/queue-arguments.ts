import { ReplyCode } from '../protocol/constants.ts'
import type { FieldTable } from '../protocol/values.ts'
import { CONSUMER_ARGUMENTS, isMisplaced, QUEUE_ARGUMENTS, type QueueType } from './argument-tables.ts'
import { listTerm } from './erlang-terms.ts'
import { difference, type Entry, entryOf, isInteger, termOf } from './field-kinds.ts'
import { breakage, inequivalent, preconditionFailed, Refusal, resource } from './refusals.ts'
import type { Release } from './release.ts'

const OVERFLOWS: readonly unknown[] = ['drop-head', 'reject-publish', 'reject-publish-dlx']
const STRATEGIES: readonly unknown[] = ['at-most-once', 'at-least-once']
const MODES: readonly unknown[] = ['default', 'lazy']
const OFFSETS: readonly unknown[] = ['first', 'last', 'next']
const LOCATORS: readonly unknown[] = ['client-local', 'balanced', 'random', 'least-leaders', 'min-masters']
const LONGEST_TIME = 315_360_000_000
const MOST_PRIORITIES = 255

/** Says what is wrong with an argument, as Erlang prints it. */
type Check = (entry: Entry, table: FieldTable, release: Release) => string | undefined

const wrongType = ({ kind }: Entry) => `{unacceptable_type,${kind}}`

const integer: Check = entry => (isInteger(entry) ? undefined : `"expected integer, got ${entry.kind}"`)

/** An integer; `wrong` says what is wrong with its value. */
const integerThat =
  (wrong: (value: number | bigint, release: Release) => string | undefined): Check =>
  (entry, table, release) =>
    integer(entry, table, release) ?? wrong(entry.value as number | bigint, release)

const expiry = (value: number | bigint) =>
  value < 0 ? `{value_negative,${value}}` : value > LONGEST_TIME ? `{value_too_large,${value}}` : undefined
const negative = (value: number | bigint) => (value < 0 ? `{value_negative,${value}}` : undefined)
const zero = (value: number | bigint) => (value === 0 ? '{value_zero,0}' : undefined)

const notNegative = integerThat(negative)
const positive = integerThat(value => negative(value) ?? zero(value))

const bool: Check = entry => (entry.kind === 'bool' ? undefined : wrongType(entry))
const text: Check = entry => (entry.kind === 'longstr' ? undefined : wrongType(entry))

const oneOf =
  (values: readonly unknown[], otherwise: (value: string) => string): Check =>
  (entry, table, release) =>
    text(entry, table, release) ?? (values.includes(entry.value) ? undefined : otherwise(String(entry.value)))

/** In the order in which RabbitMQ looks at them. */
const CHECKS: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['x-expires', integerThat(value => zero(value) ?? expiry(value))],
  ['x-message-ttl', integerThat(expiry)],
  ['x-dead-letter-exchange', text],
  [
    'x-dead-letter-routing-key',
    (entry, table, release) =>
      text(entry, table, release) ??
      (entryOf(table, 'x-dead-letter-exchange') === undefined ? 'routing_key_but_no_dlx_defined' : undefined),
  ],
  ['x-dead-letter-strategy', oneOf(STRATEGIES, () => 'invalid_dlx_strategy')],
  ['x-max-length', notNegative],
  ['x-max-length-bytes', notNegative],
  ['x-max-in-memory-length', notNegative],
  ['x-max-in-memory-bytes', notNegative],
  [
    'x-max-priority',
    integerThat(value => negative(value) ?? (value > MOST_PRIORITIES ? `{max_value_exceeded,${value}}` : undefined)),
  ],
  ['x-overflow', oneOf(OVERFLOWS, () => 'invalid_overflow')],
  [
    'x-queue-mode',
    (entry, table, release) =>
      release.checksQueueMode
        ? oneOf(MODES, mode => listTerm(`unsupported queue mode '${mode}'`, release))(entry, table, release)
        : undefined,
  ],
  [
    'x-queue-version',
    integerThat(
      (value, { queueVersions }) =>
        negative(value) ??
        (queueVersions.includes(Number(value)) ? undefined : `"unsupported queue version '${value}'"`),
    ),
  ],
  ['x-single-active-consumer', bool],
  ['x-consumer-timeout', notNegative],
  ['x-consumer-disconnected-timeout', notNegative],
  ['x-quorum-initial-group-size', positive],
  [
    'x-max-age',
    (entry, table, release) =>
      text(entry, table, release) ??
      (ageOf(String(entry.value), release) === undefined ? 'invalid_max_age' : undefined),
  ],
  ['x-stream-max-segment-size-bytes', notNegative],
  ['x-stream-filter-size-bytes', notNegative],
  ['x-initial-cluster-size', positive],
  ['x-queue-leader-locator', oneOf(LOCATORS, () => 'invalid_queue_locator_arg')],
])

const CONSUMER_CHECKS: ReadonlyMap<string, Check> = new Map<string, Check>([
  ['x-priority', integer],
  ['x-cancel-on-ha-failover', bool],
  ['x-consumer-timeout', notNegative],
  [
    'x-stream-offset',
    (entry, _table, release) => {
      const { kind, value } = entry
      const isKnown = kind !== 'longstr' || OFFSETS.includes(value) || ageOf(String(value), release) !== undefined
      return isKnown ? undefined : `{invalid_stream_offset_arg,{longstr,${termOf(entry)}}}`
    },
  ],
])

const LARGEST_SEGMENT = 3_000_000_000
const SMALLEST_FILTER = 16
const LARGEST_FILTER = 255
const UNITS: Readonly<Record<string, number>> = {
  Y: 31_536_000_000,
  M: 2_592_000_000,
  D: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
}

/**
 * Milliseconds of an age such as `7D`; undefined if the text is not an age. @throws Refusal (541) of releases that break
 * on it
 */
export function ageOf(age: string, release: Release): number | undefined {
  const [, count = '', unit = ''] = /^(\d*)(.*)$/s.exec(age) ?? []
  if (count === '' && release.breaksOnAge) throw breakage()
  const milliseconds = Number(count) * (Object.hasOwn(UNITS, unit) ? (UNITS[unit] ?? 0) : 0)
  return milliseconds > 0 ? milliseconds : undefined
}

function isTypeUnset(table: FieldTable, { unsetTypes }: Release): boolean {
  const value = entryOf(table, 'x-queue-type')?.value
  return value === undefined || unsetTypes.includes(value)
}

/** The type of a queue by its arguments; undefined if there is no such type. */
function knownTypeOf(table: FieldTable, release: Release): QueueType | undefined {
  if (isTypeUnset(table, release)) return 'classic'
  const { 'x-queue-type': type } = table
  return typeof type === 'string' && Object.hasOwn(QUEUE_ARGUMENTS[release.name], type)
    ? (type as QueueType)
    : undefined
}

/** The type of a queue by its arguments. @throws Refusal (406) if there is no such type. */
export function queueTypeOf(name: string, vhost: string, table: FieldTable, release: Release): QueueType {
  const type = knownTypeOf(table, release)
  if (type !== undefined) return type
  const { kind, value } = entryOf(table, 'x-queue-type') ?? { kind: 'void', value: null }
  const wrong =
    kind === 'longstr' ? listTerm(`unsupported queue type '${value}'`, release) : `{unacceptable_type,${kind}}`
  throw preconditionFailed(`invalid arg 'x-queue-type' for ${resource('queue', name, vhost)}: ${wrong}`)
}

/** The same for a queue that is to get a name, for which RabbitMQ needs the type before it has checked it. */
export function typeOfNameless(table: FieldTable, release: Release): QueueType {
  const type = knownTypeOf(table, release)
  if (type !== undefined) return type
  const { 'x-queue-type': unknown } = table
  if (!release.namesUnknownTypes) throw breakage()
  if (unknown === null) return 'classic'
  const isNamed = typeof unknown === 'string' || typeof unknown === 'boolean'
  throw isNamed ? preconditionFailed(`unknown queue type '${unknown}'`) : breakage()
}

/** @throws Refusal (406) if its type does not take the arguments of a new queue. */
export function checkQueueArguments(
  name: string,
  vhost: string,
  type: QueueType,
  table: FieldTable,
  release: Release,
): void {
  checkArguments(name, vhost, type, table, release, QUEUE_ARGUMENTS, CHECKS)
}

/** The place of a classic queue: with its connection if it is `exclusive`. @throws Refusal (541) */
export function checkMasterLocator(table: FieldTable, exclusive: boolean, release: Release): void {
  const locator = entryOf(table, 'x-queue-master-locator')?.value
  if (locator === undefined || release.masterLocators.includes(locator)) return
  if (exclusive && release.masterLocatorText === '') return
  throw release.masterLocatorText === '' ? breakage() : new Refusal(ReplyCode.INTERNAL_ERROR, release.masterLocatorText)
}

/** Checks the sizes of a stream after everything else. @throws Refusal (406) */
export function checkStreamSizes(table: FieldTable, release: Release): void {
  const segment = numberArgument(table, 'x-stream-max-segment-size-bytes') ?? 0
  if (segment > LARGEST_SEGMENT) throw preconditionFailed('Exceeded max value for x-stream-max-segment-size-bytes')
  if (!QUEUE_ARGUMENTS[release.name].stream.includes('x-stream-filter-size-bytes')) return
  const filter = numberArgument(table, 'x-stream-filter-size-bytes') ?? SMALLEST_FILTER
  if (filter < SMALLEST_FILTER || filter > LARGEST_FILTER) {
    throw preconditionFailed('Invalid value for x-stream-filter-size-bytes')
  }
}

/** @throws Refusal (406, 541) where the arguments of a consumer are not what queues of this type take. */
export function checkConsumerArguments(
  name: string,
  vhost: string,
  type: QueueType,
  table: FieldTable,
  release: Release,
): void {
  checkArguments(name, vhost, type, table, release, CONSUMER_ARGUMENTS, CONSUMER_CHECKS)
  // Streams do not look at it.
  const credit = CONSUMER_ARGUMENTS[release.name][type].includes('x-credit') ? entryOf(table, 'x-credit') : undefined
  if (type !== 'stream' && credit !== undefined && credit.kind !== 'table') throw breakage()
}

function checkArguments(
  name: string,
  vhost: string,
  type: QueueType,
  table: FieldTable,
  release: Release,
  argumentTables: typeof QUEUE_ARGUMENTS,
  checks: ReadonlyMap<string, Check>,
): void {
  const tables = argumentTables[release.name]
  const what = resource('queue', name, vhost)
  for (const [argument, check] of checks) {
    const entry = tables[type].includes(argument) ? entryOf(table, argument) : undefined
    const wrong = entry === undefined ? undefined : check(entry, table, release)
    if (wrong !== undefined) throw preconditionFailed(`invalid arg '${argument}' for ${what}: ${wrong}`)
  }
  // If RabbitMQ adds the type, it puts the arguments in order.
  const isSorted = release.typeInArguments && isTypeUnset(table, release) && checks === CHECKS
  for (const argument of isSorted ? Object.keys(table).sort() : Object.keys(table)) {
    if (!isMisplaced(argument, type, tables)) continue
    throw preconditionFailed(`invalid arg '${argument}' for ${what} of queue type rabbit_${type}_queue`)
  }
}

/** @throws Refusal (406) if another declaration of a queue of this type has other arguments. */
export function compareQueueArguments(
  name: string,
  vhost: string,
  type: QueueType,
  current: FieldTable,
  given: FieldTable,
  release: Release,
): void {
  for (const argument of QUEUE_ARGUMENTS[release.name][type]) {
    const one = comparable(argument, entryOf(current, argument), release)
    const other = comparable(argument, entryOf(given, argument), release)
    if (argument === 'x-queue-type' && (one ?? other)?.value === 'classic' && !(one && other)) continue
    const differ = difference(one, other)
    if (differ !== undefined) throw inequivalent(argument, resource('queue', name, vhost), ...differ)
  }
}

function comparable(argument: string, entry: Entry | undefined, release: Release): Entry | undefined {
  if (argument !== 'x-max-age' || !release.agesInMilliseconds || typeof entry?.value !== 'string') return entry
  const age = ageOf(entry.value, release)
  return age === undefined ? entry : { kind: 'longstr', value: String(age) }
}

export function numberArgument(table: FieldTable, name: string): number | undefined {
  const value = entryOf(table, name)?.value
  return typeof value === 'number' || typeof value === 'bigint' ? Number(value) : undefined
}

export function textArgument(table: FieldTable, name: string): string | undefined {
  const value = entryOf(table, name)?.value
  return typeof value === 'string' ? value : undefined
}
