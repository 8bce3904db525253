import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ReleaseName } from '../../src/broker/release-name.ts'
import * as methods from '../../src/protocol/methods.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { EngineClient, startEngine } from './engine-client.ts'

function declared(client: EngineClient, queueName: string, table: FieldTable = {}, durable = true): void {
  client.send(1, methods.QueueDeclare, { queueName, durable, arguments: table })
}

describe('A queue of the broker', () => {
  it('gives each consumer its turn, and the one of higher priority first', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'work')
    for (const [consumerTag, priority] of [
      ['low', 0],
      ['high', 5],
      ['high too', 5],
    ] as const) {
      client.send(1, methods.BasicQos, { prefetchCount: 2 })
      client.send(1, methods.BasicConsume, { queueName: 'work', consumerTag, arguments: { 'x-priority': priority } })
    }
    client.take()
    for (const body of ['1', '2', '3', '4', '5']) client.publish(1, '', 'work', body)
    assert.deepEqual(
      client.take().map(({ args, body }) => `${args.consumerTag} ${body}`),
      ['high 1', 'high too 2', 'high 3', 'high too 4', 'low 5'],
    )
  })

  it('is not left out if its consumers share the prefetch of a channel with those of others', () => {
    const { engine } = startEngine({ release: '3.10' })
    const client = EngineClient.open(engine)
    client.send(1, methods.BasicQos, { prefetchCount: 1, connectionGlobal: true })
    for (const queueName of ['one', 'two', 'three']) {
      declared(client, queueName)
      for (const body of ['1', '2', '3']) client.publish(1, '', queueName, body)
      client.send(1, methods.BasicConsume, { queueName, consumerTag: queueName })
    }
    for (const deliveryTag of [1, 2, 3, 4, 5]) client.send(1, methods.BasicAck, { deliveryTag })
    const from = client.take().filter(({ name }) => name === 'basic.deliver')
    assert.deepEqual([...new Set(from.map(({ args }) => args.consumerTag))].sort(), ['one', 'three', 'two'])
  })

  it('gives what comes back to any channel that has room then', () => {
    const givenTo = (messages: number): readonly string[] => {
      const client = EngineClient.open(startEngine({ release: '3.10' }).engine)
      declared(client, 'work')
      client.send(1, methods.BasicQos, { prefetchCount: 2, connectionGlobal: true })
      client.send(1, methods.BasicConsume, { queueName: 'work', consumerTag: 'first' })
      for (let number = 1; number <= messages; number++) client.publish(1, '', 'work', String(number))
      client.send(2, methods.BasicConsume, { queueName: 'work', consumerTag: 'second' })
      client.take()
      client.send(1, methods.BasicNack, { deliveryTag: 2, multiple: true, requeue: true })
      return client.take().map(({ args, body }) => `${args.consumerTag} ${body}`)
    }
    assert.deepEqual(givenTo(2), ['first 1', 'second 2'])
    // It could not take the third one, and says only later that it has room again.
    assert.deepEqual(givenTo(3), ['second 1', 'second 2'])
  })

  it('puts returned messages back in their place', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'work')
    for (const body of ['1', '2', '3']) client.publish(1, '', 'work', body)
    client.send(1, methods.BasicGet, { queueName: 'work' })
    client.send(1, methods.BasicGet, { queueName: 'work' })
    client.send(1, methods.BasicNack, { deliveryTag: 2, requeue: true })
    client.send(1, methods.BasicNack, { deliveryTag: 1, requeue: true })
    client.take()
    for (let i = 0; i < 3; i++) client.send(1, methods.BasicGet, { queueName: 'work' })
    assert.deepEqual(
      client.take().map(({ args, body }) => `${body} ${args.redelivered}`),
      ['1 true', '2 true', '3 false'],
    )
  })

  it('gives messages of higher priority first if it has priorities', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'work', { 'x-max-priority': 2 })
    for (const [body, priority] of [
      ['plain', 0],
      ['first', 9],
      ['second', 2],
      ['third', 1],
    ] as const) {
      client.publish(1, '', 'work', body, { priority })
    }
    client.take()
    for (let i = 0; i < 4; i++) client.send(1, methods.BasicGet, { queueName: 'work', noAck: true })
    assert.deepEqual(
      client.take().map(({ body }) => body),
      ['first', 'second', 'third', 'plain'],
    )
  })

  it('sends what expires to its dead-letter exchange, with the story of its death', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'short', {
      'x-message-ttl': 1000,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dead',
    })
    declared(client, 'dead')
    client.publish(1, '', 'short', 'old', { expiration: '500', headers: { own: true } })
    client.take()
    await clock.advance(499)
    client.send(1, methods.BasicGet, { queueName: 'dead', noAck: true })
    assert.deepEqual(client.lines(), ['1 basic.get-empty'])
    await clock.advance(1)
    client.send(1, methods.BasicGet, { queueName: 'dead', noAck: true })
    const [dead] = client.take()
    assert.equal(dead?.body, 'old')
    assert.equal(dead?.properties?.expiration, undefined)
    assert.deepEqual(dead?.properties?.headers, {
      own: true,
      'x-death': [
        {
          count: 1,
          reason: 'expired',
          queue: 'short',
          time: new Date(Math.floor(clock.wallTime() / 1000) * 1000),
          exchange: '',
          'routing-keys': ['short'],
          'original-expiration': '500',
        },
      ],
      'x-first-death-reason': 'expired',
      'x-first-death-queue': 'short',
      'x-first-death-exchange': '',
      'x-last-death-reason': 'expired',
      'x-last-death-queue': 'short',
      'x-last-death-exchange': '',
    })
  })

  it('does not let a message that expires go round for ever', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'round', {
      'x-message-ttl': 10,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'round',
    })
    client.publish(1, '', 'round', 'dizzy')
    await clock.advance(100)
    client.take()
    client.send(1, methods.BasicGet, { queueName: 'round' })
    assert.deepEqual(client.lines(), ['1 basic.get-empty'])
  })

  it('counts the deaths of one message in one queue for one reason', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'round', { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'round' })
    client.publish(1, '', 'round', 'again')
    for (let tag = 1; tag <= 3; tag++) {
      client.send(1, methods.BasicGet, { queueName: 'round' })
      client.send(1, methods.BasicReject, { deliveryTag: tag, requeue: false })
    }
    client.take()
    client.send(1, methods.BasicGet, { queueName: 'round' })
    const deaths = client.take()[0]?.properties?.headers?.['x-death']
    assert.ok(Array.isArray(deaths))
    assert.deepEqual(
      deaths.map(death => [(death as FieldTable)['reason'], (death as FieldTable)['count']]),
      [['rejected', 3]],
    )
  })

  it('drops its oldest messages past its limit, or refuses the newest', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'dropping', { 'x-max-length': 1 })
    declared(client, 'refusing', { 'x-max-length': 1, 'x-overflow': 'reject-publish' })
    client.send(1, methods.ConfirmSelect, {})
    client.take()
    client.publish(1, '', 'dropping', 'old')
    client.publish(1, '', 'dropping', 'new')
    client.publish(1, '', 'refusing', 'old')
    client.publish(1, '', 'refusing', 'new')
    assert.deepEqual(client.lines(), ['1 basic.ack', '1 basic.ack', '1 basic.ack', '1 basic.nack'])
    for (const queueName of ['dropping', 'refusing']) client.send(1, methods.BasicGet, { queueName })
    assert.deepEqual(client.lines(), ['1 basic.get-ok new', '1 basic.get-ok old'])
  })

  it('drops the surplus also if messages come back', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'short', { 'x-max-length': 1 })
    client.publish(1, '', 'short', 'old')
    client.send(1, methods.BasicGet, { queueName: 'short' })
    client.publish(1, '', 'short', 'new')
    client.send(1, methods.BasicNack, { deliveryTag: 1, requeue: true })
    const bodies = engine.queue('short', '/')?.ready.map(({ message }) => message.body.toString())
    assert.deepEqual(bodies, ['new'])
  })

  it('is deleted when it was unused for as long as it says', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'idle', { 'x-expires': 1000 })
    await clock.advance(900)
    declared(client, 'idle', { 'x-expires': 1000 })
    await clock.advance(900)
    assert.notEqual(engine.queue('idle', '/'), undefined)
    await clock.advance(100)
    assert.equal(engine.queue('idle', '/'), undefined)
  })

  it('cancels its consumers when it is deleted', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'gone')
    client.send(2, methods.BasicConsume, { queueName: 'gone', consumerTag: 'tag' })
    client.take()
    client.send(1, methods.QueueDelete, { queueName: 'gone' })
    assert.deepEqual(client.lines(), ['1 queue.delete-ok', '2 basic.cancel'])
  })

  it('gives its messages to the first consumer alone if it has a single active consumer', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'single', { 'x-single-active-consumer': true })
    client.send(1, methods.BasicConsume, { queueName: 'single', consumerTag: 'first' })
    client.send(2, methods.BasicConsume, { queueName: 'single', consumerTag: 'second' })
    client.take()
    client.publish(1, '', 'single', '1')
    client.publish(1, '', 'single', '2')
    assert.deepEqual(client.lines(), ['1 basic.deliver 1', '1 basic.deliver 2'])
    client.send(1, methods.BasicCancel, { consumerTag: 'first' })
    client.publish(1, '', 'single', '3')
    assert.deepEqual(client.lines(), ['1 basic.cancel-ok', '2 basic.deliver 3'])
  })
})

describe('A quorum queue of the broker', () => {
  it('counts deliveries that failed, and gives a message up that has too many', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'q', {
      'x-queue-type': 'quorum',
      'x-delivery-limit': 1,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': 'dead',
    })
    declared(client, 'dead')
    client.publish(1, '', 'q', 'hard')
    client.take()
    client.send(1, methods.BasicGet, { queueName: 'q' })
    client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: true })
    client.send(1, methods.BasicGet, { queueName: 'q' })
    client.send(1, methods.BasicReject, { deliveryTag: 2, requeue: true })
    client.send(1, methods.BasicGet, { queueName: 'q' })
    client.send(1, methods.BasicGet, { queueName: 'dead' })
    const [first, second, empty, dead] = client.take()
    assert.equal(first?.properties?.headers, undefined)
    assert.deepEqual(second?.properties?.headers, { 'x-acquired-count': 1, 'x-delivery-count': 1 })
    assert.equal(second?.args.redelivered, true)
    assert.equal(empty?.name, 'basic.get-empty')
    assert.equal(dead?.properties?.headers?.['x-first-death-reason'], 'delivery_limit')
  })

  it('takes an argument that RabbitMQ 3.10 does not know, and refuses it later', () => {
    for (const [release, answer] of [
      ['3.10', '1 queue.declare-ok'],
      ['4.3', '1 channel.close'],
    ] as const) {
      const client = EngineClient.open(startEngine({ release }).engine)
      client.send(1, methods.QueueDeclare, { queueName: 'q', arguments: { 'x-consumer-timeout': 1000 } })
      assert.deepEqual(client.lines(), [answer])
    }
  })

  /** Two consumers of a queue with a single active consumer, the second of a higher priority. */
  function outranked(release: ReleaseName): EngineClient {
    const client = EngineClient.open(startEngine({ release }).engine)
    declared(client, 'q', { 'x-queue-type': 'quorum', 'x-single-active-consumer': true })
    client.take()
    client.send(1, methods.BasicConsume, { queueName: 'q', consumerTag: 'low' })
    client.publish(1, '', 'q', '1')
    client.send(2, methods.BasicConsume, { queueName: 'q', consumerTag: 'high', arguments: { 'x-priority': 1 } })
    client.publish(1, '', 'q', '2')
    return client
  }

  it('lets its active consumer settle what it has before one of a higher priority takes over, since RabbitMQ 4', () => {
    const client = outranked('4.3')
    assert.deepEqual(client.lines(), ['1 basic.consume-ok', '1 basic.deliver 1', '2 basic.consume-ok'])
    client.send(1, methods.BasicAck, { deliveryTag: 1 })
    assert.deepEqual(client.lines(), ['2 basic.deliver 2'])
    client.send(2, methods.BasicCancel, { consumerTag: 'high' })
    client.publish(1, '', 'q', '3')
    assert.deepEqual(client.lines(), ['2 basic.cancel-ok', '1 basic.deliver 3'])
  })

  it('gives its active consumer nothing more once another one waits for its place, also if that one goes', () => {
    const client = outranked('4.3')
    client.send(2, methods.BasicCancel, { consumerTag: 'high' })
    client.take()
    client.publish(1, '', 'q', '3')
    assert.deepEqual(client.lines(), [])
    client.send(1, methods.BasicAck, { deliveryTag: 1 })
    assert.deepEqual(client.lines(), ['1 basic.deliver 2', '1 basic.deliver 3'])
  })

  it('takes no notice of the priority of a consumer that waits to be the active one, before RabbitMQ 4', () => {
    const client = outranked('3.10')
    assert.deepEqual(client.lines(), [
      '1 basic.consume-ok',
      '1 basic.deliver 1',
      '2 basic.consume-ok',
      '1 basic.deliver 2',
    ])
  })

  it('refuses a bad offset of a stream, by which RabbitMQ 3.10 ends the connection', () => {
    for (const [release, closed, text] of [
      ['3.10', '0 connection.close', 'INTERNAL_ERROR'],
      [
        '4.3',
        '1 channel.close',
        "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 's' in vhost '/': {invalid_stream_offset_arg,{longstr,<<\"odd\">>}}",
      ],
    ] as const) {
      const client = EngineClient.open(startEngine({ release }).engine)
      declared(client, 's', { 'x-queue-type': 'stream' })
      client.send(1, methods.BasicQos, { prefetchCount: 1 })
      client.take()
      client.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-stream-offset': 'odd' } })
      const [close] = client.take()
      assert.deepEqual([`${close?.channel} ${close?.name}`, close?.args.replyText], [closed, text])
    }
  })

  it('keeps the header CC of a message that dies, since RabbitMQ 4', () => {
    for (const [release, copies] of [
      ['3.10', undefined],
      ['4.3', ['copy']],
    ] as const) {
      const { engine } = startEngine({ release })
      const client = EngineClient.open(engine)
      declared(client, 'dead')
      declared(client, 'short', {
        'x-max-length': 0,
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': 'dead',
      })
      client.publish(1, '', 'short', 'letter', { headers: { CC: ['copy'] } })
      const [dead] = engine.queue('dead', '/')?.ready ?? []
      assert.deepEqual(dead?.message.headers['CC'], copies)
    }
  })

  it('of type quorum takes no notice of a consumer that wants to be alone, as others do', () => {
    const exclusive = (type: string) => {
      const client = EngineClient.open(startEngine().engine)
      declared(client, 'q', { 'x-queue-type': type })
      client.send(1, methods.BasicConsume, { queueName: 'q' })
      client.send(2, methods.BasicConsume, { queueName: 'q', exclusive: true })
      return client.lines().at(-1)
    }
    assert.equal(exclusive('quorum'), '2 basic.consume-ok')
    assert.equal(exclusive('classic'), '2 channel.close')
  })

  for (const [release, order] of [
    ['3.10', ['2', '1', '3']],
    ['4.3', ['1', '3', '2']],
  ] as const) {
    it(`of type quorum gets back what a closed channel had by its consumers, as RabbitMQ ${release} does`, () => {
      const client = EngineClient.open(startEngine({ release }).engine)
      declared(client, 'work', { 'x-queue-type': 'quorum' })
      for (const consumerTag of ['older', 'alone'])
        client.send(1, methods.BasicConsume, { queueName: 'work', consumerTag })
      for (const body of ['1', '2', '3']) client.publish(1, '', 'work', body)
      client.send(1, methods.ChannelClose, { replyCode: 200, classId: 0, methodId: 0 })
      client.take()
      for (const _ of order) client.send(2, methods.BasicGet, { queueName: 'work' })
      assert.deepEqual(
        client.take().map(({ body }) => body),
        order,
      )
    })
  }

  it('of type quorum takes one message too many before it refuses them, and goes on when most are gone', () => {
    const client = EngineClient.open(startEngine().engine)
    declared(client, 'work', { 'x-queue-type': 'quorum', 'x-max-length': 2, 'x-overflow': 'reject-publish' })
    for (const channel of [1, 2]) client.send(channel, methods.ConfirmSelect, {})
    client.take()
    const publish = (channel: number) => {
      client.publish(channel, '', 'work', 'm')
      return client.take().map(({ name }) => name)[0]
    }
    const get = () => client.send(1, methods.BasicGet, { queueName: 'work', noAck: true })
    assert.deepEqual([publish(1), publish(1), publish(1), publish(1)], [...Array(3).fill('basic.ack'), 'basic.nack'])
    get()
    client.take()
    // Two are left: too many for the publisher that was refused, and not for another one.
    assert.deepEqual([publish(1), publish(2), publish(2)], ['basic.nack', 'basic.ack', 'basic.nack'])
    for (let i = 0; i < 2; i++) get()
    client.take()
    assert.deepEqual([publish(1), publish(2)], ['basic.ack', 'basic.ack'])
  })

  it('of type quorum takes what was sent together before it refuses anything', () => {
    const client = EngineClient.open(startEngine().engine)
    declared(client, 'work', { 'x-queue-type': 'quorum', 'x-max-length': 1, 'x-overflow': 'reject-publish' })
    client.send(1, methods.ConfirmSelect, {})
    client.take()
    const publish = (count: number) => {
      client.bytes(Buffer.concat(Array(count).fill(EngineClient.encodePublish(1, '', 'work', 'm'))))
      return client.take().map(({ name, args }) => `${name} ${args.deliveryTag}`)
    }
    assert.deepEqual(publish(9), ['basic.ack 9'])
    assert.deepEqual(publish(2), ['basic.nack 11'])
  })

  it('of type quorum is not held to the limit that its channel gets later', () => {
    const client = EngineClient.open(startEngine({ release: '3.10' }).engine)
    declared(client, 'work', { 'x-queue-type': 'quorum' })
    client.send(1, methods.BasicConsume, { queueName: 'work' })
    client.send(1, methods.BasicQos, { prefetchCount: 1, connectionGlobal: true })
    client.take()
    for (const body of ['1', '2']) client.publish(1, '', 'work', body)
    assert.deepEqual(client.lines(), ['1 basic.deliver 1', '1 basic.deliver 2'])
  })

  it('cancels a consumer that is too slow to acknowledge, and gives its message to another', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'q', { 'x-queue-type': 'quorum', 'x-consumer-timeout': 1000 })
    client.send(1, methods.BasicConsume, { queueName: 'q', consumerTag: 'slow' })
    client.publish(1, '', 'q', 'work')
    client.send(1, methods.BasicConsume, { queueName: 'q', consumerTag: 'quick' })
    client.take()
    await clock.advance(999)
    assert.deepEqual(client.lines(), [])
    await clock.advance(1)
    assert.deepEqual(client.lines(), ['1 basic.cancel', '1 basic.deliver work'])
  })

  it('takes the time of a consumer before its own, and needs none for what is settled', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'q', { 'x-queue-type': 'quorum', 'x-consumer-timeout': 1000 })
    client.send(1, methods.BasicConsume, {
      queueName: 'q',
      consumerTag: 'patient',
      arguments: { 'x-consumer-timeout': 2000 },
    })
    client.send(2, methods.BasicQos, { prefetchCount: 1 })
    client.send(2, methods.BasicConsume, { queueName: 'q', consumerTag: 'quick', arguments: { 'x-priority': 1 } })
    client.publish(1, '', 'q', 'quick')
    client.publish(1, '', 'q', 'slow')
    client.send(2, methods.BasicAck, { deliveryTag: 1 })
    client.take()
    await clock.advance(1999)
    assert.deepEqual(client.lines(), [])
    await clock.advance(1)
    assert.deepEqual(client.lines(), ['1 basic.cancel', '2 basic.deliver slow'])
    await clock.advance(1000)
    assert.deepEqual(client.lines(), ['2 basic.cancel'])
  })

  it('has one timer for all that it has given', () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'q', { 'x-queue-type': 'quorum', 'x-consumer-timeout': 1000 })
    client.send(1, methods.BasicConsume, { queueName: 'q', consumerTag: 't' })
    const before = clock.pending
    for (let tag = 1; tag <= 10; tag++) {
      client.publish(1, '', 'q', 'work')
      client.send(1, methods.BasicAck, { deliveryTag: tag })
    }
    assert.equal(clock.pending, before + 1)
  })

  for (const [how, cancels] of [
    ['was asked for by basic.get', false],
    ['a consumer had that was cancelled', true],
  ] as const) {
    it(`closes the channel for a message that ${how} and is not acknowledged in time`, async () => {
      const { engine, clock } = startEngine()
      const client = EngineClient.open(engine)
      declared(client, 'q', { 'x-queue-type': 'quorum', 'x-consumer-timeout': 1000 })
      client.publish(1, '', 'q', 'work')
      if (cancels) {
        client.send(1, methods.BasicConsume, { queueName: 'q', consumerTag: 't' })
        client.send(1, methods.BasicCancel, { consumerTag: 't' })
      } else client.send(1, methods.BasicGet, { queueName: 'q' })
      client.take()
      await clock.advance(1000)
      const [close] = client.take()
      assert.equal(close?.name, 'channel.close')
      assert.match(close?.args.replyText, /^PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out\./)
      assert.equal(engine.queue('q', '/')?.messageCount, 1)
    })
  }

  for (const [type, after] of [
    ['all', { reject: 700, nack: 700 }],
    ['failed', { reject: 700, nack: 0 }],
    ['returned', { reject: 0, nack: 700 }],
    ['disabled', { reject: 0, nack: 0 }],
    ['odd', { reject: 0, nack: 0 }],
  ] as const) {
    it(`has a message again after a delay if x-delayed-retry-type is ${type}`, async () => {
      for (const how of ['reject', 'nack'] as const) {
        const { engine, clock } = startEngine()
        const client = EngineClient.open(engine)
        declared(client, 'q', {
          'x-queue-type': 'quorum',
          'x-delayed-retry-type': type,
          'x-delayed-retry-min': 700,
          'x-max-length': 1,
        })
        client.send(1, methods.BasicConsume, { queueName: 'q', consumerTag: 't' })
        client.publish(1, '', 'q', 'work')
        client.take()
        const method = how === 'reject' ? methods.BasicReject : methods.BasicNack
        client.send(1, method, { deliveryTag: 1, requeue: true })
        await clock.advance(after[how] === 0 ? 0 : 699)
        assert.deepEqual(client.lines(), after[how] === 0 ? ['1 basic.deliver work'] : [])
        await clock.advance(1)
        assert.deepEqual(client.lines(), after[how] === 0 ? [] : ['1 basic.deliver work'])
      }
    })
  }

  it('waits longer with each failed delivery, up to the longest delay', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'q', {
      'x-queue-type': 'quorum',
      'x-delayed-retry-type': 'failed',
      'x-delayed-retry-min': 100,
      'x-delayed-retry-max': 250,
    })
    client.send(1, methods.BasicConsume, { queueName: 'q', consumerTag: 't' })
    client.publish(1, '', 'q', 'work')
    client.take()
    for (const [failed, delay] of [100, 200, 250, 250].entries()) {
      client.send(1, methods.BasicReject, { deliveryTag: failed + 1, requeue: true })
      await clock.advance(delay - 1)
      assert.deepEqual(client.lines(), [])
      await clock.advance(1)
      assert.deepEqual(client.lines(), ['1 basic.deliver work'])
    }
  })

  it('counts what waits for its retry in its length and in a purge, and not as ready', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine)
    const delays = { 'x-delayed-retry-type': 'all', 'x-delayed-retry-min': 100 }
    declared(client, 'q', { 'x-queue-type': 'quorum', 'x-max-length': 1, ...delays })
    client.publish(1, '', 'q', 'old')
    client.send(1, methods.BasicGet, { queueName: 'q' })
    client.send(1, methods.BasicReject, { deliveryTag: 1, requeue: true })
    client.take()
    client.send(1, methods.BasicGet, { queueName: 'q' })
    client.publish(1, '', 'q', 'new')
    client.send(1, methods.BasicGet, { queueName: 'q' })
    assert.deepEqual(client.lines(), ['1 basic.get-empty', '1 basic.get-empty'])
    client.send(1, methods.QueuePurge, { queueName: 'q' })
    assert.equal(client.take()[0]?.args.messageCount, 1)
    await clock.advance(100)
    client.send(1, methods.BasicGet, { queueName: 'q' })
    assert.deepEqual(client.lines(), ['1 basic.get-empty'])
  })

  it('does not count what was given back by basic.nack, since RabbitMQ 4.3', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 'q', { 'x-queue-type': 'quorum', 'x-delivery-limit': 1 })
    client.publish(1, '', 'q', 'patient')
    for (let tag = 1; tag <= 5; tag++) {
      client.send(1, methods.BasicGet, { queueName: 'q' })
      client.send(1, methods.BasicNack, { deliveryTag: tag, requeue: true })
    }
    client.take()
    client.send(1, methods.BasicGet, { queueName: 'q' })
    assert.deepEqual(client.take()[0]?.properties?.headers, { 'x-acquired-count': 5 })
  })
})

describe('A stream of the broker', () => {
  function reading(offset: FieldTable[string] | undefined, more: FieldTable = {}): string[] {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 's', { 'x-queue-type': 'stream' })
    for (const body of ['0', '1', '2']) {
      const headers: FieldTable = body === '1' ? { 'x-stream-filter-value': 'odd' } : {}
      client.publish(1, '', 's', body, { headers })
    }
    client.send(1, methods.BasicQos, { prefetchCount: 10 })
    const table = offset === undefined ? more : { 'x-stream-offset': offset, ...more }
    client.send(1, methods.BasicConsume, { queueName: 's', arguments: table })
    client.publish(1, '', 's', '3')
    const delivered = client.take().filter(({ name }) => name === 'basic.deliver')
    return delivered.map(({ body, properties }) => `${body}@${properties?.headers?.['x-stream-offset']}`)
  }

  it('is read from where a consumer wants', () => {
    assert.deepEqual(reading('first'), ['0@0', '1@1', '2@2', '3@3'])
    assert.deepEqual(reading('last'), ['2@2', '3@3'])
    assert.deepEqual(reading('next'), ['3@3'])
    assert.deepEqual(reading(undefined), ['3@3'])
    assert.deepEqual(reading(1), ['1@1', '2@2', '3@3'])
    assert.deepEqual(reading(new Date(Date.UTC(2023, 0, 1))), ['0@0', '1@1', '2@2', '3@3'])
    assert.deepEqual(reading('1h'), ['0@0', '1@1', '2@2', '3@3'])
  })

  it('gives only what a filter lets through', () => {
    assert.deepEqual(reading('first', { 'x-stream-filter': 'odd' }), ['1@1'])
    assert.deepEqual(reading('first', { 'x-stream-filter': ['odd'], 'x-stream-match-unfiltered': true }), [
      '0@0',
      '1@1',
      '2@2',
      '3@3',
    ])
  })

  it('goes on when messages are acknowledged, and keeps them', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    declared(client, 's', { 'x-queue-type': 'stream' })
    for (const body of ['0', '1', '2']) client.publish(1, '', 's', body)
    client.send(1, methods.BasicQos, { prefetchCount: 1 })
    client.send(1, methods.BasicConsume, { queueName: 's', arguments: { 'x-stream-offset': 'first' } })
    client.take()
    client.send(1, methods.BasicAck, { deliveryTag: 1 })
    assert.deepEqual(client.lines(), ['1 basic.deliver 1'])
    assert.equal(engine.queue('s', '/')?.messageCount, 3)
  })
})
