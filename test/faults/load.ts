import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { AmqpError, type AmqpProtocol, type Channel } from '../../src/index.ts'
import { until } from '../support/until.ts'

/** Milliseconds after a fault within which every promise has to be settled. */
const SETTLED_WITHIN = 5_000

/** The numbers in a line: `0..3 7` of 0, 1, 2, 3 and 7. */
function ranges(numbers: Iterable<number>): string {
  const runs: { readonly first: number; last: number }[] = []
  for (const n of [...numbers].sort((a, b) => a - b)) {
    const run = runs.at(-1)
    if (run?.last === n - 1) run.last = n
    else runs.push({ first: n, last: n })
  }
  return runs.map(({ first, last }) => (first === last ? String(first) : `${first}..${last}`)).join(' ')
}

/** Publishes numbers to a queue, awaits each confirm, and records each outcome. */
export class PublishLoad implements Disposable {
  readonly confirmed = new Set<number>()
  readonly unknown = new Set<number>()
  readonly notSent = new Set<number>()
  readonly refused = new Set<number>()
  offered = 0
  /** The longest time in milliseconds between two confirms. */
  longestGap = 0
  readonly #to: Pick<Channel, 'publish'>
  readonly #queue: string
  readonly #timer: NodeJS.Timeout
  #settled = 0
  #lastConfirm = performance.now()

  /** To a channel in confirm mode, or by the protocol itself: `rate` messages a second, in bursts each 10 ms. */
  constructor(to: Pick<Channel, 'publish'>, queue: string, rate: number) {
    this.#to = to
    this.#queue = queue
    const started = performance.now()
    this.#timer = setInterval(() => {
      const due = Math.floor(((performance.now() - started) * rate) / 1000)
      while (this.offered < due) this.#publish(this.offered++)
    }, 10)
  }

  #publish(n: number): void {
    this.#to.publish(String(n), '', this.#queue, { deliveryMode: 2 }).then(
      () => {
        this.#settled++
        this.confirmed.add(n)
        const now = performance.now()
        this.longestGap = Math.max(this.longestGap, now - this.#lastConfirm)
        this.#lastConfirm = now
      },
      (error: unknown) => {
        this.#settled++
        assert.ok(error instanceof AmqpError, String(error))
        if (error.outcome === 'notSent') this.notSent.add(n)
        else if (error.outcome === 'unknown') this.unknown.add(n)
        else if (error.outcome === 'refused') this.refused.add(n)
        else throw error
      },
    )
  }

  get pending(): number {
    return this.offered - this.#settled
  }

  /** Publish no more, and wait until all is settled: nothing may be pending 5 s after the fault. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await until('every publish is settled', () => this.pending === 0, { timeout: SETTLED_WITHIN, interval: 10 })
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }

  /** Checks that every one was confirmed. */
  checkAllConfirmed(): void {
    const { confirmed, refused, unknown, notSent } = this
    assert.deepEqual(
      { confirmed: confirmed.size, refused: refused.size, unknown: unknown.size, notSent: notSent.size },
      { confirmed: this.offered, refused: 0, unknown: 0, notSent: 0 },
    )
  }

  /** Checks the account against what came out of the queue. */
  check(received: readonly number[]): void {
    const there = new Set(received)
    const missing = [...this.confirmed].filter(n => !there.has(n))
    assert.equal(ranges(missing), '', 'confirmed and missing')
    const ghosts = [...this.notSent].filter(n => there.has(n))
    assert.equal(ranges(ghosts), '', 'said not to have been sent, and yet there')
  }
}

/** Fetches everything out of a queue. */
export async function drain(protocol: AmqpProtocol, queue: string): Promise<number[]> {
  await using channel = await protocol.channel()
  const received: number[] = []
  const { messageCount } = await channel.queueDeclare(queue, { passive: true })
  await channel.basicConsume((_channel, body) => void received.push(Number(body)), queue, { noAck: true })
  await until('the queue is empty', () => received.length >= messageCount, { timeout: 30_000 })
  return received
}

/** Consumes and acks like a worker, and records the acked messages. */
export class ConsumeLoad {
  /** Numbers whose ack was sent, in that order. */
  readonly acked: number[] = []
  /** Acks that came too late, for messages that come again. */
  stale = 0
  deliveries = 0

  async start(channel: Channel, queue: string, { prefetchCount = 50, work = 5 } = {}): Promise<void> {
    await channel.basicQos({ prefetchCount })
    await channel.basicConsume(async (_channel, body, { deliveryTag }) => {
      this.deliveries++
      await sleep(work)
      // A connection that is lost for good takes the acks with it.
      const acked = await channel.basicClientAck(deliveryTag).catch(() => false)
      if (acked) this.acked.push(Number(body))
      else this.stale++
    }, queue)
  }

  /** Waits until every number below `count` was acked. */
  async untilAcked(count: number): Promise<void> {
    const missing = (): Set<number> => {
      const numbers = new Set(Array.from({ length: count }, (_, n) => n))
      for (const n of this.acked) numbers.delete(n)
      return numbers
    }
    await until(
      () =>
        `all work was done: of ${count} numbers ${ranges(missing())} not acked, ` +
        `in ${this.deliveries} deliveries with ${this.stale} stale acks`,
      () => missing().size === 0,
      { timeout: 30_000 },
    )
  }
}
