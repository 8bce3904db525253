import { measure, measureSpan, warmUp } from '../measure.ts'
import { percentile } from '../statistics.ts'
import type { Task, TaskResult } from '../task.ts'
import { connectOptions } from '../task.ts'
import { outgoing } from './publish.ts'
import type { Perform } from './work.ts'

const DECLARES = 500
const TIMES = 4

/** Declares 500 queues together, four times; a message of this row is one declare. */
export const declare: Perform = async (client, task) => {
  const connection = await client.connect(task.url, connectOptions(task))
  const declareAll = await connection.declarer()
  const names = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, number) => `${task.queueName}-${prefix}-${number}`)
  // The same names each time: to a client that is the same, and the broker keeps fewer.
  const again = names('warm-up', DECLARES)
  await warmUp(
    async count => {
      for (let declared = 0; declared < count; declared += DECLARES) await declareAll(again)
    },
    task.budget,
    DECLARES,
  )
  let total = 0
  const measurement = await measureSpan(
    async () => {
      for (let time = 0; time < TIMES; time += 1) await declareAll(names(`measured-${time}`, DECLARES))
      total += TIMES * DECLARES
    },
    () => total,
  )
  await connection.close()
  return measurement
}

/** Opens and closes channels, one after the other. */
export const channel: Perform = async (client, task) => {
  const connection = await client.connect(task.url, connectOptions(task))
  const result = await eachTimed(task, () => connection.cycleChannel())
  await connection.close()
  return result
}

/** Connects and opens a channel, then closes, which is not part of the time but of the CPU. */
export const connect: Perform = async (client, task) => {
  const closing: Promise<void>[] = []
  const result = await eachTimed(task, async () => {
    const connection = await client.connect(task.url, connectOptions(task))
    closing.push(connection.close())
  })
  await Promise.all(closing)
  return result
}

/** Connects, opens a channel and has a message confirmed; the close is not part of the time. */
export const firstConfirm: Perform = async (client, task) => {
  const closing: Promise<void>[] = []
  const result = await eachTimed(task, async () => {
    const connection = await client.connect(task.url, connectOptions(task))
    const publish = await connection.confirmer(outgoing(task), 1)
    await publish(1)
    closing.push(connection.close())
  })
  await Promise.all(closing)
  return result
}

async function eachTimed(task: Task, work: () => Promise<void>): Promise<TaskResult> {
  let total = 0
  let latencies: number[] = []
  const run = async (count: number) => {
    latencies = []
    for (let number = 0; number < count; number += 1) {
      const start = performance.now()
      await work()
      latencies.push((performance.now() - start) * 1000)
    }
    total += count
  }
  const measurement = await measure(run, () => total, task.budget)
  return { ...measurement, p50Micros: percentile(latencies, 0.5), p99Micros: percentile(latencies, 0.99) }
}
