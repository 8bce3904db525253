import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { broker } from '../support/broker.ts'
import { deliveryInbox, openFixture } from '../support/fixture.ts'

describe('properties', { timeout: 60_000 }, () => {
  it('carry replyTo and correlationId from one channel to another and the answer back', async () => {
    await using fixture = await openFixture()
    const { channel: client } = fixture
    await using server = await fixture.protocol.channel()
    const exchange = fixture.exchangeName()
    await client.exchangeDeclare(exchange, 'direct')
    const requests = (await server.queueDeclare()).queue
    const replies = (await client.queueDeclare()).queue
    await server.queueBind(requests, exchange, 'request')
    await client.queueBind(replies, exchange, replies)

    await server.basicConsume(async (channel, body, envelope, { replyTo, correlationId }) => {
      await channel.basicPublish(`re: ${body}`, exchange, replyTo ?? '', { correlationId })
      await channel.basicClientAck(envelope.deliveryTag)
    }, requests)
    const { inbox, callback } = deliveryInbox()
    await client.basicConsume(callback, replies, { noAck: true })
    await client.basicPublish('question', exchange, 'request', { replyTo: replies, correlationId: 'id-1' })

    const { body, envelope, properties } = await inbox.next()
    assert.equal(body.toString(), 're: question')
    assert.equal(envelope.routingKey, replies)
    assert.equal(properties.correlationId, 'id-1')
    assert.equal(properties.replyTo, undefined)
    assert.deepEqual(fixture.errors, [])
  })

  it('arrive as they were sent, all fourteen', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    const sent = {
      contentType: 'text/plain',
      contentEncoding: 'utf-8',
      headers: { text: 'ünï', list: [1, 'two', true, null], nested: { deep: 0.5 }, when: new Date(1_700_000_000_000) },
      deliveryMode: 2,
      priority: 7,
      correlationId: 'correlation',
      replyTo: 'reply-to',
      expiration: '60000',
      messageId: 'message',
      timestamp: new Date(1_700_000_001_000),
      messageType: 'type',
      // RabbitMQ only takes the name of the user who is logged in.
      userId: broker.login,
      appId: 'app',
      clusterId: 'cluster',
    }
    await channel.basicPublish('payload', '', queue, sent)
    const message = await channel.basicGet(queue, { noAck: true })
    assert.ok(message !== null)
    for (const name of Object.keys(sent) as (keyof typeof sent)[]) {
      if (name !== 'headers') assert.deepEqual(message.properties[name], sent[name], name)
    }
    const { headers } = message.properties
    const names = Object.keys(sent.headers)
    // RabbitMQ 4 sorts the headers, though not the tables in them.
    assert.deepEqual(Object.keys(headers ?? {}), broker.isAtLeast(4) ? names.sort() : names)
    assert.equal(headers?.['text'], 'ünï')
    assert.deepEqual(headers?.['list'], [1, 'two', true, null])
    assert.deepEqual({ ...(headers?.['nested'] as object) }, { deep: 0.5 })
    assert.deepEqual(headers?.['when'], sent.headers.when)
  })
})
