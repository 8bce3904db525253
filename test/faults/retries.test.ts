import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { type AmqpProtocol, connect, type Message } from '../../src/index.ts'
import { startNode } from '../support/broker.ts'
import { openFaultProxy } from '../support/fault-proxy.ts'
import { long, Random, replay, seed, sized } from '../support/sizes.ts'
import { until } from '../support/until.ts'

const TYPES = ['classic', 'quorum', 'stream'] as const
const RUNS = sized(1, 5)
const COUNT = sized(60, 200)
const KILLS = 2
const RETRIES = 3
const DELAYS = sized([300, 600, 1_200], [300, 2_000, 4_000])
const RESET_EVERY = 1_700
/**
 * Milliseconds after which the broker sends again what a waiting queue gave to a queue that was not ready after a crash: 180 s,
 * after which it may be at its second look that it does so.
 */
const BROKER_PATIENCE = sized(5_000, 180_000)

/** What became of the messages of one queue: message n fails n modulo 5 times, so that every fifth is given up. */
class Fates {
  readonly queueName: string
  readonly parkedName: string
  readonly #type: (typeof TYPES)[number]
  readonly #handled = new Map<number, number>()
  readonly #done = new Set<number>()

  constructor(type: (typeof TYPES)[number]) {
    this.#type = type
    this.queueName = `work-${type}`
    this.parkedName = `parked-${type}`
  }

  async start(protocol: AmqpProtocol): Promise<void> {
    await protocol.queueDeclare(this.queueName, { arguments: { 'x-queue-type': this.#type } })
    await protocol.queueDeclare(this.parkedName, { arguments: { 'x-queue-type': 'quorum' } })
  }

  async consume(protocol: AmqpProtocol): Promise<void> {
    await protocol.consumer(this.queueName, message => this.#handle(message), {
      arguments: this.#type === 'stream' ? { 'x-stream-offset': 'first' } : {},
      onFailure: {
        retries: RETRIES,
        delays: DELAYS,
        otherwise: { exchangeName: '', routingKey: this.parkedName },
      },
    })
    await protocol.consumer(this.parkedName, message => {
      const n = Number(message.text())
      assert.equal(n % 5, RETRIES + 1, `message ${n} was given up`)
      this.#done.add(n)
    })
  }

  #handle(message: Message): void {
    const n = Number(message.text())
    this.#handled.set(n, (this.#handled.get(n) ?? 0) + 1)
    // A stream counts its own; of a quorum queue, what came again after a crash is in `attempt`, too.
    const before =
      this.#type === 'stream' ? message.attempt - 1 : Number(message.properties.headers?.['x-retries'] ?? 0)
    if (before < n % 5) throw new Error(`message ${n} fails`)
    this.#done.add(n)
  }

  get missing(): number[] {
    return Array.from({ length: COUNT }, (_, n) => n).filter(n => !this.#done.has(n))
  }

  check(): void {
    for (let n = 0; n < COUNT; n++) {
      const least = Math.min(n % 5, RETRIES) + 1
      const handled = this.#handled.get(n) ?? 0
      assert.ok(
        handled >= least,
        `message ${n} of ${this.queueName} was handled ${handled} times, not ${least}; ${replay}`,
      )
    }
  }

  get total(): number {
    return [...this.#handled.values()].reduce((sum, times) => sum + times, 0)
  }
}

describe('messages that fail and wait for their retries', { timeout: RUNS * 900_000 }, () => {
  for (let run = 0; run < RUNS; run++) {
    it(`are all handled as often as they have to be, though the broker is killed and connections are reset (${run + 1})`, async t => {
      const random = new Random(seed + run)
      await using node = await startNode()
      if (!long) {
        const setting = `{dead_letter_worker_publisher_confirm_timeout, ${BROKER_PATIENCE}}`
        writeFileSync(join(node.dataDir, 'advanced.config'), `[{rabbit, [${setting}]}].\n`)
      }
      await using proxy = await openFaultProxy(node.host, node.port)
      await using protocol = await connect(proxy.url(node.url), { onError() {} })
      const all = TYPES.map(type => new Fates(type))
      for (const fates of all) await fates.start(protocol)
      // A single node may forget what was declared less than 2 s before.
      await sleep(2_500)
      await Promise.all(
        all.flatMap(({ queueName }) =>
          Array.from({ length: COUNT }, (_, n) => protocol.publish(String(n), '', queueName, { deliveryMode: 2 })),
        ),
      )
      for (const fates of all) await fates.consume(protocol)
      const resets = setInterval(() => proxy.reset(), RESET_EVERY)
      try {
        for (let kill = 0; kill < KILLS; kill++) {
          await sleep(random.below(4_000))
          await node.kill()
          await node.start()
        }
        await sleep(RESET_EVERY)
      } finally {
        clearInterval(resets)
      }
      const killed = Date.now()
      const missing = (): string => all.map(({ queueName, missing }) => `${queueName}: ${missing.join(' ')}`).join('; ')
      await until(
        () => `all are done; missing of ${missing()}; ${replay}`,
        () => all.every(fates => fates.missing.length === 0),
        { timeout: 2 * BROKER_PATIENCE + 120_000, interval: 250 },
      )
      for (const fates of all) fates.check()
      t.diagnostic(
        `the last one ${((Date.now() - killed) / 1000).toFixed(1)} s after the last fault; handled ${all.map(({ total }) => total).join(', ')} times`,
      )
    })
  }
})
