import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { AmqpError, type AmqpProtocol, type Channel, connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { type FaultProxy, openFaultProxy } from '../support/fault-proxy.ts'
import { Leftovers } from '../support/leftovers.ts'
import { withVhost } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'
import { Pending } from '../support/pending.ts'
import { Random, seed, sized } from '../support/sizes.ts'
import { until } from '../support/until.ts'

const vhost = await withVhost()
const RUNS = sized(12, 2_000)
const STEPS = 60
/** Milliseconds after the last fault within which every promise must be settled. */
const SETTLED_WITHIN = 5_000
/**
 * Milliseconds within which the broker hears of every connection that was cut, by its heartbeat of 1 s at the latest,
 * and requeues what was unacked there.
 */
const REQUEUED_WITHIN = 10_000

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

/** A program that does anything at any time, and the promises that hold for it. */
class Model {
  readonly pending = new Pending()
  readonly log: string[] = []
  readonly #random: Random
  readonly #protocol: AmqpProtocol
  readonly #channels: Channel[] = []
  readonly #queues = [1, 2, 3].map(() => uniqueName('model'))
  readonly #confirmed = new Map<string, string>()
  readonly #notSent = new Set<string>()
  readonly #seen = new Set<string>()
  readonly #unacked: { channel: Channel; tag: number }[] = []
  readonly #consumers: { channel: Channel; tag: string }[] = []
  #published = 0
  #tags = 0

  constructor(random: Random, protocol: AmqpProtocol) {
    this.#random = random
    this.#protocol = protocol
  }

  async run(): Promise<void> {
    for (const queue of this.#queues) {
      await using channel = await direct.channel()
      await channel.queueDeclare(queue)
    }
    this.#track('channel', this.#open())
    for (let step = 0; step < STEPS; step++) {
      const [what, act] = this.#random.pick(this.#random.below(6) === 0 ? this.#faults : this.#operations)
      this.log.push(what)
      await act()
      if (this.#random.below(3) === 0) await sleep(this.#random.below(8))
    }
    this.log.push('heal')
    await proxy.heal()
    await until('every promise is settled', () => this.pending.left.length === 0, {
      timeout: SETTLED_WITHIN,
      interval: 5,
    }).catch(() => assert.fail(`promises left: ${this.pending.left.join(', ')}`))
    await this.pending.track('close', this.#protocol.close({ timeout: 2_000 }))
    await this.#check()
  }

  #track(what: string, promise: Promise<unknown>): void {
    this.pending.track(what, promise).catch((error: unknown) => {
      assert.ok(error instanceof AmqpError, `${what}: ${error instanceof Error ? error.stack : String(error)}`)
    })
  }

  async #open(): Promise<void> {
    const channel = await this.#protocol.channel({ publisherConfirms: true })
    this.#channels.push(channel)
  }

  get #channel(): Channel | undefined {
    const open = this.#channels.filter(({ isOpen }) => isOpen)
    return open.length === 0 ? undefined : this.#random.pick(open)
  }

  #publish(): void {
    const channel = this.#channel
    if (channel === undefined) return
    const queue = this.#random.pick(this.#queues)
    const id = `m${this.#published++}`
    const padding = ' '.repeat(this.#random.below(20) === 0 ? 200_000 : 10)
    const publish = channel.publish(id + padding, '', queue, { deliveryMode: 2 }).then(
      () => void this.#confirmed.set(id, queue),
      (error: unknown) => {
        if (error instanceof AmqpError && error.outcome === 'notSent') this.#notSent.add(id)
        throw error
      },
    )
    this.#track(`publish ${id}`, publish)
  }

  #consume(): void {
    const channel = this.#channel
    if (channel === undefined) return
    const tag = `tag-${this.#tags++}`
    const settles = this.#random.below(4)
    const callback = (own: Channel, body: Buffer, { deliveryTag }: { deliveryTag: number }): void => {
      this.#seen.add(body.toString().trim())
      if (settles > 0) this.#track('ack', own.basicClientAck(deliveryTag))
      else this.#unacked.push({ channel: own, tag: deliveryTag })
    }
    this.#consumers.push({ channel, tag })
    const options = { consumerTag: tag, concurrency: 1 + this.#random.below(3) }
    this.#track('basicConsume', channel.basicConsume(callback, this.#random.pick(this.#queues), options))
  }

  readonly #operations: readonly (readonly [string, () => void | Promise<void>])[] = [
    ['publish', () => this.#publish()],
    ['publish', () => this.#publish()],
    [
      'burst',
      () => {
        for (let n = 0; n < 20; n++) this.#publish()
      },
    ],
    ['consume', () => this.#consume()],
    [
      'cancel',
      () => {
        const consumer = this.#consumers.pop()
        if (consumer?.channel.isOpen) this.#track('basicCancel', consumer.channel.basicCancel(consumer.tag))
      },
    ],
    [
      'settle late',
      () => {
        const held = this.#unacked.shift()
        if (held !== undefined) this.#track('nack', held.channel.basicClientNack(held.tag))
      },
    ],
    [
      'get',
      () => {
        const channel = this.#channel
        if (channel === undefined) return
        const get = channel.basicGet(this.#random.pick(this.#queues)).then(got => {
          if (got === null) return
          this.#seen.add(got.body.toString().trim())
          this.#track('ack', channel.basicClientAck(got.envelope.deliveryTag))
        })
        this.#track('basicGet', get)
      },
    ],
    ['open', () => this.#track('channel', this.#open())],
    ['close', () => this.#track('close', this.#channel?.close() ?? Promise.resolve())],
    [
      'temporary queue',
      () => {
        const channel = this.#channel
        if (channel === undefined) return
        const used = channel.queueDeclare().then(async ({ queue }) => {
          await channel.queueBind(queue, 'amq.fanout')
          if (this.#random.below(2) === 0) await channel.queueDelete(queue)
        })
        this.#track('temporary queue', used)
      },
    ],
    ['confirms', () => this.#track('waitForConfirms', this.#channel?.waitForConfirms() ?? Promise.resolve())],
    [
      'qos',
      () =>
        this.#track(
          'basicQos',
          this.#channel?.basicQos({ prefetchCount: 1 + this.#random.below(20) }) ?? Promise.resolve(),
        ),
    ],
    [
      'timeout',
      () => {
        const declare = this.#channel?.queueDeclare(this.#random.pick(this.#queues), {
          timeout: 1 + this.#random.below(50),
        })
        this.#track('declare with a timeout', declare ?? Promise.resolve())
      },
    ],
    [
      'abort',
      () => {
        const signal = AbortSignal.timeout(this.#random.below(20))
        const declare = this.#channel?.queueDeclare(this.#random.pick(this.#queues), { signal })
        this.#track('declare with a signal', declare ?? Promise.resolve())
      },
    ],
  ]

  readonly #faults: readonly (readonly [string, () => void | Promise<void>])[] = [
    ['RESET', () => proxy.reset()],
    ['END', () => proxy.end()],
    ['HALF-CLOSE', () => proxy.halfClose('toClient')],
    [
      'CUT SOON',
      () => {
        proxy.cutNextAt(this.#random.pick(['toServer', 'toClient']), this.#random.below(3_000))
        proxy.reset()
      },
    ],
    ['BLACKHOLE', () => proxy.blackhole(this.#random.pick([undefined, 'toServer', 'toClient']))],
    ['REFUSE', () => proxy.refuse()],
    [
      'PIECES',
      () => proxy.shape(this.#random.pick(['toServer', 'toClient']), { pieceSize: 1 + this.#random.below(50) }),
    ],
    ['DELAY', () => proxy.shape('toClient', { delay: this.#random.below(10) })],
    ['HEAL', () => proxy.heal()],
    ['HEAL', () => proxy.heal()],
  ]

  async #check(): Promise<void> {
    await using channel = await direct.channel()
    let missing: string[] = []
    await until(
      'all that was confirmed has been seen',
      async () => {
        for (const queue of this.#queues) await this.#drain(channel, queue)
        missing = [...this.#confirmed.keys()].filter(id => !this.#seen.has(id))
        return missing.length === 0
      },
      { timeout: REQUEUED_WITHIN },
    ).catch((error: unknown) => {
      assert.deepEqual(missing, [], 'confirmed and missing')
      throw error
    })
    for (const queue of this.#queues) await channel.queueDelete(queue)
    const ghosts = [...this.#notSent].filter(id => this.#seen.has(id))
    assert.deepEqual(ghosts, [], 'said not to have been sent, and yet there')
  }

  async #drain(channel: Channel, queue: string): Promise<void> {
    for (;;) {
      const got = await channel.basicGet(queue, { noAck: true })
      if (got === null) return
      this.#seen.add(got.body.toString().trim())
    }
  }
}

describe('any operations and any faults', { timeout: sized(120_000, 7_200_000) }, () => {
  it(`lose nothing confirmed, leave no promise and no socket or timer behind (${RUNS} runs)`, async t => {
    const options = { heartbeat: 1, recovery: { maxDelay: 50 }, rpcTimeout: 3_000, onError: () => {} }
    for (let run = 0; run < RUNS; run++) {
      using leftovers = new Leftovers()
      const protocol = await connect(proxy.url(vhost.url), options)
      const model = new Model(new Random(seed + run), protocol)
      try {
        await model.run()
        assert.deepEqual(await leftovers.rest(), [])
      } catch (error) {
        const replay = `ASYNCAMQP_FAULTS_SEED=${seed + run} repeats it as the first run`
        throw new Error(`${replay}: ${model.log.join(', ')}`, { cause: error })
      } finally {
        await proxy.heal()
        proxy.clearPlans()
        await protocol.close({ timeout: 100 })
      }
    }
    t.diagnostic(`seed ${seed}`)
  })
})
