import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { type AmqpProtocol, type Channel, ConnectionError, connect, type Envelope } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { type Direction, type FaultProxy, openFaultProxy } from '../support/fault-proxy.ts'
import { Leftovers } from '../support/leftovers.ts'
import { withVhost } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { Pending } from '../support/pending.ts'
import { long, Random, replay, seed } from '../support/sizes.ts'
import { until } from '../support/until.ts'

const vhost = await withVhost()
const random = new Random(seed)
/** Offsets of one conversation in one direction that a short run tries. */
const SAMPLES = 24

let proxy: FaultProxy
let direct: AmqpProtocol
before(async () => {
  proxy = await openFaultProxy(broker.host, broker.port)
  direct = await connect(vhost.url, { heartbeat: 0 })
})
after(async () => {
  await direct.close()
  await proxy[Symbol.asyncDispose]()
})

/** What became of one conversation that was cut somewhere. */
interface Told {
  readonly confirmed: string[]
  readonly notSent: string[]
  readonly delivered: string[]
  readonly acked: string[]
}

const queue = uniqueName('cut')

/** Connects, declares, publishes with confirms, consumes and acks: all that is cut at every byte. */
async function converse(pending: Pending, recovery: boolean): Promise<Told> {
  const told: Told = { confirmed: [], notSent: [], delivered: [], acked: [] }
  const protocol = await pending.track(
    'connect',
    connect(proxy.url(vhost.url), { recovery: recovery && { initialDelay: 0 }, onError: () => {}, heartbeat: 0 }),
  )
  try {
    const channel = await pending.track('channel', protocol.channel({ publisherConfirms: true }))
    await Promise.allSettled([
      pending.track('queueDeclare', channel.queueDeclare(queue, { durable: true })),
      pending.track('queueBind', channel.queueBind(queue, 'amq.direct', queue)),
      pending.track('basicQos', channel.basicQos({ prefetchCount: 10 })),
    ])
    const publishes = ['a', 'b', 'c'].map(async body => {
      try {
        await pending.track(`publish ${body}`, channel.publish(body.repeat(40), '', queue, { deliveryMode: 2 }))
        told.confirmed.push(body)
      } catch (error) {
        if ((error as { outcome?: string }).outcome === 'notSent') told.notSent.push(body)
      }
    })
    await Promise.all(publishes)
    const consumed = async (_channel: Channel, body: Buffer, envelope: Envelope): Promise<void> => {
      told.delivered.push(body.toString('latin1', 0, 1))
      const acked = await pending.track('ack', channel.basicClientAck(envelope.deliveryTag)).catch(() => false)
      if (acked) told.acked.push(body.toString('latin1', 0, 1))
    }
    for (let tries = 0; tries < 2; tries++) {
      const consuming = pending.track('basicConsume', channel.basicConsume(consumed, queue))
      // In flight when the connection was lost: the program asks again.
      const error = await consuming.then(() => undefined, asLost)
      if (error === undefined) break
    }
    // By their bodies: what was delivered and not acked before the cut comes twice.
    const allCame = (): boolean => told.confirmed.every(body => told.delivered.includes(body))
    await until('all that was confirmed is delivered', () => allCame() || !channel.isOpen, {
      timeout: recovery ? 3_000 : 300,
      interval: 1,
    }).catch(() => {})
  } finally {
    await pending.track('close', protocol.close({ timeout: 1_000 }))
  }
  return told
}

function asLost(error: unknown): ConnectionError {
  assert.ok(error instanceof ConnectionError, String(error))
  return error
}

/** The bodies that are left in the queue. */
async function left(): Promise<string[]> {
  await using channel = await direct.channel()
  const bodies: string[] = []
  await channel.queueDeclare(queue, { durable: true })
  // A connection that was cut has its deliveries until the broker notices: they are back when its consumer is gone.
  await until(
    'the broker has noticed the cut',
    async () => (await channel.queueDeclare(queue, { passive: true })).consumerCount === 0,
    { interval: 1 },
  )
  for (;;) {
    const got = await channel.basicGet(queue, { noAck: true })
    if (got === null) break
    bodies.push(got.body.toString('latin1', 0, 1))
  }
  await channel.queueDelete(queue)
  return bodies
}

async function cutAt(direction: Direction, offset: number, recovery: boolean): Promise<void> {
  const where = `cut at byte ${offset} ${direction}${recovery ? ', recovering' : ''}; ${replay}`
  const pending = new Pending()
  proxy.cutNextAt(direction, offset)
  const told = await converse(pending, recovery).catch((error: unknown) => {
    assert.ok(error instanceof Error && 'code' in error, where)
    return undefined
  })
  proxy.clearPlans()
  assert.deepEqual(pending.left, [], `promises left, ${where}`)
  const there = await left()
  for (const body of told?.confirmed ?? []) {
    assert.ok(there.includes(body) || told?.delivered.includes(body), `${body} was confirmed and is missing, ${where}`)
  }
  for (const body of told?.notSent ?? []) {
    assert.ok(!there.includes(body) && !told?.delivered.includes(body), `${body} was sent after all, ${where}`)
  }
  if (recovery) {
    assert.ok(told !== undefined || offset < 2_000, where)
    for (const body of told?.confirmed ?? []) assert.ok(told?.delivered.includes(body), `${body} never came, ${where}`)
  }
}

/** Loses a connection with something to recover, and the one that follows it at a byte. */
async function cutRecoveryAt(direction: Direction, offset: number): Promise<number> {
  const where = `the recovery was cut at byte ${offset} ${direction}; ${replay}`
  const pending = new Pending()
  const protocol = await connect(proxy.url(vhost.url), { onError: () => {}, heartbeat: 0 })
  const failed: string[] = []
  protocol.on('recoveryFailed', what => failed.push(what))
  let losses = 0
  protocol.on('disconnected', () => losses++)
  try {
    const channel = await protocol.channel({ publisherConfirms: true })
    const { queue: first } = await channel.queueDeclare()
    await channel.exchangeDeclare(`${queue}-exchange`, 'direct', { autoDelete: true })
    await channel.queueBind(first, `${queue}-exchange`, 'key')
    await channel.basicQos({ prefetchCount: 10 })
    const came: string[] = []
    await channel.basicConsume((_channel, body) => void came.push(body.toString()), first)
    proxy.cutNextAt(direction, offset)
    proxy.reset()
    await until('the loss is noticed', () => protocol.state === 'recovering', { interval: 1 })
    // A call during the recovery: it waits, whatever happens to the first attempts.
    while (came.length === 0) {
      const before = losses
      const publish = pending.track('publish', channel.publish('through', `${queue}-exchange`, 'key'))
      // Cut after the recovery, it was on its way: only the program can know whether to send it again.
      const error = await publish.then(() => undefined, asLost)
      assert.ok(error === undefined || error.outcome === 'unknown', where)
      // Cut while others were still being recovered: the connection was not lost once more, since it was not back.
      if (error !== undefined) continue
      // Cut between its confirm and its delivery, it went with the exclusive queue of that connection.
      await until('it comes', () => came.length > 0 || losses > before, { interval: 1 })
    }
    assert.deepEqual(failed, [], where)
    return proxy.last[direction].passed
  } catch (error) {
    throw new Error(where, { cause: error })
  } finally {
    proxy.clearPlans()
    await pending.track('close', protocol.close({ timeout: 1_000 }))
    assert.deepEqual(pending.left, [], where)
  }
}

describe(`a conversation that is cut (${replay})`, { timeout: long ? 3_600_000 : 120_000 }, () => {
  for (const direction of ['toServer', 'toClient'] as const) {
    for (const recovery of [false, true]) {
      const how = recovery ? 'goes on' : 'ends all it began'
      it(`at any byte ${direction} ${how}, loses nothing confirmed and leaves nothing behind`, async () => {
        using leftovers = new Leftovers()
        await converse(new Pending(), recovery)
        await left()
        const length = proxy.last[direction].passed
        const offsets = long
          ? Array.from({ length }, (_, offset) => offset)
          : Array.from({ length: SAMPLES }, () => random.below(length))
        for (const offset of offsets) await cutAt(direction, offset, recovery)
        assert.deepEqual(await leftovers.rest(), [])
      })
    }

    it(`during its recovery, at any byte ${direction}, is recovered all the same`, async () => {
      using leftovers = new Leftovers()
      const length = await cutRecoveryAt(direction, Number.POSITIVE_INFINITY)
      const offsets = long
        ? Array.from({ length }, (_, offset) => offset)
        : Array.from({ length: SAMPLES / 2 }, () => random.below(length))
      for (const offset of offsets) await cutRecoveryAt(direction, offset)
      assert.deepEqual(await leftovers.rest(), [])
    })
  }
})
