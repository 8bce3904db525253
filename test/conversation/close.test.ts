import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import {
  ChannelClosedError,
  ConnectionClosedError,
  connect,
  EncodeError,
  NoChannelAvailableError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Properties } from '../../src/protocol/received-properties.ts'
import { startBroker } from '../../src/testing/index.ts'
import {
  contentFrames,
  converse,
  converseOnChannel,
  deliverFrame,
  delivery,
  FakeBroker,
  type FakePeer,
  methodFrame,
  startConsumer,
} from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn, within } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const NOT_FOUND = { replyCode: 404, replyText: "NOT_FOUND - no queue 'q' in vhost '/'", classId: 50, methodId: 10 }

describe('closing a channel', () => {
  it('sends nothing where its arguments are bad, and leaves the channel open', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    const bad = [{ replyText: 'x'.repeat(256) }, { replyCode: 70_000 }, { replyCode: -1 }, { replyText: 5 as never }]
    for (const options of bad) {
      await rejection(channel.close(options), EncodeError)
      assert.equal(channel.isOpen, true)
    }
    await rejection(protocol.close({ replyText: '€'.repeat(100) }), EncodeError)
    assert.deepEqual(peer.names, ['1 channel.open'])
    await channel.close({ replyCode: 541, replyText: 'x'.repeat(255) })
    assert.deepEqual(peer.names, ['1 channel.open', '1 channel.close'])
  })

  it('starts no callback any more from the moment it is written, however late it is answered', async () => {
    const { peer, channel } = await converseOnChannel()
    peer.answers.set('channel.close', () => undefined)
    const seen: string[] = []
    let end = (): void => {}
    const callback = (_channel: unknown, body: Buffer): Promise<void> => {
      seen.push(body.toString())
      return new Promise(resolve => {
        end = resolve
      })
    }
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1 })
    peer.send(Buffer.concat([delivery(1, 'c', 1, 'first'), delivery(1, 'c', 2, 'second')]))
    await turn()
    void channel.close()
    await turn()
    end()
    await turn()
    assert.deepEqual(seen, ['first'])
    peer.send(methodFrame(1, methods.ChannelCloseOk, {}))
  })

  it('that the server closes at the same time drops what comes until the server has read the answer', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    peer.answers.delete('channel.close')
    const seen: string[] = []
    const callback = (_channel: unknown, body: Buffer): unknown => seen.push(body.toString())
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c' })
    const closed = channel.close()
    await turn()
    peer.reply(1, methods.ChannelClose, NOT_FOUND)
    peer.send(methodFrame(1, methods.ChannelCloseOk, {}), delivery(1, 'c', 1, 'of the old one'))
    await closed
    assert.equal(peer.names.at(-1), '1 channel.close-ok')
    assert.deepEqual([seen, protocol.state], [[], 'open'])
  })

  it('that the server has closed leaves its deliveries to the next one of its number, which drops them', async () => {
    const { peer, channel, protocol } = await converseOnChannel({}, new FakeBroker({ channelMax: 1 }))
    const seen: string[] = []
    const callback = (_channel: unknown, body: Buffer): unknown => seen.push(body.toString())
    await startConsumer({ peer, channel }, callback, { consumerTag: 'old' })
    peer.reply(1, methods.ChannelClose, NOT_FOUND)
    const next = await protocol.channel()
    assert.equal(next.channelId, 1)
    peer.send(delivery(1, 'old', 7, 'of the old one'))
    await peer.expect(methods.ChannelCloseOk)
    await startConsumer({ peer, channel: next }, callback, { consumerTag: 'new' })
    peer.send(delivery(1, 'old', 8, 'of the old one'), delivery(1, 'new', 1, 'of the new one'))
    await turn()
    assert.deepEqual([seen, protocol.state], [['of the new one'], 'open'])
    assert.equal(await next.basicClientAck(1), true)
  })

  it('rejects from a getter of a message, and can be closed afterwards', async () => {
    const { peer, channel } = await converseOnChannel()
    let inside: Promise<void> | undefined
    const headers = {
      get now() {
        inside ??= channel.close()
        return 1
      },
    }
    await channel.basicPublish('x', '', 'q', { headers })
    assert.ok(inside !== undefined)
    await rejection(inside, EncodeError)
    assert.equal(channel.isOpen, true)
    await channel.close()
    assert.equal(peer.names.at(-1), '1 channel.close')
    assert.equal(channel.isOpen, false)
  })

  it('gives its number back when close-ok has come, and not before', async () => {
    const { peer, channel, protocol } = await converseOnChannel({}, new FakeBroker({ channelMax: 2 }))
    await protocol.channel()
    peer.answers.delete(methods.ChannelClose.name)
    const closing = channel.close()
    await peer.expect(methods.ChannelClose)
    await rejection(protocol.channel(), NoChannelAvailableError)
    peer.reply(1, methods.ChannelCloseOk, {})
    await closing
    const next = await protocol.channel()
    assert.equal(next.channelId, 1)
  })

  it('rejects calls that wait for their consumer tag, also if the broker answers nothing more', async () => {
    const clock = new VirtualClock()
    const { peer, channel } = await converseOnChannel({ clock })
    peer.mute()
    const consuming = follow(channel.basicConsume(() => {}, 'q', { consumerTag: 'c' }))
    const waiting = [
      follow(channel.basicCancel('c')),
      follow(channel.basicConsume(() => {}, 'q', { consumerTag: 'c' })),
      follow(channel.basicCancel('c', { noWait: true })),
    ]
    await clock.advance(20_000)
    assert.match(consuming.error?.message ?? '', /not answered .* within 20000 ms; its channel is closed/)
    for (const { error } of waiting) assert.match(error?.message ?? '', /failed: channel 1 is closed: .* not answered/)
    assert.deepEqual(peer.names, ['1 channel.open', '1 basic.consume', '1 channel.close'])
  })

  it('is over for the program if the broker does not answer it in time, and keeps its number', async () => {
    const clock = new VirtualClock()
    const { peer, channel, protocol } = await converseOnChannel({ clock }, new FakeBroker({ channelMax: 2 }))
    const given = await protocol.channel()
    peer.answers.delete(methods.ChannelClose.name)
    const asked = follow(channel.waitClosed())
    const unasked = follow(given.waitClosed())
    const closing = follow(channel.close())
    const declaring = follow(given.queueDeclare('q'))
    await clock.advance(20_000)
    assert.equal(asked.state, 'resolved')
    assert.equal(closing.state, 'resolved')
    assert.match(declaring.error?.message ?? '', /not answered/)
    await clock.advance(20_000)
    assert.match(unasked.error?.message ?? '', /^channel 2 is closed: .* was not answered/)
    await rejection(protocol.channel(), NoChannelAvailableError)
    peer.reply(1, methods.ChannelCloseOk, {})
    peer.reply(2, methods.ChannelCloseOk, {})
    assert.equal((await protocol.channel()).channelId, 1)
    await protocol.close()
  })

  it('is over when the broker has left a call before it unanswered for rpcTimeout, however many there are', async () => {
    const clock = new VirtualClock()
    const { peer, channel, protocol } = await converseOnChannel({ clock }, new FakeBroker({ channelMax: 1 }))
    peer.mute()
    const hurried = follow(channel.queueDeclare('hurried', { timeout: 5_000 }))
    const calls = ['a', 'b', 'c'].map(name => follow(channel.queueDeclare(name)))
    const closing = follow(channel.close())
    const closed = follow(channel.waitClosed())
    await clock.advance(5_000)
    assert.equal(hurried.state, 'rejected')
    await clock.advance(19_999)
    assert.equal(closing.state, 'pending')
    await clock.advance(1)
    for (const { state } of [closing, closed]) assert.equal(state, 'resolved')
    for (const { error } of calls.slice(1)) assert.match(error?.message ?? '', /failed: channel 1 is closed/)
    await rejection(protocol.channel(), NoChannelAvailableError)
    // Late replies: those to the calls are dropped, and the close-ok frees the number.
    peer.reply(1, methods.QueueDeclareOk, { queue: 'hurried', messageCount: 0, consumerCount: 0 })
    peer.reply(1, methods.QueueDeclareOk, { queue: 'a', messageCount: 0, consumerCount: 0 })
    peer.reply(1, methods.ChannelCloseOk, {})
    void follow(protocol.channel())
    await clock.advance(0)
    assert.equal(peer.names.at(-1), '1 channel.open')
  })

  it('is over after rpcTimeout also if a call before it may wait for longer', async () => {
    const clock = new VirtualClock()
    const { peer, channel } = await converseOnChannel({ clock })
    peer.mute()
    const patient = follow(channel.queueDeclare('patient', { timeout: Number.POSITIVE_INFINITY }))
    await clock.advance(10_000)
    const closing = follow(channel.close())
    await clock.advance(19_999)
    assert.deepEqual([patient.state, closing.state], ['pending', 'pending'])
    await clock.advance(1)
    assert.deepEqual([patient.state, closing.state], ['rejected', 'resolved'])
  })

  it('says that the broker was silent, and not that the program has closed it, to calls that it did not answer', async () => {
    const clock = new VirtualClock()
    const { peer, protocol } = await converse({ clock })
    peer.mute()
    const declared = follow(protocol.queueDeclare('q'))
    const own = follow(protocol.queueDeclare('q', { timeout: 1_000 }))
    clock.block(0.4)
    await clock.advance(1_000)
    assert.match(own.error?.message ?? '', /^queue\.declare of "q" was not answered by \S+ within 1000 ms/)
    await clock.advance(20_000)
    assert.match(
      declared.error?.message ?? '',
      /^queue\.declare of "q" failed: channel 1 is closed: .* because channel\.open \(channel 1\) was not answered by \S+ within 20000 ms/,
    )
  })

  it('rejects pending calls with the reason, and returns the same promise again', async () => {
    const { channel, errors } = await converseOnChannel()
    const pending = follow(channel.queueDeclare('q'))
    const closing = channel.close()
    assert.equal(channel.close(), closing)
    assert.equal(channel.isOpen, false)
    const late = await rejection(channel.queueDeclare('r'), ChannelClosedError)
    assert.equal(late.message, 'queue.declare of "r" failed: channel 1 is closed: it was closed by the program')
    await closing
    await channel.waitClosed()
    assert.equal(
      pending.error?.message,
      'queue.declare of "q" failed: channel 1 is closed: it was closed by the program',
    )
    assert.deepEqual(errors, [])
  })

  it('by the server rejects pending calls with its text, the call at fault first, and leaves other channels alone', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    const other = await protocol.channel()
    const calls = [
      follow(channel.basicQos()),
      follow(channel.queueDeclare('q', { passive: true })),
      follow(channel.queueDeclare('r')),
    ]
    const unaffected = other.queueDeclare('s')
    await peer.took(4)
    peer.reply(1, methods.ChannelClose, NOT_FOUND)
    await turn()
    assert.equal(peer.names.at(-1), '1 channel.close-ok')
    const [qos, guilty, behind] = calls.map(({ error }) => error)
    for (const error of [qos, guilty, behind]) {
      assert.ok(error instanceof ChannelClosedError)
      assert.equal(error.replyCode, 404)
      assert.equal(error.replyText, NOT_FOUND.replyText)
      assert.equal(error.method, 'queue.declare')
      assert.ok(error.cause instanceof ChannelClosedError)
    }
    assert.equal(
      guilty?.message,
      "queue.declare of \"q\" failed: NOT_FOUND (404), no queue 'q' in vhost '/'; channel 1 is closed",
    )
    assert.match(
      behind?.message ?? '',
      /^queue\.declare of "r" failed: channel 1 was closed by the server because of queue\.declare: NOT_FOUND/,
    )
    peer.reply(2, methods.QueueDeclareOk, { queue: 's', messageCount: 0, consumerCount: 0 })
    await unaffected
    assert.equal((await rejection(channel.basicQos(), ChannelClosedError)).replyCode, 404)
    assert.equal((await rejection(channel.waitClosed(), ChannelClosedError)).replyCode, 404)
  })

  it('by the server without a call that waits is reported to onError, once', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    peer.reply(1, methods.ChannelClose, {
      replyCode: 406,
      replyText: 'PRECONDITION_FAILED - unknown delivery tag 9',
      classId: 60,
      methodId: 80,
    })
    await turn()
    assert.equal(errors.length, 1)
    assert.equal(
      errors[0]?.message,
      'channel 1 was closed by the server because of basic.ack: PRECONDITION_FAILED (406), unknown delivery tag 9' +
        ' (it was settled before, came on another channel, or needs no ack because of noAck)',
    )
    void channel.basicPublish('x', '', 'q')
    void channel.basicClientAck(1)
    await turn()
    assert.equal(errors.length, 1)
  })

  it('from both sides at once ends it, and its number is free when the server has agreed too', async () => {
    const { peer, channel, protocol } = await converseOnChannel({}, new FakeBroker({ channelMax: 1 }))
    peer.answers.delete(methods.ChannelClose.name)
    const pending = follow(channel.queueDeclare('q'))
    const closing = channel.close()
    assert.deepEqual(await peer.took(2), ['1 queue.declare', '1 channel.close'])
    peer.reply(1, methods.ChannelClose, NOT_FOUND)
    assert.deepEqual(await peer.took(1), ['1 channel.close-ok'])
    // The server answers our close, too (§1.5.2.5): until then its number cannot serve another.
    const early = follow(protocol.channel())
    await turn()
    assert.ok(early.error instanceof NoChannelAvailableError)
    peer.reply(1, methods.ChannelCloseOk, {})
    await closing
    assert.ok(pending.error instanceof ChannelClosedError)
    assert.equal(pending.error.replyCode, 404)
    assert.equal(protocol.state, 'open')
    const next = await protocol.channel()
    assert.equal(next.channelId, 1)
    assert.equal(next.isOpen, true)
  })

  it('absorbs what comes before close-ok, and sends nothing after channel.close', async () => {
    const { peer, channel, protocol, errors } = await converseOnChannel()
    peer.answers.delete(methods.ChannelClose.name)
    const called: string[] = []
    const abort = new AbortController()
    await startConsumer({ peer, channel }, (_channel, body) => called.push(String(body)), { consumerTag: 'c' })
    await turn()
    const got = follow(channel.basicGet('q', { signal: abort.signal }))
    abort.abort()
    const closing = channel.close()
    assert.deepEqual(await peer.took(2), ['1 basic.get', '1 channel.close'])
    const sent = peer.names.length
    peer.send(
      delivery(1, 'c', 1, 'x'),
      methodFrame(1, methods.BasicGetOk, {
        deliveryTag: 2,
        redelivered: false,
        exchangeName: '',
        routingKey: 'q',
        messageCount: 0,
      }),
      contentFrames(1, 'y'),
      methodFrame(1, methods.ChannelFlow, { active: false }),
      methodFrame(1, methods.BasicCancel, { consumerTag: 'c', noWait: false }),
    )
    await turn()
    assert.deepEqual(peer.names.slice(sent), [])
    peer.reply(1, methods.ChannelCloseOk, {})
    await closing
    await turn()
    assert.equal(got.state, 'rejected')
    assert.deepEqual(called, [])
    assert.equal(protocol.state, 'open')
    assert.deepEqual(peer.names.slice(sent), [])
    assert.deepEqual(errors, [])
  })

  it('refuses publishes from then on, and never writes those that wait', async () => {
    const { peer, channel } = await converseOnChannel()
    peer.answers.delete(methods.ChannelClose.name)
    peer.reply(0, methods.ConnectionBlocked, { reason: 'memory' })
    const waiting = follow(channel.basicPublish('a', '', 'q'))
    const closing = channel.close()
    const late = await rejection(channel.basicPublish('b', '', 'q'), ChannelClosedError)
    assert.equal(late.outcome, 'notSent')
    await rejection(channel.publish('c', '', 'q'), ChannelClosedError)
    await rejection(channel.publish('d', '', 'q', undefined, { timeout: 1000 }), ChannelClosedError)
    await rejection(channel.basicClientAck(1), ChannelClosedError)
    peer.reply(0, methods.ConnectionUnblocked, {})
    await turn()
    assert.deepEqual(peer.names, ['1 channel.open', '1 channel.close'])
    peer.reply(1, methods.ChannelCloseOk, {})
    await closing
    assert.ok(waiting.error instanceof ChannelClosedError)
    assert.equal(waiting.error.outcome, 'notSent')
    assert.deepEqual(peer.names, ['1 channel.open', '1 channel.close'])
  })

  it('gives each new channel a number that was free longest', async () => {
    const { peer, protocol } = await converse()
    const channels = await Promise.all([1, 2, 3].map(() => protocol.channel()))
    await channels[1]?.close()
    await channels[0]?.close()
    assert.equal((await protocol.channel()).channelId, 2)
    assert.equal((await protocol.channel()).channelId, 1)
    assert.equal((await protocol.channel()).channelId, 4)
    assert.ok(peer.names.includes('4 channel.open'))
  })
})

describe('closing a connection', () => {
  it('rejects what the broker has not confirmed if it does not answer the close either', async () => {
    const clock = new VirtualClock()
    const { peer, channel } = await converseOnChannel({ clock })
    const selecting = channel.confirmSelect()
    peer.reply(1, methods.ConfirmSelectOk, {})
    await selecting
    peer.answers.delete(methods.ChannelClose.name)
    const published = follow(channel.publish('x', '', 'q'))
    const confirmed = follow(channel.waitForConfirms())
    void channel.close()
    await clock.advance(20_000)
    assert.match(published.error?.message ?? '', /^publish of a message .* failed: channel 1 is closed/)
    assert.match(confirmed.error?.message ?? '', /^waitForConfirms failed: channel 1 is closed/)
  })

  it('has no ack sent any more once it is written: the broker would not look at it', async () => {
    const clock = new VirtualClock()
    const { peer, channel, protocol } = await converseOnChannel({ clock })
    peer.answers.delete(methods.ConnectionClose.name)
    await startConsumer({ peer, channel }, () => {}, { consumerTag: 'c' })
    peer.send(delivery(1, 'c', 1, 'x'))
    await turn()
    const closing = protocol.close({ timeout: 1_000 })
    await clock.advance(900)
    assert.equal(peer.names.at(-1), '0 connection.close')
    assert.equal(await channel.basicClientAck(1), false)
    assert.equal(peer.names.at(-1), '0 connection.close')
    await clock.until(closing)
  })

  it('resolves from a getter of a message, also of one that a recovery sends', async () => {
    const clock = new VirtualClock()
    const { broker, peer, channel, protocol } = await converseOnChannel({ clock, recovery: {} })
    peer.finish()
    await turn()
    let closing: Promise<void> | undefined
    const headers = {
      get now() {
        // It is checked when it begins to wait, and is encoded by the recovery.
        if (broker.peers.length === 2) closing ??= protocol.close()
        return 1
      },
    }
    const published = follow(channel.publish('x', '', 'q', { headers }))
    await clock.advance(1_000)
    assert.ok(closing !== undefined)
    await closing
    assert.equal(protocol.state, 'closed')
    assert.equal(broker.peers[1]?.names.at(-1), '0 connection.close')
    assert.notEqual(published.state, 'pending')
  })

  it('ends a consumer, too, from a getter of a message that a recovery sends', async () => {
    await using broker = await startBroker()
    const protocol = await connect(broker.inMemory)
    await protocol.queueDeclare('q')
    const consumer = await protocol.consumer('q', () => {})
    const channel = await protocol.channel()
    broker.cutConnections()
    await once(protocol, 'disconnected')
    let asked = 0
    const headers = {
      get now() {
        // It is checked when it begins to wait, and is encoded by the recovery.
        if (++asked === 2) void protocol.close()
        return 1
      },
    }
    await channel.publish('x', '', 'q', { headers })
    await protocol.waitClosed()
    assert.equal(consumer.stats().state, 'stopped')
    await broker.hasConnections(0)
  })

  it('cancels nothing that is done: the reason of an aborted signal is an error with a stack', async t => {
    const abort = t.mock.method(AbortController.prototype, 'abort')
    const { protocol } = await converse()
    await protocol.close()
    assert.equal(abort.mock.callCount(), 0)
  })

  it('is asked for once, resolves when the server agrees, and settles everything', async () => {
    const { peer, channel, protocol, errors } = await converseOnChannel()
    const pending = follow(channel.queueDeclare('q'))
    const closing = protocol.close()
    assert.equal(protocol.close(), closing)
    assert.equal(protocol.state, 'closing')
    await within(1000, 'close', closing)
    await protocol.waitClosed()
    await peer.ended
    assert.equal(protocol.state, 'closed')
    assert.deepEqual(peer.names.slice(-1), ['0 connection.close'])
    assert.ok(pending.error instanceof ConnectionClosedError)
    assert.match(
      pending.error.message,
      /^queue\.declare of "q" failed: the connection to localhost:5672 was closed by the program/,
    )
    assert.deepEqual(errors, [])
  })

  it('by the server rejects everything with its words, answers it, and ends the stream', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    const pending = follow(channel.queueDeclare('q'))
    const waiting = follow(protocol.waitClosed())
    const closed: unknown[] = []
    protocol.on('closed', error => closed.push(error))
    peer.reply(0, methods.ConnectionClose, {
      replyCode: 320,
      replyText: 'CONNECTION_FORCED - Closed via management plugin',
      classId: 0,
      methodId: 0,
    })
    await peer.ended
    await turn()
    assert.equal(peer.names.at(-1), '0 connection.close-ok')
    for (const { error } of [pending, waiting]) {
      assert.ok(error instanceof ConnectionClosedError)
      assert.equal(error.replyCode, 320)
      assert.equal(error.replyText, 'CONNECTION_FORCED - Closed via management plugin')
    }
    assert.equal(
      waiting.error?.message,
      'the connection to localhost:5672 was closed by the server: CONNECTION_FORCED (320), Closed via management plugin',
    )
    assert.equal(closed[0], waiting.error)
    assert.equal((await rejection(channel.queueDeclare('r'), ConnectionClosedError)).replyCode, 320)
    assert.equal((await rejection(protocol.channel(), ConnectionClosedError)).replyCode, 320)
  })

  it('from both sides at once is what the program asked for', async () => {
    const { peer, protocol } = await converse()
    peer.answers.delete(methods.ConnectionClose.name)
    const closing = protocol.close()
    await peer.expect(methods.ConnectionClose)
    peer.reply(0, methods.ConnectionClose, { replyCode: 320, replyText: 'bye', classId: 0, methodId: 0 })
    await within(1000, 'close', closing)
    await protocol.waitClosed()
    assert.equal(peer.names.at(-1), '0 connection.close-ok')
  })

  const ends: readonly (readonly [string, (peer: FakePeer) => void])[] = [
    ['a reset', peer => peer.transport.break(new Error('read ECONNRESET'))],
    ['the end of the stream', peer => peer.finish()],
    ['bytes that are not a frames', peer => peer.send(Buffer.from('garbage that is long enough'))],
    ['a stray method', peer => peer.reply(9, methods.BasicQosOk, {})],
  ]
  for (const [what, end] of ends) {
    it(`is done, and not an error, if ${what} comes in place of close-ok`, async () => {
      const { peer, channel, protocol, errors } = await converseOnChannel()
      peer.answers.delete(methods.ConnectionClose.name)
      const disconnected: Error[] = []
      protocol.on('disconnected', error => disconnected.push(error))
      const pending = follow(channel.queueDeclare('q'))
      const closing = protocol.close()
      assert.deepEqual(await peer.took(2), ['1 queue.declare', '0 connection.close'])
      end(peer)
      await within(1000, 'close', closing)
      await protocol.waitClosed()
      await peer.ended
      assert.match(pending.error?.message ?? '', /was closed by the program$/)
      assert.equal(peer.names.at(-1), '0 connection.close')
      assert.equal(peer.names.filter(name => name === '0 connection.close').length, 1)
      assert.deepEqual([errors, disconnected], [[], []])
    })
  }

  it('ends in its time if the server does not answer', async () => {
    const clock = new VirtualClock()
    const { peer, protocol } = await converse({ clock })
    peer.mute()
    await clock.until(protocol.close({ timeout: 50 }))
    assert.equal(clock.now(), 50)
    await protocol.waitClosed()
  })

  it('ends in its time if the server does not answer, also after the process was busy with something else', async () => {
    const clock = new VirtualClock()
    const { peer, channel, protocol } = await converseOnChannel({ clock })
    peer.answers.delete(methods.ConnectionClose.name)
    await channel.confirmSelect({ noWait: true })
    const publish = rejection(channel.publish('x', '', 'q'), ConnectionClosedError)
    const closing = protocol.close({ timeout: 1_500 })
    await turn()
    clock.block(1_480)
    await clock.until(closing)
    assert.equal(clock.now(), 1_500)
    assert.equal(protocol.state, 'closed')
    assert.ok(peer.names.includes('0 connection.close'))
    await publish
  })

  it('in the bytes after open-ok is a failed connect, with the reason', async () => {
    const broker = new FakeBroker()
    broker.prepare = peer => {
      peer.answers.set(methods.ConnectionOpen.name, () =>
        Buffer.concat([
          methodFrame(0, methods.ConnectionOpenOk, {}),
          methodFrame(0, methods.ConnectionClose, {
            replyCode: 320,
            replyText: 'CONNECTION_FORCED - shutdown',
            classId: 0,
            methodId: 0,
          }),
        ]),
      )
    }
    const connecting = connect({ createTransport: broker.createTransport, recovery: false })
    const error = await within(
      1000,
      'connect',
      connecting.then(
        () => undefined,
        (thrown: Error) => thrown,
      ),
    )
    assert.match(error?.message ?? '', /connect to localhost:5672 failed: .*CONNECTION_FORCED \(320\), shutdown/)
  })

  it('waits for confirms and for callbacks that run, then closes', async () => {
    const { peer, protocol } = await converse()
    const opening = protocol.channel({ publisherConfirms: true })
    await peer.expect(methods.ConfirmSelect)
    peer.reply(1, methods.ConfirmSelectOk, {})
    const channel = await opening
    let release = (): void => {}
    await startConsumer({ peer, channel }, () => new Promise<void>(resolve => (release = resolve)), {
      consumerTag: 'c',
    })
    await turn()
    peer.send(delivery(1, 'c', 1, 'x'))
    const published = channel.publish('y', '', 'q')
    const closing = follow(protocol.close())
    await turn()
    assert.deepEqual(peer.names.slice(-4), ['1 basic.publish', '1 header', '1 body', '1 basic.cancel'])
    peer.reply(1, methods.BasicCancelOk, { consumerTag: 'c' })
    await turn()
    assert.equal(closing.state, 'pending')
    release()
    await turn()
    assert.equal(closing.state, 'pending')
    peer.reply(1, methods.BasicAck, { deliveryTag: 1 })
    await published
    await within(2000, 'close', protocol.close())
    assert.equal(peer.names.at(-1), '0 connection.close')
  })

  it('has come about if the connection is lost meanwhile', async () => {
    const { peer, channel, protocol, errors } = await converseOnChannel()
    await startConsumer({ peer, channel }, () => new Promise(() => {}), { consumerTag: 'c' })
    await turn()
    peer.send(delivery(1, 'c', 1, 'x'))
    peer.answers.set(methods.BasicCancel.name, () => methodFrame(1, methods.BasicCancelOk, { consumerTag: 'c' }))
    const closed: unknown[] = []
    protocol.on('closed', error => closed.push(error))
    const waiting = protocol.waitClosed()
    const closing = protocol.close()
    await turn()
    peer.finish()
    await Promise.all([waiting, closing])
    assert.deepEqual(closed, [undefined])
    assert.deepEqual(errors, [])
  })

  it('is the reason of all that it ends, since the program may know of no publisher', async () => {
    await using broker = await startBroker()
    const clock = new VirtualClock()
    const protocol = await connect({ ...broker.inMemory, clock })
    await protocol.queueDeclare('q')
    const [publisher, client] = [await protocol.publisher(), await protocol.rpcClient()]
    const never = { '~standard': { version: 1, vendor: 'test', validate: () => new Promise<never>(() => {}) } } as const
    const publish = () => [
      protocol.publish('', '', 'q'),
      protocol.publish({}, '', 'q', {}, { schema: never }),
      publisher.publish('', 'q'),
      client.call('q', ''),
    ]
    broker.withholdConfirms()
    const ended = publish().map(promise => rejection(promise, ConnectionClosedError))
    await turn()
    const closed = protocol.close({ timeout: 1_000 })
    await clock.advance(900)
    ended.push(...publish().map(promise => rejection(promise, ConnectionClosedError)))
    await clock.until(closed)
    const errors = await Promise.all(ended)
    for (const { message } of errors) assert.match(message, / failed: the connection to .* was closed by the program$/)
    const late = Array(4).fill('notSent')
    assert.deepEqual(
      errors.map(({ outcome }) => outcome),
      ['unknown', 'notSent', 'unknown', 'unknown', ...late],
    )
  })

  it('lets a callback that it waits for publish, and call', async () => {
    const { peer, channel, protocol, errors } = await converseOnChannel()
    const agree = (method: methods.AnyMethod, reply: methods.AnyMethod): void => {
      peer.answers.set(method.name, ({ channel: id, args }) =>
        methodFrame(id, reply, 'consumerTag' in args ? { consumerTag: String(args['consumerTag']) } : {}),
      )
    }
    agree(methods.ConfirmSelect, methods.ConfirmSelectOk)
    agree(methods.BasicConsume, methods.BasicConsumeOk)
    agree(methods.BasicCancel, methods.BasicCancelOk)
    const client = await protocol.rpcClient()
    let release = (): void => {}
    const held = new Promise<void>(resolve => (release = resolve))
    const work: unknown[] = []
    await channel.basicConsume(
      async () => {
        await held
        await protocol.publish('y', '', 'r')
        work.push((await client.call('s', 'z')).text())
      },
      'q',
      { consumerTag: 'c' },
    )
    await turn()
    peer.send(delivery(1, 'c', 1, 'x'))
    const closing = follow(protocol.close())
    await turn()
    release()
    await turn()
    const [request] = peer.frames.filter(({ name }) => name === '3 basic.publish' || name === '2 basic.publish')
    assert.ok(request !== undefined)
    peer.reply(request.channel, methods.BasicAck, { deliveryTag: 1 })
    await turn()
    const calling = peer.frames.filter(({ name }) => name.endsWith(' header')).at(-1)
    assert.ok(calling !== undefined && calling.channel !== request.channel)
    const consume = peer.frames.find(({ name, args }) => /basic.consume/.test(name) && args['noAck'] === true)
    const { correlationId } = Properties.read(calling.payload, 12, calling.payload.length)
    peer.send(
      methodFrame(calling.channel, methods.BasicAck, { deliveryTag: 1 }),
      deliverFrame(calling.channel, String(consume?.args['consumerTag']), 1),
      contentFrames(calling.channel, 'answer', { correlationId }),
    )
    await turn()
    assert.deepEqual(work, ['answer'])
    await within(2000, 'close', protocol.close())
    assert.equal(closing.state, 'resolved')
    assert.deepEqual(errors, [])
  })

  it('stops a consumer that begins only when the close has, and waits for nothing of it', async () => {
    const clock = new VirtualClock()
    const { peer, protocol, errors } = await converse({ clock })
    peer.answers.set('basic.qos', ({ channel }) => methodFrame(channel, methods.BasicQosOk, {}))
    const handled: string[] = []
    const consuming = protocol.consumer('q', message => handled.push(message.text()))
    const { channel, args } = await peer.expect(methods.BasicConsume)
    const closing = protocol.close()
    await turn()
    const { consumerTag } = args
    peer.reply(channel, methods.BasicConsumeOk, { consumerTag })
    await peer.expect(methods.BasicCancel)
    await turn()
    const cancelOk = methodFrame(channel, methods.BasicCancelOk, { consumerTag })
    peer.answers.set('basic.cancel', () => cancelOk)
    peer.send(delivery(channel, consumerTag, 1, 'x'), delivery(channel, consumerTag, 2, 'y'), cancelOk)
    await clock.until(closing)
    await consuming
    assert.ok(clock.now() < 1_000, `${clock.now()}`)
    assert.deepEqual(handled, [])
    assert.ok(peer.names.includes(`${channel} basic.nack`), peer.names.join())
    assert.deepEqual(errors, [])
  })
})
