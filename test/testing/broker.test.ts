import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AuthenticationError,
  type BasicProperties,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionFailedError,
  ConnectionLostError,
  type ConnectOptions,
  connect,
  PublishFailedError,
} from '../../src/index.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { rejection } from '../support/rejection.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const steady = { recovery: false } as const

/** Let whatever is under way go on. */
async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(resolve => setImmediate(resolve))
}

/** The two ways to reach a broker. */
const ways: readonly (readonly [string, (broker: Broker) => ConnectOptions])[] = [
  ['over TCP', broker => ({ host: '127.0.0.1', port: broker.port, ...steady })],
  ['in memory', broker => ({ ...broker.inMemory, ...steady })],
]

for (const [way, options] of ways) {
  describe(`A broker in the process, ${way}`, () => {
    it('keeps a message in a queue until somebody takes it', async () => {
      await using broker = await startBroker()
      await using protocol = await connect(options(broker))
      await protocol.queueDeclare('orders', { durable: true })
      await protocol.publish({ id: 7 }, '', 'orders', { headers: { from: 'a test' } })

      assert.deepEqual(
        broker.queue('orders').ready.map(({ body, properties }) => [body.toString(), properties.headers]),
        [['{"id":7}', { from: 'a test' }]],
      )
      await using consumer = await protocol.consumer('orders')
      const { value: message } = await consumer.next()
      assert.deepEqual(message?.json(), { id: 7 })
      assert.equal(broker.queue('orders').unacked.length, 1)
      message?.ack()
      await broker.queue('orders').emptied()
    })

    it('takes a body larger than a frame', async () => {
      await using broker = await startBroker({ frameMax: 8192 })
      await using protocol = await connect(options(broker))
      await protocol.queueDeclare('large', { durable: true })
      const body = Buffer.alloc(300_000, 'abc')
      await protocol.publish(body, '', 'large')
      await using consumer = await protocol.consumer('large')
      const { value: message } = await consumer.next()
      assert.ok(message?.body.equals(body))
      message?.ack()
    })

    it('closes a channel as RabbitMQ does if a queue is missing', async () => {
      await using broker = await startBroker()
      await using protocol = await connect(options(broker))
      await using channel = await protocol.channel()
      await assert.rejects(channel.basicGet('nowhere'), (error: Error) => {
        assert.ok(error instanceof ChannelClosedError)
        assert.equal(error.replyText, "NOT_FOUND - no queue 'nowhere' in vhost '/'")
        return true
      })
    })

    it('refuses a login with a wrong password', async () => {
      await using broker = await startBroker()
      await assert.rejects(connect({ ...options(broker), password: 'wrong' }), AuthenticationError)
      broker.refuseLogins()
      await assert.rejects(connect(options(broker)), AuthenticationError)
      broker.acceptLogins()
      await using protocol = await connect(options(broker))
      assert.equal(protocol.state, 'open')
    })

    it('refuses connections, and takes them again', async () => {
      await using broker = await startBroker()
      broker.refuseConnections()
      await assert.rejects(connect(options(broker)), ConnectionFailedError)
      await broker.acceptConnections()
      await using protocol = await connect(options(broker))
      assert.equal(protocol.state, 'open')
    })

    it('takes no connections while it is stopped, whatever is called', async () => {
      await using broker = await startBroker()
      broker.refuseConnections()
      await broker.stop()
      await broker.acceptConnections()
      await assert.rejects(connect(options(broker)), ConnectionFailedError)
      await broker.start()
      await using _protocol = await connect(options(broker))
    })

    it('is refusing or frozen after a restart if that was called meanwhile, and not if it was before', async () => {
      await using broker = await startBroker()
      broker.refuseConnections()
      broker.freeze()
      await broker.restart()
      await (await connect(options(broker))).close()

      const restarting = broker.restart()
      broker.refuseConnections()
      broker.freeze()
      await restarting
      await assert.rejects(connect(options(broker)), ConnectionFailedError)
      await broker.acceptConnections()
      const connecting = connect(options(broker))
      await turns(20)
      assert.deepEqual(broker.connections, [])
      broker.thaw()
      await (await connecting).close()
    })

    it('sends what it was slow to send before what comes later', async () => {
      await using broker = await startBroker()
      await using protocol = await connect(options(broker))
      await using channel = await protocol.channel()
      broker.slowDown(20)
      const slow = channel.queueDeclare('slow')
      while (!broker.queue('slow').exists) await turns(1)
      broker.slowDown(0)
      const fast = channel.queueDeclare('fast')
      assert.deepEqual([(await slow).queue, (await fast).queue], ['slow', 'fast'])
    })

    it('cuts a connection, which recovers with what it declared', async () => {
      await using broker = await startBroker()
      await using protocol = await connect({ ...options(broker), recovery: true, connectionName: 'cut me' })
      const consumer = await protocol.consumer((await protocol.queueDeclare('work', { durable: true })).queue)
      assert.deepEqual(
        broker.connections.map(({ name }) => name),
        ['cut me'],
      )
      broker.cutConnections('cut me')
      assert.deepEqual(broker.queue('work').consumers, [])
      await broker.queue('work').hasConsumers(1)
      await protocol.publish('after', '', 'work')
      const { value: message } = await consumer.next()
      assert.equal(message?.text(), 'after')
      message?.ack()
    })

    it('resets connections, as RabbitMQ does if it ends one without a word', async () => {
      await using broker = await startBroker()
      const protocol = await connect(options(broker))
      broker.resetConnections()
      const error = await rejection(protocol.waitClosed(), ConnectionLostError)
      assert.equal((error.cause as NodeJS.ErrnoException).code, 'ECONNRESET')
    })

    it('closes connections and channels with a code and a text', async () => {
      await using broker = await startBroker()
      const protocol = await connect(options(broker))
      const channel = await protocol.channel()
      broker.closeChannels({ replyCode: 404, replyText: 'gone' })
      await assert.rejects(channel.queueDeclare('any'), (error: Error) => {
        assert.ok(error instanceof ChannelClosedError)
        assert.equal(error.replyText, 'NOT_FOUND - gone')
        return true
      })
      const open = await protocol.channel()
      broker.closeConnections({ replyText: 'maintenance' })
      await assert.rejects(open.queueDeclare('any'), (error: Error) => {
        assert.ok(error instanceof ConnectionClosedError)
        assert.equal(error.replyCode, 320)
        assert.equal(error.replyText, 'CONNECTION_FORCED - maintenance')
        return true
      })
    })

    it('closes the connections of a user who is deleted, and no others', async () => {
      await using broker = await startBroker()
      broker.setUser('ann', { password: 'secret' })
      const other = await connect(options(broker))
      const protocol = await connect({ ...options(broker), login: 'ann', password: 'secret' })
      broker.deleteUser('ann')
      const { replyCode, replyText } = await rejection(protocol.waitClosed(), ConnectionClosedError)
      assert.deepEqual([replyCode, replyText], [320, "CONNECTION_FORCED - user 'ann' is deleted"])
      await assert.rejects(connect({ ...options(broker), login: 'ann', password: 'secret' }), AuthenticationError)
      assert.equal(other.state, 'open')
      await other.close()
    })

    it('cancels the consumers of a virtual host that is deleted, and then closes its connections', async () => {
      await using broker = await startBroker({ vhosts: ['/old'] })
      const protocol = await connect({ ...options(broker), virtualhost: '/old' })
      const channel = await protocol.channel()
      await channel.queueDeclare('work', { durable: true })
      const seen: string[] = []
      channel.addCancellationCallback((_channel, tag) => seen.push(tag))
      const { consumerTag } = await channel.basicConsume(() => {}, 'work')
      const closed = rejection(protocol.waitClosed(), ConnectionClosedError)
      broker.deleteVirtualHost('/old')
      assert.equal((await closed).replyText, "CONNECTION_FORCED - vhost '/old' is deleted")
      assert.deepEqual(seen, [consumerTag])
    })

    it('refuses publishes, and has none of those messages', async () => {
      await using broker = await startBroker()
      await using protocol = await connect(options(broker))
      await protocol.queueDeclare('orders', { durable: true })
      broker.nackConfirms()
      await assert.rejects(protocol.publish('lost', '', 'orders'), PublishFailedError)
      await protocol.publish('kept', '', 'orders')
      assert.deepEqual(
        broker.queue('orders').ready.map(({ body }) => body.toString()),
        ['kept'],
      )
    })

    it('brings replies to who asked, whatever release it is like', async () => {
      for (const release of ['3.10', '4.3'] as const) {
        await using broker = await startBroker({ release })
        await using protocol = await connect(options(broker))
        await protocol.queueDeclare('questions')
        await protocol.rpcServer('questions', request => `${request.text()} indeed`)
        const client = await protocol.rpcClient()
        assert.equal((await client.call('questions', 'yes')).text(), 'yes indeed', release)
      }
    })

    it('keeps confirms back until they are released', async () => {
      await using broker = await startBroker()
      await using protocol = await connect(options(broker))
      await protocol.queueDeclare('orders', { durable: true })
      broker.withholdConfirms()
      let confirmed = false
      const publishing = protocol.publish('one', '', 'orders').then(() => {
        confirmed = true
      })
      await broker.queue('orders').hasReady(1)
      await protocol.queueDeclare('another', { durable: true })
      assert.equal(confirmed, false)
      broker.releaseConfirms()
      await publishing
    })

    it('blocks who publishes, with a reason', async () => {
      await using broker = await startBroker()
      await using protocol = await connect(options(broker))
      await protocol.queueDeclare('orders', { durable: true })
      broker.block('low on disk')
      const reason = new Promise(resolve => protocol.once('blocked', resolve))
      const publishing = protocol.publish('one', '', 'orders')
      assert.equal(await reason, 'low on disk')
      assert.equal(broker.connections[0]?.isBlocked, true)
      broker.unblock()
      await publishing
    })

    it('freezes and thaws', async () => {
      await using broker = await startBroker()
      await using protocol = await connect(options(broker))
      broker.freeze()
      const declaring = protocol.queueDeclare('late', { durable: true })
      await turns(20)
      assert.equal(broker.queue('late').exists, false)
      broker.thaw()
      await declaring
      assert.equal(broker.queue('late').exists, true)
    })

    it('ends no connection while it is frozen, so that the client misses the heartbeats', async () => {
      const clock = new VirtualClock()
      await using broker = await startBroker({ clock, heartbeat: 1 })
      await using protocol = await connect({ ...options(broker), clock, heartbeat: 1 })
      broker.freeze()
      await clock.advance(1_900)
      assert.equal(broker.connections.length, 1)
      const ended = assert.rejects(protocol.waitClosed(), { code: 'CONNECTION_LOST', reason: 'heartbeat' })
      await clock.advance(200)
      await ended
    })

    it('cancels the consumers of a queue', async () => {
      await using broker = await startBroker()
      await using protocol = await connect(options(broker))
      await using channel = await protocol.channel()
      await channel.queueDeclare('moving', { durable: true })
      const cancelled = new Promise(resolve => channel.addCancellationCallback((_channel, tag) => resolve(tag)))
      const { consumerTag } = await channel.basicConsume(() => {}, 'moving')
      broker.cancelConsumers('moving')
      assert.equal(await cancelled, consumerTag)
      assert.deepEqual(broker.queue('moving').consumers, [])
    })

    it('keeps durable things over a restart, and nothing else', async () => {
      await using broker = await startBroker()
      await using protocol = await connect({ ...options(broker), recovery: false })
      await using channel = await protocol.channel()
      await channel.queueDeclare('kept', { durable: true })
      await channel.queueDeclare('gone', { durable: false })
      await protocol.publish('written', '', 'kept')
      await protocol.publish('in memory', '', 'kept', { deliveryMode: 1 })
      await broker.restart()
      assert.equal(broker.queue('gone').exists, false)
      assert.deepEqual(
        broker.queue('kept').ready.map(({ body }) => body.toString()),
        ['written'],
      )
    })

    it('loses by a kill what it has not confirmed', async () => {
      await using broker = await startBroker()
      await using protocol = await connect({ ...options(broker), recovery: false })
      await protocol.queueDeclare('orders', { durable: true })
      await protocol.publish('confirmed', '', 'orders')
      broker.withholdConfirms()
      const lost = assert.rejects(protocol.publish('not confirmed', '', 'orders'))
      await broker.queue('orders').hasReady(2)
      const end = rejection(protocol.waitClosed(), ConnectionLostError)
      await broker.kill()
      await lost
      assert.equal(((await end).cause as NodeJS.ErrnoException).code, 'ECONNRESET')
      await broker.start()
      assert.deepEqual(
        broker.queue('orders').ready.map(({ body }) => body.toString()),
        ['confirmed'],
      )
    })
  })
}

describe('Brokers in one process', () => {
  it('do not know of each other', async () => {
    await using one = await startBroker()
    await using other = await startBroker()
    await using protocol = await connect(one.inMemory)
    await protocol.queueDeclare('mine', { durable: true })
    assert.equal(one.queue('mine').exists, true)
    assert.equal(other.queue('mine').exists, false)
    assert.notEqual(one.port, other.port)
  })

  it('say what they saw if something does not come true in time', async () => {
    await using broker = await startBroker()
    await assert.rejects(
      broker
        .queue('nowhere')
        .deleted({ timeout: 1 })
        .then(() => broker.hasConnections(1, { timeout: 1 })),
      {
        code: 'TIMEOUT_ERR',
        message: 'timed out after 1 ms, waiting until the broker has 1 or more connections: it has 0',
      },
    )
  })
})

describe('A wait that times out', () => {
  it('shows the line of the test', async () => {
    await using broker = await startBroker()
    const waits: Record<string, () => Promise<void>> = {
      emptied: async () => await broker.queue('q').emptied({ timeout: 1 }),
      hasReady: async () => await broker.queue('q').hasReady(1, { timeout: 1 }),
      hasPublished: async () => await broker.hasPublished(1, { timeout: 1 }),
    }
    for (const [name, wait] of Object.entries(waits)) {
      await assert.rejects(wait, ({ stack }: Error) => /\n\s+at [^\n]*broker\.test/.test(stack ?? ''), name)
    }
  })
})

describe('What a broker in the process remembers', () => {
  it('is a copy: a program that changes it changes no message', async () => {
    await using broker = await startBroker()
    await using protocol = await connect(broker.inMemory)
    await protocol.queueDeclare('q', { arguments: { 'x-queue-type': 'quorum' }, durable: true })
    await protocol.publish('1', '', 'q', { headers: { from: 'a client' } })
    const channel = await protocol.channel()
    const change = ({ properties }: { readonly properties: BasicProperties }) => {
      assert.ok(properties.headers)
      properties.headers['from'] = 'a test'
    }
    for (const message of broker.published) change(message)
    for (const returned of [false, true]) {
      for (const message of broker.queue('q').ready) change(message)
      const message = await channel.basicGet('q')
      assert.equal(message?.properties.headers?.['from'], 'a client', `returned: ${returned}`)
      await channel.basicReject(message?.envelope.deliveryTag ?? 0, { requeue: true })
      await broker.queue('q').hasReady(1)
    }
  })

  it('are as many in a stream as it has, whatever was read of it', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, ...steady })
    await protocol.queueDeclare('log', { arguments: { 'x-queue-type': 'stream' }, durable: true })
    const two = broker.queue('log').hasReady(2)
    for (const body of ['1', '2']) await protocol.publish(body, '', 'log')
    await two
    await broker.queue('log').emptied()
    const more = broker.queue('log').hasReady(3, { timeout: 1 })
    await assert.rejects(more, /has 3 or more ready messages: it has 2 ready/)
  })

  it('is the newest of the messages that were published, and how many there were', async () => {
    await using broker = await startBroker({ publishedLimit: 4 })
    await using protocol = await connect({ ...broker.inMemory, ...steady })
    await protocol.queueDeclare('q')
    const bodies = () => broker.published.map(({ body }) => body.toString())
    for (const body of ['1', '2', '3', '4', '5']) await protocol.publish(body, '', 'q')
    assert.deepEqual(bodies(), ['2', '3', '4', '5'])
    for (const body of ['6', '7', '8', '9']) await protocol.publish(body, '', 'q')
    await broker.hasPublished(9)
    assert.deepEqual(bodies(), ['6', '7', '8', '9'])
  })
})
