import { context } from '@opentelemetry/api'
import type { Message } from '../../../src/index.ts'
import { instrument } from '../../../src/opentelemetry/index.ts'
import type { Errand, Outing, OwnConnection } from './errand.ts'
import { QUICK } from './recoveries.ts'
import { Figures, OfCalls, PROPAGATOR, Spans } from './telemetry.ts'

/** Fails for each message that says so. */
function work(message: Message): void {
  if (message.text().startsWith('bad')) throw new RangeError('no use for it')
}

/** What works on the messages of a queue: 'good', 'bad', 'good', in this order; and how each ends. */
interface Way {
  readonly name: string
  begin(own: OwnConnection, queue: string, outing: Outing): Promise<{ close(): Promise<unknown> }>
  readonly ends: readonly string[]
}
const WAYS: readonly Way[] = [
  {
    name: 'handler that drops',
    begin: ({ protocol }, queue) => protocol.consumer(queue, work, { onFailure: 'drop' }),
    ends: ['acked', 'failed, acked', 'acked'],
  },
  {
    name: 'handler that rejects',
    begin: ({ protocol }, queue) => protocol.consumer(queue, work, { onFailure: 'reject' }),
    ends: ['acked', 'rejected, failed, rejected', 'acked'],
  },
  {
    name: 'handler that tries again',
    begin: ({ protocol }, queue) =>
      protocol.consumer(queue, message => (message.envelope.isRedeliver ? undefined : work(message)), {
        onFailure: 'requeue',
      }),
    ends: ['acked', 'requeued, failed, requeued', 'acked', 'redelivered, acked'],
  },
  {
    name: 'handler that tries again later',
    begin: ({ protocol }, queue) =>
      protocol.consumer(queue, work, { onFailure: { retries: 1, delays: [100], otherwise: 'drop' } }),
    ends: ['acked', 'retried, failed, retried', 'acked', 'failed, acked'],
  },
  {
    name: 'handler whose failures are copied',
    begin: ({ protocol }, queue) =>
      protocol.consumer(queue, work, { onFailure: { exchangeName: '', routingKey: 'copies' } }),
    ends: ['acked', 'copied, failed, copied', 'acked'],
  },
  {
    name: 'handler that settles',
    begin: ({ protocol }, queue) =>
      protocol.consumer(queue, message => void (message.text() === 'bad' ? message.reject() : message.ack())),
    ends: ['acked', 'rejected, rejected', 'acked'],
  },
  {
    name: 'handler without acks',
    begin: ({ protocol }, queue) => protocol.consumer(queue, work, { noAck: true }),
    ends: ['noAck', 'failed, noAck', 'noAck'],
  },
  {
    name: 'handler that loses its connection',
    begin: async ({ protocol, cut }, queue, outing) => {
      const consumer = await protocol.consumer(queue, () => outing.sleep(300), { concurrency: 1 })
      await outing.sleep(100)
      cut()
      return consumer
    },
    ends: [
      'connection.lost, connection.recovered, lost, lost',
      'redelivered, acked',
      'redelivered, acked',
      'redelivered, acked',
    ],
  },
  {
    name: 'handler of batches',
    begin: ({ protocol }, queue) =>
      protocol.consumer(queue, messages => messages.forEach(work), {
        onFailure: 'drop',
        batch: { size: 2, wait: 100 },
      }),
    ends: ['failed, acked', 'failed, acked', 'acked'],
  },
  {
    name: 'loop',
    begin: async ({ protocol }, queue, outing) => {
      const consumer = await protocol.consumer(queue)
      const loop = async (): Promise<void> => {
        for await (const message of consumer) if (message.text() === 'bad') message.reject()
      }
      outing.meanwhile(loop())
      return consumer
    },
    ends: ['acked', 'rejected, rejected', 'acked'],
  },
  {
    name: 'loop over batches',
    begin: async ({ protocol }, queue, outing) => {
      const consumer = await protocol.consumer(queue)
      const loop = async (): Promise<void> => {
        for await (const messages of consumer.batches({ size: 2, wait: 100 }))
          for (const message of messages) if (message.text() === 'bad') message.reject()
      }
      outing.meanwhile(loop())
      return consumer
    },
    ends: ['acked', 'rejected, rejected', 'acked'],
  },
  {
    name: 'program that asks',
    begin: async ({ protocol }, queue) => {
      const consumer = await protocol.consumer(queue)
      const [one, two] = [await consumer.next(), await consumer.next(), await consumer.next()]
      one.value?.ack()
      two.value?.nack({ requeue: false })
      return consumer
    },
    ends: ['acked', 'rejected, rejected', 'requeued, requeued'],
  },
  {
    name: 'callback',
    begin: async ({ protocol }, queue) => {
      const channel = await protocol.channel()
      await channel.basicConsume((on, body, { deliveryTag }) => {
        if (`${body}` === 'bad') throw new RangeError('no use for it')
        on.basicClientAck(deliveryTag)
      }, queue)
      return channel
    },
    ends: ['acked', 'failed, unsettled', 'acked'],
  },
  {
    name: 'callback without acks',
    begin: async ({ protocol }, queue) => {
      const channel = await protocol.channel()
      await channel.basicConsume(
        async (_, body) => {
          if (`${body}` === 'bad') throw new RangeError('no use for it')
        },
        queue,
        { noAck: true },
      )
      return channel
    },
    ends: ['noAck', 'failed, noAck', 'noAck'],
  },
]

/** Runs that have all of them. */
const PARTS = 3

/** Each piece of work on a message has a span, which says how the message was settled. */
export const tracedWork: Errand = async outing => {
  context.setGlobalContextManager(new OfCalls())
  const { connect } = outing.startBroker()
  const own = await connect({ connectionName: 'traced', recovery: QUICK })
  const { protocol } = own
  const spans = new Spans()
  const figures = new Figures()
  const instrumentation = instrument({
    tracerProvider: spans,
    meterProvider: figures.provider,
    propagator: PROPAGATOR,
    protocol,
  })
  outing.keep({ close: async () => instrumentation.disable() })
  for (const [n, { name, begin, ends }] of WAYS.entries()) {
    // Each time other ones.
    if (n % PARTS !== outing.number % PARTS) continue
    const queue = name
    await protocol.queueDeclare(queue)
    await protocol.queueDeclare('copies')
    spans.all.length = 0
    for (const text of ['good', 'bad', 'good again']) await protocol.publish(text, '', queue)
    const working = await begin(own, queue, outing)
    await outing.sleep(1_500)
    await working.close()
    await outing.sleep(50)
    const done = spans.all.filter(span => span.name === `process ${queue}`)
    outing.equal(
      done.map(({ says, attributes }) =>
        [...says.filter(word => !/^(CONSUMER|in |to )/.test(word)), attributes['asyncamqp.outcome'] ?? ''].join(', '),
      ),
      ends,
      `work of a ${name}`,
    )
    outing.equal(done.filter(({ ended }) => ended !== 1).length, 0, `spans that do not end once of a ${name}`)
  }
  await protocol.close()
  instrumentation.disable()
}
