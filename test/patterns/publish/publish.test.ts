import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AmqpError,
  ChannelClosedError,
  ConnectionClosedError,
  EncodeError,
  MessageReturnedError,
  type StandardSchema,
} from '../../../src/index.ts'
import { DefaultPublishers } from '../../../src/patterns/publish/default-publishers.ts'
import { broker } from '../../support/broker.ts'
import { openFaultProxy } from '../../support/fault-proxy.ts'
import { uniqueName } from '../../support/names.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'
import { ProtocolSource } from '../protocol-source.ts'
import { type Scene, withScenes } from '../scene.ts'

const scene = await withScenes()

/** Exchanges whose messages all go to the queue. */
async function fanouts(the: Scene, queue: string, count: number): Promise<string[]> {
  const names = Array.from({ length: count }, () => uniqueName('exchange'))
  await Promise.all(names.map(name => the.protocol.exchangeDeclare(name, 'fanout')))
  await Promise.all(names.map(name => the.protocol.queueBind(queue, name)))
  return names
}

describe('protocol.publish', { concurrency: 4 }, () => {
  it('resolves when the broker has the message, persistent, text or bytes or JSON', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.protocol.publish('text', '', queue)
    await the.protocol.publish(Buffer.from('bytes'), '', queue, { messageId: 'm' })
    await the.protocol.publish({ a: 1 }, '', queue)
    const got = []
    for (let i = 0; i < 3; i++) got.push(await the.outside.basicGet(queue))
    assert.deepEqual(
      got.map(one => [one?.body.toString(), one?.properties.toJSON()]),
      [
        ['text', { deliveryMode: 2 }],
        ['bytes', { messageId: 'm', deliveryMode: 2 }],
        ['{"a":1}', { contentType: 'application/json', deliveryMode: 2 }],
      ],
    )
  })

  it('rejects for a message that no queue took on the default exchange, and elsewhere if asked', async () => {
    await using the = await scene()
    await rejection(the.protocol.publish('', '', 'no-such-queue'), MessageReturnedError)
    await the.protocol.publish('', '', 'no-such-queue', {}, { mandatory: false })
    await the.protocol.publish('', 'amq.topic', 'x')
    await rejection(the.protocol.publish('', 'amq.topic', 'x', {}, { mandatory: true }), MessageReturnedError)
    assert.equal(the.protocol.channelsIdsCount, 2)
  })

  it('shows the line of the program in every error, for a schema too', async () => {
    await using the = await scene()
    const { protocol } = the
    const nothing: StandardSchema<unknown> = {
      '~standard': { version: 1, vendor: 'test', validate: () => ({ issues: [{ message: 'no' }] }) },
    }
    const publisher = await protocol.publisher()
    const typed = await protocol.publisher({ schema: nothing })
    const calls: Record<string, () => Promise<unknown>> = {
      'no queue': async () => await protocol.publish('', '', 'no-such-queue'),
      'no exchange': async () => await protocol.publish('', uniqueName('exchange'), 'k'),
      'a payload': async () => await protocol.publish(new Map(), '', 'q'),
      'a property': async () => await protocol.publish('', '', 'q', { type: 'x' } as object),
      'a payload of a publisher': async () => await publisher.publish(new Map(), 'q'),
      'a schema': async () => await protocol.publish({}, '', 'q', {}, { schema: nothing }),
      'the schema of a publisher': async () => await typed.publish({}, 'q'),
    }
    for (const [what, call] of Object.entries(calls)) {
      const { stack = '' } = await rejection(call(), AmqpError)
      assert.match(stack, /^[^\n]*\n(\s+at process\.processTicks[^\n]*\n)?\s+at [^\n]*publish\.test/, what)
    }
  })

  it('fails only messages for the missing exchange', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const missing = uniqueName('exchange')
    const all = Array.from({ length: 200 }, (_, i) =>
      i % 10 === 0 ? the.protocol.publish('', missing, 'k') : the.protocol.publish(`${i}`, '', queue),
    )
    const results = await Promise.allSettled(all)
    for (const [i, result] of results.entries()) {
      assert.equal(result.status, i % 10 === 0 ? 'rejected' : 'fulfilled')
      if (result.status === 'rejected') {
        assert.ok(result.reason instanceof ChannelClosedError)
        assert.equal(result.reason.outcome, 'unknown')
      }
    }
    assert.equal((await the.inspect(queue)).messageCount, 180)
    await the.protocol.exchangeDeclare(missing, 'fanout')
    await the.protocol.publish('', missing, 'k')
    assert.deepEqual(the.errors, [])
  })

  it('takes up no more than 16 channels, however many exchanges there are', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const exchanges = await fanouts(the, queue, 40)
    await until('the channels of the declares are gone', () => the.protocol.channelsIdsCount === 0)
    const sent: Promise<void>[] = []
    for (let round = 0; round < 5; round++) {
      for (const exchange of exchanges) sent.push(the.protocol.publish(`${round}`, exchange, exchange))
    }
    await Promise.all(sent)
    assert.equal(the.protocol.channelsIdsCount, 16)
    const seen = new Map<string, string[]>()
    for (;;) {
      const one = await the.outside.basicGet(queue, { noAck: true })
      if (one === null) break
      const { exchangeName } = one.envelope
      seen.set(exchangeName, [...(seen.get(exchangeName) ?? []), one.body.toString()])
    }
    for (const exchange of exchanges) assert.deepEqual(seen.get(exchange), ['0', '1', '2', '3', '4'])
  })

  it('saves the messages that share a channel with one that is refused', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const exchanges = await fanouts(the, queue, 30)
    const results = await Promise.allSettled([
      ...exchanges.slice(0, 20).map(exchange => the.protocol.publish('good', exchange, 'k')),
      the.protocol.publish('bad', uniqueName('missing'), 'k'),
      ...exchanges.slice(20).map(exchange => the.protocol.publish('good', exchange, 'k')),
    ])
    assert.deepEqual(
      results.map(({ status }, i) => (status === 'rejected' ? i : -1)).filter(i => i !== -1),
      [20],
    )
  })

  it('makes room for another exchange by closing a channel that has nothing to wait for', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const exchanges = await fanouts(the, queue, 20)
    for (const exchange of exchanges) await the.protocol.publish('', exchange, 'k')
    await until('there are 15 channels', () => the.protocol.channelsIdsCount === 15)
    assert.equal((await the.inspect(queue)).messageCount, 20)
  })

  it('closes channels that are not published on', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const source = new ProtocolSource(the.protocol)
    const publishers = new DefaultPublishers(
      source,
      () => {},
      () => {},
    )
    await publishers.publish('', '', queue, undefined, undefined)
    await publishers.publish('', 'amq.fanout', '', undefined, undefined)
    assert.equal(the.protocol.channelsIdsCount, 2)
    source.expireAll()
    assert.equal(publishers.size, 2)
    await publishers.publish('', '', queue, undefined, undefined)
    source.expireAll()
    assert.equal(publishers.size, 1)
    await until('the idle channel is closed', () => the.protocol.channelsIdsCount === 1)
    source.expireAll()
    assert.equal(publishers.size, 0)
    await publishers.publish('', '', queue, undefined, undefined)
    assert.equal((await the.inspect(queue)).messageCount, 3)
  })

  it('resolves across a lost connection', async t => {
    const proxy = await openFaultProxy(broker.host, broker.port)
    const the = await scene({ host: '127.0.0.1', port: proxy.port })
    t.after(async () => {
      await the[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    })
    const queue = await the.queue()
    await the.protocol.publish('0', '', queue)
    proxy.blackhole()
    const sent = the.protocol.publish('1', '', queue)
    const other = the.protocol.publish('2', 'amq.fanout', '')
    proxy.reset()
    await proxy.heal()
    await Promise.all([sent, other])
    assert.deepEqual(
      (await the.drain(queue)).map(({ body }) => body),
      ['0', '1'],
    )
  })

  it('refuses bad arguments and goes on', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await rejection(the.protocol.publish('', 'x'.repeat(256), ''), EncodeError)
    await rejection(the.protocol.publish('', 7 as unknown as string, ''), EncodeError)
    await rejection(the.protocol.publish('', '', queue, {}, { immediate: true } as object), EncodeError)
    await the.protocol.publish('', '', queue)
    assert.equal((await the.inspect(queue)).messageCount, 1)
  })

  it('is finished by protocol.close(), and rejects after it', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const sent = Array.from({ length: 500 }, (_, i) => the.protocol.publish(`${i}`, '', queue))
    await Promise.all([the.protocol.close(), ...sent])
    assert.equal((await the.inspect(queue)).messageCount, 500)
    const error = await rejection(the.protocol.publish('', '', queue), ConnectionClosedError)
    assert.equal(error.outcome, 'notSent')
    await rejection(the.protocol.publish('', 'amq.fanout', queue), ConnectionClosedError)
  })
})
