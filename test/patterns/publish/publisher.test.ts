import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import {
  AbortError,
  BufferFullError,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionError,
  connect,
  EncodeError,
  MessageReturnedError,
  PublishFailedError,
  TimeoutError,
} from '../../../src/index.ts'
import { broker, vhostUrl } from '../../support/broker.ts'
import { type FaultProxy, openFaultProxy } from '../../support/fault-proxy.ts'
import { management } from '../../support/management.ts'
import { uniqueName } from '../../support/names.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'
import { nextEvent, type Scene, withScenes } from '../scene.ts'

const scene = await withScenes()

/** A scene whose connection goes through a proxy. */
async function proxied(t: TestContext, options: Parameters<typeof scene>[0] = {}): Promise<[Scene, FaultProxy]> {
  const proxy = await openFaultProxy(broker.host, broker.port)
  const the = await scene({ ...options, host: '127.0.0.1', port: proxy.port })
  t.after(async () => {
    await the[Symbol.asyncDispose]()
    await proxy[Symbol.asyncDispose]()
  })
  return [the, proxy]
}

function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`)
}

async function bodies(the: Scene, queue: string): Promise<string[]> {
  return (await the.drain(queue)).map(({ body }) => body)
}

describe('A publisher', { concurrency: 4 }, () => {
  it('opens its channel with the first message, in confirm mode, and keeps it', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    assert.equal(the.protocol.channelsIdsCount, 0)
    await publisher.publish('a', queue)
    await publisher.publish('b', queue)
    assert.equal(the.protocol.channelsIdsCount, 1)
    assert.deepEqual(await bodies(the, queue), ['a', 'b'])
    assert.equal(publisher.pending, 0)
    assert.equal(publisher.resent, 0)
  })

  it('keeps the order of thousands of messages published at once', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    const all = numbers(1, 5000)
    await Promise.all(all.map(each => publisher.publish(each, queue)))
    assert.deepEqual(await bodies(the, queue), all)
  })

  it('makes messages persistent unless they or the option say otherwise', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    const plain = await the.protocol.publisher({ persistent: false })
    await publisher.publish('', queue)
    await publisher.publish('', queue, { messageId: 'm' })
    await publisher.publish('', queue, { deliveryMode: 1 })
    await plain.publish('', queue)
    const modes: unknown[] = []
    for (let i = 0; i < 4; i++) modes.push((await the.outside.basicGet(queue))?.properties.deliveryMode)
    assert.deepEqual(modes, [2, 2, 1, undefined])
  })

  it('sends received properties on with all their members, and persistent', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const properties = { headers: { a: 1, b: 'x' }, correlationId: 'c', timestamp: new Date(1_700_000_000_000) }
    await the.outside.publish('', '', queue, properties)
    const received = await the.outside.basicGet(queue, { noAck: true })
    const publisher = await the.protocol.publisher()
    await publisher.publish('', queue, received?.properties)
    const again = await the.outside.basicGet(queue, { noAck: true })
    assert.deepEqual(again?.properties.toJSON(), { ...properties, deliveryMode: 2 })
  })

  it('sends objects as JSON and says so, without overwriting what the program says', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    await publisher.publish({ a: [1, 'é'] }, queue)
    await publisher.publish([1, 2], queue, { messageId: 'm' })
    await publisher.publish({ a: 1 }, queue, { contentType: 'application/vnd.x+json' })
    const got = [
      await the.outside.basicGet(queue),
      await the.outside.basicGet(queue),
      await the.outside.basicGet(queue),
    ]
    assert.deepEqual(
      got.map(one => [one?.body.toString(), one?.properties.contentType, one?.properties.messageId]),
      [
        ['{"a":[1,"é"]}', 'application/json', undefined],
        ['[1,2]', 'application/json', 'm'],
        ['{"a":1}', 'application/vnd.x+json', undefined],
      ],
    )
  })

  it('refuses what cannot be sent, names it, and goes on', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    const round: Record<string, unknown> = {}
    round['self'] = round
    const bad: [unknown, RegExp][] = [
      [42, /payload .* not 42/],
      [undefined, /payload .* not undefined/],
      [new Map(), /payload .* not an object \(Map\)/],
      [Promise.resolve(), /payload .* not an object \(Promise\)/],
      [round, /payload cannot be sent as JSON: .*(circular|cyclic)/],
      [{ big: 1n }, /payload cannot be sent as JSON: .*BigInt/],
      [{ toJSON: () => undefined }, /payload cannot be sent as JSON/],
    ]
    for (const [payload, message] of bad) {
      const error = await rejection(publisher.publish(payload as string, queue), EncodeError)
      assert.match(error.message, message)
    }
    const misspelt = { persistant: true } as object
    await Promise.all([
      rejection(publisher.publish('', queue, misspelt), EncodeError),
      rejection(publisher.publish('', 'k'.repeat(256)), EncodeError),
      rejection(publisher.publish('', queue, {}, { timeOut: 1 } as object), EncodeError),
      publisher.publish('good', queue),
    ])
    assert.equal(publisher.pending, 0)
    assert.deepEqual(await bodies(the, queue), ['good'])
  })

  it('refuses what cannot be sent, at once, if it would have to wait', async t => {
    const [the, proxy] = await proxied(t)
    const queue = await the.queue()
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    const refusals = async (): Promise<void> => {
      const { pending } = publisher
      const wrong: [payload: unknown, routingKey: unknown, properties: object, message: RegExp][] = [
        ['', 'k'.repeat(256), {}, /routingKey/],
        ['', undefined, {}, /routingKey/],
        ['', queue, { messageId: 1 }, /messageId/],
        ['', queue, { headers: { rate: Number.NaN } }, /NaN/],
        ['', queue, { headers: { big: Buffer.alloc(200_000) } }, /do not fit in one frame/],
        [undefined, queue, {}, /payload/],
      ]
      for (const [payload, routingKey, properties, message] of wrong) {
        const given = [payload as string, routingKey as string, properties] as const
        const error = await rejection(publisher.publish(...given), EncodeError)
        assert.match(error.message, message)
        const [body, ...rest] = given
        await rejection(the.protocol.publish(body, '', ...rest, { timeout: 60_000 }), EncodeError)
      }
      await rejection(the.protocol.publish('', 'e'.repeat(256), ''), EncodeError)
      assert.equal(publisher.pending, pending)
    }
    // There is no channel yet, then one with as much in flight as may be, then no connection.
    await refusals()
    assert.equal(the.protocol.channelsIdsCount, 0)
    await publisher.publish('0', queue)
    proxy.blackhole()
    const sent = numbers(1, 2).map(each => publisher.publish(each, queue))
    await refusals()
    await proxy.refuse()
    proxy.reset()
    await until('the loss is noticed', () => the.protocol.state === 'recovering', { interval: 1 })
    await refusals()
    assert.equal(the.protocol.state, 'recovering')
    await proxy.heal()
    await Promise.all(sent)
    assert.deepEqual(await bodies(the, queue), numbers(0, 2))
    assert.deepEqual(the.errors, [])
  })

  it('refuses options that are unknown and values that cannot be', async () => {
    await using the = await scene()
    for (const options of [
      { exchange: 'x' },
      { exchangeName: 'x'.repeat(256) },
      { maxInFlight: 0 },
      { mandatory: 1 },
      { persistent: 'yes' },
    ]) {
      await rejection(the.protocol.publisher(options as object), EncodeError)
    }
    const publisher = await the.protocol.publisher()
    await rejection(publisher.close({ timeout: -1 }), EncodeError)
    await rejection(publisher.publish('', '', {}, { signal: 'x' as unknown as AbortSignal }), EncodeError)
  })

  it('rejects for a message that no queue of the default exchange took, and of one elsewhere only if asked', async () => {
    await using the = await scene()
    const publisher = await the.protocol.publisher()
    const error = await rejection(publisher.publish('lost', 'no-such-queue', { messageId: 'm1' }), MessageReturnedError)
    assert.equal(error.replyCode, 312)
    assert.equal(error.outcome, 'refused')
    assert.equal(error.body.toString(), 'lost')
    assert.match(error.message, /message "m1" .*"no-such-queue".*came back: NO_ROUTE \(312\)/)

    const topic = await the.protocol.publisher({ exchangeName: 'amq.topic' })
    await topic.publish('nobody wants it', 'x')
    await rejection(topic.publish('', 'x', {}, { mandatory: true }), MessageReturnedError)
    await publisher.publish('', 'no-such-queue', {}, { mandatory: false })
  })

  it('matches returns to their own messages among thousands confirmed with multiple', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    const results = await Promise.allSettled(
      numbers(0, 2999).map(each => publisher.publish(each, Number(each) % 3 === 0 ? `none-${queue}` : queue)),
    )
    for (const [i, result] of results.entries()) {
      if (i % 3 !== 0) assert.equal(result.status, 'fulfilled')
      else {
        assert.equal(result.status, 'rejected')
        assert.ok(result.reason instanceof MessageReturnedError)
        assert.equal(result.reason.body.toString(), `${i}`)
      }
    }
    assert.equal((await the.inspect(queue)).messageCount, 2000)
  })

  it('matches returns by their headers if nothing else distinguishes messages', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.outside.queueBind(queue, 'amq.headers', '', { arguments: { kind: 'wanted' } })
    const publisher = await the.protocol.publisher({ exchangeName: 'amq.headers', mandatory: true })
    const kinds = Array.from({ length: 300 }, (_, i) => (i % 2 === 0 ? 'wanted' : 'unwanted'))
    const results = await Promise.allSettled(kinds.map(kind => publisher.publish('', '', { headers: { kind } })))
    assert.deepEqual(
      results.map(({ status }) => status),
      kinds.map(kind => (kind === 'wanted' ? 'fulfilled' : 'rejected')),
    )
  })

  it('rejects only what a full queue nacks', async () => {
    await using the = await scene()
    const full = await the.queue([], { 'x-max-length': 10, 'x-overflow': 'reject-publish' })
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    const results = await Promise.allSettled(
      numbers(1, 60).map((each, i) => publisher.publish(each, i % 2 === 0 ? full : queue)),
    )
    const nacked = results.filter(result => result.status === 'rejected')
    for (const { reason } of nacked) {
      assert.ok(reason instanceof PublishFailedError)
      assert.equal(reason.outcome, 'refused')
    }
    assert.equal(results.filter((result, i) => i % 2 === 1 && result.status === 'rejected').length, 0)
    assert.equal((await the.inspect(full)).messageCount, 30 - nacked.length)
    assert.equal((await the.inspect(queue)).messageCount, 30)
  })

  it('fails messages for a missing exchange, and opens a new channel for the next', async () => {
    await using the = await scene()
    const exchangeName = uniqueName('exchange')
    const publisher = await the.protocol.publisher({ exchangeName })
    const errors = await Promise.all([
      rejection(publisher.publish('1', 'k'), ChannelClosedError),
      rejection(publisher.publish('2', 'k'), ChannelClosedError),
    ])
    for (const error of errors) {
      assert.equal(error.replyCode, 404)
      // One of the two closed the channel; the other may have been routed before the exchange was gone.
      assert.equal(error.outcome, 'unknown')
      assert.match(error.message, new RegExp(`to exchange "${exchangeName}" .*NOT_FOUND \\(404\\), no exchange`))
    }
    await the.protocol.exchangeDeclare(exchangeName, 'fanout')
    const queue = await the.queue()
    await the.protocol.queueBind(queue, exchangeName)
    await publisher.publish('3', 'k')
    assert.deepEqual(await bodies(the, queue), ['3'])
    assert.deepEqual(the.errors, [])
    assert.equal(the.protocol.channelsIdsCount, 1)
  })

  it('fails only the routing keys that the user may not write to', {
    skip: broker.waitsForRabbitMQ('topic permissions'),
  }, async t => {
    const user = uniqueName('user')
    await using the = await scene()
    const { vhost } = await management().connection(the.connectionName)
    await management().createUser(user, 'secret')
    t.after(() => management().deleteUser(user))
    await management().setPermissions(vhost, user)
    const path = `topic-permissions/${encodeURIComponent(vhost)}/${encodeURIComponent(user)}`
    await management().request('PUT', path, { exchange: 'amq.topic', write: '^open', read: '.*' })
    const queue = await the.queue()
    await the.outside.queueBind(queue, 'amq.topic', '#')
    await using limited = await connect(vhostUrl(vhost), { login: user, password: 'secret' })
    const publisher = await limited.publisher({ exchangeName: 'amq.topic' })
    const results = await Promise.allSettled(
      numbers(0, 39).map((each, i) => publisher.publish(each, i % 20 === 10 ? 'secret.a' : 'open.a')),
    )
    for (const [i, result] of results.entries()) {
      assert.equal(result.status, i % 20 === 10 ? 'rejected' : 'fulfilled')
      if (result.status === 'fulfilled') continue
      assert.ok(result.reason instanceof ChannelClosedError)
      assert.equal(result.reason.replyCode, 403)
      assert.equal(result.reason.outcome, 'unknown')
    }
    const open = numbers(0, 39).filter(each => Number(each) % 20 !== 10)
    assert.deepEqual([...new Set(await bodies(the, queue))], open)
  })

  it('finds the message that the broker refuses without naming it, and saves all others', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    const refused = new Set([7, 8, 40])
    const results = await Promise.allSettled(
      numbers(0, 59).map((each, i) => publisher.publish(each, queue, refused.has(i) ? { expiration: 'soon' } : {})),
    )
    for (const [i, result] of results.entries()) {
      assert.equal(result.status, refused.has(i) ? 'rejected' : 'fulfilled', `message ${i}`)
      if (result.status === 'fulfilled') continue
      assert.ok(result.reason instanceof ChannelClosedError)
      assert.equal(result.reason.replyCode, 406)
      // It was written twice, and nothing says what the broker did with the first copy.
      assert.equal(result.reason.outcome, 'unknown')
    }
    const arrived = await bodies(the, queue)
    assert.deepEqual(
      [...new Set(arrived)],
      numbers(0, 59).filter(each => !refused.has(Number(each))),
    )
    assert.ok(publisher.resent > 0)
    await publisher.publish('after', queue)
    assert.deepEqual(the.errors, [])
  })

  it('finds the message over which the broker closes the connection, and saves all others', async t => {
    await using the = await scene()
    // Such a routing key breaks RabbitMQ's channel: the connection ends with INTERNAL_ERROR (541), and nothing is named.
    const fatal = 'amq.rabbitmq.reply-to.abc.def'
    await using tried = await scene({ recovery: false })
    if (
      await tried.protocol.publish('', '', fatal, {}, { mandatory: false }).then(
        () => true,
        () => false,
      )
    ) {
      t.skip('the broker takes it')
      return
    }
    const queue = await the.queue()
    await the.outside.queueBind(queue, 'amq.fanout')
    let losses = 0
    the.protocol.on('disconnected', () => losses++)
    const guilty = await the.protocol.publisher({ mandatory: false })
    const careful = await the.protocol.publisher({ mandatory: false, maxInFlight: 1 })
    const others = await the.protocol.publisher({ exchangeName: 'amq.fanout' })
    const sent: [Promise<void>, boolean][] = []
    for (let i = 0; i < 30; i++) {
      const isFatal = i === 10
      sent.push([guilty.publish(`a${i}`, isFatal ? fatal : queue), isFatal])
      sent.push([careful.publish(`b${i}`, isFatal ? fatal : queue), isFatal])
      sent.push([others.publish(`c${i}`, ''), false])
    }
    const results = await Promise.allSettled(sent.map(([promise]) => promise))
    for (const [i, result] of results.entries()) {
      assert.equal(result.status, sent[i]?.[1] ? 'rejected' : 'fulfilled', `message ${i}`)
      if (result.status === 'fulfilled') continue
      assert.ok(result.reason instanceof ConnectionClosedError)
      assert.equal(result.reason.replyCode, 541)
      assert.equal(result.reason.outcome, 'unknown')
    }
    assert.ok(losses <= 6, `${losses} connections were closed over two messages`)
    const arrived = [...new Set(await bodies(the, queue))]
    for (const [letter, missing] of [
      ['a', 1],
      ['b', 1],
      ['c', 0],
    ] as const) {
      const own = arrived.filter(body => body.startsWith(letter)).map(body => Number(body.slice(1)))
      assert.deepEqual(
        own,
        numbers(0, 29)
          .map(Number)
          .filter(n => missing === 0 || n !== 10),
      )
    }
    // The turn is free: the next ones are not kept waiting.
    await Promise.all([guilty, careful, others].map(publisher => publisher.publish('after', queue)))
    assert.deepEqual(the.errors, [])
  })

  it('sends again what a lost connection left unknown, in order and before anything newer', async t => {
    const [the, proxy] = await proxied(t)
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    const counts: number[] = []
    publisher.on('resent', count => counts.push(count))
    await publisher.publish('0', queue)
    // The broker gets them, and its answers are lost.
    proxy.blackhole('toClient')
    const sent = numbers(1, 500).map(each => publisher.publish(each, queue))
    await until('the broker has them', async () => (await the.inspect(queue)).messageCount === 501)
    proxy.reset()
    await until('the loss is noticed', () => the.protocol.state === 'recovering', { interval: 1 })
    const newer = numbers(501, 600).map(each => publisher.publish(each, queue))
    await proxy.heal()
    await Promise.all([...sent, ...newer])
    assert.deepEqual(await bodies(the, queue), ['0', ...numbers(1, 500), ...numbers(1, 600)])
    assert.equal(publisher.resent, 500)
    assert.deepEqual(counts, [500])
    assert.equal(the.protocol.channelsIdsCount, 1)
  })

  it('loses nothing and keeps the order when its connection is reset, and closed by the broker, under load', async t => {
    const [the, proxy] = await proxied(t)
    const queue = await the.queue()
    const publisher = await the.protocol.publisher({ maxInFlight: 200 })
    const promises: Promise<void>[] = []
    let confirmed = 0
    let stopped = false
    const publishing = (async () => {
      while (!stopped) {
        const sent = Array.from({ length: 100 }, (_, i) => publisher.publish(`${promises.length + i}`, queue))
        promises.push(...sent)
        for (const each of sent) void each.then(() => confirmed++)
        await sent[50]
      }
    })()
    for (const end of [() => proxy.reset(), () => proxy.reset(), () => the.closeConnection()]) {
      const before = confirmed
      await until('some are confirmed', () => confirmed > before, { interval: 5 })
      const recovered = nextEvent(the.protocol, 'recovered')
      await end()
      await recovered
    }
    stopped = true
    await publishing
    await Promise.all(promises)
    const arrived = (await bodies(the, queue)).map(Number)
    assert.deepEqual([...new Set(arrived)], numbers(0, promises.length - 1).map(Number))
    assert.ok(arrived.length <= promises.length + publisher.resent)
    assert.deepEqual(the.errors, [])
  })

  it('has no more unconfirmed than maxInFlight, and publishes the rest in order', async t => {
    const [the, proxy] = await proxied(t)
    const queue = await the.queue()
    const publisher = await the.protocol.publisher({ maxInFlight: 10 })
    await publisher.publish('0', queue)
    proxy.blackhole('toClient')
    const sent = numbers(1, 35).map(each => publisher.publish(each, queue))
    await until('the broker has those that may be in flight', async () => (await the.inspect(queue)).messageCount > 10)
    // A confirm takes a few milliseconds: more would come now.
    await new Promise(resolve => setTimeout(resolve, 100))
    assert.equal((await the.inspect(queue)).messageCount, 11)
    assert.equal(publisher.pending, 35)
    await proxy.heal()
    await Promise.all(sent)
    assert.deepEqual(await bodies(the, queue), numbers(0, 35))
  })

  it('rejects past its timeout or when it is aborted, says what is known, and leaves the channel open', async t => {
    const [the, proxy] = await proxied(t)
    const queue = await the.queue()
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    await publisher.publish('0', queue)
    proxy.blackhole('toClient')
    const controller = new AbortController()
    const timedOut = rejection(publisher.publish('sent', queue, {}, { timeout: 30 }), TimeoutError)
    const notSent = rejection(publisher.publish('waiting', queue, {}, { timeout: 30 }), TimeoutError)
    const aborted = rejection(publisher.publish('aborted', queue, {}, { signal: controller.signal }), AbortError)
    const last = publisher.publish('last', queue)
    controller.abort()
    assert.equal((await timedOut).outcome, 'unknown')
    assert.equal((await notSent).outcome, 'notSent')
    assert.equal((await aborted).outcome, 'notSent')
    const late = await rejection(publisher.publish('', queue, {}, { signal: AbortSignal.abort() }), AbortError)
    assert.equal(late.outcome, 'notSent')
    await proxy.heal()
    await last
    assert.deepEqual(await bodies(the, queue), ['0', 'sent', 'last'])
    assert.equal(publisher.resent, 0)
    assert.deepEqual(the.errors, [])
  })

  it('does not send again what no caller waits for any more', async t => {
    const [the, proxy] = await proxied(t)
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    await publisher.publish('0', queue)
    proxy.blackhole()
    const given = rejection(publisher.publish('given up', queue, {}, { timeout: 30 }), TimeoutError)
    const kept = publisher.publish('kept', queue)
    assert.equal((await given).outcome, 'unknown')
    proxy.reset()
    await proxy.heal()
    await kept
    assert.deepEqual(await bodies(the, queue), ['0', 'kept'])
  })

  it('refuses more than maxWaiting that are not sent', async t => {
    const [the, proxy] = await proxied(t, { maxWaiting: 5 })
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    await publisher.publish('0', queue)
    await proxy.refuse()
    proxy.reset()
    await until('the loss is noticed', () => the.protocol.state === 'recovering', { interval: 1 })
    const waiting = numbers(1, 5).map(each => publisher.publish(each, queue))
    const error = await rejection(publisher.publish('6', queue), BufferFullError)
    assert.equal(error.outcome, 'notSent')
    await proxy.heal()
    await Promise.all(waiting)
    assert.deepEqual(await bodies(the, queue), numbers(0, 5))
  })

  it('refuses more than maxWaiting beside those that may be in flight', async t => {
    const [the, proxy] = await proxied(t, { maxWaiting: 5 })
    const queue = await the.queue()
    const publisher = await the.protocol.publisher({ maxInFlight: 3 })
    await publisher.publish('0', queue)
    proxy.blackhole('toClient')
    const sent = numbers(1, 8).map(each => publisher.publish(each, queue))
    const refused = [undefined, { timeout: 60_000 }].map(options => publisher.publish('9', queue, {}, options))
    for (const promise of refused) assert.equal((await rejection(promise, BufferFullError)).outcome, 'notSent')
    assert.equal(publisher.pending, 8)
    await proxy.heal()
    await Promise.all(sent)
    await publisher.publish('10', queue)
    assert.deepEqual(await bodies(the, queue), [...numbers(0, 8), '10'])
  })

  it('closes when all is confirmed, once, and takes no more', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    const sent = numbers(1, 100).map(each => publisher.publish(each, queue))
    await Promise.all([publisher.close(), publisher.close(), ...sent])
    assert.equal(the.protocol.channelsIdsCount, 0)
    assert.equal((await the.inspect(queue)).messageCount, 100)
    const error = await rejection(publisher.publish('late', queue), ChannelClosedError)
    assert.equal(error.outcome, 'notSent')
    assert.match(error.message, /its publisher was closed/)
  })

  it('is closed by await using', async () => {
    await using the = await scene()
    const queue = await the.queue()
    let publisher: Awaited<ReturnType<typeof the.protocol.publisher>>
    let sent: Promise<void>
    {
      await using own = await the.protocol.publisher()
      publisher = own
      sent = own.publish('', queue)
    }
    await sent
    await rejection(publisher.publish('', queue), ChannelClosedError)
    assert.equal(the.protocol.channelsIdsCount, 0)
  })

  it('rejects what its close could not wait for, with what is known of it', async t => {
    const [the, proxy] = await proxied(t)
    const queue = await the.queue()
    const publisher = await the.protocol.publisher({ maxInFlight: 1 })
    await publisher.publish('0', queue)
    proxy.blackhole()
    const sent = rejection(publisher.publish('1', queue), ChannelClosedError)
    const waiting = rejection(publisher.publish('2', queue), ChannelClosedError)
    await publisher.close({ timeout: 50 })
    assert.equal((await sent).outcome, 'unknown')
    assert.equal((await waiting).outcome, 'notSent')
    await proxy.heal()
  })

  it('is finished by protocol.close()', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const publisher = await the.protocol.publisher({ maxInFlight: 3 })
    const sent = numbers(1, 200).map(each => publisher.publish(each, queue))
    await the.protocol.close()
    await Promise.all(sent)
    assert.deepEqual(await bodies(the, queue), numbers(1, 200))
    const error = await rejection(publisher.publish('late', queue), ConnectionClosedError)
    assert.equal(error.outcome, 'notSent')
    await rejection(the.protocol.publisher(), ConnectionClosedError)
    await publisher.close()
  })

  it('rejects everything when the connection is not recovered', async t => {
    const [the, proxy] = await proxied(t, { recovery: false })
    const queue = await the.queue()
    const publisher = await the.protocol.publisher({ maxInFlight: 2 })
    await publisher.publish('0', queue)
    proxy.blackhole('toClient')
    const sent = numbers(1, 3).map(each => rejection(publisher.publish(each, queue), ConnectionError))
    proxy.reset()
    const outcomes = (await Promise.all(sent)).map(({ outcome }) => outcome)
    assert.deepEqual(outcomes, ['unknown', 'unknown', 'notSent'])
    assert.equal((await rejection(publisher.publish('', queue), ConnectionError)).outcome, 'notSent')
    assert.equal(publisher.pending, 0)
  })

  it('rejects everything when recovery gives up', async t => {
    const [the, proxy] = await proxied(t, { recovery: { maxAttempts: 2, initialDelay: 10, jitter: 0 } })
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    await publisher.publish('0', queue)
    proxy.blackhole('toClient')
    const sent = rejection(publisher.publish('1', queue), ConnectionError)
    await proxy.refuse()
    proxy.reset()
    await until('the loss is noticed', () => the.protocol.state !== 'open', { interval: 1 })
    const waiting = rejection(publisher.publish('2', queue), ConnectionError)
    assert.equal((await sent).outcome, 'unknown')
    assert.equal((await waiting).outcome, 'notSent')
  })

  it('lets a listener that throws disturb nothing', async t => {
    const [the, proxy] = await proxied(t)
    const queue = await the.queue()
    const publisher = await the.protocol.publisher()
    publisher.on('resent', () => {
      throw new Error('of the listener')
    })
    await publisher.publish('0', queue)
    proxy.blackhole('toClient')
    const sent = publisher.publish('1', queue)
    proxy.reset()
    await proxy.heal()
    await sent
    await until('the error is reported', () => the.errors.some(({ message }) => message === 'of the listener'))
  })
})
