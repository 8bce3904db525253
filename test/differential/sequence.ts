import * as methods from '../../src/protocol/methods.ts'
import type { BasicProperties } from '../../src/protocol/properties.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { MISTAKES } from './bad-bytes.ts'
import type { FrameClient } from './frame-client.ts'
import { Random } from './random.ts'

/** One thing that a client does. */
export interface Step {
  readonly connection: number
  readonly channel: number
  readonly method: methods.AnyMethod
  /** What it does, to read. */
  readonly text: string
  do(client: FrameClient, seen: Seen): void
}

/** What came back so far, as far as later steps need it. */
export interface Seen {
  /** The queue of direct reply-to that the last message with one named. */
  replyTo: string | undefined
}

export interface SequenceOptions {
  readonly steps: number
  /** In front of every name, so that sequences do not meet. */
  readonly prefix: string
  readonly types: readonly ('classic' | 'quorum' | 'stream')[]
  /** Messages and queues expire between two steps. */
  readonly expires: boolean
}

const CONNECTIONS = 2
const CHANNELS = 2
const KEYS = ['', 'a', 'a.b', 'a.b.c', 'x']
const PATTERNS = ['', 'a', 'a.*', 'a.#', '#', '*.b', 'x']
const REPLY_TO = 'amq.rabbitmq.reply-to'
/** Milliseconds that are over before the next step. */
const SHORT = 10
const EXCHANGE_TYPES = ['direct', 'fanout', 'topic', 'headers']

/** Steps that a seed decides: most are sensible, some are mistakes. */
export function sequence(seed: number, { steps, prefix, types, expires }: SequenceOptions): Step[] {
  const random = new Random(seed)
  const queues = [1, 2, 3, 4].map(number => `${prefix}q${number}`)
  const exchanges = [1, 2, 3].map(number => `${prefix}x${number}`)
  const queueName = () => (random.chance(0.08) ? '' : random.chance(0.04) ? `${prefix}none` : random.pick(queues))
  const exchangeName = () =>
    random.chance(0.1) ? 'amq.direct' : random.chance(0.05) ? `${prefix}none` : random.pick(exchanges)

  function step<M extends methods.AnyMethod>(method: M, args: methods.ArgumentsOf<M>): Step {
    const [connection, channel] = [random.below(CONNECTIONS), 1 + random.below(CHANNELS)]
    return {
      connection,
      channel,
      method,
      text: `${method.name} ${JSON.stringify(args)}`,
      do: client => client.send(channel, method, args),
    }
  }

  const noWait = () => random.chance(0.08)
  /** Exchanges that are always there see the messages of every sequence that runs. */
  const keyFor = (exchange: string, keys: readonly string[]) =>
    `${exchange.startsWith(prefix) ? '' : prefix}${random.pick(keys)}`

  function queueArguments(): FieldTable {
    const table: FieldTable = {}
    if (types.length > 1 || types[0] !== 'classic') {
      const type = random.pick(types)
      if (type !== 'classic' || random.chance(0.5)) table['x-queue-type'] = type
      if (type === 'stream') return table
    }
    if (random.chance(0.15)) table['x-max-length'] = random.pick([1, 2, 3])
    if (random.chance(0.05) && table['x-queue-type'] !== 'quorum') table['x-max-length-bytes'] = random.pick([5, 20])
    if (random.chance(0.1)) table['x-overflow'] = random.pick(['drop-head', 'reject-publish'])
    if (random.chance(0.15)) table['x-dead-letter-exchange'] = random.pick(['', random.pick(exchanges)])
    if ('x-dead-letter-exchange' in table && random.chance(0.6))
      table['x-dead-letter-routing-key'] = random.pick(queues)
    if (random.chance(expires ? 0.4 : 0.05)) {
      table['x-message-ttl'] = expires ? random.pick([0, SHORT, SHORT, 100_000]) : random.pick([0, 100_000, -1])
    }
    if (expires && random.chance(0.15)) table['x-expires'] = SHORT
    if (random.chance(0.06) && table['x-queue-type'] !== 'quorum') table['x-max-priority'] = random.pick([3, 10])
    if (random.chance(0.06)) table['x-single-active-consumer'] = true
    if (random.chance(0.02)) table['x-max-length'] = 'many'
    if (random.chance(0.02)) table['x-delivery-limit'] = 1
    return table
  }

  function soundArguments(): FieldTable {
    const table = queueArguments()
    if (table['x-message-ttl'] === -1) delete table['x-message-ttl']
    if (table['x-max-length'] === 'many') delete table['x-max-length']
    if (table['x-queue-type'] !== 'quorum') delete table['x-delivery-limit']
    else delete table['x-max-priority']
    return table
  }

  function declareQueue(): Step {
    const table = queueArguments()
    const shared = table['x-queue-type'] === 'quorum' || table['x-queue-type'] === 'stream'
    const durable = shared ? !random.chance(0.1) : random.chance(0.3)
    return step(methods.QueueDeclare, {
      queueName: random.chance(0.05) ? '' : random.pick(queues),
      passive: random.chance(0.1),
      durable,
      exclusive: random.chance(shared ? 0.03 : 0.1),
      autoDelete: random.chance(shared ? 0.03 : 0.1),
      noWait: noWait(),
      arguments: table,
    })
  }

  function properties(exchange: string): BasicProperties | undefined {
    if (random.chance(0.5)) return undefined
    const headers: FieldTable = {}
    if (random.chance(0.4)) headers['a'] = random.pick([1, 2, 'one'])
    if (random.chance(0.1)) headers['x-stream-filter-value'] = random.pick(['one', 'two'])
    if (random.chance(0.1)) headers['CC'] = [random.pick(queues)]
    if (random.chance(0.1)) headers['BCC'] = [random.pick(queues), keyFor(exchange, KEYS)]
    return {
      ...(Object.keys(headers).length > 0 ? { headers } : {}),
      ...(random.chance(0.3) ? { deliveryMode: 2 } : {}),
      ...(random.chance(0.2) ? { priority: random.below(5) } : {}),
      ...(random.chance(expires ? 0.3 : 0.1)
        ? { expiration: expires ? random.pick(['0', `${SHORT}`, '100000']) : random.pick(['100000', '0', 'soon']) }
        : {}),
      ...(random.chance(0.12) ? { replyTo: random.chance(0.9) ? REPLY_TO : 'elsewhere' } : {}),
      ...(random.chance(0.05) ? { userId: random.pick(['guest', 'somebody']) } : {}),
      ...(random.chance(0.1) ? { messageId: 'm', messageType: 't', correlationId: 'c' } : {}),
    }
  }

  let bodies = 0
  function publish(): Step {
    const [connection, channel] = [random.below(CONNECTIONS), 1 + random.below(CHANNELS)]
    const reply = random.chance(0.08)
    const direct = reply || random.chance(0.6)
    const exchange = direct ? '' : exchangeName()
    const key = reply ? REPLY_TO : direct ? random.pick(queues) : keyFor(exchange, KEYS)
    const mandatory = random.chance(0.2)
    const own = properties(exchange)
    const body = `${++bodies}${'.'.repeat(random.below(6))}`
    return {
      connection,
      channel,
      method: methods.BasicPublish,
      text: `basic.publish ${JSON.stringify({ exchange, key, mandatory, own, body })}`,
      do: (client, { replyTo = `${REPLY_TO}.none` }) =>
        client.publish(channel, exchange, reply ? replyTo : key, mandatory, own, body),
    }
  }

  const settleArguments = () => ({ deliveryTag: random.pick([0, 1, 1, 2, 2, 3, 4]), multiple: random.chance(0.3) })
  const headersToMatch = (): FieldTable =>
    random.chance(0.7) ? {} : { 'x-match': random.pick(['all', 'any', 'some']), a: random.pick([1, 2]) }
  const binding = () => {
    const exchange = exchangeName()
    return {
      queueName: queueName(),
      exchangeName: exchange,
      routingKey: keyFor(exchange, PATTERNS),
      arguments: headersToMatch(),
    }
  }
  const consumeArguments = (): FieldTable => ({
    ...(random.chance(0.1) ? { 'x-priority': random.pick([1, 5, 'high']) } : {}),
    ...(types.includes('stream') && random.chance(0.5)
      ? { 'x-stream-offset': random.pick(['first', 'last', 'next', 1]) }
      : {}),
  })

  const kinds: readonly (readonly [number, () => Step])[] = [
    [14, declareQueue],
    [30, publish],
    [
      6,
      () =>
        step(methods.ExchangeDeclare, {
          exchangeName: exchangeName(),
          typeName: random.chance(0.04) ? 'odd' : random.pick(EXCHANGE_TYPES),
          passive: random.chance(0.1),
          durable: random.chance(0.5),
          autoDelete: random.chance(0.1),
          internal: random.chance(0.05),
          noWait: noWait(),
          arguments: random.chance(0.15) ? { 'alternate-exchange': random.pick(exchanges) } : {},
        }),
    ],
    [8, () => step(methods.QueueBind, { ...binding(), noWait: noWait() })],
    [2, () => step(methods.QueueUnbind, binding())],
    [
      2,
      () => {
        const exchangeSource = exchangeName()
        return step(random.chance(0.7) ? methods.ExchangeBind : methods.ExchangeUnbind, {
          exchangeDestination: random.pick(exchanges),
          exchangeSource,
          routingKey: keyFor(exchangeSource, PATTERNS),
          noWait: noWait(),
        })
      },
    ],
    [10, () => step(methods.BasicGet, { queueName: queueName(), noAck: random.chance(0.3) })],
    [
      8,
      () =>
        step(methods.BasicConsume, {
          queueName: queueName(),
          consumerTag: random.pick(['', 't1', 't2', 't3']),
          noAck: random.chance(0.2),
          exclusive: random.chance(0.08),
          noWait: noWait(),
          arguments: consumeArguments(),
        }),
    ],
    [
      3,
      () =>
        step(methods.BasicConsume, {
          queueName: REPLY_TO,
          consumerTag: random.pick(['', 't1', 't2']),
          noAck: random.chance(0.9),
          noWait: noWait(),
        }),
    ],
    [4, () => step(methods.BasicCancel, { consumerTag: random.pick(['t1', 't2', 't3']), noWait: noWait() })],
    [8, () => step(methods.BasicAck, settleArguments())],
    [4, () => step(methods.BasicNack, { ...settleArguments(), requeue: random.chance(0.5) })],
    [4, () => step(methods.BasicReject, { deliveryTag: 1 + random.below(4), requeue: random.chance(0.5) })],
    [1.5, () => step(methods.BasicRecover, { requeue: !random.chance(0.1) })],
    [0.5, () => step(methods.BasicRecoverAsync, { requeue: !random.chance(0.1) })],
    [
      4,
      () =>
        step(methods.BasicQos, {
          prefetchSize: random.chance(0.02) ? 1 : 0,
          prefetchCount: random.pick([0, 1, 2, 5]),
          connectionGlobal: random.chance(0.3),
        }),
    ],
    [2, () => step(methods.QueuePurge, { queueName: queueName(), noWait: noWait() })],
    [
      3,
      () =>
        step(methods.QueueDelete, {
          queueName: queueName(),
          ifUnused: random.chance(0.15),
          ifEmpty: random.chance(0.15),
          noWait: noWait(),
        }),
    ],
    [
      1,
      () =>
        step(methods.ExchangeDelete, {
          exchangeName: exchangeName(),
          ifUnused: random.chance(0.3),
          noWait: noWait(),
        }),
    ],
    [3, () => step(methods.ConfirmSelect, { noWait: noWait() })],
    [2, () => step(methods.TxSelect, {})],
    [3, () => step(methods.TxCommit, {})],
    [1, () => step(methods.TxRollback, {})],
    [1, () => step(methods.ChannelFlow, { active: !random.chance(0.2) })],
    [2, () => step(methods.ChannelClose, { replyCode: 200, classId: 0, methodId: 0 })],
    [
      0.7,
      () => {
        const connection = random.below(CONNECTIONS)
        const { text, bytes } = random.pick(MISTAKES)
        return { connection, channel: 1, method: methods.ConnectionClose, text, do: client => client.write(bytes) }
      },
    ],
    [
      0.3,
      () => ({
        connection: random.below(CONNECTIONS),
        channel: 1,
        method: methods.ConnectionClose,
        text: 'connection.close',
        do: client => client.send(0, methods.ConnectionClose, { replyCode: 200, classId: 0, methodId: 0 }),
      }),
    ],
  ]
  const total = kinds.reduce((sum, [weight]) => sum + weight, 0)
  const any = (): Step => {
    let left = random.next() * total
    for (const [weight, make] of kinds) {
      left -= weight
      if (left < 0) return make()
    }
    return publish()
  }
  // Most of what follows is to have something to work on.
  const declared = [
    ...queues.map(queueName => () => {
      return random.chance(0.3)
        ? declareQueue()
        : step(methods.QueueDeclare, { queueName, durable: true, arguments: soundArguments() })
    }),
    ...exchanges.map(
      exchangeName => () => step(methods.ExchangeDeclare, { exchangeName, typeName: random.pick(EXCHANGE_TYPES) }),
    ),
    ...queues.map(
      queueName => () =>
        step(methods.QueueBind, {
          queueName,
          exchangeName: random.pick(exchanges),
          routingKey: random.pick(PATTERNS),
        }),
    ),
  ]
  return [...declared.map(make => make()), ...Array.from({ length: steps }, any)]
}

/** Every name that a sequence may have declared. */
export function namesOf(prefix: string): { readonly queues: readonly string[]; readonly exchanges: readonly string[] } {
  return {
    queues: [1, 2, 3, 4].map(number => `${prefix}q${number}`),
    exchanges: ['x1', 'x2', 'x3', 'none'].map(name => `${prefix}${name}`),
  }
}
