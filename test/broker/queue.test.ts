import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { openFixture } from '../support/fixture.ts'
import { management } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { rejection } from '../support/rejection.ts'

const vhost = decodeURIComponent(new URL(broker.url).pathname.slice(1)) || '/'
const skip = broker.has('managementUrl') ? false : 'the broker has no management API'

describe('queue.declare', { timeout: 60_000 }, () => {
  it('without a name gives the name the server made, of a queue exclusive to the connection', async () => {
    await using fixture = await openFixture()
    await using stranger = await openFixture()
    const { queue, messageCount, consumerCount } = await fixture.channel.queueDeclare()
    assert.match(queue, /^amq\.gen-/)
    assert.equal(messageCount, 0)
    assert.equal(consumerCount, 0)
    const error = await rejection(stranger.channel.queueDeclare(queue, { passive: true }), ChannelClosedError)
    assert.equal(error.replyCode, 405)
    assert.notEqual((await fixture.channel.queueDeclare()).queue, queue)
  })

  it('gives back the name it was given, and the counts of an empty queue', async () => {
    await using fixture = await openFixture()
    const queue = fixture.queueName()
    assert.deepEqual(await fixture.channel.queueDeclare(queue), { queue, messageCount: 0, consumerCount: 0 })
  })

  it('in its passive form gives the counts of a queue that is there', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const queue = fixture.queueName()
    await channel.queueDeclare(queue)
    await channel.confirmSelect()
    await channel.publish('payload', '', queue)
    const counts = { queue, messageCount: 1, consumerCount: 0 }
    assert.deepEqual(await channel.queueDeclare(queue, { passive: true }), counts)
    assert.deepEqual(await channel.queue(queue, { passive: true, exclusive: true }), counts)
  })

  it('takes arguments past 31 bits as the integers they are', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const queue = fixture.queueName()
    const options = { arguments: { 'x-message-ttl': 2_147_483_648, 'x-max-length': 5 } }
    assert.equal((await channel.queueDeclare(queue, options)).queue, queue)
    assert.equal((await channel.queueDeclare(queue, options)).queue, queue)
    const other = { arguments: { 'x-message-ttl': 2_147_483_647, 'x-max-length': 5 } }
    const error = await rejection(channel.queueDeclare(queue, other), ChannelClosedError)
    assert.equal(error.replyCode, 406)
    assert.match(error.replyText ?? '', /inequivalent arg 'x-message-ttl'.*received.*2147483647.*current.*2147483648/)
  })

  it('in its passive form closes the channel with 404 if there is none', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const missing = uniqueName('missing')
    const error = await rejection(channel.queueDeclare(missing, { passive: true }), ChannelClosedError)
    assert.equal(error.replyCode, 404)
    assert.ok(error.replyText?.startsWith(`NOT_FOUND - no queue '${missing}' in vhost '`), error.replyText)
    assert.equal(error.method, 'queue.declare')
    assert.ok(error.message.startsWith(`queue.declare of "${missing}" failed`), error.message)
    assert.equal(channel.isOpen, false)
  })

  it('again with other flags closes the channel with 406, or 405 if they say exclusive', async () => {
    await using fixture = await openFixture()
    const queue = fixture.queueName()
    await fixture.channel.queueDeclare(queue, { durable: true })
    for (const [options, replyCode, text] of [
      [{ durable: true, autoDelete: true }, 406, "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue"],
      [{ durable: false }, 406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue"],
      [{ durable: true, exclusive: true }, 405, 'RESOURCE_LOCKED - cannot obtain exclusive access to locked queue'],
    ] as const) {
      const channel = await fixture.protocol.channel()
      const error = await rejection(channel.queueDeclare(queue, options), ChannelClosedError)
      assert.equal(error.replyCode, replyCode)
      assert.ok(error.replyText?.startsWith(text), error.replyText)
    }
  })

  it('of one queue on two channels finds the same queue', async () => {
    await using fixture = await openFixture()
    await using other = await fixture.protocol.channel()
    const queue = fixture.queueName()
    const declared = await Promise.all([fixture.channel.queueDeclare(queue), other.queueDeclare(queue)])
    assert.deepEqual(
      declared.map(({ queue: name }) => name),
      [queue, queue],
    )
    await fixture.channel.confirmSelect()
    await fixture.channel.publish('payload', '', queue)
    assert.equal((await other.basicGet(queue))?.body.toString(), 'payload')
  })

  // RabbitMQ 4 may refuse a queue that is neither durable nor exclusive, so the transient ones are exclusive.
  for (const durable of [false, true]) {
    for (const autoDelete of [false, true]) {
      it(`with durable ${durable} and autoDelete ${autoDelete} makes such a queue`, { skip }, async () => {
        await using fixture = await openFixture()
        const queue = fixture.queueName()
        await fixture.channel.queueDeclare(queue, { durable, autoDelete, exclusive: !durable })
        const info = await management().queue(vhost, queue)
        assert.equal(info?.durable, durable)
        assert.equal(info?.auto_delete, autoDelete)
        assert.equal(info?.exclusive, !durable)
      })
    }
  }

  it('as exclusive refuses the consumer of another connection with 405', async () => {
    await using fixture = await openFixture()
    await using stranger = await openFixture()
    const queue = fixture.queueName()
    await fixture.channel.queueDeclare(queue, { exclusive: true })
    const error = await rejection(
      stranger.channel.basicConsume(() => {}, queue),
      ChannelClosedError,
    )
    assert.equal(error.replyCode, 405)
    assert.ok(error.replyText?.startsWith('RESOURCE_LOCKED - cannot obtain exclusive access'), error.replyText)
    assert.equal(error.method, 'basic.consume')
    assert.equal(stranger.protocol.state, 'open')
  })

  it('as not exclusive admits the consumer of another connection', async () => {
    await using fixture = await openFixture()
    await using stranger = await openFixture()
    const queue = fixture.queueName()
    await fixture.channel.queueDeclare(queue, { exclusive: false })
    const { consumerTag } = await stranger.channel.basicConsume(() => {}, queue)
    assert.notEqual(consumerTag, '')
    assert.equal((await fixture.inspect(queue)).consumerCount, 1)
  })
})

describe('queue.delete', { timeout: 60_000 }, () => {
  it('gives the count of the messages that went with the queue', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('payload', '', queue)
    assert.deepEqual(await channel.queueDelete(queue), { messageCount: 1 })
    const error = await rejection(channel.queueDeclare(queue, { passive: true }), ChannelClosedError)
    assert.equal(error.replyCode, 404)
  })

  it('of a queue that is not there is answered with 0', async () => {
    await using fixture = await openFixture()
    assert.deepEqual(await fixture.channel.queueDelete(uniqueName('missing')), { messageCount: 0 })
    assert.equal(fixture.channel.isOpen, true)
  })
})

describe('queue.bind and queue.unbind', { timeout: 60_000 }, () => {
  it('binding lets the messages of the exchange reach the queue', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    await channel.exchangeDeclare(exchange, 'direct')
    const { queue } = await channel.queueDeclare()
    assert.equal(await channel.queueBind(queue, exchange, 'key'), undefined)
    await channel.basicPublish('payload', exchange, 'key')
    assert.equal((await channel.basicGet(queue))?.body.toString(), 'payload')
  })

  it('binding to an exchange that is not there closes the channel with 404', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    const missing = uniqueName('missing')
    const error = await rejection(channel.queueBind(queue, missing, 'key'), ChannelClosedError)
    assert.equal(error.replyCode, 404)
    assert.ok(error.replyText?.startsWith(`NOT_FOUND - no exchange '${missing}'`), error.replyText)
    assert.equal(error.method, 'queue.bind')
  })

  it('binding a queue that is not there closes the channel with 404', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    await channel.exchangeDeclare(exchange, 'direct')
    const missing = uniqueName('missing')
    const error = await rejection(channel.queueBind(missing, exchange, 'key'), ChannelClosedError)
    assert.equal(error.replyCode, 404)
    assert.ok(error.replyText?.startsWith(`NOT_FOUND - no queue '${missing}'`), error.replyText)
    assert.equal(error.method, 'queue.bind')
  })

  it('unbinding stops them', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const exchange = fixture.exchangeName()
    await channel.exchangeDeclare(exchange, 'direct')
    const { queue } = await channel.queueDeclare()
    await channel.queueBind(queue, exchange, 'key')
    assert.equal(await channel.queueUnbind(queue, exchange, 'key'), undefined)
    await channel.basicPublish('payload', exchange, 'key')
    assert.equal(await channel.basicGet(queue), null)
  })
})

describe('queue.purge', { timeout: 60_000 }, () => {
  it('gives the count of the messages it removed', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    assert.deepEqual(await channel.queuePurge(queue), { messageCount: 0 })
    await channel.basicPublish('one', '', queue)
    await channel.basicPublish('two', '', queue)
    assert.deepEqual(await channel.queuePurge(queue), { messageCount: 2 })
    assert.equal(await channel.basicGet(queue), null)
  })

  it('of a queue that is not there closes the channel with 404', async () => {
    await using fixture = await openFixture()
    const missing = uniqueName('missing')
    const error = await rejection(fixture.channel.queuePurge(missing), ChannelClosedError)
    assert.equal(error.replyCode, 404)
    assert.ok(error.replyText?.startsWith(`NOT_FOUND - no queue '${missing}'`), error.replyText)
    assert.equal(error.method, 'queue.purge')
    assert.equal(fixture.channel.isOpen, false)
  })
})
