import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AMQPClient } from '@cloudamqp/amqp-client'
import amqplib from 'amqplib'
import { Connection } from 'rabbitmq-client'
import { startBroker } from '../../src/testing/index.ts'

describe('Another client of the broker in the process', () => {
  it('is amqplib', async () => {
    await using broker = await startBroker()
    const connection = await amqplib.connect(broker.url)
    const channel = await connection.createConfirmChannel()
    channel.on('error', () => {})
    await channel.assertQueue('orders')
    channel.sendToQueue('orders', Buffer.from('one'), { persistent: true, headers: { n: 1 } })
    await channel.waitForConfirms()
    const message = await new Promise<amqplib.ConsumeMessage | null>((resolve, reject) => {
      channel.consume('orders', resolve).catch(reject)
    })
    assert.ok(message !== null)
    assert.equal(message.content.toString(), 'one')
    assert.deepEqual({ ...message.properties.headers }, { n: 1 })
    channel.ack(message)
    await broker.queue('orders').emptied()
    await assert.rejects(
      channel.checkQueue('nowhere'),
      /404 \(NOT-FOUND\) with message "NOT_FOUND - no queue 'nowhere'/,
    )
    await connection.close()
  })

  it('is rabbitmq-client', async () => {
    await using broker = await startBroker()
    const rabbit = new Connection(broker.url)
    const publisher = rabbit.createPublisher({ confirm: true, maxAttempts: 1 })
    await rabbit.queueDeclare({ queue: 'orders', durable: true })
    await publisher.send({ routingKey: 'orders', durable: true }, { n: 1 })
    const consumer = rabbit.createConsumer({ queue: 'orders', queueOptions: { durable: true } }, async message => {
      assert.deepEqual(message.body, { n: 1 })
    })
    await broker.queue('orders').hasConsumers(1)
    await broker.queue('orders').emptied()
    await consumer.close()
    await publisher.close()
    await rabbit.close()
  })

  it('is amqp-client', async () => {
    await using broker = await startBroker()
    const connection = await new AMQPClient(broker.url).connect()
    const channel = await connection.channel()
    await channel.confirmSelect()
    await channel.queueDeclare('orders', { durable: true })
    await channel.basicPublish('', 'orders', 'one', { deliveryMode: 2 })
    const text = await new Promise<string | null>((resolve, reject) => {
      channel
        .basicConsume('orders', { noAck: false }, async message => {
          await message.ack()
          resolve(message.bodyString())
        })
        .catch(reject)
    })
    assert.equal(text, 'one')
    await broker.queue('orders').emptied()
    await connection.close()
  })
})
