import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError, ConnectionClosedError } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { openFixture } from '../support/fixture.ts'
import { uniqueName } from '../support/names.ts'
import { rejection } from '../support/rejection.ts'

describe('exchange.declare', { timeout: 60_000 }, () => {
  for (const type of ['direct', 'fanout', 'topic', 'headers']) {
    it(`makes a ${type} exchange`, async () => {
      await using fixture = await openFixture()
      const { channel } = fixture
      const exchange = fixture.exchangeName(type)
      assert.equal(await channel.exchangeDeclare(exchange, type), undefined)
      assert.equal(await channel.exchange(exchange, type, { passive: true }), undefined)
      const { queue } = await channel.queueDeclare()
      await channel.queueBind(queue, exchange, 'key', { arguments: { 'x-match': 'all', kind: 'any' } })
      await channel.basicPublish('payload', exchange, 'key', { headers: { kind: 'any' } })
      assert.equal((await channel.basicGet(queue))?.body.toString(), 'payload')
    })
  }

  it('again with another type or other flags closes the channel with 406', async () => {
    await using fixture = await openFixture()
    const exchange = fixture.exchangeName()
    await fixture.channel.exchangeDeclare(exchange, 'direct', { durable: true })
    for (const [type, options, argument] of [
      ['fanout', {}, 'type'],
      ['direct', { durable: false }, 'durable'],
      ['direct', { autoDelete: true }, 'auto_delete'],
    ] as const) {
      const channel = await fixture.protocol.channel()
      const error = await rejection(channel.exchangeDeclare(exchange, type, options), ChannelClosedError)
      assert.equal(error.replyCode, 406)
      assert.ok(error.replyText?.startsWith(`PRECONDITION_FAILED - inequivalent arg '${argument}'`), error.replyText)
      assert.equal(error.method, 'exchange.declare')
      assert.equal(channel.isOpen, false)
    }
  })

  it('in its passive form finds an exchange whatever its flags', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    await channel.exchangeDeclare(exchange, 'direct', { durable: true })
    const options = { passive: true, durable: false, autoDelete: true }
    assert.equal(await channel.exchangeDeclare(exchange, 'direct', options), undefined)
    assert.equal(channel.isOpen, true)
  })

  it('in its passive form closes the channel with 404 if there is none', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const missing = uniqueName('missing')
    const error = await rejection(channel.exchangeDeclare(missing, 'direct', { passive: true }), ChannelClosedError)
    assert.equal(error.replyCode, 404)
    assert.ok(error.replyText?.startsWith(`NOT_FOUND - no exchange '${missing}' in vhost '`), error.replyText)
    assert.equal(error.method, 'exchange.declare')
    assert.ok(error.message.includes(missing), error.message)
    assert.equal(channel.isOpen, false)
  })

  it('with an unknown type is refused: before RabbitMQ 4 with the connection (503), since then with the channel (406)', async () => {
    await using fixture = await openFixture()
    const { channel, protocol } = fixture
    const declaring = channel.exchangeDeclare(fixture.exchangeName(), 'no-such-type')
    if (broker.isAtLeast(4)) {
      const error = await rejection(declaring, ChannelClosedError)
      assert.equal(error.replyCode, 406)
      assert.equal(error.replyText, "PRECONDITION_FAILED - unknown exchange type 'no-such-type'")
      assert.equal(error.method, 'exchange.declare')
      assert.equal(channel.isOpen, false)
      assert.equal(protocol.state, 'open')
      return
    }
    const error = await rejection(declaring, ConnectionClosedError)
    assert.equal(error.replyCode, 503)
    assert.equal(error.replyText, "COMMAND_INVALID - unknown exchange type 'no-such-type'")
    assert.equal(error.classId, 40)
    assert.equal(error.methodId, 10)
    assert.equal(channel.isOpen, false)
    assert.equal((await rejection(protocol.waitClosed(), ConnectionClosedError)).replyCode, 503)
    assert.equal(protocol.state, 'closed')
  })
})

describe('exchange.delete', { timeout: 60_000 }, () => {
  it('removes the exchange: a passive declare gives 404 afterwards', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    await channel.exchangeDeclare(exchange, 'direct')
    assert.equal(await channel.exchangeDelete(exchange), undefined)
    const error = await rejection(channel.exchangeDeclare(exchange, 'direct', { passive: true }), ChannelClosedError)
    assert.equal(error.replyCode, 404)
  })

  it('twice does no harm', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    await channel.exchangeDeclare(exchange, 'direct')
    await channel.exchangeDelete(exchange)
    assert.equal(await channel.exchangeDelete(exchange), undefined)
    assert.equal(channel.isOpen, true)
  })
})

describe('exchange.bind and exchange.unbind', { timeout: 60_000 }, () => {
  it('binding lets messages of the source reach the queues of the destination', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const [destination, source] = [fixture.exchangeName('destination'), fixture.exchangeName('source')]
    await channel.exchangeDeclare(destination, 'direct')
    await channel.exchangeDeclare(source, 'direct')
    const { queue } = await channel.queueDeclare()
    await channel.queueBind(queue, destination, 'key')
    assert.equal(await channel.exchangeBind(destination, source, 'key'), undefined)
    await channel.basicPublish('payload', source, 'key')
    assert.equal((await channel.basicGet(queue))?.envelope.exchangeName, source)
  })

  it('binding exchanges that are not there closes the channel with 404', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const missing = uniqueName('missing')
    const binding = channel.exchangeBind(missing, uniqueName('missing'), 'key')
    const error = await rejection(binding, ChannelClosedError)
    assert.equal(error.replyCode, 404)
    assert.ok(error.replyText?.startsWith("NOT_FOUND - no exchange 'missing"), error.replyText)
    assert.equal(error.method, 'exchange.bind')
  })

  it('unbinding stops them', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const [destination, source] = [fixture.exchangeName('destination'), fixture.exchangeName('source')]
    await channel.exchangeDeclare(destination, 'fanout')
    await channel.exchangeDeclare(source, 'direct')
    const { queue } = await channel.queueDeclare()
    await channel.queueBind(queue, destination)
    await channel.exchangeBind(destination, source, 'key')
    assert.equal(await channel.exchangeUnbind(destination, source, 'key'), undefined)
    await channel.basicPublish('payload', source, 'key')
    assert.equal(await channel.basicGet(queue), null)
  })

  it('unbinding with the names the wrong way round is answered and leaves the binding', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const [destination, source] = [fixture.exchangeName('destination'), fixture.exchangeName('source')]
    await channel.exchangeDeclare(destination, 'fanout')
    await channel.exchangeDeclare(source, 'direct')
    const { queue } = await channel.queueDeclare()
    await channel.queueBind(queue, destination)
    await channel.exchangeBind(destination, source, 'key')
    assert.equal(await channel.exchangeUnbind(source, destination, 'key'), undefined)
    await channel.basicPublish('payload', source, 'key')
    assert.equal((await channel.basicGet(queue))?.body.toString(), 'payload')
  })
})
