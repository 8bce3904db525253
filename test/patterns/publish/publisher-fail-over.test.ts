import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  type AmqpProtocol,
  type ConnectOptions,
  connect,
  type Publisher,
  PublishFailedError,
  TimeoutError,
} from '../../../src/index.ts'
import * as methods from '../../../src/protocol/methods.ts'
import { impatientClock } from '../../support/impatient-clock.ts'
import { rejection } from '../../support/rejection.ts'
import { openScriptedServer, type ScriptedPeer, type ScriptedServer } from '../../support/scripted-server.ts'
import { follow, turn } from '../../support/settled.ts'
import { type Arrived, publishing, recover as recoverVirtually } from './publishing-scene.ts'

interface Scene {
  readonly server: ScriptedServer
  readonly protocol: AmqpProtocol
  readonly publisher: Publisher
  /** The connection there is. */
  readonly peer: ScriptedPeer
}

async function open(t: TestContext, options: ConnectOptions = {}): Promise<Scene> {
  const server = await openScriptedServer()
  const connecting = connect(server.url, { heartbeat: 0, onError: error => assert.fail(error), ...options })
  const peer = await server.accept()
  await peer.handshake()
  const protocol = await connecting
  t.after(async () => {
    await protocol.close({ timeout: 100 })
    await server[Symbol.asyncDispose]()
  })
  return { server, protocol, publisher: await protocol.publisher(), peer }
}

/** Have the connection lost and recovered. */
async function recover({ server, protocol }: Scene, lost: ScriptedPeer): Promise<ScriptedPeer> {
  const recovered = new Promise<unknown>(resolve => protocol.once('recovered', resolve))
  lost.destroy()
  const peer = await server.accept()
  await peer.handshake()
  await recovered
  return peer
}

/** Agree to a channel in confirm mode. */
async function openChannel(peer: ScriptedPeer): Promise<number> {
  const { channel } = await peer.expect(methods.ChannelOpen)
  await peer.expect(methods.ConfirmSelect)
  peer.send(channel, methods.ChannelOpenOk, {})
  peer.send(channel, methods.ConfirmSelectOk, {})
  return channel
}

/** The bodies of the next messages, which come on this channel. */
async function bodies(peer: ScriptedPeer, channel: number, count: number): Promise<string[]> {
  const all: string[] = []
  for (let n = 0; n < count; n++) {
    const publish = await peer.expectPublish()
    assert.equal(publish.channel, channel)
    all.push(publish.body.toString())
  }
  return all
}

/** Nack the first message of each channel, to the end of the connection. */
function nackAllOn(peer: ScriptedPeer): void {
  const nackNext = async (): Promise<void> => {
    const channel = await openChannel(peer)
    await peer.expectPublish()
    peer.send(channel, methods.BasicNack, nack(1))
    await nackNext()
  }
  nackNext().catch(() => {})
}

const nack = (deliveryTag: number, multiple = false) => ({ deliveryTag, multiple, requeue: false })
const ack = (deliveryTag: number, multiple = false) => ({ deliveryTag, multiple })

describe('A nack', { timeout: 60_000, concurrency: 4 }, () => {
  it('of a channel that began just after a recovery has the message sent again by another, before anything newer', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher()
    const broker = await recoverVirtually(the)
    const sent = ['1', '2', '3', '4'].map(body => follow(publisher.publish(body, 'q')))
    await turn()
    assert.deepEqual(broker.bodies, ['1', '2', '3', '4'])
    const [, second, third, fourth] = broker.all
    assert.ok(second !== undefined && third !== undefined && fourth !== undefined)
    broker.nack(second)
    broker.ack(third, true)
    await turn()
    assert.deepEqual(
      sent.map(({ state }) => state),
      ['resolved', 'pending', 'resolved', 'pending'],
    )
    sent.push(follow(publisher.publish('5', 'q')))
    assert.equal(publisher.pending, 3)
    // The broker may still settle messages in flight.
    await the.clock.advance(5_199)
    assert.equal(broker.all.length, 4)
    await the.clock.advance(1)
    assert.deepEqual(broker.bodies.slice(4), ['2', '4', '5'])
    assert.notEqual(broker.last.channel, fourth.channel)
    broker.ack(broker.last, true)
    await turn()
    assert.ok(sent.every(({ state }) => state === 'resolved'))
    assert.equal(publisher.resent, 2)
    assert.equal(publisher.pending, 0)
    assert.equal(the.protocol.channelsIdsCount, 1)
  })

  it('that was passing is followed by the next connection, if this one is lost too', async t => {
    const the = await open(t)
    const peer = await recover(the, the.peer)
    const sent = ['1', '2'].map(body => the.publisher.publish(body, 'q'))
    const first = await openChannel(peer)
    await bodies(peer, first, 2)
    peer.send(first, methods.BasicNack, nack(2, true))
    // What comes after the nack shows that it has been read.
    const unblocked = once(the.protocol, 'unblocked')
    peer.send(0, methods.ConnectionBlocked, { reason: 'to tell' })
    peer.send(0, methods.ConnectionUnblocked, {})
    await unblocked
    const newer = the.publisher.publish('3', 'q')
    const next = await recover(the, peer)
    const second = await openChannel(next)
    assert.deepEqual(await bodies(next, second, 3), ['1', '2', '3'])
    // Longer than until the channel of the lost connection would have been replaced.
    await sleep(300)
    next.send(second, methods.BasicAck, ack(3, true))
    await Promise.all([...sent, newer])
    assert.equal(the.publisher.resent, 2)
    assert.equal(the.protocol.channelsIdsCount, 1)
  })

  it('rejects at once if the channel began without a recovery', async t => {
    const the = await open(t, { clock: impatientClock(150) })
    nackAllOn(the.peer)
    const error = await rejection(the.publisher.publish('1', 'q'), PublishFailedError)
    assert.equal(error.outcome, 'refused')
    assert.equal(the.publisher.resent, 0)
  })

  it('that goes on rejects some seconds after the recovery', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher()
    const broker = await recoverVirtually(the)
    broker.arrived = message => setImmediate(() => broker.nack(message))
    const refused = follow(publisher.publish('1', 'q'))
    for (let n = 0; n < 99; n++) await the.clock.advance(100)
    assert.equal(refused.state, 'pending')
    for (let n = 0; n < 60; n++) await the.clock.advance(100)
    assert.ok(refused.error instanceof PublishFailedError)
    // It was sent more than once: of each copy only the last nack is final.
    assert.equal(refused.error.outcome, 'unknown')
    assert.ok(publisher.resent > 2 && publisher.resent <= 10, `${publisher.resent} times`)
  })

  it('of a channel that nacks all has it replaced after a second, also by a publisher that is never idle', async t => {
    const the = await publishing(t)
    const publisher = await the.protocol.publisher()
    const { current } = the
    // As when its channel first publishes to a quorum queue that has no leader.
    const settle = (message: Arrived): void =>
      message.channel === current.all[0]?.channel ? current.nack(message) : current.ack(message)
    current.arrived = message => void the.clock.after(15, () => settle(message))
    const sent: ReturnType<typeof follow>[] = []
    for (let n = 0; n < 200; n++) {
      sent.push(follow(publisher.publish(`${n}`, 'q')))
      await the.clock.advance(10)
    }
    await the.clock.advance(20)
    await turn()
    const states = sent.map(({ state }) => state)
    const replaced = states.indexOf('resolved')
    assert.ok(replaced >= 100 && replaced <= 105, `${replaced} were refused`)
    assert.ok(states.slice(0, replaced).every(state => state === 'rejected'))
    assert.ok(states.slice(replaced).every(state => state === 'resolved'))
    assert.equal(publisher.resent, 0)
  })

  for (const onNack of ['reject', 'retry'] as const) {
    it(`has nothing sent again that another queue confirms late (onNack: ${onNack})`, async t => {
      const the = await publishing(t)
      const publisher = await the.protocol.publisher({ onNack })
      const { current } = the
      const slow: Arrived[] = []
      current.arrived = message => {
        if (message.routingKey === 'slow') slow.push(message)
        else setImmediate(() => current.nack(message))
      }
      const late = follow(publisher.publish('late', 'slow'))
      for (let n = 0; n < 100; n++) {
        void publisher.publish(`${n}`, 'full', {}, { timeout: 1_000 }).catch(() => {})
        await the.clock.advance(200)
      }
      assert.equal(slow.length, 1)
      current.ack(slow[0] as Arrived)
      await turn()
      assert.equal(late.state, 'resolved')
      await the.clock.advance(2_000)
      assert.equal(the.clock.keeping, 0)
    })
  }

  for (const late of [8_000, Number.POSITIVE_INFINITY]) {
    it(`holds up other queues for a second beside one that confirms after ${late} ms`, async t => {
      const the = await publishing(t)
      const publisher = await the.protocol.publisher()
      const { current } = the
      current.arrived = message => {
        if (message.routingKey === 'late') the.clock.after(late, () => current.ack(message))
        else setImmediate(() => (message.routingKey === 'full' ? current.nack(message) : current.ack(message)))
      }
      const waits: number[] = []
      for (let n = 0; n < 600; n++) {
        // At each moment one of them is in flight.
        if (n % 20 === 0) void publisher.publish(`${n}`, 'late').catch(() => {})
        void publisher.publish(`${n}`, 'full').catch(() => {})
        const start = the.clock.now()
        void publisher.publish(`${n}`, 'other').then(() => waits.push(the.clock.now() - start))
        await the.clock.advance(100)
      }
      // The last ones may be waiting.
      await the.clock.advance(late === 8_000 ? 1_000 : 5_000)
      assert.equal(waits.length, 600)
      // A channel that leaves a message without an answer for long is replaced, which gives the others 5 s.
      assert.ok(Math.max(...waits) <= (late === 8_000 ? 1_100 : 6_100), `${Math.max(...waits)} ms`)
      assert.ok(waits.filter(wait => wait > 100).length <= (late === 8_000 ? 20 : 80), 'they wait too often')
      if (late === 8_000) assert.equal(publisher.resent, 0)
    })
  }

  it('leaves the message to its timeout', async t => {
    const the = await open(t)
    const peer = await recover(the, the.peer)
    nackAllOn(peer)
    const error = await rejection(the.publisher.publish('1', 'q', {}, { timeout: 100 }), TimeoutError)
    assert.equal(error.outcome, 'unknown')
    await the.publisher.close({ timeout: 1_000 })
    assert.equal(the.publisher.pending, 0)
  })
})
