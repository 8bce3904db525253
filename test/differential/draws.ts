import type { BasicProperties } from '../../src/protocol/properties.ts'
import { decimal, double, type FieldTable, type FieldValue, float, int8, int64 } from '../../src/protocol/values.ts'
import type { Random } from './random.ts'

export interface DrawOptions {
  /** In front of every name, so that sequences do not meet. */
  readonly prefix: string
  readonly types: readonly ('classic' | 'quorum' | 'stream')[]
  /** Messages and queues expire between two steps. */
  readonly expires: boolean
}

export const REPLY_TO = 'amq.rabbitmq.reply-to'
export const KEYS = ['', 'a', 'a.b', 'a.b.c', 'x', 'a..b']
export const PATTERNS = ['', 'a', 'a.*', 'a.#', '#', '*.b', 'x', '#.b.#', 'a..b', '#.#.#']
/** What a headers exchange compares, alike or nearly so. */
const COMPARED: readonly FieldValue[] = [
  1,
  1,
  2,
  'one',
  int8(1),
  int64(1),
  double(1),
  new Date(1000),
  Buffer.from('one'),
  [1],
  [int8(1)],
  [],
  {},
]

/** Milliseconds that are over before the next step. */
const SHORT = 10

/** Arguments of queues with what they may be, of which most are wrong. */
const ODD_QUEUE_ARGUMENTS: Readonly<Record<string, readonly FieldValue[]>> = {
  'x-expires': [0, -1, 'soon', 1.5, 100_000, 400_000_000_000],
  'x-message-ttl': [-1, 'soon', true, 400_000_000_000],
  'x-dead-letter-exchange': [5, true],
  'x-dead-letter-routing-key': [5, 'a'],
  'x-dead-letter-strategy': ['odd', 5, 'at-most-once'],
  'x-max-length': [-1, 'many', 1.5, 0],
  'x-max-length-bytes': [-1, 'many', 0],
  'x-max-priority': [0, -1, 255, 256, 'high'],
  'x-overflow': ['odd', 5, 'reject-publish-dlx'],
  'x-single-active-consumer': ['yes', 1, false],
  'x-queue-type': ['odd', 5, ''],
  'x-queue-mode': ['lazy', 'default', 'odd', 5],
  'x-queue-version': [1, 2, 3, 'two'],
  'x-queue-leader-locator': ['client-local', 'balanced', 'odd', 5],
  'x-queue-master-locator': ['min-masters', 'odd'],
  'x-delivery-limit': [-1, 'few', 0, 1],
  'x-quorum-initial-group-size': [1, 0, 'one'],
  'x-initial-cluster-size': [1, 0, 'one'],
  'x-max-in-memory-length': [1, -1, 'few'],
  'x-max-in-memory-bytes': [1, 'few'],
  'x-max-age': ['1h', 'odd', 5],
  'x-stream-max-segment-size-bytes': [1000, -1, 'small'],
  'x-stream-filter-size-bytes': [16, 1, 'small'],
  'x-consumer-timeout': [100_000, -1, 'long'],
  'x-unknown': [1, 'one'],
}

const ODD_HEADERS: readonly FieldValue[] = [
  null,
  true,
  1.5,
  -1,
  2 ** 40,
  'a text',
  [1, 'a', { b: 2 }],
  { z: 1, b: { a: [] } },
  new Date(1_700_000_000_000),
  int8(5),
  float(0.5),
  decimal(314, 2),
]

/** Draws names, arguments and properties: most of them are sound. */
export class Draws {
  readonly queues: readonly string[]
  readonly exchanges: readonly string[]
  readonly #random: Random
  readonly #options: DrawOptions

  constructor(random: Random, options: DrawOptions) {
    this.#random = random
    this.#options = options
    const { prefix } = options
    this.queues = [1, 2, 3, 4].map(number => `${prefix}q${number}`)
    this.exchanges = [1, 2, 3].map(number => `${prefix}x${number}`)
  }

  queueName(): string {
    const random = this.#random
    if (random.chance(0.08)) return ''
    return random.chance(0.04) ? `${this.#options.prefix}none` : random.pick(this.queues)
  }

  exchangeName(): string {
    const random = this.#random
    if (random.chance(0.12)) return random.pick(['amq.direct', 'amq.topic'])
    if (random.chance(0.02)) return ''
    return random.chance(0.05) ? `${this.#options.prefix}none` : random.pick(this.exchanges)
  }

  /** Exchanges that are always there see the messages of every sequence that runs. */
  keyFor(exchange: string, keys: readonly string[]): string {
    const { prefix } = this.#options
    return `${exchange.startsWith(prefix) ? '' : prefix}${this.#random.pick(keys)}`
  }

  queueArguments(): FieldTable {
    const table = this.#queueArguments()
    if (!this.#random.chance(0.08)) return table
    const name = this.#random.pick(Object.keys(ODD_QUEUE_ARGUMENTS))
    return { ...table, [name]: this.#random.pick(ODD_QUEUE_ARGUMENTS[name] ?? []) }
  }

  /** Without mistakes. */
  soundArguments(): FieldTable {
    const table = this.#queueArguments()
    if (table['x-message-ttl'] === -1) delete table['x-message-ttl']
    if (table['x-queue-type'] !== 'quorum') delete table['x-delivery-limit']
    else delete table['x-max-priority']
    return table
  }

  #queueArguments(): FieldTable {
    const random = this.#random
    const { types, expires } = this.#options
    const table: FieldTable = {}
    if (types.length > 1 || types[0] !== 'classic') {
      const type = random.pick(types)
      if (type !== 'classic' || random.chance(0.5)) table['x-queue-type'] = type
      if (type === 'stream') return table
    }
    const isQuorum = table['x-queue-type'] === 'quorum'
    if (random.chance(0.15)) table['x-max-length'] = random.pick<FieldValue>([1, 2, 3, int8(2)])
    if (random.chance(0.05)) table['x-max-length-bytes'] = random.pick([5, 20])
    if (random.chance(0.1)) table['x-overflow'] = random.pick(['drop-head', 'reject-publish'])
    else if (random.chance(0.03) && !isQuorum) table['x-overflow'] = 'reject-publish-dlx'
    if (random.chance(isQuorum ? 0.4 : 0.2))
      table['x-dead-letter-exchange'] = random.pick(['', random.pick(this.exchanges)])
    if ('x-dead-letter-exchange' in table && random.chance(0.6)) {
      table['x-dead-letter-routing-key'] = random.pick(this.queues)
    }
    if (random.chance(expires ? 0.4 : 0.05)) {
      table['x-message-ttl'] = expires ? random.pick([0, SHORT, SHORT, 100_000]) : random.pick([0, 100_000, -1])
    }
    if (expires && random.chance(0.15)) table['x-expires'] = SHORT
    if (random.chance(0.08) && !isQuorum) table['x-max-priority'] = random.pick([0, 1, 3, 10])
    if (random.chance(isQuorum ? 0.2 : 0.08)) table['x-single-active-consumer'] = true
    if (random.chance(isQuorum ? 0.25 : 0.01)) table['x-delivery-limit'] = random.pick([0, 1, 1, 2, 5])
    return table
  }

  consumeArguments(): FieldTable {
    const random = this.#random
    const streams = this.#options.types.includes('stream')
    return {
      ...(random.chance(0.25) ? { 'x-priority': random.pick([1, 5, -1, 1, 5, 'high', 1.5]) } : {}),
      ...(random.chance(streams ? 0.6 : 0.01) ? { 'x-stream-offset': this.#streamOffset() } : {}),
      ...(random.chance(streams ? 0.1 : 0.01)
        ? { 'x-stream-filter': random.pick<FieldValue>(['one', ['one', 'two'], ['none'], 5, '', []]) }
        : {}),
      ...(random.chance(streams ? 0.1 : 0.01) ? { 'x-stream-match-unfiltered': random.chance(0.7) } : {}),
      ...(random.chance(0.02) ? { 'x-unknown': 1 } : {}),
    }
  }

  #streamOffset(): FieldValue {
    const random = this.#random
    if (random.chance(0.7)) return random.pick<FieldValue>(['first', 'last', 'next', 0, 1, 2])
    return random.pick<FieldValue>([new Date(0), new Date(4_000_000_000_000), '1h', '1Y', 'odd', 1.5, true, -1, 1000])
  }

  headersToMatch(): FieldTable {
    const random = this.#random
    if (random.chance(0.6)) return {}
    return {
      ...(random.chance(0.8)
        ? { 'x-match': random.pick<FieldValue>(['all', 'any', 'all-with-x', 'any-with-x', 'some', 5]) }
        : {}),
      ...(random.chance(0.8) ? { a: random.chance(0.2) ? null : random.pick(COMPARED) } : {}),
      ...(random.chance(0.2) ? { b: random.pick<FieldValue>([true, 1.5]) } : {}),
      ...(random.chance(0.2) ? { 'x-c': 1 } : {}),
    }
  }

  properties(exchange: string): BasicProperties | undefined {
    const random = this.#random
    const { expires } = this.#options
    if (random.chance(0.5)) return undefined
    const headers = this.#headers(exchange)
    return {
      ...(Object.keys(headers).length > 0 || random.chance(0.05) ? { headers } : {}),
      ...(random.chance(0.3) ? { deliveryMode: random.pick([2, 2, 2, 1, 0, 7]) } : {}),
      ...(random.chance(0.25) ? { priority: random.pick([0, 1, 2, 3, 4, 5, 200]) } : {}),
      ...(random.chance(expires ? 0.3 : 0.1)
        ? {
            expiration: expires
              ? random.pick(['0', `${SHORT}`, '100000'])
              : random.pick(['100000', '0', 'soon', '-1', '1.5', '100000', '0', '1\n', '+1', '9999999999999999999']),
          }
        : {}),
      ...(random.chance(0.12) ? { replyTo: random.chance(0.9) ? REPLY_TO : 'elsewhere' } : {}),
      ...(random.chance(0.05) ? { userId: random.pick(['guest', 'guest', 'somebody', '']) } : {}),
      ...(random.chance(0.1) ? { messageId: 'm', messageType: 't', correlationId: 'c' } : {}),
      ...(random.chance(0.05) ? { contentType: 'text/plain', contentEncoding: '', appId: 'ä', clusterId: 'k' } : {}),
      ...(random.chance(0.05) ? { timestamp: new Date(1_700_000_000_000) } : {}),
    }
  }

  #headers(exchange: string): FieldTable {
    const random = this.#random
    const headers: FieldTable = {}
    // RabbitMQ's streams break on decimals.
    const odd = this.#options.types.includes('stream') ? ODD_HEADERS.slice(0, -1) : ODD_HEADERS
    if (random.chance(0.1)) headers['z'] = random.pick(odd)
    if (random.chance(0.4)) headers['a'] = random.pick(COMPARED)
    if (random.chance(0.1)) headers['b'] = random.pick<FieldValue>([true, 1.5])
    if (random.chance(0.05)) headers['x-c'] = 1
    if (random.chance(0.15))
      headers['x-stream-filter-value'] = random.chance(0.03) ? 5 : random.pick(['one', 'two', ''])
    if (random.chance(0.03)) headers['x-death'] = this.#writtenDeath()
    if (random.chance(0.02)) headers['x-first-death-reason'] = 'mine'
    if (random.chance(0.1)) headers['CC'] = this.#copies(exchange)
    if (random.chance(0.1)) headers['BCC'] = this.#copies(exchange)
    return headers
  }

  /** The story of deaths as a publisher may write it: RabbitMQ 3.10 breaks on entries that are not tables. */
  #writtenDeath(): FieldValue {
    const random = this.#random
    const death = { queue: random.pick(this.queues), reason: random.pick(['rejected', 'expired']) }
    return random.pick<FieldValue>(['text', [], [{}], [death], [{ ...death, count: random.pick([2, int64(2)]) }]])
  }

  #copies(exchange: string): FieldValue {
    const random = this.#random
    if (random.chance(0.06)) return random.pick<FieldValue>(['a text', 5, [5], []])
    return random.chance(0.5) ? [random.pick(this.queues)] : [random.pick(this.queues), this.keyFor(exchange, KEYS)]
  }
}
