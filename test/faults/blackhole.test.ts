import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import { ConnectionLostError, connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { openFaultProxy } from '../support/fault-proxy.ts'
import { Leftovers } from '../support/leftovers.ts'
import { withVhost } from '../support/management.ts'
import { Program } from '../support/program.ts'
import { rejection } from '../support/rejection.ts'
import { resetSocket } from '../support/sockets.ts'
import { Stopwatch } from '../support/stopwatch.ts'
import { openRecovering } from './recovering.ts'

const vhost = await withVhost()
const bareClient = new URL('programs/bare-client.js', import.meta.url)

describe('a network that swallows everything', { timeout: 60_000, concurrency: true }, () => {
  for (const direction of [undefined, 'toClient'] as const) {
    it(`is noticed within two heartbeat intervals and half a second (${direction ?? 'both ways'})`, async () => {
      await using to = await openRecovering(vhost.url, { heartbeat: 1 })
      const channel = await to.protocol.channel({ publisherConfirms: true })
      await sleep(1_000)
      to.proxy.blackhole(direction)
      using watch = new Stopwatch()
      const started = performance.now()
      const publish = rejection(channel.publish('x', '', 'nowhere'), ConnectionLostError)
      const [error] = (await once(to.protocol, 'disconnected')) as [ConnectionLostError]
      const took = performance.now() - started
      assert.ok(took > 1_000 && watch.elapsed < 2_500, `${took} ms`)
      assert.equal(error.reason, 'heartbeat')
      assert.equal((await publish).outcome, 'unknown')
      await to.heal()
      await channel.publish('y', '', 'nowhere')
    })
  }

  it('is noticed within four heartbeat intervals and half a second while a slow consumer keeps reading paused', async () => {
    await using to = await openRecovering(vhost.url, { heartbeat: 1, maxBuffered: 10_000 })
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const { queue } = await channel.queueDeclare()
    const bodies = Array.from({ length: 20 }, (_, n) => `${n}`.padEnd(1_000))
    await Promise.all(bodies.map(body => channel.publish(body, '', queue)))
    const slow: (() => void)[] = []
    await channel.basicConsume(() => new Promise<void>(resolve => slow.push(resolve)), queue, { concurrency: 1 })
    await sleep(5_000)
    assert.deepEqual(to.events, [], 'a server that lives is not taken for dead')
    assert.equal(slow.length, 1)
    to.proxy.blackhole()
    using watch = new Stopwatch()
    const started = performance.now()
    const [error] = (await once(to.protocol, 'disconnected')) as [ConnectionLostError]
    const took = performance.now() - started
    assert.ok(took > 1_000 && watch.elapsed < 4_500, `${took} ms`)
    assert.equal(error.reason, 'heartbeat')
    await to.heal()
    for (const end of slow) end()
  })

  it('is noticed by the server if only it hears nothing', async () => {
    await using to = await openRecovering(vhost.url, { heartbeat: 1 })
    to.proxy.blackhole('toServer')
    await once(to.protocol, 'disconnected')
    await to.heal()
  })

  it('delivers when it heals in time, with nothing lost', async () => {
    await using to = await openRecovering(vhost.url, { heartbeat: 2 })
    const channel = await to.protocol.channel({ publisherConfirms: true })
    to.proxy.blackhole()
    const publishes = Array.from({ length: 100 }, (_, n) => channel.publish(String(n), '', 'nowhere'))
    await sleep(2_500)
    await to.proxy.heal()
    await Promise.all(publishes)
    assert.deepEqual(to.events, [])
  })

  it('reports the reset that came meanwhile when it heals', async () => {
    await using to = await openRecovering(vhost.url, { heartbeat: 30 })
    to.proxy.blackhole()
    resetSocket(to.proxy.last.server)
    await sleep(300)
    assert.deepEqual(to.events, [])
    await to.recoveredAfter(() => to.proxy.heal())
  })
})

describe('close() when nothing passes', { timeout: 60_000 }, () => {
  it('takes no longer than its limit, rejects what was pending, and leaves nothing behind', async () => {
    using leftovers = new Leftovers()
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const { queue } = await channel.queueDeclare()
    await channel.basicConsume(() => {}, queue)
    to.proxy.blackhole()
    const publish = rejection(channel.publish('x', '', queue), Error)
    const declare = rejection(channel.queueDeclare(), Error)
    using watch = new Stopwatch()
    await to.protocol.close({ timeout: 600 })
    assert.ok(watch.elapsed < 750, `${watch.elapsed} ms`)
    watch[Symbol.dispose]()
    await Promise.all([publish, declare])
    assert.deepEqual(to.seen('recovering'), [])
    assert.deepEqual(await leftovers.rest(), [])
  })
})

describe('a process whose connection fails', { timeout: 60_000, concurrency: true }, () => {
  it('does not crash on a reset without any listener, and ends by itself with recovery: false', async () => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await using program = new Program(bareClient, [proxy.url(vhost.url), 'lost'])
    await program.line('ready')
    proxy.reset()
    assert.equal(await program.line('left'), 'closed')
    const exit = await program.exited
    assert.equal(exit.code, 0, exit.errors)
  })

  it('does not crash on a reset without any listener, and goes on', async () => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await using program = new Program(bareClient, [proxy.url(vhost.url), 'recovers'])
    await program.line('ready')
    proxy.reset()
    await program.line('published')
    const exit = await program.exited
    assert.equal(exit.code, 0, exit.errors)
  })

  it('closes within its limit in a blackhole, and ends by itself at most a second later', async () => {
    await using proxy = await openFaultProxy(broker.host, broker.port)
    await using program = new Program(bareClient, [proxy.url(vhost.url), 'close'])
    await program.line('ready')
    proxy.blackhole()
    const [took, outcomes] = (await program.line('closed')).split(' ')
    const closedAt = performance.now()
    assert.ok(Number(took) < 1_150, `${took} ms`)
    assert.equal(outcomes, 'unknown')
    const exit = await program.exited
    assert.equal(exit.code, 0, exit.errors)
    assert.ok(exit.at - closedAt < 1_200, `${exit.at - closedAt} ms`)
  })
})

describe('a process that is busy', { timeout: 60_000 }, () => {
  it('for 5 s does not take its own absence for the death of the server', async () => {
    const worker = new Worker(new URL('programs/heartbeat-peer.js', import.meta.url))
    try {
      const [port] = (await once(worker, 'message')) as [number]
      await using protocol = await connect(`amqp://127.0.0.1:${port}`, { heartbeat: 1 })
      const lost: Error[] = []
      protocol.on('disconnected', error => lost.push(error))
      await sleep(500)
      for (const end = performance.now() + 5_000; performance.now() < end; ) Math.sqrt(end)
      await sleep(1_500)
      assert.deepEqual(lost, [])
      assert.equal(protocol.state, 'open')
    } finally {
      await worker.terminate()
    }
  })
})
