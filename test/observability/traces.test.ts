import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { context, SpanStatusCode, trace } from '@opentelemetry/api'
import { connect, MessageReturnedError } from '../../src/index.ts'
import { instrument } from '../../src/opentelemetry/index.ts'
import { broker, vhostUrl } from '../support/broker.ts'
import { FaultProxy } from '../support/fault-proxy.ts'
import { withVhost } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { rejection } from '../support/rejection.ts'
import { until } from '../support/until.ts'
import { type ReadableSpan, Sdk, tree } from './sdk.ts'

const vhost = await withVhost()
const sdk = new Sdk()
instrument()

const eventsOf = (span: ReadableSpan): string[] => span.events.map(({ name }) => name)
const linksOf = (span: ReadableSpan): string[] => span.links.map(({ context }) => context.spanId)

describe('The spans of asyncamqp', () => {
  it('are one trace from a publish over an exchange, a handler and a call to the error destination, across a reset', async () => {
    await using proxy = new FaultProxy(broker.host, broker.port)
    await proxy.listen()
    await using worker = await connect(vhost.url)
    await using shop = await connect(proxy.url(vhost.url), { recovery: { maxDelay: 100 } })
    for (const queue of ['work', 'failed', 'prices']) await worker.queueDeclare(queue)
    await worker.exchangeDeclare('orders', 'topic')
    await worker.queueBind('work', 'orders', 'order.#')
    await worker.rpcServer('prices', () => ({ price: 3 }))
    await worker.consumer('failed', () => {})
    const client = await worker.rpcClient()
    await worker.consumer(
      'work',
      async () => {
        await client.call('prices', { item: 'moon' })
        throw new RangeError('too far')
      },
      { onFailure: { exchangeName: '', routingKey: 'failed' } },
    )
    // The broker has the message, and its confirm never comes: it is sent again by the next connection.
    await shop.publish('warm up', '', 'nobody', {}, { mandatory: false })
    sdk.forget()
    await trace.getTracer('shop').startActiveSpan('order', async span => {
      proxy.blackhole('toClient')
      const published = shop.publish('one moon', 'orders', 'order.created', { messageId: 'm1' })
      await until('the worker has the first', () => sdk.spans.some(({ name }) => name === 'process failed'))
      proxy.reset()
      await proxy.heal()
      await published
      span.end()
    })
    await sdk.named('process failed', 2)
    const { traceId } = (await sdk.one('order')).spanContext()
    const spans = await until('the handlers have ended', () => {
      const all = sdk.spans.filter(span => span.spanContext().traceId === traceId)
      return all.length === 18 && all
    })
    const work = {
      'consumer process work': [
        {
          'client call prices': [
            {
              'producer publish prices': [
                { 'consumer process prices': [{ 'server handle prices': ['producer publish'] }] },
              ],
            },
          ],
        },
        { 'producer publish failed': ['consumer process failed'] },
      ],
    }
    assert.deepEqual(tree(spans), [{ 'internal order': [{ 'producer publish orders': [work, work] }] }])
    const publish = await sdk.one('publish orders')
    const recover = await sdk.one(`recover 127.0.0.1:${proxy.port}`)
    assert.deepEqual(eventsOf(publish), [
      'asyncamqp.connection.lost',
      'asyncamqp.connection.recovered',
      'asyncamqp.resent',
    ])
    assert.deepEqual(linksOf(publish), [recover.spanContext().spanId])
    assert.equal(publish.attributes['asyncamqp.outcome'], 'confirmed')
    const connects = sdk.spans.filter(
      ({ parentSpanContext }) => parentSpanContext?.spanId === recover.spanContext().spanId,
    )
    assert.deepEqual(new Set(connects.map(({ name }) => name)), new Set([`connect 127.0.0.1:${proxy.port}`]))
    for (const process of await sdk.named('process work', 2)) {
      assert.deepEqual(linksOf(process), [publish.spanContext().spanId])
      assert.deepEqual(eventsOf(process), ['asyncamqp.copied'])
      assert.deepEqual(process.status, { code: SpanStatusCode.ERROR })
      assert.equal(process.attributes['error.type'], 'RangeError')
    }
  })

  it('follow the conventions for messaging and RabbitMQ', async () => {
    await using protocol = await connect(vhost.url, { connectionName: 'conventions' })
    const queue = uniqueName('conventions')
    await protocol.queueDeclare(queue)
    await protocol.queueBind(queue, 'amq.topic', 'a.*')
    sdk.forget()
    await protocol.publish('12345', 'amq.topic', 'a.b', { messageId: 'm1', correlationId: 'c1' })
    await protocol.consumer(queue, () => {})
    const process = await sdk.one(`process ${queue}`)
    const common = {
      'messaging.system.name': 'rabbitmq',
      'messaging.system': 'rabbitmq',
      'messaging.client.id': 'conventions',
      'messaging.message.id': 'm1',
      'messaging.message.conversation_id': 'c1',
      'messaging.message.body.size': 5,
      'rabbitmq.destination.routing_key': 'a.b',
      'messaging.rabbitmq.destination.routing_key': 'a.b',
      'server.address': broker.host,
      'server.port': broker.port,
      'asyncamqp.virtual_host': vhost.name,
    }
    assert.deepEqual((await sdk.one('publish amq.topic')).attributes, {
      ...common,
      'messaging.operation.name': 'publish',
      'messaging.operation.type': 'send',
      'messaging.destination.name': 'amq.topic:a.b',
      'messaging.destination.template': 'amq.topic',
      'asyncamqp.outcome': 'confirmed',
    })
    assert.deepEqual(process.attributes, {
      ...common,
      'messaging.operation.name': 'process',
      'messaging.operation.type': 'process',
      'messaging.destination.name': `amq.topic:a.b:${queue}`,
      'messaging.destination.template': queue,
      'rabbitmq.message.delivery_tag': 1,
      'messaging.rabbitmq.message.delivery_tag': 1,
      'asyncamqp.outcome': 'acked',
    })
    const { name, version, schemaUrl } = process.instrumentationScope
    assert.deepEqual([name, schemaUrl], ['asyncamqp', 'https://opentelemetry.io/schemas/1.45.0'])
    assert.match(version ?? '', /^\d+\.\d+\.\d+$/)
  })

  it('of a returned message, of a redelivery and of a requeue have events and say what failed', async () => {
    await using protocol = await connect(vhost.url)
    const queue = uniqueName('redelivered')
    await protocol.queueDeclare(queue)
    sdk.forget()
    await rejection(protocol.publish('x', '', `${queue}-missing`), MessageReturnedError)
    const returned = await sdk.one(`publish ${queue}-missing`)
    assert.deepEqual(eventsOf(returned), ['asyncamqp.returned'])
    assert.equal(returned.status.code, SpanStatusCode.ERROR)
    assert.match(returned.status.message ?? '', /no queue|NO_ROUTE/)
    const { attributes } = returned
    assert.deepEqual(
      [attributes['error.type'], attributes['asyncamqp.error.code'], attributes['asyncamqp.reply_code']],
      ['MessageReturnedError', 'MESSAGE_RETURNED', 312],
    )
    await protocol.consumer(queue, message => {
      if (!message.envelope.isRedeliver) message.nack()
    })
    await protocol.publish('x', '', queue)
    const [first, second] = await sdk.named(`process ${queue}`, 2)
    assert.ok(first && second)
    assert.deepEqual([eventsOf(first), eventsOf(second)], [['asyncamqp.requeued'], ['asyncamqp.redelivered']])
    assert.equal(first.parentSpanContext?.spanId, second.parentSpanContext?.spanId)
  })

  it('keep the context that a message was given, and have a link to it', async () => {
    await using protocol = await connect(vhost.url)
    const queue = uniqueName('outbox')
    await protocol.queueDeclare(queue)
    sdk.forget()
    const [traceId, spanId] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331']
    await protocol.publish('x', '', queue, { headers: { traceparent: `00-${traceId}-${spanId}-01` } })
    await protocol.consumer(queue, () => {})
    const process = await sdk.one(`process ${queue}`)
    const publish = await sdk.one(`publish ${queue}`)
    assert.deepEqual([process.spanContext().traceId, process.parentSpanContext?.spanId], [traceId, spanId])
    assert.deepEqual([linksOf(process), linksOf(publish)], [[spanId], [spanId]])
    assert.notEqual(publish.spanContext().traceId, traceId)
  })

  it('of work that a consumer was registered for within a span belong to their messages, and have a link to that span', async () => {
    await using protocol = await connect(vhost.url)
    const queue = uniqueName('registered')
    await protocol.queueDeclare(queue)
    sdk.forget()
    const inHandler: (string | undefined)[] = []
    const start = trace.getTracer('app').startSpan('start up')
    await context.with(trace.setSpan(context.active(), start), () =>
      protocol.consumer(queue, async () => {
        await undefined
        inHandler.push(trace.getActiveSpan()?.spanContext().spanId)
      }),
    )
    start.end()
    await protocol.publish('x', '', queue)
    const process = await sdk.one(`process ${queue}`)
    const publish = await sdk.one(`publish ${queue}`)
    assert.equal(process.parentSpanContext?.spanId, publish.spanContext().spanId)
    assert.deepEqual(linksOf(process), [publish.spanContext().spanId, start.spanContext().spanId])
    assert.deepEqual(inHandler, [process.spanContext().spanId])
  })

  it('of methods with a reply are there within another span alone', async () => {
    await using protocol = await connect(vhostUrl(vhost.name))
    const queue = uniqueName('declared')
    sdk.forget()
    await protocol.queueDeclare(queue)
    await trace.getTracer('app').startActiveSpan('set up', async span => {
      await protocol.queueDeclare(queue)
      await protocol.queueDelete(queue)
      span.end()
    })
    const spans = sdk.spans.filter(({ name }) => name.endsWith(queue) || name === 'set up')
    assert.deepEqual(tree(spans), [
      { 'internal set up': [`client queue.declare ${queue}`, `client queue.delete ${queue}`] },
    ])
  })
})
