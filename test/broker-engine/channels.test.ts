import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import * as methods from '../../src/protocol/methods.ts'
import { EngineClient, startEngine } from './engine-client.ts'

const { encode, encodePublish } = EngineClient

describe('A channel of the broker', () => {
  it('answers in RabbitMQ’s order: consume-ok comes after what the channel had already got', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.bytes(
      Buffer.concat([
        encode(1, methods.QueueDeclare, { queueName: 'a', durable: true }),
        encode(1, methods.BasicConsume, { queueName: 'a', consumerTag: 'tag' }),
        encodePublish(1, '', 'a', 'body'),
        encode(1, methods.BasicQos, { prefetchCount: 1 }),
      ]),
    )
    assert.deepEqual(client.lines(), [
      '1 queue.declare-ok',
      '1 basic.qos-ok',
      '1 basic.consume-ok',
      '1 basic.deliver body',
    ])
  })

  it('takes one ack for any number of deliveries', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'a', durable: true })
    client.send(1, methods.BasicConsume, { queueName: 'a', consumerTag: 'tag' })
    const publishes = Buffer.concat(new Array(1_000).fill(encodePublish(2, '', 'a', '')))
    // More than a call can have arguments.
    for (let thousands = 0; thousands < 140; thousands++) {
      client.bytes(publishes)
      client.take()
    }
    client.send(1, methods.BasicAck, { deliveryTag: 0, multiple: true })
    client.send(1, methods.QueueDeclare, { queueName: 'a', passive: true })
    assert.deepEqual(client.lines(), ['1 queue.declare-ok'])
  })

  it('sends one of consume-ok and cancel-ok if both are asked for at once', () => {
    for (const [release, answer] of [
      ['3.10', '1 basic.consume-ok'],
      ['4.3', '1 basic.cancel-ok'],
    ] as const) {
      const { engine } = startEngine({ release })
      const client = EngineClient.open(engine)
      client.send(1, methods.QueueDeclare, { queueName: 'a', durable: true })
      client.take()
      client.bytes(
        Buffer.concat([
          encode(1, methods.BasicConsume, { queueName: 'a', consumerTag: 'tag' }),
          encode(1, methods.BasicCancel, { consumerTag: 'tag' }),
        ]),
      )
      assert.deepEqual(client.lines(), [answer])
    }
  })

  it('sends nothing of its queues after it was closed', () => {
    for (const release of ['3.10', '4.3'] as const) {
      const client = EngineClient.open(startEngine({ release }).engine)
      client.send(1, methods.QueueDeclare, { queueName: 'work' })
      client.take()
      const consume = (consumerTag: string) =>
        EngineClient.encode(1, methods.BasicConsume, { queueName: 'work', consumerTag, exclusive: true })
      client.bytes(Buffer.concat([consume('first'), consume('second')]))
      assert.deepEqual(client.lines(), ['1 channel.close'])
    }
  })

  it('counts what was asked for before its limit was set, as RabbitMQ 3.10 does, and holds consumers without acks to it', () => {
    const { engine } = startEngine({ release: '3.10' })
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'a', durable: true })
    client.publish(1, '', 'a', '1')
    client.publish(1, '', 'a', '2')
    client.send(1, methods.BasicGet, { queueName: 'a' })
    client.send(1, methods.BasicQos, { prefetchCount: 1, connectionGlobal: true })
    client.take()
    client.send(1, methods.BasicConsume, { queueName: 'a', noAck: true })
    assert.deepEqual(client.lines(), ['1 basic.consume-ok'])
    client.send(1, methods.BasicQos, { prefetchCount: 0, connectionGlobal: true })
    assert.deepEqual(client.lines(), ['1 basic.qos-ok', '1 basic.deliver 2'])
  })

  it('takes a message in pieces of any size', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'a', durable: true })
    const bytes = encodePublish(1, '', 'a', 'a body', { messageId: 'm' })
    for (let at = 1; at < bytes.length; at++) {
      client.bytes(bytes.subarray(0, at))
      client.bytes(bytes.subarray(at))
    }
    const bodies = engine.queue('a', '/')?.ready.map(({ message }) => message.body.toString())
    assert.deepEqual(
      bodies,
      Array.from({ length: bytes.length - 1 }, () => 'a body'),
    )
  })

  it('confirms what came together with one method', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'a', durable: true })
    client.send(1, methods.ConfirmSelect, {})
    client.take()
    client.bytes(Buffer.concat(['1', '2', '3'].map(body => encodePublish(1, '', 'a', body))))
    const confirms = client.take()
    assert.deepEqual(
      confirms.map(({ name, args }) => [name, args.deliveryTag, args.multiple]),
      [['basic.ack', 3, true]],
    )
  })

  it('returns a mandatory message that no queue wants, before it confirms it', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.ConfirmSelect, {})
    client.take()
    client.publish(1, '', 'nowhere', 'lost', undefined, true)
    assert.deepEqual(client.lines(), ['1 basic.return lost', '1 basic.ack'])
  })

  it('closes on an error, gives back its messages, and can be opened again', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'a', durable: true })
    client.publish(1, '', 'a', 'body')
    client.send(1, methods.BasicGet, { queueName: 'a' })
    client.take()
    client.send(1, methods.BasicAck, { deliveryTag: 9 })
    const [close] = client.take()
    assert.equal(close?.args.replyText, 'PRECONDITION_FAILED - unknown delivery tag 9')
    assert.deepEqual([close?.args.classId, close?.args.methodId], [60, 80])
    assert.equal(engine.queue('a', '/')?.messageCount, 1)
    client.send(1, methods.QueueDeclare, { queueName: 'ignored' })
    client.bytes(Buffer.concat([encode(1, methods.ChannelCloseOk, {}), encode(1, methods.ChannelOpen, {})]))
    assert.deepEqual(client.lines(), ['1 channel.open-ok'])
    assert.equal(engine.queue('ignored', '/'), undefined)
  })

  it('publishes and settles when a transaction is committed, and not before', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'a', durable: true })
    client.publish(1, '', 'a', 'first')
    client.send(1, methods.TxSelect, {})
    client.send(1, methods.BasicGet, { queueName: 'a' })
    client.take()
    client.publish(1, '', 'a', 'second')
    client.send(1, methods.BasicAck, { deliveryTag: 1 })
    const queue = engine.queue('a', '/')
    assert.deepEqual([queue?.messageCount, queue?.unacked.length], [0, 1])
    client.send(1, methods.TxRollback, {})
    client.send(1, methods.BasicAck, { deliveryTag: 1 })
    client.publish(1, '', 'a', 'third')
    client.send(1, methods.TxCommit, {})
    assert.deepEqual(client.lines(), ['1 tx.rollback-ok', '1 tx.commit-ok'])
    assert.deepEqual(
      queue?.ready.map(({ message }) => message.body.toString()),
      ['third'],
    )
    assert.equal(queue?.unacked.length, 0)
  })

  it('closes the channel whose transaction a queue refused, and no other', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'a' })
    client.send(1, methods.TxSelect, {})
    client.publish(1, '', 'a', 'refused')
    client.take()
    engine.nackNext(1)
    client.send(1, methods.TxCommit, {})
    const [close] = client.take()
    assert.equal(close?.name, 'channel.close')
    assert.equal(close.args.replyText, 'PRECONDITION_FAILED - partial tx completion')
    client.send(9, methods.ChannelOpen, {})
    assert.deepEqual(client.lines(), ['9 channel.open-ok'])
  })

  it('limits what all its consumers have together, as RabbitMQ 3.10 does', () => {
    const { engine } = startEngine({ release: '3.10' })
    const client = EngineClient.open(engine)
    client.send(1, methods.BasicQos, { prefetchCount: 2, connectionGlobal: true })
    for (const queueName of ['a', 'b']) {
      client.send(1, methods.QueueDeclare, { queueName, durable: true })
      client.send(1, methods.BasicConsume, { queueName })
    }
    client.take()
    for (const key of ['a', 'b', 'a', 'b']) client.publish(1, '', key, key)
    assert.deepEqual(client.lines(), ['1 basic.deliver a', '1 basic.deliver b'])
    client.send(1, methods.BasicAck, { deliveryTag: 1 })
    assert.deepEqual(client.lines(), ['1 basic.deliver a'])
  })

  it('brings replies to the caller, by direct reply-to', () => {
    const { engine } = startEngine()
    const [asking, answering] = [EngineClient.open(engine), EngineClient.open(engine)]
    answering.send(1, methods.QueueDeclare, { queueName: 'questions', durable: true })
    answering.send(1, methods.BasicConsume, { queueName: 'questions', noAck: true })
    asking.send(1, methods.BasicConsume, { queueName: 'amq.rabbitmq.reply-to', consumerTag: 'replies', noAck: true })
    asking.take()
    answering.take()
    asking.publish(1, '', 'questions', 'how much?', { replyTo: 'amq.rabbitmq.reply-to', correlationId: '7' })
    const replyTo = answering.take()[0]?.properties?.replyTo ?? ''
    assert.match(replyTo, /^amq\.rabbitmq\.reply-to\../)
    answering.publish(1, '', replyTo, '42', { correlationId: '7' })
    const [reply] = asking.take()
    assert.equal(reply?.body, '42')
    assert.equal(reply?.args.consumerTag, 'replies')
    assert.equal(reply?.properties?.correlationId, '7')
  })

  it('remembers the queue of direct reply-to as the last one that was declared', () => {
    const client = EngineClient.open(startEngine().engine)
    client.send(1, methods.QueueDeclare, { queueName: 'amq.rabbitmq.reply-to' })
    client.send(1, methods.QueueBind, { queueName: '', exchangeName: 'amq.fanout' })
    assert.equal(client.take().at(-1)?.args.replyText, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to' in vhost '/'")
  })

  it('sends a message to those in CC and BCC too, and shows only CC', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    for (const queueName of ['to', 'copy', 'blind']) client.send(1, methods.QueueDeclare, { queueName, durable: true })
    client.publish(1, '', 'to', 'letter', { headers: { CC: ['copy'], BCC: ['blind'] } })
    client.take()
    for (const queueName of ['to', 'copy', 'blind']) client.send(1, methods.BasicGet, { queueName })
    assert.deepEqual(
      client.take().map(({ properties }) => properties?.headers),
      [{ CC: ['copy'] }, { CC: ['copy'] }, { CC: ['copy'] }],
    )
  })

  it('refuses a message for its CC, if neither CC nor BCC is an array', () => {
    const client = EngineClient.open(startEngine().engine)
    client.publish(1, '', 'to', 'letter', { headers: { CC: 'a text', BCC: 5 } })
    const { replyCode, replyText } = client.take().at(-1)?.args ?? {}
    assert.equal(replyCode, 406)
    assert.equal(replyText, 'PRECONDITION_FAILED - invalid message: {unacceptable_type_in_header,"CC",longstr}')
  })
})
