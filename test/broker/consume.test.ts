import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type ConsumerCallback, DuplicateConsumerTagError } from '../../src/index.ts'
import { deliveryInbox, openFixture } from '../support/fixture.ts'
import { rejection } from '../support/rejection.ts'

describe('basic.consume', { timeout: 60_000 }, () => {
  it('gives the callback the consumer tag, the delivery tag, the body and the properties', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    const { queue } = await channel.queueDeclare()
    await channel.exchangeDeclare(exchange, 'direct')
    await channel.queueBind(queue, exchange, 'key')
    await channel.basicPublish('payload', exchange, 'key', { messageId: 'message-1', deliveryMode: 2 })

    const { inbox, callback } = deliveryInbox()
    const { consumerTag } = await channel.basicConsume(callback, queue)
    assert.notEqual(consumerTag, '')
    const { channel: given, body, envelope, properties } = await inbox.next()
    assert.equal(given, channel)
    assert.ok(Buffer.isBuffer(body))
    assert.equal(body.toString(), 'payload')
    assert.equal(envelope.consumerTag, consumerTag)
    assert.equal(envelope.deliveryTag, 1)
    assert.equal(envelope.exchangeName, exchange)
    assert.equal(envelope.routingKey, 'key')
    assert.equal(envelope.isRedeliver, false)
    assert.equal(properties.messageId, 'message-1')
    assert.equal(properties.deliveryMode, 2)
    assert.equal(properties.replyTo, undefined)
  })

  it('gives a body of 1 MB whole', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    const payload = Buffer.alloc(1_000_000)
    for (let i = 0; i < payload.length; i++) payload[i] = i % 251
    await channel.basicPublish(payload, '', queue)
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)
    const { body } = await inbox.next()
    assert.equal(body.length, 1_000_000)
    assert.ok(body.equals(payload))
  })

  it('goes on without a prefetch limit if callbacks wait for confirms, which come after what the broker sends meanwhile', async () => {
    await using fixture = await openFixture({ maxBuffered: 1_000_000 })
    const { protocol, channel } = fixture
    const { queue } = await channel.queueDeclare()
    const results = await channel.queueDeclare()
    const messages = 150
    for (let n = 0; n < messages; n++) await protocol.publish(Buffer.alloc(100_000), '', queue)
    await new Promise<void>(resolve => {
      let handled = 0
      const work: ConsumerCallback = async (own, _body, { deliveryTag }) => {
        await protocol.publish('done', '', results.queue)
        await own.basicClientAck(deliveryTag)
        handled++
        if (handled === messages) resolve()
      }
      void channel.basicConsume(work, queue, { concurrency: 1 })
    })
    const { messageCount } = await channel.queueDeclare(results.queue, { passive: true })
    assert.equal(messageCount, messages)
  })

  it('keeps the consumers of one channel apart, and they are cancelled together from any channel', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    await using other = await fixture.protocol.channel()
    const [first, second] = await Promise.all([channel.queueDeclare(), channel.queueDeclare()])
    const one = deliveryInbox()
    const two = deliveryInbox()
    const tags = await Promise.all([
      channel.basicConsume(one.callback, first.queue),
      channel.basicConsume(two.callback, second.queue, { consumerTag: 'of-the-second' }),
    ])
    assert.equal(tags[1].consumerTag, 'of-the-second')
    assert.notEqual(tags[0].consumerTag, tags[1].consumerTag)
    await other.basicPublish('to the first', '', first.queue)
    await other.basicPublish('to the second', '', second.queue)

    const [toFirst, toSecond] = await Promise.all([one.inbox.next(), two.inbox.next()])
    assert.equal(toFirst.body.toString(), 'to the first')
    assert.equal(toFirst.envelope.consumerTag, tags[0].consumerTag)
    assert.equal(toSecond.body.toString(), 'to the second')
    assert.equal(toSecond.envelope.consumerTag, 'of-the-second')

    // A consumer tag is local to its channel (§1.8.3.3): the other channel's cancel is answered and ends no consumer.
    const cancelled = await Promise.all([
      channel.basicCancel(tags[0].consumerTag),
      other.basicCancel(tags[1].consumerTag),
    ])
    assert.deepEqual(cancelled, tags)
    assert.equal((await channel.queueDeclare(first.queue, { passive: true })).consumerCount, 0)
    assert.equal((await channel.queueDeclare(second.queue, { passive: true })).consumerCount, 1)
    assert.equal(one.inbox.received.length, 1)
    assert.equal(two.inbox.received.length, 1)
  })

  it('with a tag that is in use on the channel rejects, and the first consumer goes on', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    const first = deliveryInbox()
    const second = deliveryInbox()
    await channel.basicConsume(first.callback, queue, { consumerTag: 'tag' })
    const error = await rejection(
      channel.basicConsume(second.callback, queue, { consumerTag: 'tag' }),
      DuplicateConsumerTagError,
    )
    assert.equal(error.consumerTag, 'tag')
    assert.match(error.message, /tag/)

    await channel.basicPublish('payload', '', queue)
    assert.equal((await first.inbox.next()).body.toString(), 'payload')
    assert.equal((await channel.queueDeclare(queue, { passive: true })).consumerCount, 1)
    assert.deepEqual(second.inbox.received, [])
    await channel.basicCancel('tag')
    await channel.basicConsume(second.callback, queue, { consumerTag: 'tag' })
    await channel.basicPublish('again', '', queue)
    assert.equal((await second.inbox.next()).body.toString(), 'again')
  })

  it('works again and again under one tag that is cancelled with noWait, in the midst of deliveries', async () => {
    await using fixture = await openFixture()
    const { channel, errors } = fixture
    const [queues, count] = [[fixture.queueName(), fixture.queueName()], 2_000]
    for (const queue of queues) await channel.queueDeclare(queue)
    await channel.confirmSelect()
    for (let n = 0; n < count; n++) await channel.basicPublish(`${n}`, '', queues[n % 2] ?? '')
    await channel.waitForConfirms()
    const acked = new Set<string>()
    const left = [count / 2, count / 2]
    for (let turns = 0; acked.size < count; turns++) {
      const parity = turns % 2
      let taken = 0
      if (left[parity] === 0) continue
      let stop = (): void => {}
      const some = new Promise<void>(resolve => {
        stop = resolve
      })
      let stopped = false
      const callback: ConsumerCallback = async (ch, body, { deliveryTag }) => {
        assert.ok(!stopped, 'a consumer that was cancelled is called')
        assert.equal(Number(body) % 2, parity, 'a message of another queue')
        assert.ok(!acked.has(String(body)), 'a message that was acked before')
        acked.add(String(body))
        await ch.basicClientAck(deliveryTag)
        taken++
        left[parity] = (left[parity] ?? 0) - 1
        if (taken >= 50 || left[parity] === 0) stop()
      }
      await channel.basicConsume(callback, queues[parity], { consumerTag: 'tag' })
      await some
      stopped = true
      await channel.basicCancel('tag', { noWait: true })
    }
    assert.equal(acked.size, count)
    // Nothing answers the last cancel. What is asked after it on its channel does.
    await channel.basicQos({ prefetchCount: 0 })
    for (const queue of queues) {
      assert.deepEqual(await fixture.inspect(queue), { messageCount: 0, consumerCount: 0 })
    }
    assert.deepEqual(errors, [])
  })

  it('never calls the callback before it has resolved', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    for (let i = 0; i < 20; i++) await channel.basicPublish(`${i}`, '', queue)
    const { inbox, callback } = deliveryInbox()
    const order: string[] = []
    await channel.basicConsume((...delivered) => {
      order.push('called')
      callback(...delivered)
    }, queue)
    order.push('resolved')
    await inbox.take(20)
    assert.deepEqual(order, ['resolved', ...Array<string>(20).fill('called')])
  })

  it('works, as everything before it does, with the calls for two queues started together', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchanges = [fixture.exchangeName(), fixture.exchangeName()] as const
    const queues = [fixture.queueName(), fixture.queueName()] as const
    const inboxes = [deliveryInbox(), deliveryInbox()] as const
    const declared = await Promise.all(queues.map(name => channel.queueDeclare(name, { exclusive: true })))
    assert.deepEqual(
      declared.map(({ queue }) => queue),
      queues,
    )
    await Promise.all(exchanges.map(name => channel.exchangeDeclare(name, 'direct')))
    await Promise.all([
      channel.queueBind(queues[0], exchanges[0], 'key'),
      channel.queueBind(queues[1], exchanges[1], 'key'),
    ])
    const tags = await Promise.all([
      channel.basicConsume(inboxes[0].callback, queues[0]),
      channel.basicConsume(inboxes[1].callback, queues[1]),
    ])
    await Promise.all(exchanges.map(name => channel.publish(`through ${name}`, name, 'key')))
    const delivered = await Promise.all(inboxes.map(({ inbox }) => inbox.next()))
    assert.deepEqual(
      delivered.map(({ body }) => body.toString()),
      exchanges.map(name => `through ${name}`),
    )
    assert.deepEqual(
      delivered.map(({ envelope }) => envelope.consumerTag),
      tags.map(({ consumerTag }) => consumerTag),
    )
  })
})
