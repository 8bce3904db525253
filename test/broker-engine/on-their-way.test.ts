import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as methods from '../../src/protocol/methods.ts'
import { EngineClient, startEngine } from './engine-client.ts'

const MESSAGES = 2100
const PUBLISH = EngineClient.encodePublish(2, '', 'work', 'm')
const MISTAKE = EngineClient.encode(1, methods.BasicAck, { deliveryTag: 999_999 })
const consume = (noAck: boolean, consumerTag = 't') =>
  EngineClient.encode(1, methods.BasicConsume, { queueName: 'work', consumerTag, noAck })
const CANCEL = EngineClient.encode(1, methods.BasicCancel, { consumerTag: 't' })
const CLOSE = { replyCode: 200, replyText: '', classId: 0, methodId: 0 }
const ENDS = {
  'its channel refused something': MISTAKE,
  'its channel was closed': EngineClient.encode(1, methods.ChannelClose, CLOSE),
  'its connection was closed': EngineClient.encode(0, methods.ConnectionClose, CLOSE),
}

function scene(type: string, release: '3.10' | '4.3' = '4.3') {
  const { engine } = startEngine({ release })
  const client = EngineClient.open(engine)
  client.send(1, methods.QueueDeclare, {
    queueName: 'work',
    durable: true,
    arguments: { 'x-queue-type': type },
  })
  client.bytes(Buffer.concat(Array(MESSAGES).fill(PUBLISH)))
  client.take()
  const queue = engine.queue('work', '/')
  assert.equal(queue?.messageCount, MESSAGES)
  return { engine, client, queue }
}

function deliveries(client: EngineClient): number {
  return client.take().filter(({ name }) => name === 'basic.deliver').length
}

describe('Messages on their way to a channel', () => {
  for (const noAck of [true, false]) {
    it(`are at most 200 of a classic queue, ${noAck ? 'without' : 'with'} acknowledgements`, () => {
      const { client, queue } = scene('classic')
      client.isFull = true
      client.bytes(consume(noAck))
      assert.equal(queue.messageCount, MESSAGES - 200)
      assert.equal(deliveries(client), 200)
      client.drain()
      assert.equal(deliveries(client), MESSAGES - 200)
      assert.equal(queue.messageCount, 0)
    })
  }

  it('are given again 50 at a time', () => {
    const { client, queue } = scene('classic')
    client.bytes(Buffer.concat([consume(true), consume(true, 'other')]))
    assert.equal(deliveries(client), MESSAGES)
    assert.equal(queue.messageCount, 0)
    client.isFull = true
    client.bytes(Buffer.concat(Array(300).fill(PUBLISH)))
    assert.equal(queue.messageCount, 100)
    client.drain()
    assert.equal(queue.messageCount, 0)
  })

  it('are all that a channel takes along when its connection is lost, which stands still or does not read', () => {
    for (const stop of ['full', 'frozen']) {
      const { engine, client, queue } = scene('classic')
      client.isFull = true
      if (stop === 'frozen') for (const connection of engine.connections) connection.freeze(true)
      client.bytes(consume(true))
      for (const connection of engine.connections) connection.freeze(false)
      client.lost()
      assert.equal(queue.messageCount, MESSAGES - 200, stop)
    }
  })

  it('are lost with a mistake that came at once, if they need no ack', () => {
    const { client, queue } = scene('classic')
    client.bytes(Buffer.concat([consume(true), MISTAKE]))
    assert.equal(queue.messageCount, MESSAGES - 200)
    assert.equal(queue.consumerCount, 0)
  })

  it('of a quorum queue come back, since they are settled when they arrive', () => {
    const { client, queue } = scene('quorum')
    client.bytes(Buffer.concat([consume(true), MISTAKE]))
    assert.equal(queue.messageCount, MESSAGES)
    client.bytes(Buffer.concat([EngineClient.encode(2, methods.BasicGet, { queueName: 'work' })]))
    assert.equal(client.take().at(-1)?.args.redelivered, true)
  })

  for (const type of ['classic', 'quorum']) {
    for (const [how, end] of Object.entries(ENDS)) {
      it(`of a ${type} queue come back if their consumer was cancelled and at once ${how}`, () => {
        const { client, queue } = scene(type)
        client.bytes(Buffer.concat([consume(false), CANCEL, end]))
        assert.equal(deliveries(client), 0)
        assert.deepEqual([queue.messageCount, queue.unacked.length], [MESSAGES, 0])
      })
    }
  }

  for (const release of ['3.10', '4.3'] as const) {
    it(`are at most 2000 of a quorum queue for a consumer without a limit, as in RabbitMQ ${release}`, () => {
      const { client, queue } = scene('quorum', release)
      client.bytes(consume(false))
      assert.equal(deliveries(client), 2000)
      client.send(1, methods.BasicAck, { deliveryTag: 2000, multiple: true })
      assert.equal(deliveries(client), MESSAGES - 2000)
      client.send(1, methods.BasicAck, { deliveryTag: MESSAGES, multiple: true })
      assert.deepEqual([queue.messageCount, queue.unacked.length], [0, 0])
    })

    it(`are all settled of a quorum queue that needs no acks, as in RabbitMQ ${release}`, () => {
      const { client, queue } = scene('quorum', release)
      client.send(1, methods.BasicQos, { prefetchCount: 5 })
      client.bytes(consume(true))
      assert.equal(deliveries(client), MESSAGES)
      assert.deepEqual([queue.messageCount, queue.unacked.length], [0, 0])
    })
  }
})
