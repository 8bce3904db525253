import type { Properties } from './received-properties.ts'

/** The number of retries so far, in the headers of the copy. */
export const RETRIES = 'x-retries'

/**
 * How often a message was delivered before: quorum queues count (`x-delivery-count`, and since RabbitMQ 4.3
 * `x-acquired-count`); for other queues it is only known whether it was delivered before, which counts as 1.
 */
export function deliveryCount({ headers }: Properties, redelivered: boolean): number {
  const counted = Math.max(count(headers?.['x-acquired-count']), count(headers?.['x-delivery-count']))
  return Math.max(counted, redelivered ? 1 : 0)
}

/** How often it was handled again by a retry policy. */
export function retriesOf({ headers }: Properties): number {
  return count(headers?.[RETRIES])
}

/** Which attempt to handle it this is, if a retry policy had it handled again `retries` times. */
export function attemptOf({ headers }: Properties, retries: number): number {
  return 1 + retries + count(headers?.['x-delivery-count'])
}

/** Anybody may have sent such a header. */
function count(value: unknown): number {
  const number = typeof value === 'number' || typeof value === 'bigint' ? Number(value) : 0
  return number > 0 ? Math.floor(number) : 0
}
