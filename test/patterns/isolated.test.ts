import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AbortError,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionLostError,
  EncodeError,
  TimeoutError,
} from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { openFaultProxy } from '../support/fault-proxy.ts'
import { management } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { rejection } from '../support/rejection.ts'
import { until } from '../support/until.ts'
import { deferred, nextEvent, withScenes } from './scene.ts'

const scene = await withScenes()

describe('A method of the protocol on a channel of its own', { concurrency: 4 }, () => {
  it('does what the channel does, and leaves no channel behind', async () => {
    await using the = await scene()
    const { protocol } = the
    const [exchange, upstream] = [uniqueName('exchange'), uniqueName('exchange')]
    const queue = uniqueName('queue')
    assert.equal(await protocol.exchangeDeclare(exchange, 'topic'), undefined)
    assert.equal(await protocol.exchangeDeclare(upstream, 'fanout'), undefined)
    assert.deepEqual(await protocol.queueDeclare(queue), { queue, messageCount: 0, consumerCount: 0 })
    assert.equal(await protocol.queueBind(queue, exchange, 'a.*'), undefined)
    assert.equal(await protocol.exchangeBind(exchange, upstream), undefined)
    await protocol.publish('1', upstream, 'a.b', {}, { mandatory: true })
    assert.deepEqual(await protocol.queueDeclare(queue, { passive: true }), {
      queue,
      messageCount: 1,
      consumerCount: 0,
    })
    assert.deepEqual(await protocol.queuePurge(queue), { messageCount: 1 })
    assert.equal(await protocol.exchangeUnbind(exchange, upstream), undefined)
    await protocol.publish('2', upstream, 'a.b')
    assert.equal(await protocol.queueUnbind(queue, exchange, 'a.*'), undefined)
    await protocol.publish('3', exchange, 'a.b')
    assert.deepEqual(await protocol.queueDelete(queue), { messageCount: 0 })
    assert.equal(await protocol.exchangeDelete(exchange), undefined)
    assert.equal(await protocol.exchangeDelete(upstream), undefined)
    assert.equal(await protocol.queueDeclare(queue, { noWait: true }), undefined)
    await until('it is there', () => the.exists(queue))
    assert.equal((await the.inspect(queue)).messageCount, 0)
    const { queue: made } = await protocol.queueDeclare()
    assert.match(made, /^amq\.gen-/)
    // Two publish: '' and the exchanges' channels stay open.
    await until('only publishers have channels', () => protocol.channelsIdsCount === 2)
  })

  it('opens, acts and closes in one write', async t => {
    const proxy = await openFaultProxy(broker.host, broker.port, { record: true })
    const the = await scene({ host: '127.0.0.1', port: proxy.port, heartbeat: 0 })
    t.after(async () => {
      await the[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    })
    const before = proxy.last.toServer.recorded.length
    await the.protocol.queueDeclare('', { exclusive: true })
    const pieces = proxy.last.toServer.recorded.slice(before)
    assert.equal(pieces.length, 1)
    const [piece] = pieces
    const methods: string[] = []
    for (let at = 0; piece !== undefined && at < piece.length; at += 8 + piece.readUInt32BE(at + 3)) {
      methods.push(`${piece.readUInt16BE(at + 7)}.${piece.readUInt16BE(at + 9)}`)
    }
    // channel.open, queue.declare, channel.close
    assert.deepEqual(methods, ['20.10', '50.10', '20.40'])
  })

  it('fails alone: a 404 in one disturbs none of hundreds', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const results = await Promise.allSettled(
      Array.from({ length: 400 }, (_, i) =>
        the.protocol.queueDeclare(i % 4 === 0 ? `missing-${i}` : queue, { passive: true }),
      ),
    )
    for (const [i, result] of results.entries()) {
      if (i % 4 !== 0) assert.equal(result.status, 'fulfilled')
      else {
        assert.equal(result.status, 'rejected')
        assert.ok(result.reason instanceof ChannelClosedError)
        assert.equal(result.reason.replyCode, 404)
        assert.match(result.reason.message, new RegExp(`queue.declare of "missing-${i}" failed: NOT_FOUND \\(404\\)`))
        assert.match(String(result.reason.stack), /isolated\.test/)
      }
    }
    assert.deepEqual(the.errors, [])
    await until('all channels are closed', () => the.protocol.channelsIdsCount === 0)
  })

  it('waits for a channel number when all are in use', async () => {
    await using the = await scene({ channelMax: 3 })
    const held = [await the.protocol.channel(), await the.protocol.channel()]
    const names = await Promise.all(Array.from({ length: 50 }, () => the.protocol.queueDeclare()))
    assert.equal(new Set(names.map(({ queue }) => queue)).size, 50)
    await until('there is room for a channel', () => the.protocol.channelsIdsCount === 2)
    const last = await the.protocol.channel()
    let declared = false
    const waiting = the.protocol.queueDeclare().then(() => {
      declared = true
    })
    await held[0]?.queueDeclare()
    assert.equal(declared, false)
    await last.close()
    await waiting
  })

  it('ends its wait for a channel number when it is aborted or its time is over', async () => {
    await using the = await scene({ channelMax: 1 })
    const held = await the.protocol.channel()
    const controller = new AbortController()
    const aborted = rejection(the.protocol.queueDeclare('', { signal: controller.signal }), AbortError)
    await rejection(the.protocol.queueDeclare('', { timeout: 30 }), TimeoutError)
    controller.abort()
    await aborted
    await rejection(the.protocol.queueDeclare('', { signal: AbortSignal.abort() }), AbortError)
    await held.close()
    await the.protocol.queueDeclare('', { timeout: 5000 })
  })

  it('refuses bad arguments', async () => {
    await using the = await scene()
    await rejection(the.protocol.queueDeclare('q', { durabel: true } as object), EncodeError)
    await rejection(the.protocol.queueDeclare('q'.repeat(256)), EncodeError)
    await rejection(the.protocol.queueDeclare('q', { timeout: -1 }), EncodeError)
    await rejection(the.protocol.exchangeDeclare('x', 7 as unknown as string), EncodeError)
    await until('no channel is left', () => the.protocol.channelsIdsCount === 0)
    assert.deepEqual(the.errors, [])
  })

  it('makes queues that outlive its channel, and are made again with the next connection', async () => {
    await using the = await scene()
    const { queue } = await the.protocol.queueDeclare('', { exclusive: true })
    const kept = uniqueName('queue')
    await the.protocol.queueDeclare(kept, { exclusive: true, autoDelete: true })
    await the.protocol.publish('', '', queue)
    const renamed = nextEvent<string>(the.protocol, 'queueRenamed')
    const recovered = nextEvent(the.protocol, 'recovered')
    await the.closeConnection()
    assert.equal(await renamed, queue)
    await recovered
    await the.protocol.publish('', '', kept)
    assert.equal((await the.protocol.queueDeclare(kept, { passive: true })).messageCount, 1)
  })

  it('waits while the connection is recovered, and rejects once it is closed', async t => {
    const proxy = await openFaultProxy(broker.host, broker.port)
    const the = await scene({ host: '127.0.0.1', port: proxy.port })
    t.after(async () => {
      await the[Symbol.asyncDispose]()
      await proxy[Symbol.asyncDispose]()
    })
    proxy.blackhole('toClient')
    const lost = rejection(the.protocol.queueDeclare(), ConnectionLostError)
    await until('it is sent', () => the.protocol.channelsIdsCount === 1)
    await proxy.refuse()
    proxy.reset()
    await lost
    await until('the loss is noticed', () => the.protocol.state === 'recovering', { interval: 1 })
    const waiting = the.protocol.queueDeclare()
    await rejection(the.protocol.queueDeclare('', { timeout: 30 }), TimeoutError)
    await proxy.heal()
    assert.match((await waiting).queue, /^amq\.gen-/)
    await the.protocol.close()
    await rejection(the.protocol.queueDeclare(), ConnectionClosedError)
  })
})

describe('protocol.transaction', { concurrency: 4 }, () => {
  it('commits what the work did, returns its result and closes its channel', async () => {
    await using the = await scene()
    const queue = await the.queue(['in'])
    const out = await the.queue()
    const result = await the.protocol.transaction(async channel => {
      const message = await channel.basicGet(queue)
      await channel.basicPublish('out 1', '', out)
      await channel.basicPublish('out 2', '', out)
      if (message !== null) await channel.basicClientAck(message.envelope.deliveryTag)
      assert.equal((await the.inspect(out)).messageCount, 0)
      return 'done'
    })
    assert.equal(result, 'done')
    assert.equal((await the.inspect(out)).messageCount, 2)
    assert.equal((await the.inspect(queue)).messageCount, 0)
    assert.equal(the.protocol.channelsIdsCount, 0)
  })

  it('undoes what the work did when it throws, and rejects with its error', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const error = new Error('of the work')
    const failed = the.protocol.transaction(async channel => {
      await channel.basicPublish('', '', queue)
      throw error
    })
    assert.equal(await rejection(failed, Error), error)
    const thrown = the.protocol.transaction(() => {
      throw error
    })
    assert.equal(await rejection(thrown, Error), error)
    assert.equal((await the.inspect(queue)).messageCount, 0)
    await until('its channels are closed', () => the.protocol.channelsIdsCount === 0)
  })

  it('rejects when the connection is lost in the middle, and is not done again', async () => {
    await using the = await scene()
    const queue = await the.queue()
    let times = 0
    const recovered = nextEvent(the.protocol, 'recovered')
    const failed = the.protocol.transaction(async channel => {
      times++
      await channel.basicPublish('', '', queue)
      await channel.queueDeclare(queue, { passive: true })
      await management().closeConnection(the.connectionName)
      await recovered
    })
    await rejection(failed, ConnectionClosedError)
    assert.equal(times, 1)
    assert.equal((await the.inspect(queue)).messageCount, 0)
    await until('its channel is closed', () => the.protocol.channelsIdsCount === 0)
  })

  it('is let end by protocol.close()', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const started = deferred()
    const closing = deferred()
    const done = the.protocol.transaction(async channel => {
      started.resolve()
      await closing.promise
      await channel.basicPublish('', '', queue)
      await the.protocol.publish('', '', queue)
    })
    await started.promise
    const closed = the.protocol.close()
    closing.resolve()
    await Promise.all([done, closed])
    assert.equal((await the.inspect(queue)).messageCount, 2)
  })
})
