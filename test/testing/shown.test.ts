import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { connect } from 'asyncamqp'
import { type Broker, createMessage, startBroker } from 'asyncamqp/testing'

describe('What console.log shows', () => {
  const connected = (broker: Broker) => connect({ ...broker.inMemory, connectionName: 'shop' })

  it('says of a protocol and its channels where and how they are', async () => {
    await using broker = await startBroker()
    await using protocol = await connected(broker)
    const channel = await protocol.channel()
    assert.equal(
      inspect(protocol, { breakLength: Number.POSITIVE_INFINITY }),
      `AmqpProtocol { state: 'open', server: '127.0.0.1:${broker.port}', virtualHost: '/', connectionName: 'shop', openChannels: 1 }`,
    )
    assert.equal(inspect(channel), 'Channel { channelId: 1, isOpen: true }')
    broker.block('low on memory')
    const blocked = once(protocol, 'blocked')
    await channel.basicPublish('paid', '', 'orders')
    await blocked
    assert.match(inspect(protocol), /blockedReason: 'low on memory'/)
    broker.unblock()
    await protocol.close()
    assert.match(inspect(protocol), /^AmqpProtocol \{\s+state: 'closed'/)
    assert.equal(inspect(channel), 'Channel { channelId: 1, isOpen: false }')
  })

  it('says of publishers, consumers and RPC clients what they have in hand', async () => {
    await using broker = await startBroker()
    await using protocol = await connected(broker)
    const channel = await protocol.channel()
    await channel.queueDeclare('orders')
    const publisher = await protocol.publisher()
    assert.equal(inspect(publisher), "Publisher { exchangeName: '', pending: 0, resent: 0 }")
    const consumer = await protocol.consumer('orders', () => {})
    assert.match(inspect(consumer), /^Consumer \{\s+queueName: 'orders',\s+consumerTag: 'ctag-1',\s+state: 'consuming'/)
    const client = await protocol.rpcClient()
    const call = client.call('orders', 'request', { timeout: 60_000 })
    assert.equal(inspect(client), 'RpcClient { pending: 1 }')
    await client.close()
    await assert.rejects(call)
  })

  it('says of a message what came, and nothing of who settles it', async () => {
    const envelope = { consumerTag: 'tag', deliveryTag: 7, exchangeName: '', routingKey: 'orders', isRedeliver: false }
    const message = createMessage('paid', { envelope, properties: { messageId: 'order-1' } })
    assert.match(
      inspect(message),
      /^CreatedMessage \{\s+body: <Buffer 70 61 69 64>,\s+envelope: \{\s+consumerTag: 'tag'/,
    )
    assert.doesNotMatch(inspect(message), /acker|controller/)
    message.ack()
    assert.match(inspect(message), /settlement: \{ how: 'ack', requeue: false \}/)
    assert.deepEqual(JSON.parse(JSON.stringify(message)), {
      body: { type: 'Buffer', data: [...Buffer.from('paid')] },
      envelope,
      properties: { messageId: 'order-1' },
      settlement: { how: 'ack', requeue: false },
    })
  })

  it('says of a broker for tests and its parts what is there', async () => {
    await using broker = await startBroker()
    await using protocol = await connected(broker)
    const channel = await protocol.channel()
    await channel.queueDeclare('orders')
    await protocol.publish('paid', '', 'orders')
    assert.match(
      inspect(broker),
      /^Broker \{\s+url: 'amqp:.*',\s+state: 'running',\s+connections: 1,\s+queueNames: \[ 'orders' \]/,
    )
    const queue = inspect(broker.queue('orders'), { breakLength: Number.POSITIVE_INFINITY })
    assert.equal(queue, "QueueView { name: 'orders', vhost: '/', type: 'classic', ready: 1, unacked: 0, consumers: 0 }")
    assert.equal(inspect(broker.queue('none')), "QueueView { name: 'none', vhost: '/', exists: false }")
    assert.match(inspect(broker.exchange('amq.topic')), /^ExchangeView \{.*type: 'topic', bindings: 0 \}$/)
    assert.match(inspect(broker.connections), /^\[\s+ConnectionView \{\s+name: 'shop'/)
    assert.equal(inspect({ in: { an: broker } }, { depth: 1 }), '{ in: { an: [Broker] } }')
  })
})
