import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { StandardSchema } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Recoverable } from '../support/agreeable-broker.ts'
import { delivery, methodFrame } from '../support/fake-broker.ts'
import { turn } from '../support/settled.ts'
import { until } from '../support/until.ts'

describe('protocol.stats()', () => {
  it('is a plain object with the figures of a connection on which nothing happens', async () => {
    const the = await Recoverable.open({ connectionName: 'quiet' })
    const { connectionId, ...stats } = the.protocol.stats()
    assert.ok(connectionId > 0)
    assert.deepEqual(stats, {
      connectionName: 'quiet',
      serverAddress: 'localhost',
      serverPort: 5672,
      virtualHost: '/',
      state: 'open',
      openMs: 0,
      openChannels: 0,
      reconnects: 0,
      recoveringMs: 0,
      lastRecoveryMs: undefined,
      totalRecoveryMs: 0,
      blockedReason: undefined,
      totalBlockedMs: 0,
      unconfirmed: 0,
      waiting: 0,
      bufferedBytes: 0,
      receivedBytesWaiting: 0,
      unacknowledged: 0,
      handlersRunning: 0,
      published: 0,
      delivered: 0,
      publishers: [],
      consumers: [],
    })
  })

  it('counts what publishers have under way, and what waits', async () => {
    const the = await Recoverable.open()
    const publisher = await the.protocol.publisher({ exchangeName: 'orders', maxInFlight: 2 })
    const publishes = Array.from({ length: 5 }, (_, i) => publisher.publish(`${i}`, 'key'))
    for (const publish of publishes) publish.catch(() => {})
    const other = the.protocol.publish('x', '', 'q')
    other.catch(() => {})
    await turn()
    const { unconfirmed, waiting, published, openChannels, publishers } = the.protocol.stats()
    assert.deepEqual(
      { unconfirmed, waiting, published, openChannels },
      { unconfirmed: 3, waiting: 3, published: 3, openChannels: 2 },
    )
    assert.deepEqual(publisher.stats(), { exchangeName: 'orders', unconfirmed: 2, waiting: 3, resent: 0 })
    assert.deepEqual(publishers, [publisher.stats(), { exchangeName: '', unconfirmed: 1, waiting: 0, resent: 0 }])
    await the.recover()
    await turn()
    const after = the.protocol.stats()
    assert.deepEqual([after.unconfirmed, after.waiting, after.published, after.reconnects], [3, 3, 6, 1])
    assert.equal(publisher.stats().resent, 2)
    assert.equal(publisher.resent, 2)
  })

  it('counts payloads that are being validated among what waits', async () => {
    const the = await Recoverable.open()
    const ends: (() => void)[] = []
    const validate = (value: unknown) => new Promise<{ value: unknown }>(resolve => ends.push(() => resolve({ value })))
    const schema: StandardSchema<unknown> = { '~standard': { version: 1, vendor: 'test', validate } }
    const publisher = await the.protocol.publisher({ exchangeName: 'orders', schema })
    const publishes = [publisher.publish({}, 'key'), publisher.publish({}, 'key')]
    publishes.push(the.protocol.publish({}, 'bills', 'key', {}, { schema }))
    for (const publish of publishes) publish.catch(() => {})
    await until('all are being validated', () => ends.length === 3)
    assert.equal(publisher.pending, 2)
    const none = { unconfirmed: 0, resent: 0 }
    assert.deepEqual(publisher.stats(), { ...none, exchangeName: 'orders', waiting: 2 })
    const stats = the.protocol.stats()
    assert.equal(stats.waiting, 3)
    assert.deepEqual(stats.publishers, [publisher.stats(), { ...none, exchangeName: 'bills', waiting: 1 }])
    for (const end of ends) end()
    await until('all are sent', () => the.protocol.stats().unconfirmed === 3)
    assert.equal(publisher.pending, 2)
    assert.deepEqual(publisher.stats(), { exchangeName: 'orders', unconfirmed: 2, waiting: 0, resent: 0 })
    assert.equal(the.protocol.stats().waiting, 0)
  })

  it('counts the messages that consumers have in hand', async () => {
    const the = await Recoverable.open()
    const ended: (() => void)[] = []
    const handler = (): Promise<void> => new Promise(resolve => ended.push(resolve))
    const consumer = await the.protocol.consumer('work', handler, { concurrency: 2, prefetchCount: 4 })
    const channel = await the.protocol.channel()
    const { consumerTag } = await channel.basicConsume(handler, 'raw', { concurrency: 1 })
    const tag = consumer.stats().consumerTag ?? ''
    for (let i = 1; i <= 3; i++) the.peer.send(delivery(1, tag, i, 'm'))
    for (let i = 1; i <= 2; i++) the.peer.send(delivery(2, consumerTag, i, 'm'))
    await turn()
    const work = { queueName: 'work', consumerTag: tag, state: 'consuming', isPaused: false, concurrency: 2 }
    assert.deepEqual(consumer.stats(), { ...work, handlersRunning: 2, buffered: 1, unacknowledged: 3 })
    const stats = the.protocol.stats()
    const raw = { queueName: 'raw', consumerTag, state: 'consuming', isPaused: false, concurrency: 1 }
    assert.deepEqual(stats.consumers, [
      consumer.stats(),
      { ...raw, handlersRunning: 1, buffered: 1, unacknowledged: undefined },
    ])
    assert.deepEqual([stats.unacknowledged, stats.handlersRunning, stats.delivered], [3, 3, 5])
    ended.shift()?.()
    await turn()
    assert.deepEqual(consumer.stats(), { ...work, handlersRunning: 2, buffered: 0, unacknowledged: 2 })
    the.silent.add('basic.consume')
    await the.lose()
    await turn()
    assert.deepEqual(consumer.stats(), {
      ...work,
      state: 'recovering',
      handlersRunning: 2,
      buffered: 0,
      unacknowledged: 0,
    })
    await the.protocol.close({ timeout: 10 })
  })

  it('counts no failed message that the broker has back, though the program decides about it', async () => {
    const the = await Recoverable.open()
    const decided: (() => void)[] = []
    const onFailure = (): Promise<void> => new Promise(resolve => decided.push(resolve))
    const fail = (): never => {
      throw new Error('no')
    }
    const consumer = await the.protocol.consumer('work', fail, { onFailure })
    const deliver = (tag: number): void => the.peer.send(delivery(1, consumer.stats().consumerTag ?? '', tag, 'm'))
    deliver(1)
    deliver(2)
    await turn()
    assert.deepEqual([decided.length, consumer.stats().unacknowledged], [2, 2])
    await the.recover()
    assert.equal(consumer.stats().unacknowledged, 0)
    deliver(1)
    await turn()
    assert.deepEqual([decided.length, consumer.stats().unacknowledged], [3, 1])
    for (const decide of decided) decide()
    const closing = consumer.close()
    await turn()
    assert.equal(consumer.stats().unacknowledged, 0)
    await the.clock.until(closing)
  })

  it('counts what a loop and next() have given out', async () => {
    const the = await Recoverable.open()
    const loop = await the.protocol.consumer('looped', { prefetchCount: 3 })
    const tag = loop.stats().consumerTag ?? ''
    const iterator = loop[Symbol.asyncIterator]()
    const first = iterator.next()
    for (let i = 1; i <= 3; i++) the.peer.send(delivery(1, tag, i, 'm'))
    await first
    const { value } = await loop.next()
    assert.deepEqual([loop.stats().buffered, loop.stats().unacknowledged], [1, 3])
    value?.ack()
    assert.deepEqual([loop.stats().buffered, loop.stats().unacknowledged], [1, 2])
    loop.pause()
    assert.equal(loop.stats().isPaused, true)
    await iterator.return?.()
    assert.equal(loop.stats().state, 'stopped')
    assert.deepEqual(the.protocol.stats().consumers, [])
  })

  it('sums up the time for which the broker blocked, and that of recoveries', async () => {
    const the = await Recoverable.open()
    for (const milliseconds of [2_000, 3_000]) {
      the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on disk' }))
      await the.clock.advance(milliseconds)
      assert.equal(the.protocol.stats().blockedReason, 'low on disk')
      the.peer.send(methodFrame(0, methods.ConnectionUnblocked, {}))
      await turn()
    }
    assert.equal(the.protocol.stats().totalBlockedMs, 5_000)
    assert.equal(the.protocol.stats().blockedReason, undefined)
    await the.protocol.exchangeDeclare('orders', 'direct')
    the.silent.add('exchange.declare')
    await the.lose()
    await the.clock.advance(1_000)
    const { state, openMs, recoveringMs, totalRecoveryMs, lastRecoveryMs } = the.protocol.stats()
    assert.deepEqual([state, openMs, lastRecoveryMs], ['recovering', 0, undefined])
    assert.ok(recoveringMs >= 1_000 && recoveringMs === totalRecoveryMs, `${recoveringMs}, ${totalRecoveryMs}`)
    the.silent.clear()
    await the.recover()
    const after = the.protocol.stats()
    assert.equal(after.lastRecoveryMs, after.totalRecoveryMs)
    assert.ok((after.lastRecoveryMs ?? 0) >= recoveringMs, `${after.lastRecoveryMs}, ${recoveringMs}`)
    assert.deepEqual([after.reconnects, after.recoveringMs], [1, 0])
  })

  it('has times that stand still once the connection is closed, also in a recovery', async () => {
    const ends: readonly ((the: Recoverable) => Promise<unknown>)[] = [
      the => the.protocol.close(),
      async the => {
        the.peer.transport.break(new Error('cut'))
        await turn()
        await the.clock.advance(10)
        await the.protocol.close()
      },
      async the => {
        the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on disk' }))
        await turn()
        await the.protocol.close()
      },
    ]
    for (const end of ends) {
      const the = await Recoverable.open()
      await the.clock.advance(1_000)
      await the.clock.until(end(the))
      const { state, openMs, recoveringMs, totalRecoveryMs, totalBlockedMs } = the.protocol.stats()
      assert.deepEqual([state, openMs, recoveringMs], ['closed', 0, 0])
      await the.clock.advance(1_000)
      const later = the.protocol.stats()
      assert.deepEqual([later.openMs, later.recoveringMs], [0, 0])
      assert.deepEqual([later.totalRecoveryMs, later.totalBlockedMs], [totalRecoveryMs, totalBlockedMs])
    }
  })
})
