import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type ConnectionLostError, connect } from '../../src/index.ts'
import { startNode } from '../support/broker.ts'
import { rejection } from '../support/rejection.ts'
import { sized } from '../support/sizes.ts'
import { Stopwatch } from '../support/stopwatch.ts'
import { until } from '../support/until.ts'
import { ConsumeLoad, drain, PublishLoad } from './load.ts'

const node = await startNode()
after(() => node.destroy())

const RATE = 500

/**
 * Resolves when declared entities survive SIGKILL. declare-ok comes, and messages are confirmed, up to 2 s before Mnesia
 * has written that the declare is committed; a node that is killed by then starts without the queue.
 */
async function definitionsOnDisk(): Promise<void> {
  const sync = 'mnesia_recover:sync(), ok = mnesia:sync_log()'
  // If Khepri keeps the definitions, there is no Mnesia.
  await node.evaluate(`[begin ${sync} end || whereis(mnesia_recover) =/= undefined]`)
}

/** Two connections with load on them, while `fault` runs; then everything is accounted for. */
async function underLoad(
  queue: string,
  fault: () => Promise<void>,
  heartbeat: number,
): Promise<{ readonly losses: number; readonly publishes: PublishLoad }> {
  await using publisher = await connect(node.url, { heartbeat })
  await using worker = await connect(node.url, { heartbeat })
  let losses = 0
  publisher.on('disconnected', () => losses++)
  const channel = await publisher.channel({ publisherConfirms: true })
  await Promise.all([channel.queueDeclare(queue), channel.queueDeclare(`${queue}-work`)])
  await definitionsOnDisk()
  for (let n = 0; n < 2_000; n++) void channel.basicPublish(String(n), '', `${queue}-work`, { deliveryMode: 2 })
  await channel.waitForConfirms()
  const consumes = new ConsumeLoad()
  await consumes.start(await worker.channel(), `${queue}-work`)
  using publishes = new PublishLoad(channel, queue, RATE)
  await sleep(300)
  await fault()
  await until('both are back', () => publisher.state === 'open' && worker.state === 'open', { timeout: 30_000 })
  const { size } = publishes.confirmed
  await until('publishes are confirmed again', () => publishes.confirmed.size > size + 50)
  await publishes.stop()
  publishes.check(await drain(publisher, queue))
  await consumes.untilAcked(2_000)
  return { losses, publishes }
}

describe('a broker under load', { timeout: 180_000 }, () => {
  it('that is frozen for less than two heartbeat intervals loses nothing, and is not noticed', async () => {
    const { losses, publishes } = await underLoad(
      'frozen-short',
      async () => {
        node.freeze()
        await sleep(3_300)
        node.thaw()
      },
      2,
    )
    assert.equal(losses, 0)
    assert.equal(publishes.unknown.size + publishes.notSent.size, 0)
  })

  it('that is frozen for longer is left, and come back to', async () => {
    const { losses, publishes } = await underLoad(
      'frozen-long',
      async () => {
        node.freeze()
        await sleep(3_500)
        node.thaw()
      },
      1,
    )
    assert.ok(losses >= 1)
    assert.equal(publishes.notSent.size, 0, 'what was not sent waited')
  })

  it('that is killed (SIGKILL) and started again has everything that it confirmed', async () => {
    const { losses, publishes } = await underLoad(
      'killed',
      async () => {
        await node.kill()
        await sleep(200)
        await node.start()
      },
      10,
    )
    assert.ok(losses >= 1)
    assert.equal(publishes.notSent.size, 0, 'what was not sent waited')
  })

  it('that is stopped in order and started again has everything that it confirmed', async () => {
    const { losses, publishes } = await underLoad(
      'stopped',
      async () => {
        await node.stop()
        await node.start()
      },
      10,
    )
    assert.ok(losses >= 1)
    assert.equal(publishes.notSent.size, 0, 'what was not sent waited')
  })

  it('that is frozen keeps close() no longer than its limit', async () => {
    const protocol = await connect(node.url)
    const channel = await protocol.channel({ publisherConfirms: true })
    node.freeze()
    // A signal takes its time to all threads of the broker.
    await sleep(100)
    try {
      const publish = rejection(channel.publish('x', '', 'nowhere'), Error)
      using watch = new Stopwatch()
      await protocol.close({ timeout: 500 })
      assert.ok(watch.elapsed < 650, `${watch.elapsed} ms`)
      await publish
    } finally {
      node.thaw()
    }
  })
})

describe('two connections', { timeout: 180_000 }, () => {
  it('lose nothing that is confirmed when one of them is closed, or both, or the broker is killed', async () => {
    await using protocol = await connect(node.url, { connections: 'separate', connectionName: 'two' })
    const events: string[] = []
    for (const name of ['disconnected', 'recovered'] as const) {
      protocol.on(name, (...args: unknown[]) => void events.push(`${name} ${args.at(-1)}`))
    }
    await protocol.queueDeclare('two', { durable: true })
    const { queue } = await protocol.queueDeclare('')
    await definitionsOnDisk()
    let heard = 0
    await protocol.consumer(queue, () => void heard++)
    using publishes = new PublishLoad({ publish: (...args) => protocol.publish(...args) }, 'two', RATE)
    const back = async (...roles: string[]): Promise<void> => {
      const expected = roles.flatMap(role => [`disconnected ${role}`, `recovered ${role}`])
      await until(
        () => `${expected} came, and not ${events}`,
        () => expected.every(event => events.includes(event)),
        { timeout: 60_000 },
      )
      await protocol.ready({ timeout: 30_000 })
      assert.deepEqual(events.splice(0).toSorted(), expected.toSorted())
      const before = heard
      await protocol.publish('are you there?', '', queue)
      await until('its own queue is there', () => heard > before)
    }
    await sleep(300)
    await node.closeConnections('two.publisher')
    await back('publisher')
    await node.closeConnections('two')
    await back('main')
    await node.closeConnections('two', 'two.publisher')
    await back('main', 'publisher')
    await node.kill()
    await node.start()
    await back('main', 'publisher')
    await publishes.stop()
    assert.equal(publishes.unknown.size + publishes.notSent.size + publishes.refused.size, 0)
    publishes.check(await drain(protocol, 'two'))
  })
})

describe('a broker with an alarm', { timeout: 120_000 }, () => {
  for (const resource of ['memory', 'disk'] as const) {
    it(`makes publishes wait until it has ${resource} again, without taking ours`, async () => {
      await using protocol = await connect(node.url)
      const channel = await protocol.channel({ publisherConfirms: true })
      await channel.queueDeclare('blocked')
      const raised = node.raiseAlarm(resource)
      const blocked = once(protocol, 'blocked')
      await raised
      // The broker sends it to a connection when that publishes.
      const first = channel.publish('first', '', 'blocked', { deliveryMode: 2 })
      const [reason] = (await blocked) as [string]
      assert.match(reason, new RegExp(resource))
      assert.equal(protocol.blocked, reason)

      const before = process.memoryUsage().rss
      const payload = Buffer.alloc(16_384, 'x')
      let settled = 0
      const count = sized(6_000, 30_000)
      const publishes = Array.from({ length: count }, () =>
        channel.publish(payload, '', 'blocked').then(() => settled++),
      )
      await sleep(500)
      assert.equal(settled, 0)
      const grown = (process.memoryUsage().rss - before) / 2 ** 20
      assert.ok(grown < 60, `${grown.toFixed(0)} MiB for ${(count * payload.length) / 2 ** 20} MiB that wait`)

      const unblocked = once(protocol, 'unblocked')
      await node.clearAlarms()
      await unblocked
      assert.equal(protocol.blocked, undefined)
      await first
      await Promise.all(publishes)
      await using check = await protocol.channel()
      assert.equal((await check.queueDelete('blocked')).messageCount, count + 1)
    })
  }

  it('takes acks by a connection that does not publish, and publishes by the other one after the alarm', async () => {
    const count = 10_000
    for (const connections of ['separate', 'shared'] as const) {
      await using protocol = await connect(node.url, { connections })
      const events: unknown[] = []
      for (const name of ['blocked', 'unblocked', 'disconnected'] as const) {
        protocol.on(name, (...args: unknown[]) => events.push([name, args.at(-1)]))
      }
      const [queue, out] = [`acked ${connections}`, `published ${connections}`]
      for (const name of [queue, out]) await protocol.queueDeclare(name, { durable: true })
      await Promise.all(Array.from({ length: count }, (_, n) => protocol.publish(String(n), '', queue)))
      const consumer = await protocol.consumer(queue, { prefetchCount: 200 })
      const first = await consumer.next()
      const blocked = once(protocol, 'blocked')
      await node.raiseAlarm('memory')
      const publishes = Promise.all(Array.from({ length: 1_000 }, (_, n) => protocol.publish(String(n), '', out)))
      try {
        await blocked
        first.value?.ack()
        let seen = 1
        const acked = async (): Promise<void> => {
          for await (const message of consumer) {
            message.ack()
            if (++seen === count) break
          }
        }
        const isOver = await Promise.race([
          acked().then(() => true),
          sleep(connections === 'shared' ? 2_000 : 60_000, false, { ref: false }),
        ])
        assert.equal(isOver, connections === 'separate')
        if (connections === 'shared') assert.ok(seen <= 200, `${seen} messages came`)
        else assert.equal(protocol.blocked, 'low on memory')
      } finally {
        await node.clearAlarms()
      }
      await publishes
      assert.equal((await protocol.queueDelete(out)).messageCount, 1_000)
      const role = connections === 'separate' ? 'publisher' : 'main'
      assert.deepEqual(events, [
        ['blocked', role],
        ['unblocked', role],
      ])
      if (connections === 'separate') assert.equal((await protocol.queueDelete(queue)).messageCount, 0)
      else await protocol.queueDelete(queue)
    }
  })

  it('keeps close() no longer than its limit, and says what became of each publish', async () => {
    const protocol = await connect(node.url)
    const channel = await protocol.channel({ publisherConfirms: true })
    await channel.queueDeclare('closing')
    const blocked = once(protocol, 'blocked')
    await node.raiseAlarm('memory')
    try {
      const sent = rejection(channel.publish('sent', '', 'closing'), Error)
      await blocked
      const waiting = rejection(channel.publish('waiting', '', 'closing'), Error)
      using watch = new Stopwatch()
      await protocol.close({ timeout: 700 })
      assert.ok(watch.elapsed < 850, `${watch.elapsed} ms`)
      assert.equal(((await sent) as ConnectionLostError).outcome, 'unknown')
      assert.equal(((await waiting) as ConnectionLostError).outcome, 'notSent')
    } finally {
      await node.clearAlarms()
    }
  })
})
