import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import {
  type AmqpProtocol,
  AuthenticationError,
  type Channel,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionFailedError,
  ConnectionLostError,
  type ConnectOptions,
  connect,
  FrameError,
  NoChannelAvailableError,
  ProtocolError,
  PublishFailedError,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { broker } from '../support/broker.ts'
import { deliveryInbox, openFixture } from '../support/fixture.ts'
import { Inbox } from '../support/inbox.ts'
import { runText } from '../support/program.ts'
import { rejection } from '../support/rejection.ts'
import { type Offer, openScriptedServer, type ScriptedPeer, type ScriptedServer } from '../support/scripted-server.ts'
import { until } from '../support/until.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** A client that is connected to a server which says what the test wants, and nothing else. */
class Conversation implements AsyncDisposable {
  readonly server: ScriptedServer
  readonly peer: ScriptedPeer
  readonly protocol: AmqpProtocol
  readonly errors: Inbox<Error>

  constructor(server: ScriptedServer, peer: ScriptedPeer, protocol: AmqpProtocol, errors: Inbox<Error>) {
    this.server = server
    this.peer = peer
    this.protocol = protocol
    this.errors = errors
  }

  async openChannel(): Promise<Channel> {
    const opening = this.protocol.channel()
    const { channel } = await this.peer.expect(methods.ChannelOpen)
    this.peer.send(channel, methods.ChannelOpenOk, {})
    return opening
  }

  async confirmSelect(channel: Channel): Promise<void> {
    const selecting = channel.confirmSelect()
    await this.peer.expect(methods.ConfirmSelect)
    this.peer.send(channel.channelId, methods.ConfirmSelectOk, {})
    await selecting
  }

  async consume(channel: Channel, callback: Parameters<Channel['basicConsume']>[0], tag: string): Promise<void> {
    const consuming = channel.basicConsume(callback, 'queue', { consumerTag: tag })
    await this.peer.expect(methods.BasicConsume)
    this.peer.send(channel.channelId, methods.BasicConsumeOk, { consumerTag: tag })
    await consuming
  }

  deliver(channel: Channel, consumerTag: string, deliveryTag: number): void {
    const args = { consumerTag, deliveryTag, redelivered: false, exchangeName: '', routingKey: 'queue' }
    this.peer.send(channel.channelId, methods.BasicDeliver, args)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The server first: it would not answer the methods of a graceful close.
    await this.server[Symbol.asyncDispose]()
    await this.protocol.close()
  }
}

async function converse(options: ConnectOptions = {}, offer: Offer = {}): Promise<Conversation> {
  const server = await openScriptedServer()
  const errors = new Inbox<Error>()
  const connecting = connect(server.url, { recovery: false, onError: error => errors.add(error), ...options })
  const peer = await server.accept()
  await peer.handshake(offer)
  return new Conversation(server, peer, await connecting, errors)
}

describe('confirms', { timeout: 60_000 }, () => {
  it('of several publishes at once settle all of them', async () => {
    await using conversation = await converse()
    const { peer } = conversation
    const channel = await conversation.openChannel()
    await conversation.confirmSelect(channel)
    const publishing = Array.from({ length: 7 }, (_, i) => channel.publish(`${i + 1}`, '', 'queue'))
    for (let i = 1; i <= 7; i++) assert.equal((await peer.expectPublish()).body.toString(), `${i}`)

    peer.send(channel.channelId, methods.BasicAck, { deliveryTag: 3, multiple: true })
    await Promise.all(publishing.slice(0, 3))
    const nacked = publishing.slice(3, 5).map(promise => rejection(promise, PublishFailedError))
    peer.send(channel.channelId, methods.BasicNack, { deliveryTag: 5, multiple: true, requeue: false })
    assert.deepEqual(
      (await Promise.all(nacked)).map(({ deliveryTag }) => deliveryTag),
      [4, 5],
    )
    // Tag 0 with multiple stands for everything so far (§1.8.3.13).
    peer.send(channel.channelId, methods.BasicAck, { deliveryTag: 0, multiple: true })
    await Promise.all(publishing.slice(5))
  })

  it('are counted after confirm.select without a reply, and basicPublish mixes with publish', async () => {
    await using conversation = await converse()
    const { peer } = conversation
    const channel = await conversation.openChannel()
    await channel.confirmSelect({ noWait: true })
    assert.equal((await peer.expect(methods.ConfirmSelect)).args.noWait, true)
    await channel.basicPublish('one', '', 'queue')
    const second = channel.publish('two', '', 'queue')
    await channel.basicPublish('three', '', 'queue')
    const fourth = rejection(channel.publish('four', '', 'queue'), PublishFailedError)
    for (const text of ['one', 'two', 'three', 'four']) {
      assert.equal((await peer.expectPublish()).body.toString(), text)
    }
    peer.send(channel.channelId, methods.BasicAck, { deliveryTag: 2, multiple: false })
    await second
    peer.send(channel.channelId, methods.BasicAck, { deliveryTag: 1, multiple: false })
    peer.send(channel.channelId, methods.BasicNack, { deliveryTag: 4, multiple: false, requeue: false })
    assert.equal((await fourth).deliveryTag, 4)
    peer.send(channel.channelId, methods.BasicAck, { deliveryTag: 3, multiple: false })
    await rejection(channel.waitForConfirms(), PublishFailedError)
    await channel.waitForConfirms()
  })

  it('enabled without a reply work with the broker', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.confirmSelect({ noWait: true })
    await channel.basicPublish('one', '', queue)
    await Promise.all([channel.publish('two', '', queue), channel.basicPublish('three', '', queue)])
    await channel.publish('four', '', queue)
    await channel.waitForConfirms()
    assert.equal((await fixture.inspect(queue)).messageCount, 4)
    assert.deepEqual(fixture.errors, [])
  })
})

describe('a consumer’s callback', { timeout: 60_000 }, () => {
  it('may await calls and confirmed publishes on its own channel and on others', async () => {
    await using fixture = await openFixture()
    const { channel, protocol } = fixture
    await channel.confirmSelect()
    const { queue } = await channel.queueDeclare()
    const target = await channel.queueDeclare()
    const finished = new Inbox<number>()
    await channel.basicConsume(async (given, body, envelope) => {
      await given.queueDeclare()
      await given.publish(body, '', target.queue)
      const own = await protocol.channel()
      const { messageCount } = await own.queueDeclare(target.queue, { passive: true })
      await own.close()
      await given.basicClientAck(envelope.deliveryTag)
      finished.add(messageCount)
    }, queue)
    await channel.publish('payload', '', queue)
    assert.equal(await finished.next(), 1)
    assert.deepEqual(fixture.errors, [])
  })

  it('that takes its time holds up no other channel, no call and no later delivery', async () => {
    await using fixture = await openFixture()
    const { channel, protocol } = fixture
    await using other = await protocol.channel()
    const [slow, quick] = [(await channel.queueDeclare()).queue, (await other.queueDeclare()).queue]
    let release = (): void => {}
    const held = new Promise<void>(resolve => {
      release = resolve
    })
    const started = new Inbox<string>()
    await channel.basicConsume(
      async (_, body) => {
        started.add(body.toString())
        await held
      },
      slow,
      { noAck: true },
    )
    const { inbox, callback } = deliveryInbox()
    await other.basicConsume(callback, quick, { noAck: true })

    await channel.basicPublish('one', '', slow)
    await channel.basicPublish('two', '', slow)
    await channel.basicPublish('quick', '', quick)
    assert.deepEqual(await started.take(2), ['one', 'two'])
    assert.equal((await inbox.next()).body.toString(), 'quick')
    assert.equal((await channel.queueDeclare()).messageCount, 0)
    release()
  })

  it('that throws or rejects is reported to onError, and the consumer goes on', async () => {
    const errors = new Inbox<Error>()
    await using fixture = await openFixture({ onError: error => errors.add(error) })
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(async (given, body, envelope, properties) => {
      if (body.toString() === 'bad') throw new Error('cannot read this')
      callback(given, body, envelope, properties)
    }, queue)
    await channel.basicPublish('bad', '', queue)
    await channel.basicPublish('good', '', queue)
    assert.equal((await inbox.next()).body.toString(), 'good')
    const reported = await errors.next()
    assert.match(`${reported.message} ${String(reported.cause)}`, /cannot read this/)
    assert.equal(errors.received.length, 1)
    assert.equal(channel.isOpen, true)
  })

  it('that throws if there is no onError becomes an unhandled rejection', async () => {
    const program = `
      const { connect } = await import(${JSON.stringify(new URL('../../src/index.js', import.meta.url).href)})
      process.on('unhandledRejection', error => {
        console.log('unhandled:', error.message)
        process.exit(7)
      })
      const protocol = await connect(${JSON.stringify(broker.url)}, { recovery: false })
      const channel = await protocol.channel()
      const { queue } = await channel.queueDeclare()
      await channel.basicConsume(() => { throw new Error('cannot read this') }, queue)
      await channel.basicPublish('payload', '', queue)`
    const { stdout, status } = runText(program)
    assert.equal(status, 7)
    assert.match(stdout, /^unhandled: .*cannot read this/)
  })
})

describe('a delivery', { timeout: 60_000 }, () => {
  it('is put together although heartbeats and other channels’ frames come between its frames', async () => {
    await using conversation = await converse()
    const { peer } = conversation
    const channel = await conversation.openChannel()
    const other = await conversation.openChannel()
    const { inbox, callback } = deliveryInbox()
    const another = deliveryInbox()
    await conversation.consume(channel, callback, 'tag')
    await conversation.consume(other, another.callback, 'tag')
    const declaring = other.queueDeclare('queue', { passive: true })
    await peer.expect(methods.QueueDeclare)

    conversation.deliver(channel, 'tag', 1)
    peer.sendHeartbeat()
    peer.send(other.channelId, methods.QueueDeclareOk, { queue: 'queue', messageCount: 5, consumerCount: 2 })
    conversation.deliver(other, 'tag', 1)
    peer.sendHeader(channel.channelId, 10)
    peer.sendHeartbeat()
    peer.sendHeader(other.channelId, 6)
    peer.sendBody(channel.channelId, 'first')
    peer.sendBody(other.channelId, 'oth')
    peer.sendHeartbeat()
    peer.sendBody(channel.channelId, ' half')
    peer.sendBody(other.channelId, 'er!')
    assert.equal((await inbox.next()).body.toString(), 'first half')
    assert.equal((await another.inbox.next()).body.toString(), 'other!')
    assert.deepEqual(await declaring, { queue: 'queue', messageCount: 5, consumerCount: 2 })
    assert.equal(conversation.protocol.state, 'open')
  })

  it('for a consumer that was cancelled reaches no callback, and its tag may be used again', async () => {
    await using conversation = await converse()
    const { peer } = conversation
    const channel = await conversation.openChannel()
    const first = deliveryInbox()
    await conversation.consume(channel, first.callback, 'tag')
    const cancelling = channel.basicCancel('tag')
    await peer.expect(methods.BasicCancel)
    peer.send(channel.channelId, methods.BasicCancelOk, { consumerTag: 'tag' })
    await cancelling

    const second = deliveryInbox()
    await conversation.consume(channel, second.callback, 'tag')
    conversation.deliver(channel, 'tag', 1)
    peer.sendHeader(channel.channelId, 3)
    peer.sendBody(channel.channelId, 'new')
    assert.equal((await second.inbox.next()).body.toString(), 'new')
    assert.deepEqual(first.inbox.received, [])
  })

  it('to an unknown tag is not lost in silence: it ends the connection, whose broker keeps the message', async () => {
    await using conversation = await converse()
    const { peer, protocol } = conversation
    const channel = await conversation.openChannel()
    const ended = rejection(protocol.waitClosed(), ProtocolError)
    conversation.deliver(channel, 'nobody', 1)
    peer.sendHeader(channel.channelId, 3)
    peer.sendBody(channel.channelId, 'odd')
    const error = await ended
    assert.match(error.message, /nobody/)
    assert.equal(protocol.state, 'closed')
    assert.equal(channel.isOpen, false)
  })

  it('past maxMessageSize takes no memory, is rejected and reported, and the next one comes', async () => {
    await using conversation = await converse({ maxMessageSize: 1000 })
    const { peer, errors } = conversation
    const channel = await conversation.openChannel()
    const { inbox, callback } = deliveryInbox()
    await conversation.consume(channel, callback, 'tag')
    const bodies = 160
    const body = Buffer.alloc(65_536)
    conversation.deliver(channel, 'tag', 1)
    peer.sendHeader(channel.channelId, bodies * body.length)
    for (let i = 0; i < bodies; i++) peer.sendBody(channel.channelId, body)
    conversation.deliver(channel, 'tag', 2)
    peer.sendHeader(channel.channelId, 4)
    peer.sendBody(channel.channelId, 'next')

    assert.equal((await inbox.next()).body.toString(), 'next')
    assert.deepEqual((await peer.expect(methods.BasicReject)).args, { deliveryTag: 1, requeue: false })
    const reported = await errors.next()
    assert.match(reported.message, /10485760 bytes .* maxMessageSize, 1000 bytes/)
    assert.equal(errors.received.length, 1)
    assert.equal(inbox.received.length, 1)
  })

  it('is given no memory by the size that its header announces', async () => {
    await using conversation = await converse({ maxMessageSize: 2 ** 31 })
    const { peer } = conversation
    const channel = await conversation.openChannel()
    const other = await conversation.openChannel()
    const { inbox, callback } = deliveryInbox()
    await conversation.consume(channel, callback, 'tag')
    const before = process.memoryUsage().arrayBuffers
    conversation.deliver(channel, 'tag', 1)
    peer.sendHeader(channel.channelId, 2 ** 31)
    peer.sendBody(channel.channelId, 'only this much')
    const declaring = other.queueDeclare('queue')
    await peer.expect(methods.QueueDeclare)
    peer.send(other.channelId, methods.QueueDeclareOk, { queue: 'queue', messageCount: 0, consumerCount: 0 })
    await declaring
    const grown = process.memoryUsage().arrayBuffers - before
    assert.ok(grown < 8 * 1024 * 1024, `${grown} bytes more are held`)
    assert.deepEqual(inbox.received, [])
  })
})

describe('onError', { timeout: 60_000 }, () => {
  it('is not called for a close() that the program asked for', async () => {
    const errors: unknown[] = []
    const protocol = await connect(broker.url, { recovery: false, onError: error => errors.push(error) })
    const channel = await protocol.channel()
    await channel.close()
    await protocol.channel()
    await protocol.close()
    await protocol.waitClosed()
    assert.deepEqual(errors, [])
  })

  it('is called once, with the server’s own code, for a connection that the server closes', async () => {
    await using conversation = await converse()
    const { peer, protocol, errors } = conversation
    const channel = await conversation.openChannel()
    const closed = once(protocol, 'closed')
    const args = { replyCode: 320, replyText: 'CONNECTION_FORCED - by the test', classId: 0, methodId: 0 }
    peer.send(0, methods.ConnectionClose, args)
    await peer.expect(methods.ConnectionCloseOk)
    peer.end()
    await closed
    await peer.closed
    const reported = await errors.next()
    assert.ok(reported instanceof ConnectionClosedError)
    assert.equal(reported.replyCode, 320)
    assert.equal(reported.replyText, 'CONNECTION_FORCED - by the test')
    assert.equal(errors.received.length, 1)
    assert.equal(channel.isOpen, false)

    const late = await rejection(channel.queueDeclare(), ConnectionClosedError)
    assert.equal(late.replyCode, 320)
  })

  it('is not called for a plain cancellation callback that returns nothing', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const cancelled = new Inbox<string>()
    channel.addCancellationCallback((_, consumerTag) => {
      cancelled.add(consumerTag)
    })
    const { queue } = await channel.queueDeclare()
    const { consumerTag } = await channel.basicConsume(() => {}, queue)
    await channel.queueDelete(queue)
    assert.equal(await cancelled.next(), consumerTag)
    await channel.queueDeclare()
    assert.deepEqual(fixture.errors, [])
  })
})

describe('what was negotiated', { timeout: 60_000 }, () => {
  it('allows channelMax channels and refuses the next one, without harm to the connection', async () => {
    await using fixture = await openFixture({ channelMax: 3 })
    const { protocol, channel } = fixture
    const others = await Promise.all([protocol.channel(), protocol.channel()])
    assert.deepEqual(
      [channel, ...others].map(({ channelId }) => channelId),
      [1, 2, 3],
    )
    const error = await rejection(protocol.channel(), NoChannelAvailableError)
    assert.match(error.message, /3/)
    assert.equal(protocol.state, 'open')
    assert.equal((await channel.queueDeclare()).messageCount, 0)

    await others[0]?.close()
    assert.equal((await protocol.channel()).channelId, 2)
  })

  it('bounds every frame that is sent, its header and end octet counted', async () => {
    await using conversation = await converse({}, { frameMax: 4096 })
    const { peer } = conversation
    const channel = await conversation.openChannel()
    const payload = Buffer.alloc(20_000, 'abcdefg')
    await channel.basicPublish(payload, '', 'queue')
    const { body, bodyFrameSizes } = await peer.expectPublish()
    assert.ok(body.equals(payload))
    assert.deepEqual(bodyFrameSizes, [4096, 4096, 4096, 4096, 20_000 - 4 * 4088 + 8])
    assert.equal(Math.max(...peer.frames.map(({ size }) => size)), 4096)
  })

  it('begins with the protocol header of AMQP 0-9-1', async () => {
    await using conversation = await converse()
    assert.equal(conversation.peer.protocolHeader.toString('hex'), '414d515000000901')
  })
})

describe('calls started together on one channel', { timeout: 60_000 }, () => {
  it('are all answered, whichever methods they are', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const [destination, source] = [fixture.exchangeName('destination'), fixture.exchangeName('source')]
    const { queue } = await channel.queueDeclare()
    for (let i = 0; i < 6; i++) await channel.basicPublish(`${i}`, '', queue)
    await Promise.all([channel.exchangeDeclare(destination, 'fanout'), channel.exchangeDeclare(source, 'fanout')])

    const gets = await Promise.all(Array.from({ length: 4 }, () => channel.basicGet(queue, { noAck: true })))
    assert.deepEqual(
      gets.map(message => message?.body.toString()),
      ['0', '1', '2', '3'],
    )
    await Promise.all([
      channel.exchangeBind(destination, source, 'a'),
      channel.exchangeBind(destination, source, 'b'),
      channel.basicQos({ prefetchCount: 1 }),
      channel.basicQos({ prefetchCount: 2 }),
    ])
    const purged = await Promise.all([channel.queuePurge(queue), channel.queuePurge(queue)])
    assert.deepEqual(purged, [{ messageCount: 2 }, { messageCount: 0 }])
    const deleted = await Promise.all([channel.queueDelete(queue), channel.queueDelete(queue)])
    assert.deepEqual(deleted, [{ messageCount: 0 }, { messageCount: 0 }])
  })
})

describe('the error of a closed channel', { timeout: 60_000 }, () => {
  it('has its text in message and a constant in code', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    await channel.close()
    const error = await rejection(channel.queueDeclare('queue'), ChannelClosedError)
    assert.equal(error.code, 'CHANNEL_CLOSED')
    assert.equal(error.name, 'ChannelClosedError')
    assert.match(error.message, /closed/)
    assert.ok(error.replyCode === undefined || typeof error.replyCode === 'number')
  })

  it('reports a channel the server closed while it was idle, to later calls and to those who wait', async () => {
    const errors = new Inbox<Error>()
    await using fixture = await openFixture({ onError: error => errors.add(error) })
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicConsume(() => {}, queue)
    const ended = rejection(channel.waitClosed(), ChannelClosedError)
    await channel.basicPublish('payload', 'no-such-exchange', 'key')
    const reason = await ended
    assert.equal(reason.replyCode, 404)
    assert.ok(reason.replyText?.startsWith("NOT_FOUND - no exchange 'no-such-exchange' in vhost '"), reason.replyText)
    assert.equal(reason.method, 'basic.publish')

    const calls = [
      channel.queueDeclare(),
      channel.publish('payload', '', queue),
      channel.flow(true),
      channel.basicCancel('tag'),
    ]
    for (const call of calls) {
      const error = await rejection(call, ChannelClosedError)
      assert.equal(error.replyCode, 404)
      assert.equal(error.replyText, reason.replyText)
      assert.notEqual(error, reason)
    }
    assert.equal(channel.isOpen, false)
    assert.equal(fixture.protocol.state, 'open')
  })
})

describe('a server that does not answer', { timeout: 60_000 }, () => {
  it('fails connect() at its time limit, with the step it waited in', async () => {
    await using server = await openScriptedServer()
    const clock = new VirtualClock()
    const failing = rejection(connect(server.url, { connectTimeout: 200, clock }), ConnectionFailedError)
    const peer = await server.accept()
    await until('the client has greeted the server', () => peer.protocolHeader.length > 0)
    const error = await clock.until(failing)
    assert.equal(clock.now(), 200)
    assert.equal(error.attempts[0]?.server, `127.0.0.1:${server.port}`)
    assert.equal(error.attempts[0]?.step, 'connection.start')
    assert.ok(error.attempts[0]?.cause instanceof TimeoutError)
    await peer.closed
  })

  it('does not keep close() waiting past its time limit', async () => {
    const clock = new VirtualClock()
    await using conversation = await converse({ clock })
    const { peer, protocol } = conversation
    const channel = await conversation.openChannel()
    peer.answersClose = false
    const pending = rejection(channel.queueDeclare('queue'), Error)
    await clock.until(protocol.close({ timeout: 200 }))
    assert.equal(clock.now(), 200)
    assert.equal(protocol.state, 'closed')
    assert.match((await pending).message, /queue\.declare/)
    await peer.closed
  })

  it('fails a call at rpcTimeout, and the channel, whose state is unknown then', async () => {
    const clock = new VirtualClock()
    await using conversation = await converse({ rpcTimeout: 200, clock })
    const { peer, protocol } = conversation
    const channel = await conversation.openChannel()
    const error = await clock.until(rejection(channel.queueDeclare('queue'), TimeoutError))
    assert.equal(clock.now(), 200)
    assert.match(error.message, /queue\.declare/)
    assert.match(error.message, /200/)
    await peer.expect(methods.QueueDeclare)
    await rejection(channel.waitClosed(), Error)
    assert.equal(channel.isOpen, false)
    assert.equal(protocol.state, 'open')
  })
})

describe('a login', { timeout: 60_000 }, () => {
  it('asks the server to say why it refuses, and says it on', async () => {
    await using server = await openScriptedServer()
    const refused = rejection(connect(server.url, { recovery: false }), AuthenticationError)
    const peer = await server.accept()
    const { clientProperties } = await peer.login()
    const capabilities = clientProperties['capabilities'] as Record<string, unknown>
    assert.equal(capabilities['authentication_failure_close'], true)
    const text = 'ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN.'
    peer.send(0, methods.ConnectionClose, { replyCode: 403, replyText: text, classId: 0, methodId: 0 })
    const error = await refused
    assert.equal(error.replyCode, 403)
    assert.equal(error.replyText, text)
    assert.ok(error.message.includes(`127.0.0.1:${server.port}`), error.message)
  })

  it('keeps the client’s capabilities beside those the program adds', async () => {
    await using server = await openScriptedServer()
    const clientProperties = { product: 'mine', capabilities: { added: true, 'connection.blocked': true } }
    const connecting = connect(server.url, { recovery: false, clientProperties })
    const peer = await server.accept()
    const said = (await peer.handshake()).clientProperties
    await using protocol = await connecting
    assert.equal(protocol.state, 'open')
    assert.equal(said['product'], 'mine')
    const capabilities = said['capabilities'] as Record<string, unknown>
    for (const name of [
      'added',
      'publisher_confirms',
      'consumer_cancel_notify',
      'exchange_exchange_bindings',
      'basic.nack',
      'connection.blocked',
      'authentication_failure_close',
    ]) {
      assert.equal(capabilities[name], true, name)
    }
  })

  it('uses the SASL mechanism of the option', async () => {
    for (const [loginMethod, expected] of [
      ['EXTERNAL', ''],
      ['PLAIN', '\0guest\0guest'],
    ] as const) {
      await using server = await openScriptedServer()
      const connecting = connect(server.url, { recovery: false, loginMethod })
      const peer = await server.accept()
      const { mechanism, response } = await peer.handshake({ mechanisms: 'AMQPLAIN PLAIN EXTERNAL' })
      await using protocol = await connecting
      assert.equal(protocol.state, 'open')
      assert.equal(mechanism, loginMethod)
      assert.equal(response.toString(), expected)
    }
  })
})

describe('an open connection', { timeout: 60_000 }, () => {
  it('holds publishes back while the broker blocks, and says why', async () => {
    await using conversation = await converse()
    const { peer, protocol } = conversation
    const channel = await conversation.openChannel()
    const blocked = once(protocol, 'blocked')
    peer.send(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    assert.deepEqual(await blocked, ['low on memory', 'main'])
    assert.equal(protocol.blocked, 'low on memory')

    let settled = false
    const publishing = channel.basicPublish('payload', '', 'queue').then(() => {
      settled = true
    })
    const declaring = channel.queueDeclare('queue')
    await peer.expect(methods.QueueDeclare)
    peer.send(channel.channelId, methods.QueueDeclareOk, { queue: 'queue', messageCount: 0, consumerCount: 0 })
    await declaring
    assert.equal(settled, false)

    const unblocked = once(protocol, 'unblocked')
    peer.send(0, methods.ConnectionUnblocked, {})
    await unblocked
    await publishing
    assert.equal(protocol.blocked, undefined)
    assert.equal((await peer.expectPublish()).body.toString(), 'payload')
  })

  it('updates the secret of its login', async () => {
    await using conversation = await converse()
    const updating = conversation.protocol.updateSecret('new-secret', 'it expires')
    const { args } = await conversation.peer.expect(methods.ConnectionUpdateSecret)
    assert.equal(Buffer.from(args.newSecret as Uint8Array).toString(), 'new-secret')
    assert.equal(args.reason, 'it expires')
    conversation.peer.send(0, methods.ConnectionUpdateSecretOk, {})
    await updating
  })

  it('ends at a bad frame end, with the reason for everybody who waits', async () => {
    await using conversation = await converse()
    const { peer, protocol } = conversation
    peer.answersClose = false
    const channel = await conversation.openChannel()
    const ended = rejection(protocol.waitClosed(), FrameError)
    const pending = rejection(channel.queueDeclare('queue'), ConnectionLostError)
    await peer.expect(methods.QueueDeclare)
    const frame = peer.encode(channel.channelId, methods.QueueDeclareOk, {
      queue: 'queue',
      messageCount: 0,
      consumerCount: 0,
    })
    frame[frame.length - 1] = 0
    peer.sendBytes(Buffer.concat([frame, peer.encode(channel.channelId, methods.BasicQosOk, {})]))
    const reason = await ended
    const error = await pending
    assert.equal(error.reason, 'protocol')
    assert.equal(error.cause, reason)
    assert.match(error.message, /^queue\.declare of "queue" failed: .*0x0 instead of 0xce/)
    assert.equal(protocol.state, 'closed')
    assert.equal((await peer.expect(methods.ConnectionClose)).args.replyCode, 501)
    peer.send(0, methods.ConnectionCloseOk, {})
    await peer.closed
  })

  it('ends if the stream ends inside a frame', async () => {
    await using conversation = await converse()
    const { peer, protocol } = conversation
    const channel = await conversation.openChannel()
    const ended = rejection(protocol.waitClosed(), ConnectionLostError)
    const pending = rejection(channel.queueDeclare('queue'), ConnectionLostError)
    await peer.expect(methods.QueueDeclare)
    const args = { queue: 'queue', messageCount: 0, consumerCount: 0 }
    peer.sendBytes(peer.encode(channel.channelId, methods.QueueDeclareOk, args).subarray(0, 12))
    peer.end()
    assert.equal((await ended).reason, 'end')
    assert.equal((await pending).reason, 'end')
    assert.equal(protocol.state, 'closed')
    await rejection(channel.queueDeclare('queue'), ConnectionLostError)
  })
})

describe('channel.close', { timeout: 60_000 }, () => {
  it('from both sides at once is answered, and the number is free only after both answers', async () => {
    await using conversation = await converse()
    const { peer, protocol } = conversation
    peer.answersClose = false
    const channel = await conversation.openChannel()
    const { channelId } = channel
    const { inbox, callback } = deliveryInbox()
    await conversation.consume(channel, callback, 'tag')
    const closing = channel.close()
    await peer.expect(methods.ChannelClose)
    // What was under way for the channel still comes.
    conversation.deliver(channel, 'tag', 1)
    peer.sendHeader(channelId, 4)
    peer.sendBody(channelId, 'late')
    const args = { replyCode: 404, replyText: 'NOT_FOUND - crossing', classId: 50, methodId: 10 }
    peer.send(channelId, methods.ChannelClose, args)
    assert.equal((await peer.expect(methods.ChannelCloseOk)).channel, channelId)

    // Our own close is unanswered still.
    const second = await conversation.openChannel()
    assert.notEqual(second.channelId, channelId)
    assert.equal(protocol.channelsIdsCount, 2)
    peer.send(channelId, methods.ChannelCloseOk, {})
    await closing
    assert.equal(protocol.channelsIdsCount, 1)
    const declaring = second.queueDeclare('queue')
    await peer.expect(methods.QueueDeclare)
    peer.send(second.channelId, methods.QueueDeclareOk, { queue: 'queue', messageCount: 0, consumerCount: 0 })
    await declaring
    assert.deepEqual(inbox.received, [])
    assert.equal(protocol.state, 'open')
    peer.answersClose = true
  })

  it('crossing the broker’s own leaves the connection and the numbers of channels sound', async () => {
    await using fixture = await openFixture()
    const { protocol, channel } = fixture
    for (let i = 0; i < 50; i++) {
      const closing = await protocol.channel()
      const publishing = closing.basicPublish('payload', 'no-such-exchange', 'key')
      await closing.close()
      await Promise.allSettled([publishing])
    }
    assert.equal(protocol.state, 'open')
    assert.equal(protocol.channelsIdsCount, 1)
    assert.equal((await channel.queueDeclare()).messageCount, 0)
  })
})
