/**
 * Fails when the hot path has become half as dear again. CPU is compared with that of a prototype, which does the same
 * work in the same process by turns, so that the machine's speed and its other guests cancel out.
 */
import { client as ours } from '../clients/asyncamqp.ts'
import type { Client, Repeat } from '../clients/client.ts'
import { client as prototype } from '../clients/prototype.ts'
import { bodyOf } from '../message.ts'
import { Peer } from '../processes.ts'
import { ROWS, type Row } from '../rows.ts'
import { median } from '../statistics.ts'
import { Tally } from '../tally.ts'
import { connectOptions, type Task } from '../task.ts'
import { incoming } from '../work/consume.ts'

const ROUNDS = 15
/** CPU of a round, and of the warm-up, in microseconds. */
const ROUND_CPU = 10_000
const WARM_UP_CPU = 200_000
const QUEUE_NAME = 'bench'

/** One row, done by one client. */
interface Contender {
  readonly repeat: Repeat
  close(): void
}

async function contender(client: Client, row: Row): Promise<Contender> {
  const peer = await Peer.start()
  const { confirm, bodySize, frameMax, consumers } = row
  await peer.prepare({
    confirm,
    confirmAfter: 1,
    bodySize,
    withProperties: false,
    deliveryFrameMax: frameMax,
    consumers,
  })
  const task: Task = {
    client: 'asyncamqp',
    row,
    url: peer.url,
    queueName: QUEUE_NAME,
    countWrites: false,
    waiting: 0,
    budget: { cpu: 0, wall: 0 },
  }
  const connection = await client.connect(peer.url, connectOptions(task))
  const message = { body: bodyOf(bodySize), routingKey: QUEUE_NAME, withProperties: false, channels: 1 }
  const close = (): void => peer.stop()
  if (row.work === 'publish') return { repeat: await connection.publisher(message), close }
  if (row.work === 'confirm') return { repeat: await connection.confirmer(message, row.window), close }
  const tally = new Tally()
  await connection.consumer(incoming(task, tally))
  const repeat = (count: number): Promise<void> => {
    const all = tally.more(count)
    peer.deliver(count)
    return all
  }
  return { repeat, close }
}

async function cpuOf(run: () => Promise<void>): Promise<number> {
  const before = process.cpuUsage()
  await run()
  const { user, system } = process.cpuUsage(before)
  return user + system
}

/** Warms up. Returns how many messages a round takes. */
async function warmUp({ repeat }: Contender): Promise<number> {
  let count = 500
  for (let total = 0; total < WARM_UP_CPU; ) {
    const cpu = await cpuOf(() => repeat(count))
    total += cpu
    if (cpu < ROUND_CPU) count *= 2
  }
  return count
}

/** What a message of `row` costs this package, in multiples of the prototype's cost; both did it by turns. */
async function ratioOf(row: Row, handicap: number): Promise<number> {
  const one = await contender(ours, row)
  const other = await contender(prototype, row)
  try {
    const count = Math.max(await warmUp(one), await warmUp(other))
    const pairs: { readonly ours: number; readonly prototype: number }[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      const mine = await cpuOf(() => one.repeat(Math.round(count * handicap)))
      pairs.push({ ours: mine, prototype: await cpuOf(() => other.repeat(count)) })
    }
    // Other guests of the machine only ever add to a cost, and what they add to both cancels out: the lower one counts.
    const least = Math.min(...pairs.map(pair => pair.ours)) / Math.min(...pairs.map(pair => pair.prototype))
    return Math.min(least, median(pairs.map(pair => pair.ours / pair.prototype)))
  } finally {
    one.close()
    other.close()
  }
}

/**
 * How many prototypes a message may cost in the rows of the hot path: a fifth more than it cost when this was written, half
 * way to half as much again.
 */
const LIMITS: { readonly [row: string]: number } = {
  'publish 16 B': 1.75,
  'confirm 16 B': 1.7,
  'consume 16 B': 1.95,
  'consume and ack 16 B': 2.4,
}

/**
 * The guard, in a process of its own, since compilers choose once in a process: true when all rows are within their limits.
 * With a `handicap` of 1.5, three of our messages are counted as two.
 */
export async function guard(handicap: number): Promise<boolean> {
  let within = true
  for (const row of ROWS) {
    const limit = row.section === 'messages' ? LIMITS[row.name] : undefined
    if (limit === undefined) continue
    const ratio = await ratioOf(row, handicap)
    if (ratio > limit) within = false
    const verdict = ratio > limit ? ': TOO DEAR' : ''
    console.log(`${row.name.padEnd(22)} ${ratio.toFixed(2)} prototypes, of at most ${limit}${verdict}`)
  }
  return within
}
