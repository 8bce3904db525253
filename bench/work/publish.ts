import type { Connection, Outgoing, Repeat } from '../clients/client.ts'
import { measure, measureSpan, warmUp } from '../measure.ts'
import { bodyOf } from '../message.ts'
import { countSocketWrites } from '../socket-writes.ts'
import type { Task, TaskResult } from '../task.ts'
import { connectOptions, warmUpQueue } from '../task.ts'
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
  if (task.waiting > 0) return toBroker(connection, task)
  const repeat = await repeatOf(connection, task)
  let total = 0
  const run = async (count: number) => {
    await repeat(count)
    total += count
  }
  const multiple = task.row.holdConfirms ? task.row.window : 1
  if (writes !== undefined) {
    const count = Math.ceil((task.row.bodySize > LARGE_BODY ? 50 : 20_000) / multiple) * multiple
    await run(count)
    const before = writes()
    await run(count)
    return { writesPerThousand: ((writes() - before) * 1000) / count, total }
  }
  const measurement = await measure(run, () => total, task.budget, multiple)
  return { ...measurement, total }
}

/** As many messages for each client, into a queue that was empty: the longer it is, the slower is the broker. */
async function toBroker(connection: Connection, task: Task): Promise<TaskResult> {
  const message = { ...outgoing(task), routingKey: warmUpQueue(task.queueName) }
  const repeat = await connection.confirmer(message, task.row.window)
  await warmUp(repeat, task.budget)
  message.routingKey = task.queueName
  let total = 0
  return measureSpan(
    async () => {
      await repeat(task.waiting / 2)
      total += task.waiting / 2
    },
    () => total,
  )
}

function repeatOf(connection: Connection, task: Task): Promise<Repeat> {
  return task.row.work === 'confirm'
    ? connection.confirmer(outgoing(task), task.row.window)
    : connection.publisher(outgoing(task))
}
