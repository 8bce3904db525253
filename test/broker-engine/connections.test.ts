import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PROTOCOL_HEADER } from '../../src/protocol/constants.ts'
import * as methods from '../../src/protocol/methods.ts'
import { EngineClient, startEngine } from './engine-client.ts'

describe('A connection to the broker', () => {
  it('is closed with the header of AMQP 0-9-1 where the client speaks something else', () => {
    const { engine } = startEngine()
    const client = new EngineClient(engine)
    client.expectBytes()
    client.bytes(Buffer.from('GET / HTTP/1.1\r\n\r\n'))
    assert.deepEqual(client.raw, Buffer.from(PROTOCOL_HEADER))
    assert.equal(client.ended, 'end')
    assert.equal(engine.connections.size, 0)
  })

  it('takes its header in pieces', () => {
    const { engine } = startEngine()
    const client = new EngineClient(engine)
    for (const byte of PROTOCOL_HEADER) client.bytes(Buffer.of(byte))
    assert.deepEqual(client.lines(), ['0 connection.start'])
  })

  it('tells who can understand it that the login was refused, and others nothing', async () => {
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
    assert.equal(silent.ended, 'end')
  })

  it('is closed where the virtual host does not exist', () => {
    const { engine } = startEngine()
    const client = new EngineClient(engine)
    client.bytes(PROTOCOL_HEADER)
    client.login('guest', 'guest')
    client.send(0, methods.ConnectionTuneOk, { channelMax: 10, frameMax: 131_072, heartbeat: 0 })
    client.send(0, methods.ConnectionOpen, { virtualHost: 'nowhere' })
    assert.equal(client.take().at(-1)?.args.replyText, 'NOT_ALLOWED - vhost nowhere not found')
  })

  it('is closed where a method comes on a channel that is not open', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    client.send(3, methods.QueueDeclare, {})
    assert.equal(client.take()[0]?.args.replyText, "CHANNEL_ERROR - expected 'channel.open'")
    client.send(0, methods.ConnectionCloseOk, {})
    assert.equal(client.ended, 'end')
  })

  it('is closed where a frame is larger than what was agreed', () => {
    const { engine } = startEngine()
    const client = EngineClient.open(engine)
    const frame = Buffer.alloc(8)
    frame.writeUInt8(1, 0)
    frame.writeUInt32BE(200_000, 3)
    client.bytes(frame)
    assert.equal(client.take()[0]?.args.replyCode, 501)
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

  it('gives back what it had when it is lost', () => {
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

  it('sends heartbeats, and is cut where none come', async () => {
    const { engine, clock } = startEngine()
    const client = EngineClient.open(engine, { heartbeat: 10 })
    await clock.advance(10_000)
    assert.equal(client.heartbeats, 2)
    await clock.advance(9_999)
    assert.equal(client.ended, 'no')
    await clock.advance(1)
    assert.equal(client.ended, 'destroyed')
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
})

describe('A user of the broker', () => {
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
