import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MessageReturnedError, type ReturnCallback } from '../../src/index.ts'
import { openFixture } from '../support/fixture.ts'
import { Inbox } from '../support/inbox.ts'
import { rejection } from '../support/rejection.ts'

describe('basic.publish', { timeout: 60_000 }, () => {
  it('routes a message through its exchange to the bound queue', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    const { queue } = await channel.queueDeclare()
    await channel.exchangeDeclare(exchange, 'fanout')
    await channel.queueBind(queue, exchange)
    assert.equal(await channel.publish('payload', exchange, ''), undefined)
    const message = await channel.basicGet(queue)
    assert.equal(message?.body.toString(), 'payload')
    assert.equal(message?.messageCount, 0)
    assert.equal(message?.envelope.exchangeName, exchange)
  })

  it('takes an empty body', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('', '', queue)
    await channel.basicPublish(new Uint8Array(0), '', queue)
    for (const left of [1, 0]) {
      const message = await channel.basicGet(queue)
      assert.equal(message?.body.length, 0)
      assert.equal(message?.messageCount, left)
    }
  })

  it('takes a body of 1 MB', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    const payload = Buffer.alloc(1_000_000)
    for (let i = 0; i < payload.length; i++) payload[i] = i % 253
    await channel.basicPublish(payload, '', queue)
    const message = await channel.basicGet(queue)
    assert.equal(message?.body.length, 1_000_000)
    assert.ok(message?.body.equals(payload))
  })

  it('takes strings of a million characters, sent as UTF-8', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    const texts = ['ü'.repeat(1_000_000), '\u{1F407}x'.repeat(333_334)]
    for (const text of texts) await channel.publish(text, '', queue)
    for (const text of texts) {
      const message = await channel.basicGet(queue)
      assert.ok(message?.body.equals(Buffer.from(text)), `a body of ${message?.body.length} bytes`)
    }
    assert.equal(await channel.basicGet(queue), null)
  })

  it('after confirm.select resolves when the broker has confirmed the message', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    assert.equal(await channel.confirmSelect(), undefined)
    const { queue } = await channel.queueDeclare()
    assert.equal(await channel.publish('payload', '', queue), undefined)
    assert.equal((await fixture.inspect(queue)).messageCount, 1)
    await Promise.all(Array.from({ length: 100 }, (_, i) => channel.publish(`${i}`, '', queue)))
    assert.equal((await fixture.inspect(queue)).messageCount, 101)
  })

  it('as mandatory gives an unroutable message to the return callback', async () => {
    await using fixture = await openFixture()
    const returned = new Inbox<Parameters<ReturnCallback>>()
    await using channel = await fixture.protocol.channel({ returnCallback: (...args) => returned.add(args) })
    const exchange = fixture.exchangeName()
    await channel.exchangeDeclare(exchange, 'direct')
    await channel.basicPublish('payload', exchange, 'nowhere', { messageId: 'message-1' }, { mandatory: true })

    const [given, body, envelope, properties] = await returned.next()
    assert.equal(given, channel)
    assert.equal(body.toString(), 'payload')
    assert.equal(envelope.replyCode, 312)
    assert.equal(envelope.replyText, 'NO_ROUTE')
    assert.equal(envelope.exchangeName, exchange)
    assert.equal(envelope.routingKey, 'nowhere')
    assert.equal(properties.messageId, 'message-1')
    assert.equal(returned.received.length, 1)
  })

  it('as mandatory and confirmed rejects with the returned message', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    await channel.confirmSelect()
    const publishing = channel.publish('payload', '', 'no-such-queue', { appId: 'app' }, { mandatory: true })
    const error = await rejection(publishing, MessageReturnedError)
    assert.equal(error.replyCode, 312)
    assert.equal(error.replyText, 'NO_ROUTE')
    assert.equal(error.outcome, 'refused')
    assert.equal(error.body.toString(), 'payload')
    assert.equal(channel.isOpen, true)
  })
})
