import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConnectionLostError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { converseOnChannel, delivery, FakeBroker, methodFrame, startConsumer } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn, within } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** A consumer, one callback at a time, whose callbacks end when `release` is called. */
function slow(work: () => Promise<unknown> = () => Promise.resolve()) {
  const waiting: (() => void)[] = []
  const state = { called: 0 }
  return {
    state,
    callback: async (): Promise<void> => {
      state.called++
      await work()
      await new Promise<void>(resolve => waiting.push(resolve))
    },
    release: (): void => waiting.shift()?.(),
  }
}

describe('a consumer that is too slow', () => {
  it('pauses reading past maxBuffered, and reading goes on when it has caught up by half', async () => {
    const { peer, channel } = await converseOnChannel({ maxBuffered: 100_000 })
    const { callback, release, state } = slow()
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1, noAck: true })
    await turn()
    for (let tag = 1; tag <= 20; tag++) peer.send(delivery(1, 'c', tag, Buffer.alloc(10_000)))
    await turn()
    assert.equal(peer.transport.paused, true)
    assert.equal(peer.transport.pauses, 1)
    // Once it goes on, what waits in the network makes it pause again.
    while (peer.transport.pauses === 1) {
      release()
      await turn()
    }
    assert.ok(state.called >= 5 && state.called <= 8, `${state.called} callbacks`)
    for (let i = 0; i < 60 && state.called < 20; i++) {
      release()
      await turn()
    }
    assert.equal(state.called, 20)
  })

  it('never pauses reading while a callback awaits the broker', async () => {
    const { peer, channel } = await converseOnChannel({ maxBuffered: 50_000 })
    const { callback, release, state } = slow(() => channel.queueDeclare('q'))
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1, noAck: true })
    await turn()
    for (let tag = 1; tag <= 20; tag++) peer.send(delivery(1, 'c', tag, Buffer.alloc(10_000)))
    await turn()
    assert.equal(peer.transport.paused, false)
    // After all these deliveries, the reply comes.
    peer.reply(1, methods.QueueDeclareOk, { queue: 'q', messageCount: 0, consumerCount: 0 })
    await turn()
    assert.equal(peer.transport.paused, true, 'nothing awaits the broker any more')
    release()
    await turn()
    assert.equal(state.called, 2)
    assert.equal(peer.transport.paused, false, 'the next callback awaits it again')
  })

  it('still reads that the broker blocks no longer, which its callbacks wait for', async () => {
    const { peer, channel } = await converseOnChannel({ maxBuffered: 50_000 })
    const { callback, state } = slow(() => channel.basicPublish('x', '', 'r'))
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1, noAck: true })
    await turn()
    peer.reply(0, methods.ConnectionBlocked, { reason: 'memory' })
    for (let tag = 1; tag <= 10; tag++) peer.send(delivery(1, 'c', tag, Buffer.alloc(10_000)))
    await turn()
    assert.equal(state.called, 1)
    peer.reply(0, methods.ConnectionUnblocked, {})
    await turn()
    assert.ok(peer.names.includes('1 basic.publish'))
    assert.equal(peer.transport.paused, true, 'nothing waits for the broker any more')
  })

  it('holds no more than four times maxBuffered, however long a publish stays unconfirmed', async () => {
    const clock = new VirtualClock()
    const { peer, channel } = await converseOnChannel({ maxBuffered: 50_000, clock })
    peer.answers.set(methods.ConfirmSelect.name, () => methodFrame(1, methods.ConfirmSelectOk, {}))
    await channel.confirmSelect()
    const { callback, state } = slow(() => channel.publish('x', '', 'r'))
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1, noAck: true })
    await turn()
    let sent = 0
    while (!peer.transport.paused && sent < 100) peer.send(delivery(1, 'c', ++sent, Buffer.alloc(10_000)))
    assert.ok(sent >= 19 && sent <= 22, `${sent} deliveries of 10 kB`)
    // The confirm stands after all that; it is read in the end.
    peer.reply(1, methods.BasicAck, { deliveryTag: 1, multiple: false })
    await turn()
    assert.equal(peer.transport.paused, true)
    const confirmed = follow(channel.waitForConfirms())
    await clock.advance(60)
    assert.equal(confirmed.state, 'resolved')
    assert.equal(state.called, 1)
  })

  it('reads the end of a close that the program asked for', async () => {
    const clock = new VirtualClock()
    const { peer, channel, protocol } = await converseOnChannel({ maxBuffered: 1_000, clock })
    const { callback } = slow()
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1, noAck: true })
    await turn()
    for (const tag of [1, 2]) peer.send(delivery(1, 'c', tag, Buffer.alloc(2_000)))
    assert.equal(peer.transport.paused, true)
    peer.answers.set(methods.BasicCancel.name, () => methodFrame(1, methods.BasicCancelOk, { consumerTag: 'c' }))
    const closed = follow(protocol.close({ timeout: 10_000 }))
    await clock.advance(9_900)
    assert.ok(peer.names.includes('0 connection.close'))
    assert.equal(closed.state, 'resolved')
  })

  it('lets heartbeats go on while reading is paused, and silence is death only if nothing is left to read', async () => {
    const broker = new FakeBroker({ heartbeat: 1 })
    const { peer, channel, protocol } = await converseOnChannel({ maxBuffered: 1_000, heartbeat: 1 }, broker)
    const { callback } = slow()
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1, noAck: true })
    await turn()
    for (let tag = 1; tag <= 3; tag++) peer.send(delivery(1, 'c', tag, Buffer.alloc(2_000)))
    assert.equal(peer.transport.paused, true)
    await within(3_500, 'heartbeats', new Promise<void>(resolve => setTimeout(resolve, 2_600)))
    assert.equal(protocol.state, 'open')
    assert.ok(peer.heartbeats >= 4, `${peer.heartbeats} heartbeats`)
    assert.equal(peer.transport.paused, true)
    const lost = await within(2_500, 'the loss', rejection(protocol.waitClosed(), ConnectionLostError))
    assert.equal(lost.reason, 'heartbeat')
  })

  it('is not paused for by deliveries that callbacks hold: only by those that wait for one', async () => {
    const { peer, channel } = await converseOnChannel({ maxBuffered: 10_000 })
    const { callback } = slow()
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c' })
    await turn()
    for (let tag = 1; tag <= 20; tag++) peer.send(delivery(1, 'c', tag, Buffer.alloc(10_000)))
    await turn()
    assert.equal(peer.transport.pauses, 0)
  })

  it('lets reading go on when its channel is closed', async () => {
    const { peer, channel, protocol } = await converseOnChannel({ maxBuffered: 10_000 })
    const { callback } = slow()
    await startConsumer({ peer, channel }, callback, { consumerTag: 'c', concurrency: 1 })
    await turn()
    for (let tag = 1; tag <= 5; tag++) peer.send(delivery(1, 'c', tag, Buffer.alloc(10_000)))
    assert.equal(peer.transport.paused, true)
    await channel.close()
    await turn()
    assert.equal(peer.transport.paused, false)
    assert.equal((await protocol.channel()).isOpen, true)
  })
})
