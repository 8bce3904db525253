import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import { AmqpError, type AmqpProtocol, connect } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import {
  contentFrames,
  deliverFrame,
  delivery,
  FakeBroker,
  type FakePeer,
  methodFrame,
  returnFrames,
} from '../support/fake-broker.ts'
import { collectGarbage } from '../support/heap.ts'
import { Random, replay, seed, sized } from '../support/sizes.ts'

const SESSIONS = sized(2_000, 10_000)
const FRAME_MAX = 8192
const PROPERTIES = {
  contentType: 'text/plain',
  headers: { a: 1, b: 'x', c: { d: [true, null, 1.5] } },
  deliveryMode: 2,
  messageId: 'm',
  timestamp: new Date(0),
}
const GET_OK = { deliveryTag: 9, redelivered: false, exchangeName: 'e', routingKey: 'k', messageCount: 3 }

/** A broker that plays its part of one good session. */
function honest(peer: FakePeer): void {
  let published = 0
  const answer = (
    method: methods.AnyMethod,
    reply: (channel: number, args: Readonly<Record<string, unknown>>) => Uint8Array,
  ): void => {
    peer.answers.set(method.name, ({ channel, args }) => reply(channel, args))
  }
  answer(methods.ConfirmSelect, channel => methodFrame(channel, methods.ConfirmSelectOk, {}))
  answer(methods.BasicQos, channel => methodFrame(channel, methods.BasicQosOk, {}))
  answer(methods.QueueDeclare, channel =>
    methodFrame(channel, methods.QueueDeclareOk, { queue: 'q', messageCount: 2, consumerCount: 0 }),
  )
  answer(methods.BasicConsume, (channel, { consumerTag }) =>
    Buffer.concat([
      methodFrame(channel, methods.BasicConsumeOk, { consumerTag: String(consumerTag) }),
      deliverFrame(channel, 'c', 1),
      contentFrames(channel, 'hello', PROPERTIES),
      delivery(channel, 'c', 2, ''),
      deliverFrame(channel, 'c', 3, true),
      contentFrames(channel, Buffer.alloc(20_000, 1), { priority: 3 }, FRAME_MAX),
    ]),
  )
  answer(methods.BasicGet, channel =>
    Buffer.concat([methodFrame(channel, methods.BasicGetOk, GET_OK), contentFrames(channel, 'got', PROPERTIES)]),
  )
  answer(methods.BasicCancel, (channel, { consumerTag }) =>
    methodFrame(channel, methods.BasicCancelOk, { consumerTag: String(consumerTag) }),
  )
  answer(methods.BasicPublish, channel => {
    const deliveryTag = ++published
    if (deliveryTag === 2)
      return Buffer.concat([
        returnFrames(channel, 'nowhere', 'b', { messageId: 'b' }),
        methodFrame(channel, methods.BasicAck, { deliveryTag }),
      ])
    if (deliveryTag === 3) return methodFrame(channel, methods.BasicNack, { deliveryTag })
    return methodFrame(channel, methods.BasicAck, { deliveryTag, multiple: true })
  })
}

/** Does everything once; awaited calls may reject. */
async function work(broker: FakeBroker): Promise<AmqpProtocol> {
  const protocol = await connect({
    createTransport: broker.createTransport,
    recovery: false,
    heartbeat: 0,
    onError: () => {},
    maxMessageSize: 1_000_000,
  })
  try {
    const channel = await protocol.channel({ publisherConfirms: true, returnCallback: () => {} })
    channel.addCancellationCallback(() => {})
    await Promise.all([channel.queueDeclare('q'), channel.basicQos({ prefetchCount: 10 })])
    await channel.basicConsume(
      async (ch, body, { deliveryTag }, properties) => {
        inspect([body.length, properties])
        await ch.basicClientAck(deliveryTag)
      },
      'q',
      { consumerTag: 'c' },
    )
    await Promise.allSettled([
      channel.publish('a', '', 'q', { messageId: 'a' }),
      channel.publish('b', '', 'nowhere', { messageId: 'b' }, { mandatory: true }),
      channel.publish('c', '', 'q'),
    ])
    const got = await channel.basicGet('q')
    inspect(got?.properties)
    await channel.waitForConfirms().catch(() => undefined)
    await channel.basicCancel('c')
    await channel.close()
    await protocol.close()
  } catch (error) {
    if (!(error instanceof AmqpError)) throw error
  }
  return protocol
}

/** Changes at places of the stream to the client. */
type Mutation = {
  readonly at: number
  readonly kind: 'set' | 'flip' | 'drop' | 'insert' | 'cut'
  readonly octet: number
  readonly size: number
}

/** A stream to the client with changes in it. */
class Mutator {
  #offset = 0
  readonly #mutations: Mutation[]
  #cut = false

  constructor(mutations: Mutation[]) {
    this.#mutations = mutations
  }

  apply(bytes: Buffer): Buffer {
    if (this.#cut) return Buffer.alloc(0)
    let out = Buffer.from(bytes)
    const from = this.#offset
    this.#offset += bytes.length
    // From the last on, so that places before stay.
    for (const { at, kind, octet, size } of this.#mutations) {
      const place = at - from
      if (place < 0 || place >= bytes.length || place >= out.length) continue
      if (kind === 'set') out[place] = octet
      else if (kind === 'flip') out[place] = (out[place] ?? 0) ^ (1 << (octet % 8))
      else if (kind === 'drop') out = Buffer.concat([out.subarray(0, place), out.subarray(place + size)])
      else if (kind === 'insert')
        out = Buffer.concat([out.subarray(0, place), Buffer.alloc(size, octet), out.subarray(place)])
      else {
        out = out.subarray(0, place)
        this.#cut = true
      }
    }
    return out
  }

  get total(): number {
    return this.#offset
  }
}

function mutating(mutator: Mutator): { broker: FakeBroker; activity: () => number } {
  const broker = new FakeBroker({ frameMax: FRAME_MAX })
  let sends = 0
  broker.prepare = peer => {
    honest(peer)
    const deliver = peer.transport.deliver.bind(peer.transport)
    peer.transport.deliver = bytes => {
      sends++
      deliver(mutator.apply(Buffer.from(bytes)))
    }
  }
  return { broker, activity: () => sends + broker.peers.reduce((sum, peer) => sum + peer.writes.length, 0) }
}

const eventLoopTurn = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

/** Play one session. Returns what went wrong. */
async function play(mutations: Mutation[]): Promise<string | undefined> {
  const { broker, activity } = mutating(new Mutator(mutations))
  let done = false
  let unexpected: unknown
  let protocol: AmqpProtocol | undefined
  const working = work(broker).then(
    opened => {
      done = true
      protocol = opened
    },
    (error: unknown) => {
      done = true
      if (!(error instanceof AmqpError)) unexpected = error
    },
  )
  // Until nothing changes any more: corrupt bytes may look like the start of a long frame.
  for (let quiet = 0, last = -1; !done && quiet < 6; ) {
    await eventLoopTurn()
    quiet = activity() === last ? quiet + 1 : 0
    last = activity()
  }
  for (const peer of broker.peers) {
    peer.mute()
    peer.finish()
  }
  for (let i = 0; !done && i < 20; i++) await eventLoopTurn()
  if (!done) return 'hung'
  await working
  if (unexpected !== undefined) return `rejected with ${String(unexpected)}`
  await eventLoopTurn()
  await eventLoopTurn()
  if (protocol !== undefined && protocol.state !== 'closed') return `still ${protocol.state}`
  for (const peer of broker.peers) {
    if (peer.transport.escaped.length > 0) return `threw ${String((peer.transport.escaped[0] as Error).stack)}`
  }
  return undefined
}

/** What is in use once everything is free that can be: buffers take a second round. */
async function memoryInUse(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    collectGarbage()
    await new Promise(resolve => setTimeout(resolve, 50))
  }
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

describe('a session with octets changed on their way', () => {
  it('is a good one without', async () => {
    const mutator = new Mutator([])
    const { broker } = mutating(mutator)
    const protocol = await work(broker)
    await protocol.waitClosed()
    assert.equal(broker.peers[0]?.names.at(-1), '0 connection.close')
    assert.ok(mutator.total > 20_000)
  })

  it(`ends in a typed error or does not mind, ${SESSIONS} times: nothing escapes, nothing hangs, no memory grows`, async t => {
    const measured = new Mutator([])
    await work(mutating(measured).broker)
    const random = new Random(seed)
    // Most of the stream is one body, in which changes do nothing.
    const places = (): number => {
      const at = random.below(4_000)
      return at < 2_000 ? at : measured.total - (at - 2_000) - 1
    }
    const wrong: string[] = []
    const before = await memoryInUse()
    const { rss } = process.memoryUsage()
    let peak = 0
    for (let i = 0; i < SESSIONS; i++) {
      const mutations = Array.from(
        { length: 1 + random.below(3) },
        (): Mutation => ({
          at: places(),
          kind: random.pick(['set', 'set', 'flip', 'flip', 'drop', 'insert', 'cut']),
          octet: random.pick([0, 1, 2, 3, 8, 0x7f, 0x80, 0xce, 0xff, random.below(256)]),
          size: 1 + random.below(9),
        }),
      ).sort((a, b) => b.at - a.at)
      const fault = await play(mutations)
      if (fault !== undefined) wrong.push(`session ${i}: ${fault}; ${JSON.stringify(mutations)}`)
      if (i % 100 === 0) peak = Math.max(peak, process.memoryUsage().rss - rss)
    }
    // A client that closed first gives the server a second to close, too.
    await new Promise(resolve => setTimeout(resolve, 1_200))
    const grown = (await memoryInUse()) - before
    t.diagnostic(`grown by ${Math.round(grown / 1e6)} MB, at its peak ${Math.round(peak / 1e6)} MB; ${replay}`)
    assert.deepEqual(wrong.slice(0, 5), [], `${wrong.length} of ${SESSIONS}; ${replay}`)
    assert.ok(grown < 10_000_000, `${grown} bytes`)
  })
})
