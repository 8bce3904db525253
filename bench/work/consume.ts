import type { Connection, Incoming } from '../clients/client.ts'
import { measure, measureSpan } from '../measure.ts'
import { bodyOfRow, READ_SUM } from '../message.ts'
import type { Row } from '../rows.ts'
import { countSocketWrites } from '../socket-writes.ts'
import { Tally } from '../tally.ts'
import { connectOptions, type Task, type TaskResult, warmUpQueue, warmUpShare } from '../task.ts'
import * as wire from '../wire.ts'
import type { Perform } from './work.ts'

const MIB = 1024 * 1024
/** Most bytes of bodies that may be unacknowledged. */
const PREFETCH_BYTES = 4 * MIB
const KEPT_BODIES = 200_000

const prefetchOf = (row: Row): number => Math.max(2, Math.min(row.window, Math.floor(PREFETCH_BYTES / row.bodySize)))

export function incoming(task: Task, tally: Tally): Incoming {
  const { row, queueName } = task
  const { properties: withProperties, frameMax } = row
  const body = bodyOfRow(row)
  const content = { channel: 1, routingKey: 'bench', body, withProperties, frameMax }
  return {
    queueName,
    ack: row.ack,
    keep: false,
    prefetch: prefetchOf(row),
    read: row.read,
    use: row.json ? parse : undefined,
    consumers: row.consumers,
    tally,
    deliverySize: wire.deliver('consumer-0000', content).length,
    bodySize: body.length,
  }
}

function parse(body: Uint8Array): void {
  // As programs do it; what is given is a Buffer in some clients and a plain array in others.
  const text = Buffer.from(body.buffer, body.byteOffset, body.length).toString()
  if (JSON.parse(text) === null) throw new Error('an order of no lines')
}

/** Consuming rows: what the synthetic peer sends when asked, or what waits in the broker's queue. */
export const consume: Perform = async (client, task) => {
  const writes = task.countWrites ? countSocketWrites() : undefined
  const tally = new Tally()
  const connection = await client.connect(task.url, connectOptions(task))
  const result =
    task.waiting > 0 ? await fromBroker(connection, task, tally) : await fromPeer(connection, task, tally, writes)
  check(task, tally)
  return result
}

async function fromPeer(
  connection: Connection,
  task: Task,
  tally: Tally,
  writes: (() => number) | undefined,
): Promise<TaskResult> {
  await connection.consumer(incoming(task, tally))
  const run = (count: number) => take(tally, count)
  if (writes !== undefined) {
    const count = task.row.bodySize > 16 * 1024 ? 50 : 5_000
    await run(count)
    const before = { writes: writes(), messages: tally.received }
    await run(count)
    return { writesPerThousand: ((writes() - before.writes) * 1000) / (tally.received - before.messages) }
  }
  return measure(run, () => tally.received, task.budget)
}

/** All that waits in a queue, from the start of its consumer on: a client may parse far ahead of its callbacks. */
async function fromBroker(connection: Connection, task: Task, tally: Tally): Promise<TaskResult> {
  const consumeAll = async (queueName: string, count: number) => {
    const all = tally.more(count)
    await connection.consumer({ ...incoming(task, tally), queueName })
    await all
  }
  await consumeAll(warmUpQueue(task.queueName), warmUpShare(task.waiting))
  return measureSpan(
    () => consumeAll(task.queueName, task.waiting),
    () => tally.received,
  )
}

/** Has the synthetic peer deliver `count` messages, no more, and resolves when the consumer has had them all. */
function take(tally: Tally, count: number): Promise<void> {
  const all = tally.more(count)
  process.send?.({ deliver: count })
  return all
}

function check({ row, client }: Task, tally: Tally): void {
  if (tally.bytes !== tally.received * bodyOfRow(row).length) throw new Error('bodies of another size came')
  if (row.read && client !== 'floor' && tally.read !== tally.received * READ_SUM) {
    throw new Error('properties were not read as they were sent')
  }
}

/** Keeps small bodies and says by how much the process grew. */
export const keep: Perform = async (client, task) => {
  const kept: Uint8Array[] = []
  const tally = new Tally(kept)
  const connection = await client.connect(task.url, connectOptions(task))
  globalThis.gc?.()
  const before = process.memoryUsage()
  await connection.consumer(incoming(task, tally))
  await take(tally, KEPT_BODIES)
  globalThis.gc?.()
  const after = process.memoryUsage()
  if (kept.length !== KEPT_BODIES) throw new Error(`${kept.length} bodies were kept`)
  return grown(before, after)
}

export const grown = (before: NodeJS.MemoryUsage, after: NodeJS.MemoryUsage): TaskResult => ({
  grownMiB: (after.heapUsed + after.external - before.heapUsed - before.external) / MIB,
  grownRssMiB: (after.rss - before.rss) / MIB,
})
