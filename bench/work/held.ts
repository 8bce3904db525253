import type { Client, Connection } from '../clients/client.ts'
import { Tally } from '../tally.ts'
import { connectOptions, type Task, type TaskResult } from '../task.ts'
import { grown, incoming } from './consume.ts'
import { outgoing } from './publish.ts'
import type { Perform } from './work.ts'

const MIB = 1024 * 1024

/** Makes `size` of something and keeps them. Returns what must stay reachable. */
type Hold = (client: Client, connection: Connection, task: Task) => Promise<unknown>

const holds: { readonly [of: string]: Hold } = {
  async 'idle connections'(client, _connection, task) {
    const connections: Connection[] = []
    for (let number = 0; number < task.row.size; number += 1) {
      connections.push(await client.connect(task.url, connectOptions(task)))
    }
    return connections
  },

  channels: (_client, connection, task) => connection.publisher({ ...outgoing(task), channels: task.row.size }),

  async consumers(_client, connection, task) {
    await connection.consumer({ ...incoming(task, new Tally()), consumers: task.row.size })
  },

  async 'pending publishes'(_client, connection, task) {
    const publish = await connection.confirmer(outgoing(task), task.row.size)
    // The peer confirms none of them.
    void publish(task.row.size)
    await new Promise(resolve => setTimeout(resolve, 200))
  },

  async 'held messages'(_client, connection, task) {
    const kept: unknown[] = []
    const tally = new Tally(kept)
    const all = tally.more(task.row.size)
    await connection.consumer({ ...incoming(task, tally), keep: true })
    process.send?.({ deliver: task.row.size })
    await all
    return kept
  },
}

/** What each of many things takes in memory, while they are there. */
export const held: Perform = async (client, task): Promise<TaskResult> => {
  const hold = holds[task.row.of]
  if (hold === undefined) throw new Error(`nothing holds ${task.row.of}`)
  const connection = await client.connect(task.url, connectOptions(task))
  // What the first one loads and makes is not part of it.
  if (task.row.of === 'idle connections') await client.connect(task.url, connectOptions(task))
  globalThis.gc?.()
  const before = process.memoryUsage()
  const kept = await hold(client, connection, task)
  await new Promise(resolve => setTimeout(resolve, 50))
  globalThis.gc?.()
  const { grownMiB = 0, grownRssMiB = 0 } = grown(before, process.memoryUsage())
  if (kept === null) throw new Error('nothing is held')
  const each = (mib: number): number => Math.max(0, (mib * MIB) / task.row.size)
  return { bytesEach: each(grownMiB), rssBytesEach: each(grownRssMiB) }
}
