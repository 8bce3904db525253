import { type Attributes, context, ROOT_CONTEXT, trace } from '@opentelemetry/api'
import { instrument } from '../../../src/opentelemetry/index.ts'
import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'
import { Figures, OfCalls, PROPAGATOR, Spans } from './telemetry.ts'

const OPERATION = 'messaging.operation'
const DESTINATION = 'messaging.destination'

/** What each span of a message has. */
function attributesOf(name: string, type: string, queue: string, more: Attributes): Attributes {
  return {
    'messaging.system.name': 'rabbitmq',
    'messaging.system': 'rabbitmq',
    [`${OPERATION}.name`]: name,
    [`${OPERATION}.type`]: type,
    [`${DESTINATION}.template`]: queue,
    [`${DESTINATION}.name`]: queue,
    'rabbitmq.destination.routing_key': queue,
    'messaging.rabbitmq.destination.routing_key': queue,
    'server.address': 'localhost',
    'server.port': 5672,
    'messaging.client.id': 'traced',
    'asyncamqp.virtual_host': '/',
    ...more,
  }
}

const GOOD = { 'messaging.message.id': 'm', 'messaging.message.conversation_id': 'c', 'messaging.message.body.size': 4 }
const FIRST = { 'rabbitmq.message.delivery_tag': 1, 'messaging.rabbitmq.message.delivery_tag': 1 }
const RETURNED = {
  'messaging.message.body.size': 4,
  'error.type': 'MessageReturnedError',
  'asyncamqp.error.code': 'MESSAGE_RETURNED',
  'asyncamqp.reply_code': 312,
}

/** With how often something was measured; a part of a second counts as one. */
const FIGURES: readonly string[] = [
  'client.consumed.messages process prices: 1',
  'client.consumed.messages process queue: 3',
  'client.operation.duration basic.cancel: 2',
  'client.operation.duration basic.consume: 3',
  'client.operation.duration basic.qos: 2',
  'client.operation.duration call prices: 1',
  'client.operation.duration publish none MessageReturnedError: 1',
  'client.operation.duration publish other: 3',
  'client.operation.duration publish prices: 1',
  'client.operation.duration publish queue: 3',
  'client.operation.duration publish: 1',
  'client.operation.duration queue.declare: 3',
  'client.sent.messages publish none MessageReturnedError: 1',
  'client.sent.messages publish other: 3',
  'client.sent.messages publish prices: 1',
  'client.sent.messages publish queue: 3',
  'client.sent.messages publish: 1',
  'connection.blocked.duration : 1',
  'connection.channels : 2',
  'connection.reconnects : 1',
  'connection.recovery.duration : 1',
  'connections open: 1',
  'process.duration handle prices: 1',
  'process.duration process prices: 1',
  'process.duration process queue RangeError: 1',
  'process.duration process queue: 2',
  'publish.resent : 1',
]

/** Spans and figures of a connection say what became of its messages, and all of them end. */
export const traced: Errand = async outing => {
  context.setGlobalContextManager(new OfCalls())
  const { control, connect } = outing.startBroker()
  const own = await connect({ recovery: QUICK, connectionName: 'traced' })
  const { protocol } = own
  const spans = new Spans()
  const figures = new Figures()
  const recordExceptions = outing.number % 2 === 0
  const instrumentation = instrument({
    tracerProvider: spans,
    meterProvider: figures.provider,
    propagator: PROPAGATOR,
    protocol,
    recordExceptions,
  })
  outing.keep({ close: async () => instrumentation.disable() })
  const within = <T>(name: string, run: () => T): T => {
    const span = spans.getTracer().startSpan(name)
    span.end()
    return context.with(trace.setSpan(ROOT_CONTEXT, span), run)
  }
  const channel = await protocol.channel()
  await channel.queueDeclare('queue')
  await within('set-up', () => channel.queueDeclare('other'))
  await within('order', () => protocol.publish('good', '', 'queue', { messageId: 'm', correlationId: 'c' }))
  await protocol.publish('bad', '', 'queue')
  await protocol.publish('old', '', 'queue', { headers: { trace: 'other/elsewhere' } })
  await outing.failure(protocol.publish('lost', '', 'none'), 'MessageReturnedError', 'a publish to nowhere')
  const active: string[] = []
  const consumer = await within('start', () =>
    protocol.consumer(
      'queue',
      async message => {
        const inside = trace.getSpanContext(context.active())
        active.push(inside === undefined ? 'none' : spans.named(inside))
        if (message.text() === 'bad') throw new RangeError('secret')
        if (message.text() === 'good') await protocol.publish('passed on', '', 'other')
      },
      { onFailure: 'drop', concurrency: 1 },
    ),
  )
  await outing.until(() => active.length === 3, 'the messages of a queue')
  await outing.sleep(50)
  outing.equal(active, ['process queue', 'process queue', 'process queue'], 'spans within which handlers run')
  await consumer.close()
  control.block('low on memory')
  await outing.sleep(50)
  const blocked = outing.meanwhile(protocol.publish('blocked', '', 'other'))
  await outing.sleep(50)
  control.unblock()
  await blocked
  control.withholdConfirms()
  const again = outing.meanwhile(protocol.publish('again', '', 'other'))
  await outing.sleep(50)
  own.cut()
  await outing.sleep(1_000)
  control.releaseConfirms()
  await again
  await channel.queueDeclare('prices')
  const server = await protocol.rpcServer('prices', () => 'dear')
  const client = await protocol.rpcClient({ timeout: 5_000 })
  outing.equal((await client.call('prices', 'moon')).text(), 'dear', 'the answer of a traced call')
  await client.close()
  await server.close()
  await outing.sleep(50)
  outing.equal(figures.read(), FIGURES, 'figures')
  await protocol.close()
  instrumentation.disable()
  const returned =
    'publish of a message to the default exchange with routing key "none" (delivery tag 4) came back: NO_ROUTE (312), no queue took it'
  outing.equal(
    spans.all.map(({ name, says, attributes }) => [name, ...says, attributes['asyncamqp.outcome'] ?? ''].join(', ')),
    [
      'set-up, INTERNAL, ',
      'queue.declare other, CLIENT, in set-up, ',
      'order, INTERNAL, ',
      'publish queue, PRODUCER, in order, confirmed',
      'publish queue, PRODUCER, confirmed',
      'publish queue, PRODUCER, to elsewhere, confirmed',
      `publish none, PRODUCER, returned, failed with its text${recordExceptions ? `, exception ${returned}` : ''}, returned`,
      'start, INTERNAL, ',
      'process queue, CONSUMER, in publish queue, to publish queue, acked',
      'publish other, PRODUCER, in process queue, confirmed',
      `process queue, CONSUMER, in publish queue, to publish queue, failed${recordExceptions ? ' with its text, exception secret' : ''}, acked`,
      'process queue, CONSUMER, in elsewhere, to elsewhere, acked',
      'publish other, PRODUCER, connection.blocked, connection.unblocked, confirmed',
      'publish other, PRODUCER, connection.lost, to recover localhost:5672, resent, connection.recovered, confirmed',
      'recover localhost:5672, CLIENT, connection.lost, ',
      'connect localhost:5672, CLIENT, in recover localhost:5672, ',
      'call prices, CLIENT, replied',
      'publish prices, PRODUCER, in call prices, confirmed',
      'process prices, CONSUMER, in publish prices, to publish prices, acked',
      'handle prices, SERVER, in process prices, replied',
      'publish, PRODUCER, confirmed',
    ],
    'spans',
  )
  outing.equal(
    spans.all.filter(({ ended }) => ended !== 1),
    [],
    'spans that do not end once',
  )
  const sorted = (attributes: Attributes = {}): unknown => Object.entries(attributes).sort()
  const expect = (which: string, should: Attributes): void =>
    outing.equal(
      sorted(spans.all.find(({ name }) => name === which)?.attributes),
      sorted(should),
      `attributes of ${which}`,
    )
  expect('publish queue', attributesOf('publish', 'send', 'queue', { ...GOOD, 'asyncamqp.outcome': 'confirmed' }))
  expect(
    'process queue',
    attributesOf('process', 'process', 'queue', { ...GOOD, ...FIRST, 'asyncamqp.outcome': 'acked' }),
  )
  expect('publish none', attributesOf('publish', 'send', 'none', { ...RETURNED, 'asyncamqp.outcome': 'returned' }))
}
