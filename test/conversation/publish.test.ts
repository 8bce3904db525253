import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AbortError,
  BufferFullError,
  type Channel,
  ChannelClosedError,
  ConnectionLostError,
  type ConnectOptions,
  EncodeError,
  MessageReturnedError,
  ProtocolError,
  PublishFailedError,
  TimeoutError,
} from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { type Conversation, converseOnChannel, FakeBroker, returnFrames } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn, within } from '../support/settled.ts'

const PUBLISH = ['1 basic.publish', '1 header', '1 body']

async function confirming(options: ConnectOptions = {}): Promise<Conversation & { readonly channel: Channel }> {
  const conversation = await converseOnChannel(options)
  const { peer, channel } = conversation
  const selected = channel.confirmSelect()
  await peer.expect(methods.ConfirmSelect)
  peer.reply(1, methods.ConfirmSelectOk, {})
  await selected
  return conversation
}

function published(names: readonly string[]): number {
  return names.filter(name => name.endsWith('basic.publish')).length
}

describe('confirms', () => {
  it('count from the bytes of confirm.select, not from its reply', async () => {
    const { peer, channel } = await converseOnChannel()
    void channel.basicPublish('before', '', 'q')
    const selected = channel.confirmSelect()
    const [a, b] = [follow(channel.publish('a', '', 'q')), follow(channel.publish('b', '', 'q'))]
    assert.deepEqual(await peer.took(10), [...PUBLISH, '1 confirm.select', ...PUBLISH, ...PUBLISH])
    peer.reply(1, methods.ConfirmSelectOk, {})
    await selected
    peer.reply(1, methods.BasicAck, { deliveryTag: 1 })
    await turn()
    assert.deepEqual([a.state, b.state], ['resolved', 'pending'])
    peer.reply(1, methods.BasicAck, { deliveryTag: 2 })
    await turn()
    assert.equal(b.state, 'resolved')
  })

  it('count from noWait, and a second confirm.select resets nothing', async () => {
    const { peer, channel } = await converseOnChannel()
    await channel.confirmSelect({ noWait: true })
    const first = follow(channel.publish('a', '', 'q'))
    const again = channel.confirmSelect()
    const second = follow(channel.publish('b', '', 'q'))
    await turn()
    peer.reply(1, methods.ConfirmSelectOk, {})
    await again
    peer.reply(1, methods.BasicAck, { deliveryTag: 2 })
    await turn()
    assert.deepEqual([first.state, second.state], ['pending', 'resolved'])
  })

  it('count publishes that are not awaited, too', async () => {
    const { peer, channel } = await confirming()
    await channel.basicPublish('a', '', 'q')
    const b = follow(channel.publish('b', '', 'q'))
    peer.reply(1, methods.BasicAck, { deliveryTag: 1 })
    await turn()
    assert.equal(b.state, 'pending')
    peer.reply(1, methods.BasicAck, { deliveryTag: 2 })
    await turn()
    assert.equal(b.state, 'resolved')
  })

  it('settle with multiple and with nack, whose error names the message', async () => {
    const { peer, channel } = await confirming()
    const all = ['a', 'b', 'c', 'd'].map(id => follow(channel.publish(id, 'logs', 'key', { messageId: id })))
    await turn()
    peer.reply(1, methods.BasicAck, { deliveryTag: 2, multiple: true })
    peer.reply(1, methods.BasicNack, { deliveryTag: 4, multiple: false })
    await turn()
    assert.deepEqual(
      all.map(({ state }) => state),
      ['resolved', 'resolved', 'pending', 'rejected'],
    )
    const { error } = all[3] ?? {}
    assert.ok(error instanceof PublishFailedError)
    assert.equal(
      error.message,
      'publish of message "d" to exchange "logs" with routing key "key" (delivery tag 4) was refused by the broker (basic.nack)',
    )
    assert.equal(error.deliveryTag, 4)
    assert.equal(error.outcome, 'refused')
  })

  it('that refuse a message show the line which awaits it, and none of ours', async () => {
    const { peer, channel } = await confirming()
    const names = { signal: 'now' } as unknown as { signal: AbortSignal }
    async function order(): Promise<void> {
      await channel.publish('a', '', 'q')
    }
    async function orderBoth(): Promise<void> {
      await Promise.all([channel.publish('b', '', 'q'), channel.publish('c', '', 'q')])
    }
    async function misspell(): Promise<void> {
      await channel.publish('d', '', 'q', {}, names)
    }
    const failing = [rejection(order(), PublishFailedError), rejection(orderBoth(), PublishFailedError)]
    await turn()
    peer.reply(1, methods.BasicNack, { deliveryTag: 1 })
    peer.reply(1, methods.BasicNack, { deliveryTag: 3 })
    const [alone, together] = await Promise.all(failing)
    const { stack } = await rejection(misspell(), EncodeError)
    assert.match(alone?.stack ?? '', /^PublishFailedError: publish of [^\n]*\n\s+at async order .*publish\.test/)
    assert.match(together?.stack ?? '', /\n\s+at async Promise\.all \(index 1\)\n\s+at async orderBoth .*publish\.test/)
    assert.match(stack ?? '', /^EncodeError: basic\.publish: "signal" [^\n]*\n\s+at misspell .*publish\.test/)
    for (const each of [alone?.stack, together?.stack, stack]) assert.doesNotMatch(each ?? '', /[/]src[/]/)
  })

  it('of a message that came back reject it, and no other under the same multiple', async () => {
    const { peer, channel, errors } = await confirming()
    const all = ['a', 'b', 'c'].map(body =>
      follow(channel.publish(body, '', 'nowhere', { messageId: body }, { mandatory: true })),
    )
    await turn()
    peer.send(returnFrames(1, 'nowhere', 'b', { messageId: 'b' }))
    peer.reply(1, methods.BasicAck, { deliveryTag: 3, multiple: true })
    await turn()
    assert.deepEqual(
      all.map(({ state }) => state),
      ['resolved', 'rejected', 'resolved'],
    )
    const { error } = all[1] ?? {}
    assert.ok(error instanceof MessageReturnedError)
    assert.equal(
      error.message,
      'publish of message "b" to the default exchange with routing key "nowhere" (delivery tag 2) came back: NO_ROUTE (312), no queue took it',
    )
    assert.equal(String(error.body), 'b')
    assert.ok(!('body' in { ...error }), 'a logger that copies the fields of an error writes no body')
    assert.deepEqual(error.envelope, { replyCode: 312, replyText: 'NO_ROUTE', exchangeName: '', routingKey: 'nowhere' })
    assert.deepEqual(errors, [])
  })

  it('go to the returnCallback when they come back, and without one to onError if no promise rejects', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    void channel.basicPublish('a', '', 'nowhere', undefined, { mandatory: true })
    await turn()
    peer.send(returnFrames(1, 'nowhere', 'a'))
    await turn()
    assert.ok(errors[0] instanceof MessageReturnedError)
    const told: string[] = []
    channel.returnCallback = (ch, body, { replyCode, routingKey }) =>
      told.push(`${ch.channelId} ${body} ${replyCode} ${routingKey}`)
    peer.send(returnFrames(1, 'nowhere', 'b'))
    await turn()
    assert.deepEqual(told, ['1 b 312 nowhere'])
    assert.equal(errors.length, 1)
  })

  it('come back whatever a program keeps on the channel', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    let returned = 0
    channel.returnCallback = () => returned++
    Object.assign(channel, { returned: [], cancelled: true, closing: true, ended: true })
    void channel.basicPublish('a', '', 'nowhere', undefined, { mandatory: true })
    await turn()
    peer.send(returnFrames(1, 'nowhere', 'a'))
    await turn()
    assert.deepEqual([returned, errors], [1, []])
  })

  it('of a message that came back and is above maxMessageSize reject it all the same', async () => {
    const { peer, channel, errors } = await confirming({ maxMessageSize: 10 })
    const all = ['a'.repeat(20), 'b'].map(body => follow(channel.publish(body, '', 'nowhere', {}, { mandatory: true })))
    await turn()
    peer.send(returnFrames(1, 'nowhere', 'a'.repeat(20)))
    peer.reply(1, methods.BasicAck, { deliveryTag: 2, multiple: true })
    await turn()
    assert.ok(all[0]?.error instanceof MessageReturnedError)
    assert.equal(all[0].error.outcome, 'refused')
    assert.equal(all[1]?.state, 'resolved')
    assert.deepEqual(errors, [])
  })

  it('are waited for by waitForConfirms, which rejects once for a nack', async () => {
    const { peer, channel } = await confirming()
    void channel.basicPublish('a', '', 'q')
    void channel.basicPublish('b', '', 'q')
    const waiting = follow(channel.waitForConfirms())
    await turn()
    peer.reply(1, methods.BasicAck, { deliveryTag: 1 })
    await turn()
    assert.equal(waiting.state, 'pending')
    peer.reply(1, methods.BasicNack, { deliveryTag: 2 })
    await turn()
    assert.ok(waiting.error instanceof PublishFailedError)
    await channel.waitForConfirms()
  })

  it('are not waited for by waitForConfirms without confirm mode, which says what to do', async () => {
    const { protocol } = await confirming()
    const channel = await protocol.channel()
    void channel.basicPublish('a', '', 'q')
    const { message, stack = '' } = await rejection(channel.waitForConfirms(), ProtocolError)
    assert.equal(
      message,
      'waitForConfirms failed: channel 2 is not in confirm mode; open it with publisherConfirms: true, or call confirmSelect() first',
    )
    assert.match(stack, /\n\s+at .*publish\.test/)
    await channel.close()
    await rejection(channel.waitForConfirms(), ChannelClosedError)
  })

  it('are not waited for after a confirm.select that was aborted before it was written', async () => {
    const { protocol } = await confirming()
    const channel = await protocol.channel()
    await rejection(channel.confirmSelect({ signal: AbortSignal.abort() }), AbortError)
    void channel.basicPublish('a', '', 'q')
    await rejection(channel.waitForConfirms(), ProtocolError)
  })

  it('that never come are known as such when the channel or the connection ends', async () => {
    const { peer, channel } = await confirming()
    const [ok, lost] = [
      follow(channel.publish('a', 'gone', 'k')),
      follow(channel.publish('b', '', 'k', { messageId: 'm' })),
    ]
    await turn()
    peer.reply(1, methods.ChannelClose, {
      replyCode: 404,
      replyText: "NOT_FOUND - no exchange 'gone' in vhost '/'",
      classId: 60,
      methodId: 40,
    })
    await turn()
    assert.ok(ok.error instanceof ChannelClosedError && lost.error instanceof ChannelClosedError)
    assert.deepEqual([ok.error.outcome, lost.error.outcome], ['refused', 'unknown'])
    assert.match(
      lost.error.message,
      /^publish of message "m" to the default exchange with routing key "k" \(delivery tag 2\) failed: channel 1 was closed/,
    )
  })

  it('bound by a timeout leave the channel open and the outcome unknown', async () => {
    const { peer, channel } = await confirming()
    const error = await within(
      1000,
      'the timeout',
      rejection(channel.publish('a', '', 'q', undefined, { timeout: 20 }), TimeoutError),
    )
    assert.equal(error.outcome, 'unknown')
    assert.equal(channel.isOpen, true)
    const next = channel.publish('b', '', 'q')
    peer.reply(1, methods.BasicAck, { deliveryTag: 2, multiple: true })
    await next
  })
})

describe('publishes', () => {
  it('stop at the server’s channel.flow and go on with it, on that channel alone', async () => {
    const { peer, channel, protocol } = await converseOnChannel()
    const other = await protocol.channel()
    peer.reply(1, methods.ChannelFlow, { active: false })
    assert.deepEqual((await peer.expect(methods.ChannelFlowOk)).args, { active: false })
    const waiting = ['a', 'b'].map(body => follow(channel.basicPublish(body, '', 'q')))
    void other.basicPublish('c', '', 'q')
    void channel.queueDeclare('q')
    await turn()
    assert.deepEqual(peer.names.slice(-4), ['2 basic.publish', '2 header', '2 body', '1 queue.declare'])
    assert.deepEqual(
      waiting.map(({ state }) => state),
      ['pending', 'pending'],
    )
    peer.reply(1, methods.ChannelFlow, { active: true })
    await turn()
    assert.deepEqual(peer.names.slice(-7), ['1 channel.flow-ok', ...PUBLISH, ...PUBLISH])
    assert.ok(waiting.every(({ state }) => state === 'resolved'))
  })

  it('wait while the broker blocks, other methods go on, and then leave in order', async () => {
    const { peer, channel, protocol } = await confirming()
    const events: string[] = []
    protocol.on('blocked', reason => events.push(reason))
    protocol.on('unblocked', () => events.push('unblocked'))
    peer.reply(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await turn()
    assert.equal(protocol.blocked, 'low on memory')
    const before = peer.names.length
    const publishes = ['a', 'b', 'c'].map(body => follow(channel.publish(body, '', 'q')))
    const declared = channel.queueDeclare('q')
    await peer.expect(methods.QueueDeclare)
    assert.deepEqual(peer.names.slice(before), ['1 queue.declare'])
    peer.reply(1, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await declared
    peer.reply(0, methods.ConnectionUnblocked, {})
    await turn()
    assert.equal(protocol.blocked, undefined)
    assert.deepEqual(events, ['low on memory', 'unblocked'])
    assert.deepEqual(
      peer.frames.filter(({ type }) => type === 3).map(({ payload }) => String(payload)),
      ['a', 'b', 'c'],
    )
    peer.reply(1, methods.BasicAck, { deliveryTag: 3, multiple: true })
    await turn()
    assert.ok(publishes.every(({ state }) => state === 'resolved'))
  })

  it('that wait are refused past maxWaiting, as not sent', async () => {
    const { peer, channel } = await converseOnChannel({ maxWaiting: 2 })
    peer.reply(0, methods.ConnectionBlocked, { reason: 'disk' })
    const waiting = [channel.basicPublish('a', '', 'q'), channel.basicPublish('b', '', 'q')].map(follow)
    const error = await rejection(channel.basicPublish('c', '', 'q', { messageId: 'm3' }), BufferFullError)
    assert.equal(error.outcome, 'notSent')
    assert.equal(
      error.message,
      'publish of message "m3" to the default exchange with routing key "q" was refused: 2 publishes wait already, the limit set by maxWaiting',
    )
    peer.reply(0, methods.ConnectionUnblocked, {})
    await turn()
    assert.ok(waiting.every(({ state }) => state === 'resolved'))
  })

  it('that wait are checked before they do', async () => {
    const { peer, channel } = await converseOnChannel()
    peer.reply(0, methods.ConnectionBlocked, { reason: 'disk' })
    await rejection(channel.basicPublish('a', '', 'k'.repeat(256)), EncodeError)
  })

  it('that wait are not sent when their timeout or the connection ends them', async () => {
    const { peer, channel } = await confirming()
    peer.reply(0, methods.ConnectionBlocked, { reason: 'disk' })
    const timed = rejection(channel.publish('a', '', 'q', undefined, { timeout: 20 }), TimeoutError)
    assert.equal((await within(1000, 'the timeout', timed)).outcome, 'notSent')
    const lost = follow(channel.publish('b', '', 'q'))
    peer.transport.break(new Error('read ECONNRESET'))
    await turn()
    assert.ok(lost.error instanceof ConnectionLostError)
    assert.equal(lost.error.outcome, 'notSent')
    assert.equal(lost.error.reason, 'socket')
    assert.match(
      lost.error.message,
      /^publish of a message to the default exchange with routing key "q" failed: the connection to localhost:5672 was lost: read ECONNRESET/,
    )
    assert.equal(published(peer.names), 0)
  })

  it('wait while more than maxBuffered waits for the socket, and the rest of the channel goes on', async () => {
    const { peer, channel } = await converseOnChannel({ maxBuffered: 100_000 })
    peer.transport.stall()
    const body = Buffer.alloc(10_000)
    const all = Array.from({ length: 50 }, () => follow(channel.basicPublish(body, '', 'q')))
    await turn()
    const written = peer.transport.pending
    assert.ok(written > 100_000 && written < 200_000, `${written} bytes wait`)
    assert.ok(all.some(({ state }) => state === 'pending'))
    const declares = peer.names.length
    void channel.queueDeclare('q')
    await turn()
    assert.equal(peer.names.length, declares + 1)
    for (let i = 0; i < 20 && all.some(({ state }) => state === 'pending'); i++) {
      peer.transport.stall()
      peer.transport.flow()
      await turn()
    }
    assert.ok(all.every(({ state }) => state === 'resolved'))
    assert.equal(published(peer.names), 50)
  })

  it('resolve when a body sent by reference has left', async () => {
    const { peer, channel } = await converseOnChannel()
    peer.transport.stall()
    const large = follow(channel.basicPublish(Buffer.alloc(20_000), '', 'q'))
    const small = follow(channel.basicPublish('x', '', 'q'))
    await turn()
    assert.deepEqual([large.state, small.state], ['pending', 'resolved'])
    peer.transport.flow()
    await turn()
    assert.equal(large.state, 'resolved')
  })

  it('awaited one by one give the event loop its turns', async () => {
    const { channel } = await converseOnChannel()
    let turns = 0
    let counting = true
    const count = (): void => {
      turns++
      if (counting) setImmediate(count)
    }
    setImmediate(count)
    for (let i = 0; i < 5_000; i++) await channel.basicPublish('x', '', 'q')
    counting = false
    assert.ok(turns >= 4, `${turns} turns`)
  })

  it('are cut into frames of the size agreed', async () => {
    const { peer, channel } = await converseOnChannel({}, new FakeBroker({ frameMax: 4096 }))
    await channel.basicPublish(Buffer.alloc(10_000), '', 'q')
    await turn()
    assert.deepEqual(
      peer.frames.filter(({ type }) => type === 3).map(({ payload }) => payload.length),
      [4088, 4088, 1824],
    )
  })
})
