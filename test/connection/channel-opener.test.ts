import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AbortError,
  ConnectionClosedError,
  ConnectionLostError,
  connect,
  NoChannelAvailableError,
  ProtocolError,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import {
  type converse,
  converseOnChannel,
  delivery,
  FakeBroker,
  methodFrame,
  startConsumer,
} from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

const NOT_FOUND = { replyCode: 404, replyText: 'NOT_FOUND', classId: 0, methodId: 0 }
const DOUBLE_ACK = {
  replyCode: 406,
  replyText: 'PRECONDITION_FAILED - unknown delivery tag 1',
  classId: 60,
  methodId: 80,
}

/** A conversation with one channel number, which is in use, and a broker that agrees to declare. */
async function crowded(options: Parameters<typeof converse>[0] = {}) {
  const conversation = await converseOnChannel(options, new FakeBroker({ channelMax: 1 }))
  conversation.peer.answers.set('queue.declare', ({ channel, args }) =>
    methodFrame(channel, methods.QueueDeclareOk, {
      queue: String(args['queueName']),
      messageCount: 0,
      consumerCount: 0,
    }),
  )
  return conversation
}

describe('opening a channel', () => {
  it('waits for a number, first come, first served, and writes channel.open as soon as one is free', async () => {
    const { peer, protocol, channel } = await crowded()
    const order: string[] = []
    const waiting = ['a', 'b', 'c'].map(name => protocol.queueDeclare(name).then(() => order.push(name)))
    await turn()
    assert.deepEqual(peer.names, ['1 channel.open'])
    await channel.close()
    await Promise.all(waiting)
    assert.deepEqual(order, ['a', 'b', 'c'])
    assert.equal(protocol.channelsIdsCount, 0)
  })

  it('waits for the end of a message whose getter opens one, and writes nothing to a channel that is not open', async () => {
    const { peer, protocol, channel } = await converseOnChannel()
    const opening: Promise<unknown>[] = []
    const headers = {
      get channel() {
        opening.push(protocol.channel())
        return 'a channel'
      },
      get publish() {
        void protocol.publish('other', 'e', 'k').catch(() => {})
        return 'a publisher'
      },
    }
    await channel.basicPublish('x', 'e', 'k', { headers })
    await Promise.all(opening)
    const first = new Map<string, string>()
    for (const name of peer.names) {
      const [id = '', method = ''] = name.split(' ')
      if (!first.has(id)) first.set(id, method)
    }
    assert.deepEqual([...first.values()], ['channel.open', 'channel.open', 'channel.open'])
    assert.ok(!peer.names.some(name => name.endsWith('channel.close')), peer.names.join())
    assert.equal(protocol.state, 'open')
    await protocol.close({ timeout: 0 })
  })

  it('gives the number that one was to have, which is aborted in the turn in which it is freed, to the next', async () => {
    const { peer, protocol, channel } = await crowded()
    const controller = new AbortController()
    const first = rejection(protocol.queueDeclare('one', { signal: controller.signal }), AbortError)
    const second = protocol.queueDeclare('two')
    await turn()
    peer.answers.delete('channel.close')
    const closing = channel.close()
    await peer.expect(methods.ChannelClose)
    peer.answers.set('channel.close', ({ channel: id }) => methodFrame(id, methods.ChannelCloseOk, {}))
    peer.reply(1, methods.ChannelCloseOk, {})
    controller.abort()
    await Promise.all([closing, first])
    assert.equal((await second).queue, 'two')
  })

  it('is refused at once if all numbers are in use and none can be spared', async () => {
    const { protocol } = await crowded()
    const error = await rejection(protocol.channel(), NoChannelAvailableError)
    assert.equal(
      error.message,
      'channel.open was not sent: all 1 channels of the connection to localhost:5672 are in use',
    )
  })

  it('names the call that waited for a number until its time was over, and its line', async () => {
    const clock = new VirtualClock()
    const { protocol } = await crowded({ clock })
    const late = follow(protocol.queueDeclare('orders', { timeout: 300 }))
    await clock.advance(299)
    assert.equal(late.state, 'pending')
    await clock.advance(1)
    assert.ok(late.error instanceof TimeoutError)
    assert.equal(late.error.message, 'queue.declare of "orders" timed out: it waited 300 ms for a free channel number')
    assert.match(late.error.stack ?? '', /channel-opener\.test/)
  })

  it('names the call that waited for a recovery until its time was over or it was aborted', async () => {
    const clock = new VirtualClock()
    const broker = new FakeBroker()
    const protocol = await connect({ clock, heartbeat: 0, createTransport: broker.createTransport, onError: () => {} })
    const peer = await broker.accept()
    broker.prepare = next => next.mute()
    peer.transport.break(new Error('read ECONNRESET'))
    await clock.advance(0)
    assert.equal(protocol.state, 'recovering')
    const controller = new AbortController()
    const outcomes = [
      follow(protocol.queueBind('orders', 'amq.topic', '#', { timeout: 300 })),
      follow(protocol.exchangeDeclare('events', 'topic', { signal: controller.signal })),
      follow(protocol.channel({ signal: controller.signal })),
      follow(protocol.queueDeclare()),
    ]
    await clock.advance(300)
    controller.abort()
    await clock.advance(0)
    void protocol.close()
    await clock.advance(0)
    assert.deepEqual(
      outcomes.map(({ error }) => error?.message),
      [
        'queue.bind of "orders" timed out: it waited 300 ms for the connection to be recovered',
        'exchange.declare of "events" was aborted',
        'channel.open was aborted',
        'queue.declare failed: the connection to localhost:5672 was closed by the program',
      ],
    )
    assert.ok(outcomes[3]?.error instanceof ConnectionClosedError)
  })

  it('rejects all who wait for a number with the reason when the connection ends', async () => {
    const { peer, protocol } = await crowded()
    const waiting = [protocol.queueDeclare('a'), protocol.queueDelete('b')].map(follow)
    await turn()
    peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    for (const { error } of waiting) assert.ok(error instanceof ConnectionLostError)
    assert.match(waiting[1]?.error?.message ?? '', /^queue.delete of "b" failed: .* was lost: read ECONNRESET$/)
  })
})

describe('a channel that the server closes', () => {
  it('ends alone, though deliveries that were on their way come after its channel.close', async () => {
    const { peer, channel, protocol, errors } = await converseOnChannel()
    const other = await protocol.channel()
    const bodies: string[] = []
    await startConsumer({ peer, channel }, (_channel, body) => void bodies.push(String(body)), { consumerTag: 'c' })
    const ended = follow(channel.waitClosed())
    peer.send(
      delivery(1, 'c', 1, 'seen'),
      methodFrame(1, methods.ChannelClose, DOUBLE_ACK),
      delivery(1, 'c', 2, 'late'),
      methodFrame(1, methods.BasicCancel, { consumerTag: 'c', noWait: true }),
    )
    await turn()
    // In a later read, and cut in the middle.
    const late = delivery(1, 'c', 3, 'later still')
    peer.send(late.subarray(0, 50))
    peer.send(late.subarray(50))
    await turn()
    assert.equal(ended.state, 'rejected')
    assert.equal(peer.names.filter(name => name === '1 channel.close-ok').length, 1)
    const pending = other.queueDeclare('q')
    await turn()
    peer.reply(2, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    assert.equal((await pending).queue, 'q')
    assert.equal(protocol.state, 'open')
    assert.deepEqual(errors, [])
    assert.ok(!bodies.includes('late') && !bodies.includes('later still'))
  })

  it('leaves its number to the next channel if there is no other; that one takes no frames before its open-ok', async () => {
    const { peer, channel, protocol } = await converseOnChannel({}, new FakeBroker({ channelMax: 1 }))
    channel.waitClosed().catch(() => {})
    peer.reply(1, methods.ChannelClose, NOT_FOUND)
    await turn()
    peer.answers.delete('channel.open')
    const opening = protocol.channel()
    await turn()
    peer.send(delivery(1, 'c', 1, 'late'), methodFrame(1, methods.ChannelOpenOk, {}))
    const next = await opening
    assert.equal(next.channelId, 1)
    const declared = next.queueDeclare('q')
    await turn()
    peer.reply(1, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    assert.equal((await declared).queue, 'q')
    assert.equal(protocol.state, 'open')
  })

  it('does not make a frame after an orderly close-ok, or on a number that was never used, any less a violation', async () => {
    for (const id of [1, 9]) {
      const { peer, channel, protocol } = await converseOnChannel()
      const violation = rejection(protocol.waitClosed(), ProtocolError)
      await channel.close()
      peer.send(delivery(id, 'c', 1, 'stray'))
      assert.match((await violation).message, new RegExp(`channel ${id}, which is not open`))
      assert.equal(protocol.state, 'closed')
    }
  })
})
