import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConnectionClosedError, EncodeError } from '../../src/index.ts'
import { deliveryInbox, openFixture } from '../support/fixture.ts'
import { rejection } from '../support/rejection.ts'

describe('basic.qos', { timeout: 60_000 }, () => {
  it('is answered when called without arguments', async () => {
    await using fixture = await openFixture()
    assert.equal(await fixture.channel.basicQos(), undefined)
  })

  it('limits the unacknowledged deliveries to the prefetch count', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    await channel.confirmSelect()
    const { queue } = await channel.queueDeclare()
    await channel.basicQos({ prefetchSize: 0, prefetchCount: 2, connectionGlobal: false })
    await Promise.all(['one', 'two', 'three'].map(body => channel.publish(body, '', queue)))
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)

    const [first] = await inbox.take(2)
    assert.equal((await channel.queueDeclare(queue, { passive: true })).messageCount, 1)
    assert.equal(inbox.received.length, 2)
    await channel.basicClientAck(first?.envelope.deliveryTag ?? 0)
    assert.equal((await inbox.next()).body.toString(), 'three')
  })

  it('with a prefetch size makes the broker close the connection with 540, which rejects the call', async () => {
    await using fixture = await openFixture()
    const error = await rejection(fixture.channel.basicQos({ prefetchSize: 10 }), ConnectionClosedError)
    assert.equal(error.replyCode, 540)
    assert.equal(error.replyText, 'NOT_IMPLEMENTED - prefetch_size!=0 (10)')
    assert.equal(error.classId, 60)
    assert.equal(error.methodId, 10)
    assert.equal(fixture.channel.isOpen, false)
    const reason = await rejection(fixture.protocol.waitClosed(), ConnectionClosedError)
    assert.equal(reason.replyCode, 540)
    assert.equal(fixture.protocol.state, 'closed')
  })

  for (const [argument, options] of [
    ['prefetchCount', { prefetchCount: 65_536 }],
    ['prefetchCount', { prefetchCount: -1 }],
    ['prefetchCount', { prefetchCount: 1.5 }],
    ['prefetchSize', { prefetchSize: 2 ** 32 }],
  ] as const) {
    it(`with ${JSON.stringify(options)} rejects with an EncodeError that names it, and the channel goes on`, async () => {
      await using fixture = await openFixture()
      const error = await rejection(fixture.channel.basicQos(options), EncodeError)
      assert.match(error.message, new RegExp(argument))
      await fixture.channel.basicQos({ prefetchCount: 65_535 })
      assert.equal(fixture.channel.isOpen, true)
    })
  }
})

describe('basic.cancel', { timeout: 60_000 }, () => {
  it('ends the consumer: a message published afterwards stays in the queue', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    await channel.confirmSelect()
    const { queue } = await channel.queueDeclare()
    const { inbox, callback } = deliveryInbox()
    const { consumerTag } = await channel.basicConsume(callback, queue)
    assert.equal((await channel.queueDeclare(queue, { passive: true })).consumerCount, 1)

    assert.deepEqual(await channel.basicCancel(consumerTag), { consumerTag })
    await channel.publish('payload', '', queue)
    const { messageCount, consumerCount } = await channel.queueDeclare(queue, { passive: true })
    assert.equal(messageCount, 1)
    assert.equal(consumerCount, 0)
    assert.deepEqual(inbox.received, [])
  })

  it('of an unknown consumer tag is answered with that tag', async () => {
    await using fixture = await openFixture()
    assert.deepEqual(await fixture.channel.basicCancel('unknown-tag'), { consumerTag: 'unknown-tag' })
    assert.equal(fixture.channel.isOpen, true)
  })
})

describe('basic.get', { timeout: 60_000 }, () => {
  it('gives body, envelope, properties and the count of messages after it', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    const { queue } = await channel.queueDeclare()
    await channel.exchangeDeclare(exchange, 'direct')
    await channel.queueBind(queue, exchange, 'key')
    await channel.basicPublish('payload', exchange, 'key', { correlationId: 'id-1', headers: { attempt: 3 } })
    await channel.basicPublish('next', exchange, 'key')

    const message = await channel.basicGet(queue)
    assert.ok(message !== null)
    assert.ok(Buffer.isBuffer(message.body))
    assert.equal(message.body.toString(), 'payload')
    assert.equal(message.messageCount, 1)
    assert.equal(message.envelope.deliveryTag, 1)
    assert.equal(message.envelope.isRedeliver, false)
    assert.equal(message.envelope.exchangeName, exchange)
    assert.equal(message.envelope.routingKey, 'key')
    assert.equal(message.properties.correlationId, 'id-1')
    assert.deepEqual({ ...message.properties.headers }, { attempt: 3 })
    assert.equal(message.properties.contentType, undefined)
  })

  it('of an empty queue gives null', async () => {
    await using fixture = await openFixture()
    const { queue } = await fixture.channel.queueDeclare()
    assert.equal(await fixture.channel.basicGet(queue), null)
  })
})

describe('settling a delivery', { timeout: 60_000 }, () => {
  it('with basicClientAck removes the message for good', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('payload', '', queue)
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)
    const { envelope } = await inbox.next()
    assert.equal(envelope.deliveryTag, 1)
    assert.equal(await channel.basicClientAck(envelope.deliveryTag), true)
    await channel.close()
    assert.equal((await fixture.inspect(queue)).messageCount, 0)
  })

  it('is undone by the end of the channel if nothing was settled', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('payload', '', queue)
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)
    await inbox.next()
    await channel.close()
    assert.equal((await fixture.inspect(queue)).messageCount, 1)
  })

  it('with basicClientNack, multiple and no requeue inside a callback drops everything up to its tag', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    for (const body of ['one', 'two', 'three', 'four']) await channel.basicPublish(body, '', queue)
    const { inbox, callback } = deliveryInbox()
    const settled: boolean[] = []
    await channel.basicConsume(async (from, body, envelope, properties) => {
      if (body.toString() === 'three') {
        settled.push(await from.basicClientNack(envelope.deliveryTag, { multiple: true, requeue: false }))
      }
      callback(from, body, envelope, properties)
    }, queue)
    await inbox.take(4)
    assert.deepEqual(settled, [true])
    await channel.close()

    await using reader = await fixture.protocol.channel()
    const left = await reader.basicGet(queue, { noAck: true })
    assert.equal(left?.body.toString(), 'four')
    assert.equal(left?.messageCount, 0)
  })

  it('with basicClientNack and no requeue drops the message', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('payload', '', queue)
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)
    const { envelope } = await inbox.next()
    assert.equal(await channel.basicClientNack(envelope.deliveryTag, { requeue: false }), true)
    await channel.close()
    assert.equal((await fixture.inspect(queue)).messageCount, 0)
  })

  it('with basicClientNack gives the message back, marked as redelivered', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('payload', '', queue)
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)
    const first = await inbox.next()
    assert.equal(first.envelope.isRedeliver, false)
    assert.equal(await channel.basicClientNack(first.envelope.deliveryTag, { requeue: true }), true)
    const again = await inbox.next()
    assert.equal(again.body.toString(), 'payload')
    assert.equal(again.envelope.isRedeliver, true)
    assert.equal(again.envelope.deliveryTag, 2)
    assert.equal(await channel.basicClientAck(again.envelope.deliveryTag), true)
    await channel.close()
    assert.equal((await fixture.inspect(queue)).messageCount, 0)
  })

  it('with basicReject drops the message unless it asks for a requeue', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('payload', '', queue)
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)
    const first = await inbox.next()
    assert.equal(await channel.basicReject(first.envelope.deliveryTag, { requeue: true }), true)
    const again = await inbox.next()
    assert.equal(again.envelope.isRedeliver, true)
    assert.equal(await channel.basicReject(again.envelope.deliveryTag), true)
    await channel.close()
    assert.equal((await fixture.inspect(queue)).messageCount, 0)
  })
})
