import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Refusal } from '../../src/broker/refusals.ts'
import { PROTOCOL_HEADER } from '../../src/protocol/constants.ts'
import * as methods from '../../src/protocol/methods.ts'
import { EngineClient, startEngine } from './engine-client.ts'

const nameOf = ({ name }: { readonly name: string }) => name

describe('A connection to the broker', () => {
  for (const [release, header] of [
    ['3.10', Buffer.from(PROTOCOL_HEADER)],
    // The releases that speak AMQP 1.0 offer that.
    ['4.3', Buffer.from('AMQP\x03\x01\0\0')],
  ] as const) {
    it(`is closed with the header that RabbitMQ ${release} has for a client that speaks something else`, () => {
      const { engine } = startEngine({ release })
      const client = new EngineClient(engine)
      client.expectBytes()
      client.bytes(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
      assert.deepEqual(client.raw, header)
      assert.equal(client.ended, 'end')
      assert.equal(engine.connections.size, 0)
    })
  }

  for (const [release, header, answer] of [
    ['3.10', 'AMQP\0\0\x0a\0', 'AMQP\0\0\x09\x01'],
    ['4.3', 'AMQP\0\0\x09\0', 'AMQP\0\0\x09\x01'],
    ['4.3', 'AMQP\0\0\x08\0', 'AMQP\x03\x01\0\0'],
    ['4.3', 'HTTP\0\0\x09\0', 'AMQP\x03\x01\0\0'],
  ] as const) {
    it(`that starts with ${JSON.stringify(header)} is answered by the header that RabbitMQ ${release} has for it`, () => {
      const { engine } = startEngine({ release })
      const client = new EngineClient(engine)
      client.expectBytes()
      client.bytes(Buffer.from(header))
      assert.equal(client.raw.toString(), answer)
    })
  }

  it('may say that it speaks AMQP 0-9', () => {
    const { engine } = startEngine()
    const client = new EngineClient(engine)
    client.bytes(Buffer.from('AMQP\x01\x01\0\x09'))
    assert.deepEqual(client.lines(), ['0 connection.start'])
  })

  it('takes its header in pieces', () => {
    const { engine } = startEngine()
    const client = new EngineClient(engine)
    for (const byte of PROTOCOL_HEADER) client.bytes(Buffer.of(byte))
    assert.deepEqual(client.lines(), ['0 connection.start'])
  })

  it('answers clients that understand it that the login was refused, and others nothing', async () => {
    const { engine, clock } = startEngine()
    const told = new EngineClient(engine)
    told.bytes(PROTOCOL_HEADER)
    told.login('guest', 'wrong', { authentication_failure_close: true })
    const [, close] = told.take()
    assert.equal(close?.name, 'connection.close')
    assert.equal(
      close?.args.replyText,
      'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the broker logfile.',
    )
    const silent = new EngineClient(engine)
    silent.bytes(PROTOCOL_HEADER)
    silent.login('nobody', 'guest')
    assert.deepEqual(silent.lines(), ['0 connection.start'])
    await clock.advance(3_000)
    assert.equal(silent.ended, 'reset')
  })

  it('is cut 10 s after it was made if it is not open, and 3 s after its login was refused', async () => {
    const { engine, clock } = startEngine()
    const [idle, refused, open] = [new EngineClient(engine), new EngineClient(engine), EngineClient.open(engine)]
    refused.bytes(PROTOCOL_HEADER)
    refused.login('guest', 'wrong', { authentication_failure_close: true })
    await clock.advance(2_999)
    assert.equal(refused.ended, 'no')
    await clock.advance(1)
    assert.equal(refused.ended, 'reset')
    await clock.advance(6_999)
    assert.equal(idle.ended, 'no')
    await clock.advance(1)
    assert.deepEqual([idle.ended, open.ended], ['reset', 'no'])
  })

  it('is silent to a login that cannot be read, and says what is wrong later', async () => {
    const { engine, clock } = startEngine()
    const silent = new EngineClient(engine)
    silent.bytes(PROTOCOL_HEADER)
    const clientProperties = { capabilities: { authentication_failure_close: true } }
    silent.send(0, methods.ConnectionStartOk, { clientProperties, mechanism: 'PLAIN', response: 'guest' })
    assert.deepEqual(silent.lines(), ['0 connection.start'])
    await clock.advance(3_000)
    assert.equal(silent.ended, 'reset')

    const told = new EngineClient(engine)
    told.bytes(PROTOCOL_HEADER)
    told.login('guest', 'guest')
    told.send(0, methods.ConnectionTuneOk, { channelMax: 10, frameMax: 131_072, heartbeat: 0 })
    told.send(1, methods.ChannelOpen, {})
    assert.equal(told.take().at(-1)?.args.replyText, 'UNEXPECTED_FRAME - type 1, all octets = <<0,20,0,10,0>>')
  })

  it('is silent to a login for another user, or by AMQPLAIN without a table, and to a frame that is too large for it', () => {
    const { engine } = startEngine()
    const start = (mechanism: string, response: string, clientProperties = {}) => {
      const client = new EngineClient(engine)
      client.bytes(PROTOCOL_HEADER)
      client.take()
      client.send(0, methods.ConnectionStartOk, { clientProperties, mechanism, response })
      return client.lines()
    }
    assert.deepEqual(start('PLAIN', '\0guest\0guest'), ['0 connection.tune'])
    assert.deepEqual(start('PLAIN', 'other\0guest\0guest'), [])
    assert.deepEqual(start('AMQPLAIN', 'no table'), [])
    assert.deepEqual(start('PLAIN', '\0guest\0guest', { product: 'x'.repeat(8192) }), [])
  })

  it('is closed if the virtual host does not exist', () => {
    const { engine } = startEngine()
    const client = new EngineClient(engine)
    client.bytes(PROTOCOL_HEADER)
    client.login('guest', 'guest')
    client.send(0, methods.ConnectionTuneOk, { channelMax: 10, frameMax: 131_072, heartbeat: 0 })
    client.send(0, methods.ConnectionOpen, { virtualHost: 'nowhere' })
    assert.equal(client.take().at(-1)?.args.replyText, 'NOT_ALLOWED - vhost nowhere not found')
  })

  it('takes its consumers along if it ends over a channel.close-ok that no call waits for', () => {
    const { engine } = startEngine()
    const [client, other] = [EngineClient.open(engine), EngineClient.open(engine)]
    client.send(1, methods.QueueDeclare, { queueName: 'q', autoDelete: true })
    client.send(1, methods.BasicConsume, { queueName: 'q' })
    client.send(1, methods.ChannelCloseOk, {})
    assert.equal(client.take().at(-1)?.args.replyText, 'COMMAND_INVALID - unimplemented method')
    other.send(1, methods.QueueDeclare, { queueName: 'q', passive: true })
    assert.equal(other.take().at(-1)?.args.replyText, "NOT_FOUND - no queue 'q' in vhost '/'")
  })

  it('is closed if a method comes on a channel that is not open', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(3, methods.QueueDeclare, {})
    assert.equal(client.take()[0]?.args.replyText, "CHANNEL_ERROR - expected 'channel.open'")
    client.send(0, methods.ConnectionCloseOk, {})
    assert.equal(client.ended, 'end')
  })

  it('is closed by a method at the wrong time when its channels have done what came before', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.bytes(
      Buffer.concat([
        EngineClient.encode(1, methods.QueueDeclare, { queueName: 'q' }),
        EngineClient.encode(0, methods.ConnectionCloseOk, {}),
        EngineClient.encode(1, methods.QueueDeclare, { queueName: 'later' }),
      ]),
    )
    assert.deepEqual(client.take().map(nameOf), ['queue.declare-ok', 'connection.close'])
    assert.equal(engine.queue('later', '/'), undefined)
  })

  it('takes no notice of a connection.close-ok that comes together with connection.close', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.bytes(
      Buffer.concat([
        EngineClient.encode(0, methods.ConnectionClose, { replyCode: 200, classId: 0, methodId: 0 }),
        EngineClient.encode(0, methods.ConnectionCloseOk, {}),
      ]),
    )
    assert.deepEqual(client.take().map(nameOf), ['connection.close-ok'])
  })

  const frame = (type: number, payload: string, end = 0xce) => {
    const header = Buffer.from([type, 0, 1, 0, 0, 0, payload.length])
    return Buffer.concat([header, Buffer.from(payload, 'latin1'), Buffer.from([end])])
  }
  const refusals: readonly (readonly [string, Buffer, string])[] = [
    ['an unknown type', frame(7, 'odd'), 'type 7, all octets = <<"odd">>: unknown_frame'],
    ['a line and a letter of Latin-1', frame(7, 'a\nä"'), 'type 7, all octets = <<"a\\nä\\"">>: unknown_frame'],
    ['too few octets for a method', frame(1, '\0<'), 'type 1, all octets = <<0,60>>: unknown_frame'],
    ['another end', frame(3, 'x', 1), 'type 3, all octets = <<"x">>: {invalid_frame_end_marker,1}'],
    [
      'another end after many octets',
      frame(1, '\0<\0\x0a'.padEnd(40, '\0'), 1),
      'type 1, first 16 octets = <<0,60,0,10,0,0,0,0,0,0,0,0,0,0,0,0>>: {invalid_frame_end_marker,\n' +
        `${' '.repeat(66)}1}`,
    ],
    ['no sense as a method', frame(1, '\0<\0\x0a!'), 'cannot decode <<33>>'],
    [
      'a name that is not UTF-8',
      Buffer.from([1, 0, 1, 0, 0, 0, 14, 0, 50, 0, 10, 0, 0, 2, 255, 254, 0, 0, 0, 0, 0, 206]),
      'Malformed UTF-8 in shortstr',
    ],
    [
      'a size that was not agreed',
      Buffer.from([3, 0, 1, 0, 2, 0, 1]),
      'type 3, all octets = <<>>: {frame_too_large,131073,131064}',
    ],
  ]
  for (const [what, bytes, text] of refusals) {
    it(`is closed by a frame with ${what}, as RabbitMQ says it`, () => {
      const { engine } = startEngine()
      const client = EngineClient.open(engine)
      client.bytes(bytes)
      assert.equal(client.take()[0]?.args.replyText, `FRAME_ERROR - ${text}`)
    })
  }

  const publish = EngineClient.encodePublish(1, '', 'q', '').subarray(0, -22)
  const header = (size: number, rest: string, weight = '\0') =>
    frame(2, `\0<\0${weight}\0\0\0\0\0\0\0${String.fromCharCode(size)}${rest}`)
  const TOO_LONG = 'FRAME_ERROR - content body frame exceeds remaining content size'
  const NO_HEADER = 'expected content header for class 60, got non content header frame instead'
  const NO_BODY = 'expected content body, got non content body frame instead'
  const contents: readonly (readonly [string, readonly Buffer[], string, string])[] = [
    [
      'is longer than it says',
      [publish, header(2, '\0\0'), frame(3, '123')],
      `UNEXPECTED_FRAME - ${NO_BODY}`,
      TOO_LONG,
    ],
    [
      'has a weight',
      [publish, header(0, '\0\0', '\x01')],
      `UNEXPECTED_FRAME - ${NO_HEADER}`,
      `UNEXPECTED_FRAME - ${NO_HEADER}`,
    ],
    ['has no flags', [publish, header(0, '')], 'INTERNAL_ERROR', 'INTERNAL_ERROR'],
    ['lacks a property', [publish, header(0, '\x40\0')], 'INTERNAL_ERROR', 'INTERNAL_ERROR'],
    ['has more than properties', [publish, header(0, '\0\0more')], 'INTERNAL_ERROR', 'INTERNAL_ERROR'],
    ['has a header of no type', [publish, header(0, '\x20\0\0\0\0\x03\x01a!')], 'INTERNAL_ERROR', 'INTERNAL_ERROR'],
  ]
  for (const release of ['3.10', '4.3'] as const) {
    for (const [what, frames, early, late] of contents) {
      it(`is closed by a message that ${what}, as RabbitMQ ${release} does it`, () => {
        const { engine } = startEngine({ release })
        const client = EngineClient.open(engine)
        for (const bytes of frames) client.bytes(bytes)
        client.send(1, methods.BasicQos, { prefetchCount: 1 })
        assert.equal(client.take()[0]?.args.replyText, release === '3.10' ? early : late)
      })
    }
  }

  it('carries out what came in front of a bad frame', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'q' })
    client.bytes(Buffer.concat([publish, header(1, '\0\0'), frame(3, '1'), frame(3, '2')]))
    assert.equal(engine.queue('q', '/')?.messageCount, 1)
    assert.deepEqual(client.lines(), ['1 queue.declare-ok', '0 connection.close'])
  })

  it('takes messages that clients have no business to send, before it refuses them', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    const args = { consumerTag: 't', deliveryTag: 1, redelivered: false, exchangeName: '', routingKey: 'q' }
    client.send(1, methods.BasicDeliver, args)
    assert.deepEqual(client.lines(), [])
    client.bytes(header(0, '\0\0'))
    assert.equal(client.take()[0]?.args.replyText, 'COMMAND_INVALID - unimplemented method')
  })

  it('is cut without a word by a table that cannot be read', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.bytes(frame(1, '\x002\0\x0a\0\0\x01q\0\0\0\0\x03\x01a!'))
    assert.deepEqual(client.lines(), [])
    assert.equal(client.ended, 'reset')
  })

  it('is closed by a name that is not UTF-8 before a table that cannot be read', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.bytes(frame(1, '\x002\0\x0a\0\0\x01\xff\0\0\0\0\x03\x01a!'))
    assert.equal(client.take()[0]?.args.replyText, 'FRAME_ERROR - Malformed UTF-8 in shortstr')
  })

  it('breaks on a method of its own that cannot be read', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.bytes(Buffer.from([1, 0, 0, 0, 0, 0, 4, 0, 60, 0, 10, 206]))
    assert.equal(client.take()[0]?.args.replyText, 'INTERNAL_ERROR')
  })

  it('takes frames that come octet by octet', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'q' })
    client.take()
    for (const octet of EngineClient.encodePublish(1, '', 'q', 'slow')) client.bytes(Buffer.of(octet))
    client.send(1, methods.BasicGet, { queueName: 'q' })
    assert.deepEqual(client.lines(), ['1 basic.get-ok slow'])
  })

  it('is cut without a word by a method that does not exist', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.bytes(frame(1, '\0c\0\x0a'))
    assert.deepEqual(client.lines(), [])
    assert.equal(client.ended, 'reset')
  })

  it('takes its exclusive queues with it, and keeps others from them', () => {
    const { engine } = startEngine()
    const [owner, other] = [EngineClient.open(engine), EngineClient.open(engine)]
    owner.send(1, methods.QueueDeclare, { queueName: 'mine', exclusive: true })
    other.send(1, methods.QueueDeclare, { queueName: 'mine', passive: true })
    assert.equal(other.take()[0]?.args.replyCode, 405)
    owner.lost()
    assert.equal(engine.queue('mine', '/'), undefined)
  })

  it('may take back a binding to an exclusive queue of another that is not there', () => {
    const { engine } = startEngine()
    const [owner, other] = [EngineClient.open(engine), EngineClient.open(engine)]
    const binding = { queueName: 'mine', exchangeName: 'amq.direct', routingKey: 'a' }
    owner.send(1, methods.QueueDeclare, { queueName: 'mine', exclusive: true })
    other.send(1, methods.QueueUnbind, binding)
    owner.send(1, methods.QueueBind, binding)
    other.send(1, methods.QueueUnbind, binding)
    assert.deepEqual(other.lines(), ['1 queue.unbind-ok', '1 channel.close'])
  })

  it('gives back its messages when it is lost', () => {
    const { engine } = startEngine()
    const [one, other] = [EngineClient.open(engine), EngineClient.open(engine)]
    one.send(1, methods.QueueDeclare, { queueName: 'work', durable: true })
    one.send(1, methods.BasicConsume, { queueName: 'work' })
    one.publish(1, '', 'work', 'half done')
    one.lost()
    other.send(1, methods.BasicGet, { queueName: 'work' })
    const [message] = other.take()
    assert.equal(message?.body, 'half done')
    assert.equal(message?.args.redelivered, true)
  })

  it('sends heartbeats, and is cut if none come', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine, { heartbeat: 10 })
    await clock.advance(10_000)
    assert.equal(client.heartbeats, 2)
    await clock.advance(9_999)
    assert.equal(client.ended, 'no')
    await clock.advance(1)
    assert.equal(client.ended, 'reset')
  })

  it('is refused what it did wrong while it was blocked, after what came in front of it', () => {
    const mistakes = [
      EngineClient.encode(2, methods.ChannelOpen, {}),
      Buffer.from([9, 0, 0, 0, 0, 0, 0, 0xce]),
      Buffer.concat([EngineClient.encodePublish(1, '', 'q', '2'), Buffer.from([1, 0, 1, 0, 0, 0, 4, 0, 20, 0, 10, 0])]),
    ]
    for (const mistake of mistakes) {
      const { engine } = startEngine()
      const client = new EngineClient(engine)
      client.bytes(PROTOCOL_HEADER)
      client.login('guest', 'guest', { 'connection.blocked': true })
      client.send(0, methods.ConnectionTuneOk, { channelMax: 1, frameMax: 131_072, heartbeat: 0 })
      client.send(0, methods.ConnectionOpen, {})
      client.send(1, methods.ChannelOpen, {})
      client.send(1, methods.QueueDeclare, { queueName: 'q' })
      client.take()
      engine.setAlarm('low on memory')
      client.bytes(Buffer.concat([EngineClient.encodePublish(1, '', 'q', '1'), mistake]))
      assert.deepEqual(client.lines(), ['0 connection.blocked'])
      engine.setAlarm(undefined)
      assert.deepEqual(client.lines(), ['0 connection.unblocked', '0 connection.close'])
      assert.equal(engine.queue('q', '/')?.ready[0]?.message.body.toString(), '1')
    }
  })

  it('is blocked by an alarm when it publishes, and goes on from there', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'q', durable: true })
    client.take()
    engine.setAlarm('low on memory')
    client.send(1, methods.BasicGet, { queueName: 'q' })
    assert.deepEqual(client.lines(), ['1 basic.get-empty'])
    client.publish(1, '', 'q', '1')
    client.publish(1, '', 'q', '2')
    assert.deepEqual(client.lines(), ['0 connection.blocked'])
    assert.equal(client.paused, true)
    assert.equal(engine.queue('q', '/')?.messageCount, 0)
    engine.setAlarm(undefined)
    assert.deepEqual(client.lines(), ['0 connection.unblocked'])
    assert.equal(client.paused, false)
    assert.equal(engine.queue('q', '/')?.messageCount, 2)
  })

  it('that is lost while it is blocked or stands still has published what it sent, and is gone after that', () => {
    for (const frozen of [false, true]) {
      const { engine } = startEngine()
      const client = EngineClient.open(engine)
      client.send(1, methods.QueueDeclare, { queueName: 'q', durable: true })
      const [connection] = engine.connections
      if (frozen) connection?.freeze(true)
      else engine.setAlarm('low on memory')
      for (const body of ['1', '2']) client.publish(1, '', 'q', body)
      client.lost()
      assert.equal(engine.connections.size, 1)
      if (frozen) connection?.freeze(false)
      engine.setAlarm(undefined)
      assert.equal(engine.queue('q', '/')?.messageCount, 2)
      assert.equal(engine.connections.size, 0)
    }
  })

  it('is read again if it is closed while it is blocked, and publishes nothing more', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'q', durable: true })
    engine.setAlarm('low on memory')
    client.publish(1, '', 'q', '1')
    client.publish(1, '', 'q', '2')
    client.take()
    engine.endAll(engine.connections, connection => connection.fail(new Refusal(320, 'by an operator')))
    assert.deepEqual(client.lines(), ['0 connection.close'])
    assert.equal(client.paused, false)
    client.send(0, methods.ConnectionCloseOk, {})
    assert.equal(client.ended, 'end')
    engine.setAlarm(undefined)
    assert.deepEqual(client.lines(), [])
    assert.equal(engine.queue('q', '/')?.messageCount, 0)
  })

  it('goes on after an alarm only when it stands still no longer', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'q', durable: true })
    client.take()
    const [connection] = engine.connections
    engine.setAlarm('low on memory')
    client.bytes(Buffer.concat([1, 2].map(body => EngineClient.encodePublish(1, '', 'q', `${body}`))))
    client.publish(1, '', 'q', '3')
    connection?.freeze(true)
    engine.setAlarm(undefined)
    assert.equal(engine.queue('q', '/')?.messageCount, 0)
    assert.equal(client.paused, true)
    connection?.freeze(false)
    engine.run()
    assert.deepEqual(client.lines(), ['0 connection.blocked', '0 connection.unblocked'])
    assert.deepEqual(
      engine.queue('q', '/')?.ready.map(({ message }) => message.body.toString()),
      ['1', '2', '3'],
    )
    assert.equal(client.paused, false)
  })
})

describe('A user of the broker', () => {
  for (const [release, answer] of [
    ['3.10', 'queue.declare-ok undefined'],
    ['4.3', "channel.close ACCESS_REFUSED - configure access to queue 'q' in vhost '/' refused for user 'guest'"],
  ] as const) {
    it(`without permissions may ask for a queue if RabbitMQ ${release} lets it`, () => {
      const { engine } = startEngine({ release })
      const client = EngineClient.open(engine)
      client.send(1, methods.QueueDeclare, { queueName: 'q' })
      client.take()
      engine.setUser('guest', { password: 'guest', permissions: { '/': {} } })
      client.send(1, methods.QueueDeclare, { queueName: 'q', passive: true })
      assert.deepEqual(
        client.take().map(({ name, args }) => `${name} ${args.replyText}`),
        [answer],
      )
    })
  }

  it('does what the permissions say, and nothing else', () => {
    const users = { guest: { password: 'guest', permissions: { '/': { configure: '^my-', write: '', read: '.*' } } } }
    const { engine } = startEngine({ users })
    const client = EngineClient.open(engine)
    client.send(1, methods.QueueDeclare, { queueName: 'my-queue' })
    client.send(1, methods.QueueDeclare, { queueName: 'your-queue' })
    const [declared, refused] = client.take()
    assert.equal(declared?.name, 'queue.declare-ok')
    assert.equal(
      refused?.args.replyText,
      "ACCESS_REFUSED - configure access to queue 'your-queue' in vhost '/' refused for user 'guest'",
    )
    client.publish(2, '', 'my-queue', 'no')
    assert.equal(
      client.take()[0]?.args.replyText,
      "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'guest'",
    )
  })
})
