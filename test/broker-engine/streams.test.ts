import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ReleaseName } from '../../src/broker/release-name.ts'
import * as methods from '../../src/protocol/methods.ts'
import { EngineClient, startEngine } from './engine-client.ts'

function scene(release: ReleaseName, { engine } = startEngine({ release })): EngineClient {
  const client = EngineClient.open(engine)
  client.send(1, methods.QueueDeclare, { queueName: 's', durable: true, arguments: { 'x-queue-type': 'stream' } })
  client.send(1, methods.BasicQos, { prefetchCount: 10 })
  client.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-stream-filter': 'one' } })
  client.take()
  return client
}

describe('A message in a stream', () => {
  for (const [release, expected] of [
    ['3.10', { headers: { a: 1, text: Buffer.from('x'), 'x-exchange': 'e', 'x-stream-offset': 0 }, appId: 'app' }],
    [
      '4.3',
      {
        headers: { CC: [], a: 1, text: 'x', 'x-stream-offset': 0, 'x-table': { b: 1 } },
        deliveryMode: 1,
        appId: 'app',
      },
    ],
  ] as const) {
    it(`loses what AMQP 1.0 has no room for, as with RabbitMQ ${release}`, () => {
      const client = scene(release)
      const compound = { array: [1], table: { b: 1 }, 'x-table': { b: 1 }, CC: [], 'x-death': [{ count: 1 }] }
      const headers = { a: 1, text: Buffer.from('x'), 'x-exchange': 'e', ...compound, 'x-stream-filter-value': 'one' }
      client.publish(1, '', 's', 'm', { headers, clusterId: 'cluster', appId: 'app' })
      const [got] = client.take()
      const { 'x-stream-filter-value': _, ...kept } = got?.properties?.headers ?? {}
      assert.deepEqual({ ...got?.properties, headers: { ...kept } }, expected)
    })
  }

  it('cannot be given back to RabbitMQ 3.10', () => {
    const client = scene('3.10')
    client.publish(1, '', 's', 'm')
    client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: false })
    assert.equal(
      client.take().at(-1)?.args.replyText,
      "NOT_IMPLEMENTED - basic.nack and basic.reject not supported by stream queues queue 's' in vhost '/'",
    )
  })

  it('that cannot be given back takes no message of another queue with it', () => {
    const all = { deliveryTag: 0, multiple: true, requeue: true }
    for (const giveBack of [
      EngineClient.encode(1, methods.BasicNack, all),
      EngineClient.encode(1, methods.BasicRecover, all),
    ]) {
      const started = startEngine({ release: '3.10' })
      const client = scene('3.10', started)
      client.send(2, methods.QueueDeclare, { queueName: 't', durable: true })
      for (const name of ['s', 't']) client.publish(2, '', name, 'm', { headers: { 'x-stream-filter-value': 'one' } })
      client.send(1, methods.BasicGet, { queueName: 't' })
      const queue = started.engine.queue('t', '/')
      assert.equal(queue?.unacked.length, 1)
      client.bytes(giveBack)
      assert.deepEqual([queue.messageCount, queue.unacked.length], [1, 0])
    }
  })

  it('is filtered since RabbitMQ knows filters', () => {
    for (const [release, count] of [
      ['3.10', 1],
      ['4.3', 0],
    ] as const) {
      const client = scene(release)
      client.publish(1, '', 's', 'm', { headers: { 'x-stream-filter-value': 'two' } })
      assert.equal(client.take().length, count)
    }
  })
})

describe('A filter of a stream', () => {
  const refusedWith = (client: EngineClient) => client.take().at(-1)?.args.replyCode

  it('takes messages without a value if it names the empty text', () => {
    const client = EngineClient.open(startEngine().engine)
    client.send(1, methods.QueueDeclare, { queueName: 's', durable: true, arguments: { 'x-queue-type': 'stream' } })
    client.send(1, methods.BasicQos, { prefetchCount: 10 })
    client.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-stream-filter': '' } })
    client.take()
    client.publish(1, '', 's', 'none')
    client.publish(1, '', 's', 'empty', { headers: { 'x-stream-filter-value': '' } })
    client.publish(1, '', 's', 'other', { headers: { 'x-stream-filter-value': 'one' } })
    assert.deepEqual(
      client.take().map(({ body }) => body?.toString()),
      ['none', 'empty'],
    )
  })

  for (const [release, replyCode] of [
    ['3.10', undefined],
    ['4.3', 541],
  ] as const) {
    it(`without texts, and a value that is not a text, are what RabbitMQ ${release} makes of them`, () => {
      const publisher = scene(release)
      publisher.publish(1, '', 's', 'm', { headers: { 'x-stream-filter-value': 5 } })
      assert.equal(refusedWith(publisher), replyCode)
      for (const filter of [[], [5], [null, ['one']]]) {
        const consumer = scene(release)
        consumer.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-stream-filter': filter } })
        assert.equal(refusedWith(consumer), replyCode)
      }
      const mixed = scene(release)
      mixed.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-stream-filter': [5, 'one'] } })
      assert.equal(refusedWith(mixed), undefined)
    })
  }
})
