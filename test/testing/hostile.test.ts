import assert from 'node:assert/strict'
import { createServer, type Server } from 'node:net'
import { describe, it } from 'node:test'
import { EncodeError } from '../../src/errors.ts'
import { connect } from '../../src/index.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const steady = { recovery: false } as const

function refusal(pattern: RegExp): (error: unknown) => boolean {
  return error => error instanceof EncodeError && pattern.test(error.message)
}

function listening(server: Server): Promise<number> {
  return new Promise(resolve => {
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      resolve(typeof address === 'object' && address !== null ? address.port : 0)
    })
  })
}

describe('A verb of a broker for tests', () => {
  const refused: readonly (readonly [string, (broker: Broker) => unknown, RegExp])[] = [
    [
      'slowDown(NaN)',
      broker => broker.slowDown(Number.NaN),
      /slowDown: "milliseconds" must be a number of milliseconds/,
    ],
    ['slowDown(-1)', broker => broker.slowDown(-1), /"milliseconds" must be/],
    ['slowDown("5")', broker => broker.slowDown('5' as never), /"milliseconds" must be/],
    [
      'nackConfirms(-1)',
      broker => broker.nackConfirms(-1),
      /nackConfirms: "count" must be an integer of 0 or more, not -1/,
    ],
    ['nackConfirms(1.5)', broker => broker.nackConfirms(1.5), /"count" must be an integer/],
    ['nackConfirms(NaN)', broker => broker.nackConfirms(Number.NaN), /"count" must be an integer/],
    ['block({})', broker => broker.block({ replyText: 'x' } as never), /block: "reason" must be a string/],
    ['block(long)', broker => broker.block('x'.repeat(256)), /block: "reason" has 256 bytes; AMQP allows 255/],
    ['addVirtualHost(5)', broker => broker.addVirtualHost(5 as never), /"name" must be a string/],
    [
      'setUser(permissions)',
      broker => broker.setUser('me', { password: 'x', permissions: { '/': { read: '(' } } }),
      /setUser "me", "\/": "read" must be a regular expression, not "\("/,
    ],
    [
      'setUser(misspelt permissions)',
      broker => broker.setUser('me', { password: 'x', permissions: { '/': { raed: '' } as never } }),
      /did you mean "read"/,
    ],
  ]
  for (const [name, call, pattern] of refused) {
    it(`refuses ${name}`, async () => {
      await using broker = await startBroker()
      assert.throws(() => call(broker), refusal(pattern))
    })
  }

  it('that waits refuses a bad count', async () => {
    await using broker = await startBroker()
    const queue = broker.queue('q')
    for (const count of [-1, 0.5, Number.NaN, '1' as never, undefined as never]) {
      for (const wait of [
        () => broker.hasConnections(count),
        () => broker.hasPublished(count),
        () => queue.hasReady(count),
        () => queue.hasUnacked(count),
        () => queue.hasConsumers(count),
      ]) {
        await assert.rejects(wait(), refusal(/"count" must be an integer of 0 or more/))
      }
    }
  })

  it('names the queues that there are if it is asked for another', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, ...steady })
    assert.throws(() => broker.queue('q').ready, /^Error: there is no queue "q" in virtual host "\/"; there is none$/)
    await protocol.queueDeclare('orders')
    await protocol.queueDeclare('bills')
    const missing = /^Error: there is no queue "ordres" in virtual host "\/"; there are "orders", "bills"$/
    const typo = broker.queue('ordres')
    for (const read of [
      () => typo.ready,
      () => typo.unacked,
      () => typo.consumers,
      () => typo.arguments,
      () => typo.durable,
      () => broker.cancelConsumers('ordres'),
    ]) {
      assert.throws(read, missing)
    }
    assert.deepEqual([typo.exists, typo.type], [false, undefined])
    assert.throws(() => broker.exchange('nowhere').bindings, /there is no exchange "nowhere"/)
    assert.throws(() => broker.deleteVirtualHost('nowhere'), /there is no virtual host "nowhere"/)
    assert.throws(() => broker.deleteUser('nobody'), /there is no user "nobody"/)
  })
})

describe('startBroker', () => {
  for (const [options, pattern] of [
    [{ tls: true }, /startBroker: "tls" must be an object with a key and a certificate, not true/],
    [{ frameMax: 100 }, /"frameMax" must be an integer from 8192/],
    [{ users: { me: { password: 'x', permissions: 5 } } }, /"permissions" must be an object/],
  ] as const) {
    it(`refuses ${JSON.stringify(options)}`, async () => {
      await assert.rejects(startBroker(options as never), refusal(pattern))
    })
  }

  it('leaves nothing behind if its port is taken', async () => {
    const server = createServer()
    const port = await listening(server)
    await assert.rejects(startBroker({ port }), { code: 'EADDRINUSE' })
    await assert.rejects(startBroker({ tls: { key: 'no key', cert: 'no certificate' } }))
    server.close()
    await using broker = await startBroker({ port })
    assert.equal(broker.port, port)
  })

  it('is reached by its URL on a host of IPv6', async () => {
    await using broker = await startBroker({ host: '::1' })
    assert.equal(broker.url, `amqp://guest:guest@[::1]:${broker.port}`)
    await using protocol = await connect(broker.url)
    assert.equal(protocol.state, 'open')
    await using everywhere = await startBroker({ host: '::' })
    assert.equal(everywhere.url, `amqp://guest:guest@127.0.0.1:${everywhere.port}`)
  })
})

describe('A broker for tests that is disposed of', () => {
  it('rejects what waits for it, and what would wait', async () => {
    const broker = await startBroker()
    const waiting = [
      broker.hasConnections(1),
      broker.queue('q').emptied(),
      broker.queue('q').hasReady(1, { timeout: Number.POSITIVE_INFINITY }),
    ]
    const ends = Promise.all(
      waiting.map(wait => assert.rejects(wait, /^Error: the broker was disposed of before .*: (it has 0|there is no)/)),
    )
    await broker[Symbol.asyncDispose]()
    await ends
    await assert.rejects(broker.hasPublished(1), /was disposed of before 1 or more messages are published/)
    await broker.queue('q').deleted()
  })

  it('rejects who waits for a queue to be empty that is not', async () => {
    const broker = await startBroker()
    const protocol = await connect({ ...broker.inMemory, recovery: false, onError: () => {} })
    await protocol.queueDeclare('full')
    await protocol.publish('there', '', 'full')
    const emptied = assert.rejects(
      broker.queue('full').emptied(),
      /disposed of before queue "full" is empty: it has 1 ready/,
    )
    await broker[Symbol.asyncDispose]()
    await emptied
  })

  it('does not start again', async () => {
    const broker = await startBroker()
    await broker[Symbol.asyncDispose]()
    await assert.rejects(broker.start(), /^Error: this broker has been disposed of: start another one$/)
    await assert.rejects(broker.restart(), /has been disposed of/)
    await broker.stop()
    await broker.acceptConnections()
    await assert.rejects(connect({ ...broker.inMemory, ...steady }), /ECONNREFUSED/)
    await broker[Symbol.asyncDispose]()
  })

  it('does not listen, also if it was about to', async () => {
    for (const change of [
      (broker: Broker) => broker[Symbol.asyncDispose](),
      (broker: Broker) => broker.stop(),
      async (broker: Broker) => broker.refuseConnections(),
    ]) {
      const broker = await startBroker()
      await broker.stop()
      const started = broker.start()
      await Promise.all([change(broker), started])
      await assert.rejects(connect({ host: '127.0.0.1', port: broker.port, ...steady }))
      await broker[Symbol.asyncDispose]()
    }
  })

  it('has no timer left, whatever went on', async () => {
    const clock = new VirtualClock()
    const broker = await startBroker({ clock, vhosts: ['other'] })
    const here = await connect({ ...broker.inMemory, ...steady, heartbeat: 0 })
    const there = await connect({ ...broker.inMemory, ...steady, heartbeat: 0, virtualhost: 'other' })
    for (const protocol of [here, there]) {
      const types = {
        'x-queue-type': 'quorum',
        'x-consumer-timeout': 60_000,
        'x-message-ttl': 60_000,
        'x-expires': 60_000,
      }
      await protocol.queueDeclare('q', { durable: true, arguments: types })
      await protocol.publish('1', '', 'q')
      const channel = await protocol.channel()
      await channel.basicConsume(() => {}, 'q')
    }
    await broker.queue('q', 'other').hasUnacked(1)
    broker.deleteVirtualHost('other')
    assert.deepEqual(broker.vhostNames, ['/'])
    broker.slowDown(1000)
    const closing = here.close()
    await broker[Symbol.asyncDispose]()
    await Promise.allSettled([closing, there.close()])
    assert.equal(clock.pending, 0)
  })
})

describe('A client that goes while the broker does not read', () => {
  for (const [what, begin, end] of [
    ['frozen', (broker: Broker) => broker.freeze(), (broker: Broker) => broker.thaw()],
    ['blocked', (broker: Broker) => broker.block(), (broker: Broker) => broker.unblock()],
  ] as const) {
    for (const way of ['url', 'inMemory'] as const) {
      it(`has published what it sent before it went, by ${way} to a ${what} broker`, async () => {
        await using broker = await startBroker()
        const options = { ...steady, onError: () => {} }
        const protocol = await (way === 'url'
          ? connect(broker.url, options)
          : connect({ ...broker.inMemory, ...options }))
        await protocol.queueDeclare('q', { durable: true })
        const channel = await protocol.channel()
        begin(broker)
        for (const body of ['1', '2', '3']) void channel.basicPublish(body, '', 'q')
        await protocol.close({ timeout: 50 }).catch(() => {})
        assert.deepEqual(broker.queue('q').ready, [])
        end(broker)
        await broker.queue('q').hasReady(3)
        assert.equal(
          broker
            .queue('q')
            .ready.map(({ body }) => body)
            .join(),
          '1,2,3',
        )
      })
    }
  }
})

describe('A wait for an empty queue', () => {
  it('waits for the queue', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, ...steady })
    const waiting = broker.queue('late').emptied()
    await assert.rejects(broker.queue('late').emptied({ timeout: 1 }), /: there is no such queue$/)
    await protocol.queueDeclare('late')
    await waiting
  })

  it('rejects when the queue goes with messages in it, ready or not, and not if its last one was acknowledged', async () => {
    await using broker = await startBroker()
    await using protocol = await connect({ ...broker.inMemory, ...steady, onError: () => {} })
    const full: readonly [string, string][] = [
      ['ready', 'classic'],
      ['unacked', 'classic'],
      ['unacked', 'quorum'],
      ['unacked', 'stream'],
    ]
    for (const [state, type] of full) {
      const queue = broker.queue(`${state} ${type}`)
      await protocol.queueDeclare(queue.name, { arguments: { 'x-queue-type': type } })
      await protocol.publish('1', '', queue.name)
      await protocol.publish('2', '', queue.name)
      if (state === 'unacked')
        await protocol.consumer(queue.name, () => new Promise(() => {}), {
          arguments: type === 'stream' ? { 'x-stream-offset': 'first' } : {},
        })
      if (state === 'unacked') await queue.hasUnacked(2)
      const gone = assert.rejects(queue.emptied(), {
        message: `queue "${queue.name}" is gone before it was empty, with 2 messages`,
      })
      await protocol.queueDelete(queue.name)
      await gone
    }

    const { queue: passing } = await protocol.queueDeclare('passing', { durable: false, autoDelete: true })
    const channel = await protocol.channel()
    await protocol.publish('1', '', passing)
    const { consumerTag } = await channel.basicConsume(() => {}, passing)
    await broker.queue(passing).hasUnacked(1)
    const emptied = broker.queue(passing).emptied()
    void channel.basicClientAck(1)
    void channel.basicCancel(consumerTag)
    await emptied
    await broker.queue(passing).deleted()
  })
})
