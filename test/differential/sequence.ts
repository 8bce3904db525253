import * as methods from '../../src/protocol/methods.ts'
import type { BasicProperties } from '../../src/protocol/properties.ts'
import { MISTAKES } from './bad-bytes.ts'
import { type DrawOptions, Draws, KEYS, PATTERNS, REPLY_TO } from './draws.ts'
import type { FrameClient } from './frame-client.ts'
import { Random } from './random.ts'

/** One thing that a client does. */
export interface Step {
  readonly connection: number
  readonly channel: number
  readonly method: methods.AnyMethod
  /** Whether it publishes more than one message. */
  readonly several?: boolean
  /** What it does, to read. */
  readonly text: string
  do(client: FrameClient, seen: Seen): void
}

/** What came back so far, as far as later steps need it. */
export interface Seen {
  /** The queue of direct reply-to that the last message with one named. */
  replyTo: string | undefined
  /** The properties of the last message that had died somewhere. */
  dead: BasicProperties | undefined
}

export interface SequenceOptions extends DrawOptions {
  readonly steps: number
}

const CONNECTIONS = 2
const CHANNELS = 2
const EXCHANGE_TYPES = ['direct', 'fanout', 'topic', 'headers']
/** Factors for the weights below: each sequence has its own character. */
const FAVOURS = [0.25, 1, 1, 3]

/** Steps that a seed decides: most are sensible, some are mistakes. */
export function sequence(seed: number, options: SequenceOptions): Step[] {
  const { steps, types } = options
  const random = new Random(seed)
  const draws = new Draws(random, options)
  const { queues, exchanges } = draws
  const queueName = () => draws.queueName()
  const exchangeName = () => draws.exchangeName()

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

  /** What was done before, to do it again: most other repetitions would be another declaration of the same name. */
  function again<A>(done: A[], chance: number, draw: () => A): A {
    if (done.length > 0 && random.chance(chance)) return random.pick(done)
    const drawn = draw()
    done.push(drawn)
    return drawn
  }

  const noWait = () => random.chance(0.08)
  const queuesDeclared: methods.ArgumentsOf<typeof methods.QueueDeclare>[] = []
  const exchangesDeclared: methods.ArgumentsOf<typeof methods.ExchangeDeclare>[] = []
  const queuesBound: methods.ArgumentsOf<typeof methods.QueueUnbind>[] = []
  const exchangesBound: methods.ArgumentsOf<typeof methods.ExchangeUnbind>[] = []

  function declareQueue(): Step {
    const args = again(queuesDeclared, 0.3, () => {
      const table = draws.queueArguments()
      const shared = table['x-queue-type'] === 'quorum' || table['x-queue-type'] === 'stream'
      return {
        queueName: random.chance(0.05) ? random.pick(['', '', '', 'amq.odd', REPLY_TO]) : random.pick(queues),
        durable: shared ? !random.chance(0.1) : random.chance(0.3),
        exclusive: random.chance(shared ? 0.03 : 0.1),
        autoDelete: random.chance(shared ? 0.03 : 0.1),
        arguments: table,
      }
    })
    return step(methods.QueueDeclare, { ...args, passive: random.chance(0.1), noWait: noWait() })
  }

  function declareExchange(): Step {
    const args = again(exchangesDeclared, 0.3, () => ({
      exchangeName: random.chance(0.02) ? 'amq.odd' : exchangeName(),
      typeName: random.chance(0.04) ? random.pick(['odd', '']) : random.pick(EXCHANGE_TYPES),
      durable: random.chance(0.5),
      autoDelete: random.chance(0.15),
      internal: random.chance(0.05),
      arguments: random.chance(0.25)
        ? { 'alternate-exchange': random.chance(0.05) ? 5 : random.pick([...exchanges, 'amq.direct', '']) }
        : {},
    }))
    return step(methods.ExchangeDeclare, { ...args, passive: random.chance(0.1), noWait: noWait() })
  }

  let bodies = 0
  function body(): string {
    if (random.chance(0.02)) return ''
    const text = `${++bodies}${'.'.repeat(random.below(6))}`
    return random.chance(0.004) ? text.padEnd(300_000, 'x') : text
  }

  function publish(): Step {
    const [connection, channel] = [random.below(CONNECTIONS), 1 + random.below(CHANNELS)]
    const messages = Array.from({ length: random.chance(0.1) ? 3 : 1 }, () => {
      const reply = random.chance(0.08)
      const direct = reply || random.chance(0.6)
      const exchange = direct ? '' : exchangeName()
      const key = reply ? REPLY_TO : direct ? random.pick(queues) : draws.keyFor(exchange, KEYS)
      const own = draws.properties(exchange)
      return { exchange, key, mandatory: random.chance(0.2), own, body: body(), reply, died: random.chance(0.15) }
    })
    const shown = messages.map(message => JSON.stringify({ ...message, body: message.body.slice(0, 20) }))
    return {
      connection,
      channel,
      method: methods.BasicPublish,
      several: messages.length > 1,
      text: `basic.publish ${shown.join(' ')}`,
      do: (client, { replyTo = `${REPLY_TO}.none`, dead }) => {
        for (const { reply, died, exchange, key, mandatory, own, body: text } of messages) {
          const properties = died ? (dead ?? own) : own
          client.publish(channel, exchange, reply ? replyTo : key, mandatory, properties, text)
        }
      },
    }
  }

  function consume(): Step {
    const streams = types.includes('stream')
    const drawn = step(methods.BasicConsume, {
      queueName: queueName(),
      consumerTag: random.pick(['', 't1', 't2', 't3']),
      noAck: random.chance(streams ? 0.05 : 0.2),
      exclusive: random.chance(0.08),
      noWait: noWait(),
      arguments: draws.consumeArguments(),
    })
    const prefetchCount = random.pick([1, 2, 5, 10])
    if (!streams || random.chance(0.1)) return drawn
    // No stream gives anything to a consumer without a limit.
    return {
      ...drawn,
      text: `basic.qos ${prefetchCount} and ${drawn.text}`,
      do: (client, seen) => {
        client.send(drawn.channel, methods.BasicQos, { prefetchCount })
        drawn.do(client, seen)
      },
    }
  }

  /** Settles what there is to settle; often enough, something else. */
  function settle(
    method: typeof methods.BasicAck | typeof methods.BasicNack | typeof methods.BasicReject,
    more: { readonly multiple?: boolean; readonly requeue?: boolean },
  ): Step {
    const blind = random.chance(0.2)
    const [tag, which] = [random.pick([0, 1, 1, 2, 2, 3, 4]), random.next()]
    const drawn = step(method, { deliveryTag: tag, ...more })
    if (blind) return drawn
    const { channel } = drawn
    return {
      ...drawn,
      text: `${method.name} of what is open, ${which.toFixed(2)} ${JSON.stringify(more)}`,
      do: client => {
        const open = client.deliveries.of(channel)
        const deliveryTag = open[Math.floor(which * open.length)]
        if (deliveryTag !== undefined) client.send(channel, method, { deliveryTag, ...more })
      },
    }
  }

  const multiple = () => random.chance(0.3)
  const requeue = () => random.chance(0.5)
  const drawBinding = () => {
    const exchange = exchangeName()
    return {
      queueName: queueName(),
      exchangeName: exchange,
      routingKey: draws.keyFor(exchange, PATTERNS),
      arguments: draws.headersToMatch(),
    }
  }
  const drawExchangeBinding = () => {
    const exchangeSource = exchangeName()
    return {
      exchangeDestination: random.pick(exchanges),
      exchangeSource,
      routingKey: draws.keyFor(exchangeSource, PATTERNS),
      arguments: draws.headersToMatch(),
    }
  }

  const kinds: readonly (readonly [number, () => Step])[] = [
    [14, declareQueue],
    [30, publish],
    [6, declareExchange],
    [8, () => step(methods.QueueBind, { ...again(queuesBound, 0.1, drawBinding), noWait: noWait() })],
    [2, () => step(methods.QueueUnbind, again(queuesBound, 0.7, drawBinding))],
    [1.5, () => step(methods.ExchangeBind, { ...again(exchangesBound, 0.1, drawExchangeBinding), noWait: noWait() })],
    [1, () => step(methods.ExchangeUnbind, { ...again(exchangesBound, 0.7, drawExchangeBinding), noWait: noWait() })],
    [10, () => step(methods.BasicGet, { queueName: queueName(), noAck: random.chance(0.3) })],
    [8, consume],
    [
      3,
      () =>
        step(methods.BasicConsume, {
          queueName: random.chance(0.03) ? `${REPLY_TO}.none` : REPLY_TO,
          consumerTag: random.pick(['', 't1', 't2']),
          noAck: random.chance(0.9),
          noWait: noWait(),
        }),
    ],
    [4, () => step(methods.BasicCancel, { consumerTag: random.pick(['t1', 't2', 't3']), noWait: noWait() })],
    [10, () => settle(methods.BasicAck, { multiple: multiple() })],
    [5, () => settle(methods.BasicNack, { multiple: multiple(), requeue: requeue() })],
    [5, () => settle(methods.BasicReject, { requeue: requeue() })],
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
    [
      0.3,
      () => ({
        connection: random.below(CONNECTIONS),
        channel: 1,
        method: methods.ConnectionClose,
        text: 'the connection is cut',
        do: client => client.end(),
      }),
    ],
  ]
  const favoured = kinds.map(([weight, make]) => [weight * random.pick(FAVOURS), make] as const)
  const total = favoured.reduce((sum, [weight]) => sum + weight, 0)
  const any = (): Step => {
    let left = random.next() * total
    for (const [weight, make] of favoured) {
      left -= weight
      if (left < 0) return make()
    }
    return publish()
  }
  // Most of the following steps only make queues and messages for the others.
  const declared = [
    ...queues.map(queueName => () => {
      return random.chance(0.3)
        ? declareQueue()
        : step(methods.QueueDeclare, { queueName, durable: true, arguments: draws.soundArguments() })
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
  // What is rare otherwise: channels with transactions, confirms, or a limit for all of their consumers.
  const modes: readonly (() => Step)[] = [
    () => step(methods.TxSelect, {}),
    () => step(methods.ConfirmSelect, {}),
    () => step(methods.BasicQos, { prefetchCount: random.pick([1, 2]), connectionGlobal: true }),
  ]
  const opening = random.chance(0.5) ? Array.from({ length: 3 }, random.pick(modes)) : []
  return [...declared.map(make => make()), ...opening, ...Array.from({ length: steps }, any)]
}

/** Every name that a sequence may have declared. */
export function namesOf(prefix: string): { readonly queues: readonly string[]; readonly exchanges: readonly string[] } {
  return {
    queues: [1, 2, 3, 4].map(number => `${prefix}q${number}`),
    exchanges: ['x1', 'x2', 'x3', 'none'].map(name => `${prefix}${name}`),
  }
}
