import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ReleaseName } from '../../src/broker/release-name.ts'
import * as methods from '../../src/protocol/methods.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { EngineClient, startEngine } from './engine-client.ts'

function scene(release: ReleaseName, sourceType: string, targetType: string): EngineClient {
  const client = EngineClient.open(startEngine({ release }).engine)
  const dies = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'target', 'x-max-length': 1 }
  for (const [queueName, arguments_] of [
    ['source', { 'x-queue-type': sourceType, ...dies }],
    ['target', { 'x-queue-type': targetType }],
  ] as const) {
    client.send(1, methods.QueueDeclare, { queueName, durable: true, arguments: arguments_ })
  }
  client.take()
  return client
}

describe('A story of deaths that a publisher wrote', () => {
  for (const [death, count] of [
    [{ queue: 'work', reason: 'rejected' }, 1],
    [{ queue: 'work', reason: 'rejected', count: 4 }, 5],
    [{ queue: 'work', reason: 'rejected', count: 'many' }, 1],
    [{}, 1],
    [null, 1],
    ['text', 1],
  ] as const) {
    it(`is not trusted: ${JSON.stringify(death)}`, () => {
      const client = EngineClient.open(startEngine({ release: '3.10' }).engine)
      const deadLetter = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' }
      client.send(1, methods.QueueDeclare, { queueName: 'work', arguments: deadLetter })
      client.send(1, methods.QueueDeclare, { queueName: 'dead' })
      client.publish(1, '', 'work', 'm', { headers: { 'x-death': [death] } })
      client.send(1, methods.BasicGet, { queueName: 'work' })
      client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: false })
      client.send(1, methods.BasicGet, { queueName: 'dead' })
      const headers = client.take().at(-1)?.properties?.headers ?? {}
      const deaths = headers['x-death'] as readonly FieldTable[] | undefined
      assert.equal(Number(deaths?.[0]?.['count']), count)
      assert.equal('x-first-death-reason' in headers, false)
    })
  }
})

describe('A message that dies', () => {
  for (const [release, redelivered, headers] of [
    ['3.10', false, [undefined, 0]],
    ['4.3', true, [2, 2]],
  ] as const) {
    it(`takes its failed deliveries along as in RabbitMQ ${release}`, () => {
      for (const sourceType of ['classic', 'quorum']) {
        const client = scene(release, sourceType, 'quorum')
        client.publish(1, '', 'source', 'm')
        for (const requeue of [true, false]) {
          client.send(1, methods.BasicGet, { queueName: 'source' })
          client.send(1, methods.BasicReject, { deliveryTag: requeue ? 1 : 2, requeue })
        }
        client.take()
        client.send(1, methods.BasicGet, { queueName: 'target' })
        const [got] = client.take()
        assert.equal(got?.args.redelivered, redelivered)
        const { 'x-acquired-count': acquired, 'x-delivery-count': delivered } = got?.properties?.headers ?? {}
        assert.deepEqual([acquired, delivered], headers)
      }
    })
  }

  it('is new to a consumer that waits for it at a classic queue', () => {
    const client = scene('4.3', 'classic', 'classic')
    client.publish(1, '', 'source', 'm')
    client.send(2, methods.BasicConsume, { queueName: 'target' })
    client.send(1, methods.BasicGet, { queueName: 'source' })
    client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: false })
    assert.equal(client.take().at(-1)?.args.redelivered, false)
    client.send(2, methods.ChannelClose, { replyCode: 200, classId: 0, methodId: 0 })
    client.send(1, methods.BasicGet, { queueName: 'target' })
    assert.equal(client.take().at(-1)?.args.redelivered, true)
  })

  it('comes after a copy of the message that it gave way to', () => {
    const client = scene('4.3', 'classic', 'classic')
    client.publish(1, '', 'source', 'old')
    client.publish(1, '', 'source', 'new', { headers: { CC: ['target'] } })
    for (let i = 0; i < 2; i++) client.send(1, methods.BasicGet, { queueName: 'target' })
    assert.deepEqual(client.lines(), ['1 basic.get-ok new', '1 basic.get-ok old'])
  })

  for (const [release, keys] of [
    ['3.10', ['source', 'copy', 'copy']],
    ['4.3', ['copy', 'copy', 'source']],
  ] as const) {
    it(`has the keys by which it came, but not those of BCC, as RabbitMQ ${release} does`, () => {
      const client = scene(release, 'classic', 'classic')
      const headers = { CC: ['copy', 'copy'], BCC: ['source'] }
      client.publish(1, '', 'source', 'm', { headers, expiration: '0' })
      client.send(1, methods.BasicGet, { queueName: 'target' })
      const deaths = client.take()[0]?.properties?.headers?.['x-death'] as { 'routing-keys': string[] }[] | undefined
      assert.deepEqual(deaths?.[0]?.['routing-keys'], keys)
    })
  }

  for (const [release, stories, first] of [
    ['3.10', [{ source: 4 }, { source: 1, other: 3 }, undefined], 'elsewhere'],
    ['4.3', [{ source: 1 }, { source: 1 }, { source: 1 }], 'source'],
  ] as const) {
    it(`counts on from the deaths that it was published with, or not, as in RabbitMQ ${release}`, () => {
      for (const [at, queue] of ['source', 'other', 'target'].entries()) {
        const client = scene(release, 'classic', 'classic')
        const death = { count: 3, reason: 'expired', queue, exchange: '', 'routing-keys': ['k'] }
        const named = { 'x-first-death-reason': 'rejected', 'x-first-death-queue': 'elsewhere' }
        client.publish(1, '', 'source', 'm', { headers: { 'x-death': [death], ...named }, expiration: '0' })
        client.send(1, methods.BasicGet, { queueName: 'target' })
        const headers = client.take()[0]?.properties?.headers
        const deaths = headers?.['x-death'] as { queue: string; count: number }[] | undefined
        const story = deaths && Object.fromEntries(deaths.map(each => [each.queue, Number(each.count)]))
        assert.deepEqual(story, stories[at], queue)
        assert.equal(headers?.['x-first-death-queue'], story && first)
      }
    })
  }

  it('has its headers in the order of their names', () => {
    const client = scene('3.10', 'classic', 'classic')
    client.publish(1, '', 'source', 'm', { headers: { z: 1, a: 1 }, expiration: '0' })
    client.send(1, methods.BasicGet, { queueName: 'target' })
    const { headers } = client.take()[0]?.properties ?? {}
    const death = 'x-first-death-'
    assert.deepEqual(Object.keys(headers ?? {}), [
      'a',
      'x-death',
      `${death}exchange`,
      `${death}queue`,
      `${death}reason`,
      'z',
    ])
  })
})
