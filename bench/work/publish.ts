import type { Connection, Outgoing, Repeat } from '../clients/client.ts'
import { measure } from '../measure.ts'
import { bodyOf } from '../message.ts'
import { countSocketWrites } from '../socket-writes.ts'
import type { Task } from '../task.ts'
import { connectOptions } from '../task.ts'
import type { Perform } from './work.ts'

const LARGE_BODY = 16 * 1024

export const outgoing = ({ row, queueName }: Task): Outgoing => ({
  routingKey: queueName,
  body: bodyOf(row.bodySize),
  withProperties: row.properties,
  channels: row.channels,
})

/** Publishing rows, confirmed or not. */
export const publish: Perform = async (client, task) => {
  const writes = task.countWrites ? countSocketWrites() : undefined
  const connection = await client.connect(task.url, connectOptions(task))
  const repeat = await repeatOf(connection, task)
  let total = 0
  let counted = 0
  const run = async (count: number) => {
    await repeat(count * task.handicap)
    total += count * task.handicap
    counted += count
  }
  const multiple = task.row.holdConfirms ? task.row.window : 1
  if (writes !== undefined) {
    const count = Math.ceil((task.row.bodySize > LARGE_BODY ? 50 : 20_000) / multiple) * multiple
    await run(count)
    const before = writes()
    await run(count)
    return { writesPerThousand: ((writes() - before) * 1000) / count, total }
  }
  const measurement = await measure(run, () => counted, task.budget, multiple)
  return { ...measurement, total }
}

function repeatOf(connection: Connection, task: Task): Promise<Repeat> {
  return task.row.work === 'confirm'
    ? connection.confirmer(outgoing(task), task.row.window)
    : connection.publisher(outgoing(task))
}
