import { EncodeError } from '../../errors.ts'
import { inspectShort } from '../../protocol/inspect-short.ts'
import { badValue, checkOptions, integerOption, shortStringOption } from '../../protocol/option-check.ts'
import type { Message } from './message.ts'

/** Where copies of messages go whose handler failed. */
export interface ErrorDestination {
  /** '' is the default exchange, which routes to the queue that `routingKey` names. */
  readonly exchangeName: string
  readonly routingKey: string
}

/**
 * Handles a message again a number of times, after pauses in which it takes no place of the prefetch window.
 *
 * It waits in a queue of its own, `<queue>.retry.<milliseconds>`, which the consumer declares when it is needed and which
 * the broker removes a week after its last use. If that queue confirms nothing, `<queue>.retry.<milliseconds>.2` takes its place. A message of a stream waits in the consumer.
 */
export interface RetryPolicy {
  /** How often a message is handled again after its first attempt, from 0 to 10,000. */
  readonly retries: number
  /**
   * Milliseconds before the first retry, the second, and so on; the last one is also for all further retries. Each is from 1
   * to 2,592,000,000 (30 days). Default: `[1_000, 10_000, 60_000]`.
   */
  readonly delays?: readonly number[] | undefined
  /** What becomes of the message when its last attempt has failed. Default: `'reject'`. */
  readonly otherwise?: 'reject' | 'drop' | ErrorDestination | undefined
}

/**
 * What becomes of a message whose handler failed:
 *
 * - `'requeue'`: back to its queue (basic.reject, which counts toward a quorum queue's delivery limit), after a pause
 *   that doubles from 1 s to 60 s while the same message fails.
 * - `'reject'`: to the dead-letter exchange of its queue. If there is none, the message is gone.
 * - `'drop'`: it is acked, and gone.
 * - an error destination: a copy is published there with the error in its headers, and once the broker has it, the
 *   message is acked. If no queue takes the copy, the message is requeued.
 * - a retry policy: it is handled again some times, after pauses.
 */
export type FailureAction = 'requeue' | 'reject' | 'drop' | ErrorDestination | RetryPolicy

/** Decides about one failure, or settles the message itself. Nothing decided and nothing settled means `'requeue'`. */
export type FailureDecider = (
  message: Message,
  error: unknown,
) => FailureAction | undefined | void | Promise<FailureAction | undefined> | Promise<void>

const RETRY_OPTIONS = ['retries', 'delays', 'otherwise']
const DESTINATION_OPTIONS = ['exchangeName', 'routingKey']
const DELAYS = [1_000, 10_000, 60_000]
const MOST_RETRIES = 10_000
/** RabbitMQ takes no longer time than 2^32 - 1 ms, which is 49 days. */
const LONGEST_DELAY = 30 * 24 * 3_600_000

/** A retry policy whose options are checked. */
export type CheckedRetries = Required<{ readonly [name in keyof RetryPolicy]: Exclude<RetryPolicy[name], undefined> }>

/** A failure action whose options are checked. */
export type CheckedAction = 'requeue' | 'reject' | 'drop' | ErrorDestination | CheckedRetries

/**
 * @internal
 * @throws EncodeError for anything but a known action and `undefined`.
 */
export function checkFailureAction(what: string, action: unknown): CheckedAction | undefined {
  if (action === undefined || action === 'requeue') return action
  if (typeof action === 'object' && action !== null) {
    if ('retries' in action) return checkRetries(what, action)
    // A misspelt option may be one of either kind.
    const isDestination = DESTINATION_OPTIONS.some(name => name in action)
    if (!isDestination) checkOptions(what, action, [...RETRY_OPTIONS, ...DESTINATION_OPTIONS])
  }
  const last = checkLastAction(what, action)
  if (last !== undefined) return last
  throw new EncodeError(
    `${what} must be "requeue", "reject", "drop", { exchangeName, routingKey } with two strings or { retries, delays, otherwise }, not ${inspectShort(action)}`,
  )
}

function checkLastAction(what: string, action: unknown): 'reject' | 'drop' | ErrorDestination | undefined {
  if (action === 'reject' || action === 'drop') return action
  if (typeof action !== 'object' || action === null) return undefined
  checkOptions(what, action, DESTINATION_OPTIONS)
  const { exchangeName, routingKey } = action as Partial<ErrorDestination>
  if (typeof exchangeName !== 'string' || typeof routingKey !== 'string') return undefined
  shortStringOption(what, 'exchangeName', exchangeName)
  shortStringOption(what, 'routingKey', routingKey)
  return { exchangeName, routingKey }
}

function checkRetries(what: string, policy: object): CheckedRetries {
  checkOptions(what, policy, RETRY_OPTIONS)
  const { retries, delays = DELAYS, otherwise = 'reject' } = policy as Partial<RetryPolicy>
  const count = requiredInteger(what, 'retries', retries, 0, MOST_RETRIES)
  const last = checkLastAction(`${what}: "otherwise"`, otherwise)
  if (last === undefined)
    throw badValue(what, 'otherwise', '"reject", "drop" or { exchangeName, routingKey }', otherwise)
  if (!Array.isArray(delays) || delays.length === 0) {
    throw badValue(what, 'delays', 'an array of milliseconds with one number or more', delays)
  }
  // Of holes as well.
  const checked = Array.from(delays, (delay: unknown) => requiredInteger(what, 'delays', delay, 1, LONGEST_DELAY))
  return { retries: count, delays: checked, otherwise: last }
}

function requiredInteger(what: string, name: string, value: unknown, least: number, most: number): number {
  const checked = integerOption(what, name, value, least, most)
  if (checked === undefined) throw badValue(what, name, `an integer from ${least} to ${most}`, value)
  return checked
}

/** The name of the queue in which messages wait for `delay` milliseconds: `orders.retry.10000`; or of its substitute. */
export function retryQueueName(queueName: string, delay: number, substitute: boolean): string {
  return `${queueName}.retry.${delay}${substitute ? '.2' : ''}`
}
