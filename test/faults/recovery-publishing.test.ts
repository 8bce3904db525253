import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AbortError, BufferFullError, ConnectionLostError, connect, TimeoutError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { withVhost } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { rejection } from '../support/rejection.ts'
import { openScriptedServer, type ScriptedPeer } from '../support/scripted-server.ts'
import { openRecovering } from './recovering.ts'

const vhost = await withVhost()

/** Answer what a confirm channel begins with. */
async function openConfirming(peer: ScriptedPeer): Promise<void> {
  const { channel } = await peer.expect(methods.ChannelOpen)
  await peer.expect(methods.ConfirmSelect)
  peer.send(channel, methods.ChannelOpenOk, {})
  peer.send(channel, methods.ConfirmSelectOk, {})
}

describe('publishes around the loss of a connection', { timeout: 60_000 }, () => {
  it("have the outcome 'unknown' if they were sent, and are in the queue at most once", async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const { queue } = await channel.queueDeclare(uniqueName('sent'), { autoDelete: false })
    to.proxy.blackhole('toClient')
    const sent = Array.from({ length: 20 }, (_, n) =>
      rejection(channel.publish(String(n), '', queue), ConnectionLostError),
    )
    const plain = channel.basicPublish('20', '', queue)
    await plain
    await to.recoveredAfter(async () => {
      await new Promise(resolve => setTimeout(resolve, 200))
      to.proxy.reset()
      await to.proxy.heal()
    })
    for (const error of await Promise.all(sent)) assert.equal(error.outcome, 'unknown')
    const { messageCount } = await channel.queueDelete(queue)
    assert.equal(messageCount, 21, 'they had arrived; only the confirms were lost')
  })

  it('wait where they are made while it is recovered, and are confirmed once each, in order', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel({ publisherConfirms: true })
    const name = uniqueName('waiting')
    await channel.queueDeclare(name, { exclusive: true })
    await to.outage()
    const publishes = Array.from({ length: 500 }, (_, n) => channel.publish(String(n), '', name))
    await to.heal()
    await Promise.all(publishes)
    for (let n = 0; n < 500; n++) {
      assert.equal((await channel.basicGet(name, { noAck: true }))?.body.toString(), String(n))
    }
    assert.equal(await channel.basicGet(name), null)
  })

  it('are known to be unknown at once if the length of their confirm came corrupted', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel({ publisherConfirms: true })
    await channel.publish('good', '', 'nowhere')
    // The highest octet of the length in the next frame's header.
    to.proxy.last.corrupt('toClient', 3)
    // The rest of such a frame never comes.
    const error = await rejection(channel.publish('x', '', 'nowhere'), ConnectionLostError)
    assert.deepEqual([error.reason, error.outcome], ['protocol', 'unknown'])
    await channel.publish('y', '', 'nowhere')
  })

  it('are refused past maxWaiting', async () => {
    await using to = await openRecovering(vhost.url, { maxWaiting: 3 })
    const channel = await to.protocol.channel({ publisherConfirms: true })
    await to.outage()
    const waiting = [1, 2, 3].map(n => channel.publish(String(n), '', 'nowhere'))
    const refused = await rejection(channel.publish('4', '', 'nowhere'), BufferFullError)
    assert.equal(refused.outcome, 'notSent')
    await to.heal()
    await Promise.all(waiting)
  })

  it('reject waitForConfirms, which cannot know', async () => {
    await using to = await openRecovering(vhost.url)
    const channel = await to.protocol.channel({ publisherConfirms: true })
    to.proxy.blackhole('toClient')
    void channel.basicPublish('x', '', 'nowhere')
    const waited = rejection(channel.waitForConfirms(), ConnectionLostError)
    await to.recoveredAfter(async () => {
      to.proxy.reset()
      await to.proxy.heal()
    })
    await waited
    await channel.waitForConfirms()
  })

  it('are none of them counted by a confirm of the next connection', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 0, onError: () => {} })
    const first = await server.accept()
    await first.handshake()
    await using protocol = await connecting
    const opening = protocol.channel({ publisherConfirms: true })
    await first.expect(methods.ChannelOpen)
    await first.expect(methods.ConfirmSelect)
    first.send(1, methods.ChannelOpenOk, {})
    first.send(1, methods.ConfirmSelectOk, {})
    const channel = await opening
    const lost = [1, 2, 3].map(n => rejection(channel.publish(String(n), '', 'q'), ConnectionLostError))
    for (const _ of lost) await first.expectPublish()
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    first.destroy()
    await Promise.all(lost)

    const second = await server.accept()
    await second.handshake()
    await second.expect(methods.ChannelOpen)
    await second.expect(methods.ConfirmSelect)
    second.send(1, methods.ChannelOpenOk, {})
    second.send(1, methods.ConfirmSelectOk, {})
    await recovered
    let settled = 0
    const publishes = [4, 5].map(n => channel.publish(String(n), '', 'q').then(() => settled++))
    for (const _ of publishes) await second.expectPublish()
    second.send(1, methods.BasicAck, { deliveryTag: 1, multiple: false })
    await publishes[0]
    assert.equal(settled, 1)
    second.send(1, methods.BasicAck, { deliveryTag: 2, multiple: true })
    await publishes[1]
  })

  it('that a blocking broker made wait are sent by the next connection, which begins unblocked', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 0, onError: () => {} })
    const first = await server.accept()
    await first.handshake()
    await using protocol = await connecting
    const told: string[] = []
    protocol.on('blocked', reason => told.push(reason))
    protocol.on('unblocked', () => told.push('unblocked'))
    const opening = protocol.channel({ publisherConfirms: true })
    await first.expect(methods.ChannelOpen)
    await first.expect(methods.ConfirmSelect)
    first.send(1, methods.ChannelOpenOk, {})
    first.send(1, methods.ConfirmSelectOk, {})
    const channel = await opening
    const blocked = new Promise(resolve => protocol.once('blocked', resolve))
    first.send(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await blocked
    const kept = channel.publish('kept', '', 'q')
    // Nothing was sent, so that nothing is lost: it waits for the confirm of the next connection.
    const waited = channel.waitForConfirms()
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    first.destroy()

    const second = await server.accept()
    assert.deepEqual(told, ['low on memory', 'unblocked'])
    await second.handshake()
    await second.expect(methods.ChannelOpen)
    await second.expect(methods.ConfirmSelect)
    second.send(1, methods.ChannelOpenOk, {})
    second.send(1, methods.ConfirmSelectOk, {})
    await recovered
    const { body } = await second.expectPublish()
    assert.equal(body.toString(), 'kept')
    second.send(1, methods.BasicAck, { deliveryTag: 1, multiple: false })
    await kept
    await waited
  })

  it('that wait keep their timeout and signal: given up they are not sent, and kept they are like the others', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 0, onError: () => {} })
    const first = await server.accept()
    await first.handshake()
    await using protocol = await connecting
    const opening = protocol.channel({ publisherConfirms: true })
    await openConfirming(first)
    const channel = await opening
    const blocked = new Promise(resolve => protocol.once('blocked', resolve))
    first.send(0, methods.ConnectionBlocked, { reason: 'low on memory' })
    await blocked
    const abort = new AbortController()
    const timedOut = rejection(channel.publish('timed out', '', 'q', {}, { timeout: 50 }), TimeoutError)
    const kept = channel.publish('kept', '', 'q', {}, { timeout: 20_000 })
    const aborted = rejection(channel.publish('aborted', '', 'q', {}, { signal: abort.signal }), AbortError)
    const written = new AbortController()
    const unknown = rejection(channel.publish('written', '', 'q', {}, { signal: written.signal }), AbortError)
    const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
    const disconnected = new Promise(resolve => protocol.once('disconnected', resolve))
    first.destroy()
    await disconnected
    abort.abort()
    assert.equal((await aborted).outcome, 'notSent')
    const late = await timedOut
    assert.equal(late.outcome, 'notSent')
    assert.match(
      late.message,
      /"q" timed out: it waited 50 ms for (connection.unblocked: .* \(low on memory\)|the connection to be recovered)$/,
    )

    const second = await server.accept()
    await second.handshake()
    await openConfirming(second)
    await recovered
    assert.equal((await second.expectPublish()).body.toString(), 'kept')
    assert.equal((await second.expectPublish()).body.toString(), 'written')
    written.abort()
    assert.equal((await unknown).outcome, 'unknown')
    second.send(1, methods.BasicAck, { deliveryTag: 2, multiple: true })
    await kept
    await channel.waitForConfirms()
  })
})
