import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Envelope } from '../../src/index.ts'
import { deliveryInbox } from '../support/fixture.ts'
import { management, withVhost } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { until } from '../support/until.ts'
import { framesIn } from '../support/wire.ts'
import { openRecovering, type Recovering } from './recovering.ts'

const vhost = await withVhost()

/** basic.ack, nack and reject that have left by the connection there is now: their tags. */
function settlements(to: Recovering): unknown[] {
  return framesIn(to.proxy.last.recorded('toServer'))
    .filter(({ name }) => /^basic\.(ack|nack|reject)$/.test(name))
    .map(({ args }) => args['deliveryTag'])
}

describe('a recovered consumer', { timeout: 60_000 }, () => {
  it('keeps its callback and its tag, with its arguments', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const name = uniqueName('queue')
    await channel.queueDeclare(name, { exclusive: true })
    const { inbox, callback } = deliveryInbox()
    const options = { consumerTag: 'mine', noAck: true, exclusive: true, arguments: { 'x-priority': 7 } }
    await channel.basicConsume(callback, name, options)
    for (let n = 0; n < 3; n++) {
      await to.cut()
      await channel.publish(String(n), '', name)
      const { body, envelope, channel: given } = await inbox.next()
      assert.equal(body.toString(), String(n))
      assert.equal(envelope.consumerTag, 'mine')
      assert.equal(given, channel)
    }
    const [consumer, ...others] = await until('the broker lists the consumer', async () => {
      const consumers = (await management().consumers(vhost.name)).filter(({ queue }) => queue.name === name)
      return consumers.length > 0 && consumers
    })
    assert.equal(others.length, 0)
    assert.deepEqual(
      [consumer?.consumer_tag, consumer?.exclusive, consumer?.ack_required, consumer?.arguments],
      ['mine', true, false, { 'x-priority': 7 }],
    )
  })

  it('settles nothing by a tag from before: false, and no byte for it', async () => {
    await using to = await openRecovering(vhost.url, {}, { record: true })
    const channel = await to.protocol.channel()
    const name = uniqueName('queue')
    await channel.queueDeclare(name)
    for (let n = 0; n < 6; n++) await channel.basicPublish(String(n), '', name)
    const got = await channel.basicGet(name)
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, name)
    const before = await inbox.take(5)
    assert.deepEqual(
      [got?.envelope.deliveryTag, ...before.map(({ envelope }) => envelope.deliveryTag)],
      [1, 2, 3, 4, 5, 6],
    )
    await to.cut()
    const after = await inbox.take(6)
    assert.deepEqual(
      after.map(({ envelope }) => envelope.deliveryTag),
      [7, 8, 9, 10, 11, 12],
    )
    assert.ok(after.every(({ envelope }) => envelope.isRedeliver))
    for (const tag of [1, 2, 6]) {
      assert.equal(await channel.basicClientAck(tag), false)
      assert.equal(await channel.basicClientAck(tag, { multiple: true }), false)
      assert.equal(await channel.basicClientNack(tag, { multiple: true }), false)
      assert.equal(await channel.basicReject(tag), false)
    }
    assert.equal(await channel.basicClientAck(8, { multiple: true }), true)
    assert.equal(await channel.basicReject(9), true)
    await channel.queueDeclare(name, { passive: true })
    assert.deepEqual(settlements(to), [2, 3])
    await channel.queueDelete(name)
  })

  it('gives get-ok tags that go on rising, too', async () => {
    await using to = await openRecovering(vhost.url, {}, { record: true })
    const channel = await to.protocol.channel()
    const name = uniqueName('queue')
    await channel.queueDeclare(name)
    await channel.basicPublish('a', '', name)
    const before = await channel.basicGet(name)
    assert.equal(before?.envelope.deliveryTag, 1)
    await to.cut()
    const after = await channel.basicGet(name)
    assert.equal(after?.envelope.deliveryTag, 2)
    assert.equal(await channel.basicClientAck(1), false)
    assert.equal(await channel.basicClientAck(2), true)
    assert.equal((await channel.queueDelete(name)).messageCount, 0)
    assert.deepEqual(settlements(to), [1])
  })

  it('acks of slow work across a loss settle no other messages', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const name = uniqueName('slow')
    await channel.queueDeclare(name)
    await channel.basicQos({ prefetchCount: 10 })
    for (let n = 0; n < 50; n++) void channel.publish(String(n), '', name, { deliveryMode: 2 })
    await channel.waitForConfirms()
    const done = new Set<string>()
    const acks: boolean[] = []
    const { consumerTag } = await channel.basicConsume(async (_channel, body, envelope) => {
      await sleep(30)
      const acked = await channel.basicClientAck(envelope.deliveryTag)
      acks.push(acked)
      if (acked) done.add(body.toString())
    }, name)
    for (let cut = 0; cut < 4; cut++) {
      await sleep(40)
      await to.cut()
    }
    await until('all are done', () => done.size === 50)
    assert.ok(acks.includes(false))
    await channel.basicCancel(consumerTag)
    assert.equal((await channel.queueDelete(name)).messageCount, 0)
    assert.deepEqual(to.errors, [])
  })

  it('drops what waited for its callback from before, since it comes again', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const name = uniqueName('buffered')
    await channel.queueDeclare(name, { durable: true })
    for (let n = 0; n < 5; n++) await channel.basicPublish(String(n), '', name, { deliveryMode: 2 })
    const runs: Envelope[] = []
    const waits: (() => void)[] = []
    await channel.basicConsume(
      async (_channel, _body, envelope) => {
        runs.push(envelope)
        if (runs.length === 1) await new Promise<void>(resolve => waits.push(resolve))
        await channel.basicClientAck(envelope.deliveryTag)
      },
      name,
      { concurrency: 1 },
    )
    await until('the first runs', () => runs.length === 1)
    await to.cut()
    assert.equal(runs.length, 1, 'its concurrency holds across the loss')
    waits[0]?.()
    await until('all have run', () => runs.length === 6)
    assert.deepEqual(
      runs.map(({ deliveryTag }) => deliveryTag),
      [1, 6, 7, 8, 9, 10],
    )
    assert.equal((await channel.queueDelete(name)).messageCount, 0)
  })

  it('gets its cancellation callback and recoveryFailed if its queue is gone; others go on', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const [gone, there] = [uniqueName('gone'), uniqueName('there')]
    await channel.queueDeclare(gone, { recover: false })
    await channel.queueDeclare(there, { exclusive: true })
    const cancelled: string[] = []
    channel.addCancellationCallback((_channel, tag) => void cancelled.push(tag))
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, gone, { consumerTag: 'gone' })
    await channel.basicConsume(callback, there, { consumerTag: 'there' })
    await to.outage()
    await management().request('DELETE', `queues/${vhost.name}/${gone}`)
    await to.heal()
    assert.deepEqual(cancelled, ['gone'])
    assert.deepEqual(
      to.seen('recoveryFailed').map(([what]) => what),
      [`consumer "gone" of queue "${gone}"`],
    )
    await channel.publish('x', '', there)
    assert.equal((await inbox.next()).envelope.consumerTag, 'there')
  })

  it('follows its channel if another one has the queue for itself meanwhile', async () => {
    await using to = await openRecovering(vhost.url)
    await using other = await openRecovering(vhost.url)
    const channel = await to.protocol.channel()
    const [locked, free] = [uniqueName('locked'), uniqueName('free')]
    await channel.queueDeclare(locked, { durable: true })
    await channel.queueDeclare(free, { exclusive: true })
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, locked, { consumerTag: 'locked', exclusive: true })
    await channel.basicConsume(callback, free, { consumerTag: 'free' })
    await to.outage()
    const holder = await other.protocol.channel()
    await until('the queue is free', async () => {
      const { consumerCount } = await holder.queueDeclare(locked, { passive: true })
      return consumerCount === 0
    })
    await holder.basicConsume(() => {}, locked, { consumerTag: 'holder', exclusive: true })
    await to.heal()
    await channel.publish('x', '', free)
    assert.equal((await inbox.next()).envelope.consumerTag, 'free')
    await holder.basicCancel('holder')
    await holder.publish('y', '', locked)
    assert.equal((await inbox.next()).envelope.consumerTag, 'locked')
    assert.deepEqual(to.seen('recoveryFailed'), [])
  })

  it('closed with its channel during the recovery does not come back', async () => {
    await using to = await openRecovering(vhost.url)
    const [channel, other] = [await to.protocol.channel(), await to.protocol.channel()]
    const name = uniqueName('queue')
    await other.queueDeclare(name, { exclusive: true })
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, name)
    await to.outage()
    await channel.close()
    await to.heal()
    assert.equal(to.protocol.channelsIdsCount, 1)
    await other.publish('nobody', '', name)
    assert.equal((await other.basicGet(name, { noAck: true }))?.body.toString(), 'nobody')
    assert.equal(inbox.received.length, 0)
  })
})
