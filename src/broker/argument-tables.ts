import type { ReleaseName } from './release-name.ts'

export type QueueType = 'classic' | 'quorum' | 'stream'

type ByType = Readonly<Record<QueueType, readonly string[]>>

const CLASSIC = [
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
]

const QUORUM = [
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
]

/** The arguments that each type of queue takes, in the order in which RabbitMQ compares two declarations. */
export const QUEUE_ARGUMENTS: Readonly<Record<ReleaseName, ByType>> = {
  '3.10': {
    classic: CLASSIC,
    quorum: QUORUM,
    stream: [
      'x-max-length-bytes',
      'x-queue-type',
      'x-max-age',
      'x-stream-max-segment-size-bytes',
      'x-initial-cluster-size',
      'x-queue-leader-locator',
    ],
  },
  '4.3': {
    classic: [...CLASSIC, 'x-queue-leader-locator'],
    quorum: [
      ...QUORUM,
      'x-consumer-disconnected-timeout',
      'x-consumer-timeout',
      'x-delayed-retry-type',
      'x-delayed-retry-min',
      'x-delayed-retry-max',
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
  },
}

/** The arguments that consumers of queues of each type take. */
export const CONSUMER_ARGUMENTS: Readonly<Record<ReleaseName, ByType>> = {
  '3.10': {
    classic: ['x-cancel-on-ha-failover', 'x-priority', 'x-credit'],
    quorum: ['x-priority', 'x-credit'],
    stream: ['x-stream-offset', 'x-credit'],
  },
  '4.3': {
    classic: ['x-priority'],
    quorum: ['x-priority', 'x-consumer-timeout'],
    stream: ['x-stream-offset', 'x-stream-filter', 'x-stream-match-unfiltered'],
  },
}

/** Whether an argument is known, but not for this type. */
export function isMisplaced(argument: string, type: QueueType, tables: ByType): boolean {
  return !tables[type].includes(argument) && Object.values(tables).some(known => known.includes(argument))
}
