import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AbortError, ChannelClosedError, DuplicateConsumerTagError, TimeoutError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import {
  bodyFrame,
  contentFrames,
  converseOnChannel,
  deliverFrame,
  delivery,
  FakeBroker,
  headerFrame,
  heartbeatFrame,
  methodFrame,
  startConsumer,
} from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn, within } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const DECLARED = { queue: 'q', messageCount: 0, consumerCount: 0 }
const GET_OK = { deliveryTag: 1, redelivered: false, exchangeName: '', routingKey: 'q', messageCount: 0 }

describe('replies', () => {
  it('of consume come after those of later methods, as RabbitMQ sends them', async () => {
    const { peer, channel } = await converseOnChannel()
    const order: string[] = []
    const note = (name: string) => () => order.push(name)
    const all = [
      channel.basicConsume(() => {}, 'q', { consumerTag: 'c' }).then(note('consume')),
      channel.queueDeclare('q').then(note('declare')),
      channel.basicQos({ prefetchCount: 5 }).then(note('qos')),
      channel.basicGet('q').then(note('get')),
    ]
    assert.deepEqual(await peer.took(4), ['1 basic.consume', '1 queue.declare', '1 basic.qos', '1 basic.get'])
    peer.send(
      methodFrame(1, methods.QueueDeclareOk, DECLARED),
      methodFrame(1, methods.BasicQosOk, {}),
      methodFrame(1, methods.BasicGetEmpty, {}),
      methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }),
    )
    await Promise.all(all)
    assert.deepEqual(order.sort(), ['consume', 'declare', 'get', 'qos'])
  })

  it('of consume and cancel are matched by consumer tag', async () => {
    const { peer, channel } = await converseOnChannel()
    const started = ['a', 'b', 'c'].map(consumerTag => follow(channel.basicConsume(() => {}, 'q', { consumerTag })))
    await peer.took(3)
    peer.send(
      methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }),
      methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'a' }),
    )
    await turn()
    assert.deepEqual(
      started.map(({ state }) => state),
      ['resolved', 'pending', 'resolved'],
    )
    const cancelled = ['a', 'c'].map(tag => follow(channel.basicCancel(tag)))
    await peer.took(2)
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await turn()
    assert.deepEqual(
      cancelled.map(({ state }) => state),
      ['pending', 'resolved'],
    )
  })

  it('to a cancel are asked for only once the consume-ok of its tag has come', async () => {
    const { peer, channel } = await converseOnChannel()
    const consuming = channel.basicConsume(() => {}, 'q', { consumerTag: 'c' })
    const cancelling = channel.basicCancel('c')
    const qos = channel.basicQos()
    assert.deepEqual(await peer.took(2), ['1 basic.consume', '1 basic.qos'])
    await turn()
    assert.equal(peer.names.length, 3)
    peer.send(methodFrame(1, methods.BasicQosOk, {}), methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }))
    await consuming
    await qos
    await peer.expect(methods.BasicCancel)
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await cancelling
  })

  it('that come late to an aborted call are absorbed', async () => {
    const { peer, channel } = await converseOnChannel()
    const abort = new AbortController()
    const aborted = follow(channel.queueDeclare('q', { signal: abort.signal }))
    const next = channel.queueDeclare('r')
    await peer.took(2)
    abort.abort(new Error('no longer wanted'))
    await turn()
    assert.ok(aborted.error instanceof AbortError)
    assert.equal(aborted.error.message, 'queue.declare of "q" was aborted')
    assert.equal(aborted.error.code, 'ABORT_ERR')
    assert.equal((aborted.error.cause as Error).message, 'no longer wanted')
    peer.reply(1, methods.QueueDeclareOk, { ...DECLARED, queue: 'q' })
    peer.reply(1, methods.QueueDeclareOk, { ...DECLARED, queue: 'r' })
    assert.equal((await next).queue, 'r')
    assert.equal(channel.isOpen, true)
  })

  it('to a consume that was aborted are answered with basic.cancel, and its deliveries given back', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    const abort = new AbortController()
    const aborted = follow(
      channel.basicConsume(() => assert.fail('a callback'), 'q', { consumerTag: 'c', signal: abort.signal }),
    )
    await peer.expect(methods.BasicConsume)
    abort.abort()
    await turn()
    assert.ok(aborted.error instanceof AbortError)
    peer.send(methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }), delivery(1, 'c', 1, 'x'))
    const frames = [await peer.receive(), await peer.receive()]
    assert.deepEqual(frames.map(({ name }) => name).sort(), ['1 basic.cancel', '1 basic.nack'])
    const nack = frames.find(({ name }) => name === '1 basic.nack')
    assert.deepEqual(nack?.args, { deliveryTag: 1, multiple: false, requeue: true })
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await turn()
    assert.equal(channel.isOpen, true)
    assert.deepEqual(errors, [])
  })

  it('to a get that was aborted give the message back', async () => {
    const { peer, channel } = await converseOnChannel()
    const abort = new AbortController()
    const aborted = follow(channel.basicGet('q', { signal: abort.signal }))
    await peer.expect(methods.BasicGet)
    abort.abort()
    await turn()
    assert.ok(aborted.error instanceof AbortError)
    peer.send(methodFrame(1, methods.BasicGetOk, GET_OK), contentFrames(1, 'x'))
    assert.deepEqual((await peer.expect(methods.BasicNack)).args, { deliveryTag: 1, multiple: false, requeue: true })
  })

  it('to a channel.open that was aborted close the channel', async () => {
    const { peer, protocol } = await converseOnChannel()
    peer.answers.delete(methods.ChannelOpen.name)
    peer.answers.delete(methods.ChannelClose.name)
    const abort = new AbortController()
    const aborted = follow(protocol.channel({ signal: abort.signal }))
    await peer.expect(methods.ChannelOpen)
    abort.abort()
    await turn()
    assert.ok(aborted.error instanceof AbortError)
    peer.reply(2, methods.ChannelOpenOk, {})
    await peer.expect(methods.ChannelClose)
    assert.equal(protocol.channelsIdsCount, 2)
    peer.reply(2, methods.ChannelCloseOk, {})
    await turn()
    assert.equal(protocol.channelsIdsCount, 1)
  })

  it('that are not there within the timeout close the channel, and the error says so', async () => {
    const { peer, channel } = await converseOnChannel()
    const other = follow(channel.basicQos())
    const timed = rejection(channel.queueDeclare('q', { timeout: 20 }), TimeoutError)
    const error = await within(1000, 'the timeout', timed)
    assert.equal(
      error.message,
      'queue.declare of "q" was not answered by localhost:5672 within 20 ms; its channel is closed, since its outcome at the server is unknown',
    )
    assert.equal(error.code, 'TIMEOUT_ERR')
    await turn()
    assert.ok(other.error instanceof ChannelClosedError)
    assert.match(
      other.error.message,
      /^basic\.qos failed: channel 1 is closed: it was closed because queue\.declare of "q" was not answered/,
    )
    assert.equal(other.error.cause, error)
    assert.equal(peer.names.at(-1), '1 channel.close')
    assert.equal(channel.isOpen, false)
    const closed = await rejection(channel.waitClosed(), ChannelClosedError)
    assert.equal(closed.cause, error)
  })

  it('that come to a channel which a timeout closed are absorbed, contents too', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    peer.answers.delete(methods.ChannelClose.name)
    const pending = [
      follow<unknown>(channel.basicGet('q')),
      follow<unknown>(channel.queueDeclare('q')),
      follow<unknown>(channel.basicConsume(() => assert.fail('a callback'), 'q', { consumerTag: 'c' })),
    ]
    await within(1000, 'the timeout', rejection(channel.basicQos({ timeout: 20 }), TimeoutError))
    await turn()
    assert.ok(pending.every(({ error }) => error instanceof ChannelClosedError))
    peer.send(
      methodFrame(1, methods.BasicGetOk, GET_OK),
      contentFrames(1, 'x'),
      methodFrame(1, methods.QueueDeclareOk, DECLARED),
      methodFrame(1, methods.BasicQosOk, {}),
      methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }),
      delivery(1, 'c', 1, 'x'),
      methodFrame(1, methods.ChannelCloseOk, {}),
    )
    await turn()
    assert.equal(protocol.state, 'open')
    assert.equal(peer.names.at(-1), '1 channel.close')
  })

  it('to update-secret that are not there in time reject it, and harm nothing', async () => {
    const { peer, protocol } = await converseOnChannel({ rpcTimeout: 20 })
    const timed = rejection(protocol.updateSecret('new', 'expiry'), TimeoutError)
    const error = await within(1000, 'the timeout', timed)
    assert.equal(
      error.message,
      'connection.update-secret was not answered by localhost:5672 within 20 ms; its outcome at the server is unknown',
    )
    peer.reply(0, methods.ConnectionUpdateSecretOk, {})
    await turn()
    assert.equal(protocol.state, 'open')
  })

  it('are waited for by rpcTimeout, which runs for the oldest call only', async () => {
    const clock = new VirtualClock()
    const { peer, channel } = await converseOnChannel({ rpcTimeout: 60, clock })
    const first = channel.queueDeclare('a')
    const second = follow(channel.queueDeclare('b'))
    await peer.took(2)
    await clock.advance(40)
    peer.reply(1, methods.QueueDeclareOk, DECLARED)
    await first
    await clock.advance(59)
    // 99 ms after its call, and 59 after it became the oldest.
    assert.equal(second.state, 'pending')
    await clock.advance(1)
    assert.ok(second.error instanceof TimeoutError)
    assert.match(second.error.message, /^queue\.declare of "b" was not answered by localhost:5672 within 60 ms/)
  })

  it('are waited for without rpcTimeout while the broker blocks', async () => {
    const clock = new VirtualClock()
    const { peer, channel } = await converseOnChannel({ rpcTimeout: 30, clock })
    peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    const declared = follow(channel.queueDeclare('a'))
    await clock.advance(60)
    assert.equal(declared.state, 'pending')
    peer.reply(0, methods.ConnectionUnblocked, {})
    await clock.advance(29)
    assert.equal(declared.state, 'pending')
    await clock.advance(1)
    assert.ok(declared.error instanceof TimeoutError)
  })

  it('settle in the order of the calls whose replies are alike', async () => {
    const { peer, channel } = await converseOnChannel()
    const results = [channel.basicGet('a'), channel.basicGet('b'), channel.basicGet('c')]
    await peer.took(3)
    peer.send(
      methodFrame(1, methods.BasicGetEmpty, {}),
      methodFrame(1, methods.BasicGetOk, { ...GET_OK, messageCount: 7 }),
      contentFrames(1, 'hello', { contentType: 'text/plain' }),
      methodFrame(1, methods.BasicGetEmpty, {}),
    )
    const [a, b, c] = await Promise.all(results)
    assert.deepEqual([a, c], [null, null])
    assert.equal(String(b?.body), 'hello')
    assert.equal(b?.messageCount, 7)
    assert.equal(b?.properties.contentType, 'text/plain')
    assert.deepEqual(b?.envelope, { deliveryTag: 1, exchangeName: '', routingKey: 'q', isRedeliver: false })
  })

  it('with noWait are none: the method is on the wire when the promise resolves', async () => {
    const { peer, channel } = await converseOnChannel()
    assert.equal(await channel.queueDeclare('q', { noWait: true }), undefined)
    await channel.queueBind('q', 'amq.fanout', '', { noWait: true })
    await channel.basicConsume(() => {}, 'q', { consumerTag: 'c', noWait: true })
    const frames = await Promise.all([1, 2, 3].map(() => peer.receive()))
    assert.ok(frames.every(({ args }) => args['noWait'] === true))
  })
})

describe('basic.qos for the whole channel', () => {
  async function warnings(serverProperties: Record<string, string>): Promise<string[]> {
    const broker = new FakeBroker()
    broker.prepare = peer => {
      const start = methodFrame(0, methods.ConnectionStart, { serverProperties, mechanisms: 'PLAIN' })
      peer.answers.set('protocol header', () => start)
      peer.answers.set(methods.BasicQos.name, ({ channel }) => methodFrame(channel, methods.BasicQosOk, {}))
    }
    const warned: string[] = []
    const logger = { debug: ignore, info: ignore, warn: (text: string) => warned.push(text), error: ignore }
    const { protocol, channel, errors } = await converseOnChannel({ logger, heartbeat: 60 }, broker)
    await channel.basicQos({ prefetchCount: 1 })
    assert.deepEqual(warned, [])
    await channel.basicQos({ prefetchCount: 1, connectionGlobal: true })
    await (await protocol.channel()).basicQos({ prefetchCount: 1, connectionGlobal: true })
    assert.deepEqual(errors, [])
    await protocol.close()
    return warned
  }

  for (const version of ['4.3.0', '4.12.1', '5.0.0-rc.1']) {
    it(`warns the logger once on RabbitMQ ${version}, which limits each consumer instead`, async () => {
      const [warning = '', ...more] = await warnings({ product: 'RabbitMQ', version })
      assert.match(
        warning,
        /\] basic\.qos with connectionGlobal: true limits each consumer, and not the channel, on RabbitMQ/,
      )
      assert.ok(warning.includes(version))
      assert.deepEqual(more, [])
    })
  }

  for (const properties of [
    { product: 'RabbitMQ', version: '4.2.9' },
    { product: 'RabbitMQ', version: '3.10.8' },
    { product: 'RabbitMQ' },
    { product: 'other', version: '7.0' },
  ]) {
    it(`does not warn with ${JSON.stringify(properties)}`, async () => {
      assert.deepEqual(await warnings(properties), [])
    })
  }
})

describe('a consumer', () => {
  it('is not called before basicConsume has resolved, though its deliveries came with the consume-ok', async () => {
    const { peer, channel } = await converseOnChannel()
    const order: string[] = []
    const consume = async (): Promise<void> => {
      await channel.basicConsume((_channel, body) => order.push(String(body)), 'q', { consumerTag: 'c' })
    }
    const wrapped = async (): Promise<void> => {
      await consume()
      order.push('resolved')
    }
    const done = wrapped()
    await peer.expect(methods.BasicConsume)
    peer.send(
      methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }),
      delivery(1, 'c', 1, 'a'),
      delivery(1, 'c', 2, 'b'),
    )
    await done
    await turn()
    assert.deepEqual(order, ['resolved', 'a', 'b'])
  })

  it('may await any method of its own channel and of others', async () => {
    const { peer, channel, protocol, errors } = await converseOnChannel()
    const other = await protocol.channel()
    const done: string[] = []
    await startConsumer(
      { peer, channel },
      async (ch, body) => {
        await ch.queueDeclare('from-callback')
        await other.basicQos()
        done.push(String(body))
      },
      { consumerTag: 'c' },
    )
    peer.send(delivery(1, 'c', 1, 'a'), delivery(1, 'c', 2, 'b'))
    assert.deepEqual(await peer.took(2), ['1 queue.declare', '1 queue.declare'])
    peer.reply(1, methods.QueueDeclareOk, DECLARED)
    peer.reply(1, methods.QueueDeclareOk, DECLARED)
    assert.deepEqual(await peer.took(2), ['2 basic.qos', '2 basic.qos'])
    peer.reply(2, methods.BasicQosOk, {})
    await turn()
    assert.deepEqual(done, ['a'])
    peer.reply(2, methods.BasicQosOk, {})
    await turn()
    assert.deepEqual(done, ['a', 'b'])
    assert.deepEqual(errors, [])
  })

  it('with concurrency 1 is called one at a time, beside another that is not', async () => {
    const { peer, channel } = await converseOnChannel()
    const [slow, fast]: [string[], string[]] = [[], []]
    const release: (() => void)[] = []
    await startConsumer(
      { peer, channel },
      (_channel, body) => {
        slow.push(String(body))
        return new Promise<void>(resolve => release.push(resolve))
      },
      { consumerTag: 's', concurrency: 1 },
    )
    await startConsumer({ peer, channel }, (_channel, body) => fast.push(String(body)), { consumerTag: 'f' })
    await turn()
    peer.send(delivery(1, 's', 1, '1'), delivery(1, 'f', 2, '2'), delivery(1, 's', 3, '3'), delivery(1, 'f', 4, '4'))
    await turn()
    assert.deepEqual([slow, fast], [['1'], ['2', '4']])
    release.shift()?.()
    await turn()
    assert.deepEqual(slow, ['1', '3'])
  })

  it('that throws or rejects is reported to onError, and the next message comes all the same', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    let calls = 0
    await startConsumer(
      { peer, channel },
      () => {
        calls++
        if (calls === 1) throw new Error('thrown')
        if (calls === 2) return Promise.reject(new Error('rejected'))
        return undefined
      },
      { consumerTag: 'c' },
    )
    await turn()
    peer.send(delivery(1, 'c', 1, 'a'), delivery(1, 'c', 2, 'b'), delivery(1, 'c', 3, 'c'))
    await turn()
    assert.equal(calls, 3)
    assert.deepEqual(
      errors.map(({ message }) => message),
      ['thrown', 'rejected'],
    )
  })

  it('gets its messages whatever comes between their frames', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    const other = await protocol.channel()
    const seen: string[] = []
    const note = (_channel: unknown, body: Buffer) => seen.push(String(body))
    await startConsumer({ peer, channel }, note, { consumerTag: 'a' })
    await startConsumer({ peer, channel: other }, note, { consumerTag: 'b' })
    await turn()
    const declared = protocol.channel()
    await turn()
    peer.send(
      deliverFrame(1, 'a', 1),
      heartbeatFrame,
      deliverFrame(2, 'b', 1),
      headerFrame(1, 4),
      methodFrame(0, methods.ConnectionBlocked, { reason: 'x' }),
      headerFrame(2, 6),
      heartbeatFrame,
      bodyFrame(2, 'sec'),
      bodyFrame(1, 'fi'),
      heartbeatFrame,
      bodyFrame(2, 'ond'),
      methodFrame(0, methods.ConnectionUnblocked, {}),
      bodyFrame(1, 'rs'),
    )
    await declared
    await turn()
    assert.deepEqual(seen, ['second', 'firs'])
  })

  it('gets its messages byte by byte', async () => {
    const { peer, channel } = await converseOnChannel()
    const seen: string[] = []
    await startConsumer({ peer, channel }, (_channel, body) => seen.push(String(body)), { consumerTag: 'c' })
    await turn()
    const bytes = Buffer.concat([delivery(1, 'c', 1, 'hello'), delivery(1, 'c', 2, ''), delivery(1, 'c', 3, 'world')])
    for (const byte of bytes) peer.send(Buffer.from([byte]))
    await turn()
    assert.deepEqual(seen, ['hello', '', 'world'])
  })

  it('owns the body it gets: later reads do not change it', async () => {
    const { peer, channel } = await converseOnChannel()
    const bodies: Buffer[] = []
    await startConsumer({ peer, channel }, (_channel, body) => bodies.push(body), { consumerTag: 'c' })
    await turn()
    for (const size of [10, 1_000, 60_000, 65_000, 200_000])
      peer.send(delivery(1, 'c', bodies.length + 1, Buffer.alloc(size, size % 251)))
    await turn()
    assert.deepEqual(
      bodies.map(body => [body.length, body.every(byte => byte === body.length % 251)]),
      [10, 1_000, 60_000, 65_000, 200_000].map(size => [size, true]),
    )
  })

  it('that the server cancels gets its error, answered if it asks, and gets no more', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    const told: string[] = []
    channel.addCancellationCallback((ch, tag) => {
      told.push(`${ch.channelId} ${tag} plain`)
    })
    channel.addCancellationCallback(async (_channel, tag) => {
      await turn()
      told.push(`${tag} async`)
    })
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'a' })
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'b' })
    await turn()
    peer.reply(1, methods.BasicCancel, { consumerTag: 'a', noWait: true })
    peer.reply(1, methods.BasicCancel, { consumerTag: 'b', noWait: false })
    assert.deepEqual((await peer.expect(methods.BasicCancelOk)).args, { consumerTag: 'b' })
    await turn()
    await turn()
    assert.deepEqual(told, ['1 a plain', '1 b plain', 'a async', 'b async'])
    assert.deepEqual(errors, [])
    // Their tags are free.
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'a' })
  })

  for (const [title, capabilities, expected] of [
    [
      'is answered, also with no-wait, where the server says that it takes an answer',
      { accept_consumer_cancel_ok: true },
      ['a'],
    ],
    ['is not answered with no-wait where the server says that it takes none', { accept_consumer_cancel_ok: false }, []],
    ['is not answered with no-wait where the server says nothing', {}, []],
  ] as const) {
    it(`that the server cancels ${title}`, async () => {
      const broker = new FakeBroker()
      broker.prepare = peer => {
        const serverProperties = { product: 'RabbitMQ', version: '4.3.7', capabilities }
        const start = methodFrame(0, methods.ConnectionStart, { serverProperties, mechanisms: 'PLAIN' })
        peer.answers.set('protocol header', () => start)
      }
      const { peer, channel } = await converseOnChannel({}, broker)
      await startConsumer({ peer, channel }, () => {}, { consumerTag: 'a' })
      peer.reply(1, methods.BasicCancel, { consumerTag: 'a', noWait: true })
      // The server knows no such consumer any more, or never did.
      peer.reply(1, methods.BasicCancel, { consumerTag: 'a', noWait: true })
      peer.reply(1, methods.BasicCancel, { consumerTag: 'never', noWait: true })
      for (const consumerTag of expected) {
        assert.deepEqual((await peer.expect(methods.BasicCancelOk)).args, { consumerTag })
      }
      // The next frame is this one's: nothing else was answered, and the tag is used again after the answer.
      await startConsumer({ peer, channel }, () => {}, { consumerTag: 'a' })
    })
  }

  it('that is cancelled with noWait gives back what still comes, and the next under its tag starts after the cancel-ok', async () => {
    const { peer, channel, protocol, errors } = await converseOnChannel()
    const called: string[] = []
    await startConsumer({ peer, channel }, (_ch, body) => called.push(`old ${body}`), { consumerTag: 'c' })
    await turn()
    await channel.basicCancel('c', { noWait: true })
    assert.equal((await peer.expect(methods.BasicCancel)).args.noWait, false)
    const consuming = channel.basicConsume((_ch, body) => called.push(`new ${body}`), 'r', { consumerTag: 'c' })
    const second = rejection(
      channel.basicConsume(() => {}, 'r', { consumerTag: 'c' }),
      DuplicateConsumerTagError,
    )
    peer.send(delivery(1, 'c', 1, 'late'))
    const nack = await peer.expect(methods.BasicNack)
    assert.deepEqual([nack.args.deliveryTag, nack.args.requeue], [1, true])
    await turn()
    assert.equal(peer.names.at(-1), '1 basic.nack', 'the tag is not free at the broker')
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    assert.equal((await peer.expect(methods.BasicConsume)).args.queueName, 'r')
    peer.send(methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }), delivery(1, 'c', 2, 'x'))
    assert.deepEqual(await consuming, { consumerTag: 'c' })
    await second
    await turn()
    assert.deepEqual(called, ['new x'])
    assert.equal(protocol.state, 'open')
    assert.deepEqual(errors, [])
  })

  it('that is cancelled with noWait is forgotten with its cancel-ok', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    await channel.basicCancel('c', { noWait: true })
    await peer.expect(methods.BasicCancel)
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    peer.send(delivery(1, 'c', 1, 'x'))
    await turn()
    assert.equal(protocol.state, 'closed')
  })

  it('that is cancelled with noWait gets no error when the server cancels it, too', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    await channel.basicCancel('c', { noWait: true })
    await peer.expect(methods.BasicCancel)
    peer.reply(1, methods.BasicCancel, { consumerTag: 'c', noWait: true })
    await turn()
    assert.deepEqual(errors, [])
  })

  it('that waits for a cancel-ok rejects if the channel ends before', async () => {
    const { peer, channel } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    await channel.basicCancel('c', { noWait: true })
    const consuming = rejection(
      channel.basicConsume(() => {}, 'q', { consumerTag: 'c' }),
      ChannelClosedError,
    )
    peer.reply(1, methods.ChannelClose, { replyCode: 404, replyText: 'NOT_FOUND', classId: 0, methodId: 0 })
    assert.equal((await consuming).replyCode, 404)
  })

  it('is started after the cancel-ok of its tag, also if there was none to cancel', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    const called: string[] = []
    const cancelled = channel.basicCancel('c')
    const consuming = channel.basicConsume((_ch, body) => called.push(String(body)), 'q', { consumerTag: 'c' })
    await peer.expect(methods.BasicCancel)
    await turn()
    assert.equal(peer.names.at(-1), '1 basic.cancel')
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await peer.expect(methods.BasicConsume)
    peer.send(methodFrame(1, methods.BasicConsumeOk, { consumerTag: 'c' }), delivery(1, 'c', 1, 'x'))
    await Promise.all([cancelled, consuming])
    await turn()
    assert.deepEqual(called, ['x'])
    assert.equal(protocol.state, 'open')
    assert.equal(channel.recovering.recordedConsumers.consumers().length, 1, 'a recovery brings it back')
  })

  it('that is cancelled twice is asked for once at a time: the second answer would overtake the first', async () => {
    const { peer, channel } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    const both = [channel.basicCancel('c'), channel.basicCancel('c')]
    await peer.expect(methods.BasicCancel)
    await turn()
    assert.equal(peer.names.filter(name => name === '1 basic.cancel').length, 1)
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await peer.expect(methods.BasicCancel)
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await Promise.all(both)
  })

  it('keeps its tag when the cancel-ok of the one before it comes late, whose queue was deleted meanwhile', async () => {
    const { peer, channel, protocol, errors } = await converseOnChannel()
    const called: string[] = []
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    let consuming: Promise<unknown> = Promise.resolve()
    channel.addCancellationCallback(() => {
      consuming = channel.basicConsume((_ch, body) => called.push(String(body)), 'r', { consumerTag: 'c' })
    })
    const cancelled = channel.basicCancel('c')
    await peer.expect(methods.BasicCancel)
    peer.reply(1, methods.BasicCancel, { consumerTag: 'c', noWait: true })
    await peer.expect(methods.BasicConsume)
    const again = channel.basicCancel('c')
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await cancelled
    peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'c' })
    await consuming
    await peer.expect(methods.BasicCancel)
    peer.send(delivery(1, 'c', 1, 'x'))
    await turn()
    assert.deepEqual(called, ['x'])
    assert.equal(channel.recovering.recordedConsumers.consumers().length, 1, 'a recovery brings it back')
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await again
    assert.equal(channel.recovering.recordedConsumers.consumers().length, 0)
    assert.equal(protocol.state, 'open')
    assert.deepEqual(errors, [])
  })

  it('waits for its tag no longer than its signal and its timeout say, and leaves the channel open', async () => {
    const clock = new VirtualClock()
    const { peer, channel } = await converseOnChannel({ clock })
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    await channel.basicCancel('c', { noWait: true })
    await peer.expect(methods.BasicCancel)
    const controller = new AbortController()
    const consuming = channel.basicConsume(() => {}, 'q', { consumerTag: 'c', signal: controller.signal })
    const cancelling = channel.basicCancel('c', { timeout: 500 })
    const [aborted, late] = [rejection(consuming, AbortError), rejection(cancelling, TimeoutError)]
    controller.abort()
    await clock.advance(500)
    assert.match((await aborted).message, /^basic\.consume of "q" was aborted/)
    assert.match((await late).message, /^basic\.cancel/)
    assert.equal(channel.isOpen, true)
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await turn()
    assert.equal(peer.names.at(-1), '1 basic.cancel', 'what was given up is never sent')
  })

  it('without acks that was aborted before its consume-ok keeps none of its deliveries', async () => {
    const { peer, channel, protocol } = await converseOnChannel({ maxBuffered: 10_000 })
    const controller = new AbortController()
    const { signal } = controller
    const consuming = rejection(
      channel.basicConsume(() => {}, 'q', { consumerTag: 'c', noAck: true, signal }),
      AbortError,
    )
    await peer.expect(methods.BasicConsume)
    controller.abort()
    await consuming
    peer.reply(1, methods.BasicConsumeOk, { consumerTag: 'c' })
    await peer.expect(methods.BasicCancel)
    for (let tag = 1; tag <= 20; tag++) peer.send(delivery(1, 'c', tag, Buffer.alloc(1_000)))
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await turn()
    assert.equal(peer.transport.paused, false)
    assert.equal(protocol.state, 'open')
  })

  it('gives a delivery back by basic.nack unless requeue is false, also if that is undefined', async () => {
    const { peer, channel } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    for (const [at, options] of [undefined, {}, { requeue: undefined }, { requeue: false }].entries()) {
      peer.send(delivery(1, 'c', at + 1, 'x'))
      await channel.basicClientNack(at + 1, options)
      const { args } = await peer.expect(methods.BasicNack)
      assert.deepEqual(args, { deliveryTag: at + 1, multiple: false, requeue: options?.requeue ?? true })
    }
  })

  it('of a stream is only acked: a rejected message is acked, a requeued one is left', async () => {
    const { peer, channel } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c', arguments: { 'x-stream-offset': 'first' } })
    await turn()
    for (let tag = 1; tag <= 4; tag++) {
      peer.send(deliverFrame(1, 'c', tag), contentFrames(1, 'x', { headers: { 'x-stream-offset': tag } }))
    }
    await turn()
    assert.equal(await channel.basicReject(1), true)
    assert.equal(await channel.basicClientNack(2), false)
    assert.equal(await channel.basicClientNack(3, { requeue: false }), true)
    assert.equal(await channel.basicClientAck(4), true)
    assert.deepEqual(await peer.took(3), ['1 basic.ack', '1 basic.ack', '1 basic.ack'])
    const [consumer] = channel.recovering.recordedConsumers.consumers()
    assert.equal(consumer?.position.resumeOffset, 2n)
  })

  it('of a stream is left in the order of the tags, also if a message between them was too large', async () => {
    const { peer, channel } = await converseOnChannel({ maxMessageSize: 1_000 })
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c', arguments: { 'x-stream-offset': 'first' } })
    await turn()
    const message = (tag: number, size: number): Buffer =>
      Buffer.concat([
        deliverFrame(1, 'c', tag),
        contentFrames(1, Buffer.alloc(size), { headers: { 'x-stream-offset': tag } }),
      ])
    peer.send(message(1, 1))
    await turn()
    // In one read: the large one is put away before the callbacks of the others run.
    peer.send(Buffer.concat([message(2, 1), message(3, 2_000), message(4, 1)]))
    await turn()
    assert.equal(await channel.basicClientNack(2), false)
    assert.equal(await channel.basicClientNack(4), false)
    for (const tag of [1, 2, 4]) assert.equal(await channel.basicClientAck(tag), true)
    const names = await peer.took(4)
    assert.deepEqual(new Set(names), new Set(['1 basic.ack']))
    const [consumer] = channel.recovering.recordedConsumers.consumers()
    assert.equal(consumer?.position.resumeOffset, 5n)
  })

  it('that has no cancellation callback is reported to onError', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'a' })
    peer.reply(1, methods.BasicCancel, { consumerTag: 'a', noWait: true })
    await turn()
    assert.equal(errors[0]?.name, 'ConsumerCancelledError')
    assert.match(errors[0]?.message ?? '', /the server cancelled consumer "a" of queue "q"/)
  })
})

function ignore(): void {}
