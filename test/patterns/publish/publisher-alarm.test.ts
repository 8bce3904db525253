import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, afterEach, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import {
  AbortError,
  AmqpError,
  type AmqpProtocol,
  type BasicProperties,
  BufferFullError,
  type ConnectOptions,
  connect,
  type Payload,
  type PublisherOptions,
  type PublishOptions,
  TimeoutError,
} from '../../../src/index.ts'
import { startNode } from '../../support/broker.ts'
import { impatientClock } from '../../support/impatient-clock.ts'
import { uniqueName } from '../../support/names.ts'
import { rejection } from '../../support/rejection.ts'
import { sized } from '../../support/sizes.ts'
import { until } from '../../support/until.ts'

const node = await startNode()
after(() => node.destroy())

type Publish = (payload: Payload, properties?: BasicProperties, options?: PublishOptions) => Promise<void>
type MakePublish = (protocol: AmqpProtocol, queue: string, options?: PublisherOptions) => Promise<Publish>

const withPublisher: MakePublish = async (protocol, queue, options) => {
  const publisher = await protocol.publisher(options)
  return (payload, properties, bounds) => publisher.publish(payload, queue, properties, bounds)
}
const withProtocol: MakePublish = async (protocol, queue) => (payload, properties, bounds) =>
  protocol.publish(payload, '', queue, properties, bounds)

interface Scene {
  readonly protocol: AmqpProtocol
  readonly queue: string
}

/** A connection of its own, and a queue. */
async function open(t: TestContext, options: ConnectOptions = {}): Promise<Scene> {
  const protocol = await connect(node.url, options)
  t.after(() => protocol.close())
  const { queue } = await protocol.queueDeclare(uniqueName('alarm'))
  return { protocol, queue }
}

/** Raise the alarm, and publish until the broker blocks the connection over it. Resolves with that message. */
async function raiseAlarm({ protocol, queue }: Scene, publish: Publish): Promise<{ readonly sent: Promise<void> }> {
  await node.raiseAlarm('memory')
  const blocked = once(protocol, 'blocked').then(() => true)
  for (;;) {
    // It stops reading between the header and the body.
    const sent = publish('body', { messageId: 'sent' })
    sent.catch(() => {})
    if (await Promise.race([blocked, sent.then(() => false)])) return { sent }
    // The broker has not sent the alarm to all its connections yet.
    await protocol.queuePurge(queue)
  }
}

/** The messages in a queue, in its order, by their `messageId`. */
async function idsIn(queue: string): Promise<(string | undefined)[]> {
  await using protocol = await connect(node.url)
  const channel = await protocol.channel()
  const { messageCount } = await channel.queueDeclare(queue, { passive: true })
  const gets = Array.from({ length: messageCount }, () => channel.basicGet(queue, { noAck: true }))
  return (await Promise.all(gets)).map(result => result?.properties.messageId)
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i}`)
}

describe('While the broker has a memory alarm,', { timeout: 240_000 }, () => {
  afterEach(() => node.clearAlarms())

  const kinds = [
    ['a publisher', withPublisher],
    ['a publisher with maxInFlight', (protocol, queue) => withPublisher(protocol, queue, { maxInFlight: 100 })],
    ['protocol.publish', withProtocol],
  ] as const satisfies [string, MakePublish][]
  for (const [kind, make] of kinds) {
    it(`${kind} waits, without taking memory of its own, and publishes all in order and once afterwards`, async t => {
      const scene = await open(t)
      const { protocol, queue } = scene
      const publish = await make(protocol, queue)
      const { sent } = await raiseAlarm(scene, publish)
      const before = process.memoryUsage().rss
      const payload = Buffer.alloc(65_536, 'x')
      const ids = numbers(sized(1_500, 7_500))
      let settled = 0
      const publishes = ids.map(messageId => publish(payload, { messageId }).finally(() => settled++))
      await sleep(500)
      assert.equal(settled, 0)
      const grown = (process.memoryUsage().rss - before) / 2 ** 20
      assert.ok(grown < 60, `${grown.toFixed(0)} MiB for ${(ids.length * payload.length) / 2 ** 20} MiB that wait`)

      await node.clearAlarms()
      await Promise.all([sent, ...publishes])
      assert.equal(protocol.blocked, undefined)
      assert.deepEqual(await idsIn(queue), ['sent', ...ids])
    })

    it(`${kind} rejects past a timeout or a signal as not sent, and never sends it`, async t => {
      const scene = await open(t)
      const { protocol, queue } = scene
      const publish = await make(protocol, queue)
      const { sent } = await raiseAlarm(scene, publish)
      const controller = new AbortController()
      const { signal } = controller
      const timedOut = rejection(publish('', { messageId: 'timed out' }, { timeout: 200 }), TimeoutError)
      const kept = publish('', { messageId: 'kept' }, { timeout: 60_000, signal: AbortSignal.timeout(60_000) })
      const aborted = rejection(publish('', { messageId: 'aborted' }, { signal }), AbortError)
      controller.abort()
      for (const error of await Promise.all([timedOut, aborted])) assert.equal(error.outcome, 'notSent')
      await node.clearAlarms()
      await Promise.all([sent, kept])
      assert.deepEqual(await idsIn(queue), ['sent', 'kept'])
    })
  }

  it('a message that was written before the broker blocked rejects past its timeout as unknown', async t => {
    const scene = await open(t)
    const { protocol, queue } = scene
    const publish = await withProtocol(protocol, queue)
    const { sent } = await raiseAlarm(scene, (payload, properties) => publish(payload, properties, { timeout: 1_000 }))
    assert.equal((await rejection(sent, TimeoutError)).outcome, 'unknown')
  })

  it('a publisher whose channel is not open yet waits for it, longer than for a reply', async t => {
    const scene = await open(t, { rpcTimeout: 500 })
    const { protocol, queue } = scene
    const { sent } = await raiseAlarm(scene, await withProtocol(protocol, queue))
    const publish = await withPublisher(protocol, queue)
    const timedOut = rejection(publish('', { messageId: 'timed out' }, { timeout: 200 }), TimeoutError)
    const kept = publish('', { messageId: 'kept' })
    assert.equal((await timedOut).outcome, 'notSent')
    await sleep(700)
    await node.clearAlarms()
    await Promise.all([sent, kept])
    // In any order: they came by two channels.
    assert.deepEqual((await idsIn(queue)).sort(), ['kept', 'sent'])
  })

  it('what waits is bounded by maxWaiting: more is refused as not sent', async t => {
    const scene = await open(t, { maxWaiting: 10 })
    const { protocol, queue } = scene
    const publish = await withPublisher(protocol, queue)
    const { sent } = await raiseAlarm(scene, publish)
    const waiting = numbers(10).map(messageId => publish('', { messageId }))
    assert.equal((await rejection(publish('', { messageId: 'refused' }), BufferFullError)).outcome, 'notSent')
    await node.clearAlarms()
    await Promise.all([sent, ...waiting])
    assert.deepEqual(await idsIn(queue), ['sent', ...numbers(10)])
  })

  it('close() of a publisher ends at its limit, and says what became of each message', async t => {
    const scene = await open(t, { clock: impatientClock(450) })
    const { protocol, queue } = scene
    const publisher = await protocol.publisher()
    const { sent } = await raiseAlarm(scene, (payload, properties) => publisher.publish(payload, queue, properties))
    const first = rejection(sent, AmqpError)
    const unsent = numbers(3).map(messageId => rejection(publisher.publish('', queue, { messageId }), AmqpError))
    const unopened = await protocol.publisher()
    unsent.push(rejection(unopened.publish('', queue, { messageId: 'without a channel' }), AmqpError))
    const started = performance.now()
    await Promise.all([publisher.close({ timeout: 300 }), unopened.close({ timeout: 300 })])
    const took = performance.now() - started
    assert.ok(took >= 295, `${took} ms`)
    assert.equal((await first).outcome, 'unknown')
    for (const error of await Promise.all(unsent)) assert.equal(error.outcome, 'notSent')
    await node.clearAlarms()
    await until('the channels are closed', () => protocol.channelsIdsCount === 0)
    assert.deepEqual(await idsIn(queue), ['sent'])
  })

  it('protocol.close() ends at its limit, and says what became of each message', async t => {
    const scene = await open(t, { clock: impatientClock(650) })
    const { protocol, queue } = scene
    const publish = await withPublisher(protocol, queue)
    const { sent } = await raiseAlarm(scene, publish)
    const first = rejection(sent, AmqpError)
    const unsent = [publish, await withProtocol(protocol, queue)].map(each => rejection(each(''), AmqpError))
    await protocol.close({ timeout: 500 })
    assert.equal((await first).outcome, 'unknown')
    for (const error of await Promise.all(unsent)) assert.equal(error.outcome, 'notSent')
  })
})
