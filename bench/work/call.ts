import { measure } from '../measure.ts'
import { bodyOf } from '../message.ts'
import { countSocketWrites } from '../socket-writes.ts'
import { percentile } from '../statistics.ts'
import { connectOptions } from '../task.ts'
import type { Perform } from './work.ts'

/** Requests and their replies, one at a time. */
export const call: Perform = async (client, task) => {
  const writes = task.countWrites ? countSocketWrites() : undefined
  const connection = await client.connect(task.url, connectOptions(task))
  const callOnce = await connection.caller(task.queueName, bodyOf(task.row.bodySize))
  let total = 0
  let latencies: number[] = []
  const run = async (count: number) => {
    latencies = []
    for (let number = 0; number < count; number += 1) {
      const start = performance.now()
      await callOnce()
      latencies.push((performance.now() - start) * 1000)
    }
    total += count
  }
  if (writes !== undefined) {
    await run(100)
    const before = writes()
    await run(1000)
    return { writesPerThousand: writes() - before }
  }
  const measurement = await measure(run, () => total, task.budget)
  return { ...measurement, p50Micros: percentile(latencies, 0.5), p99Micros: percentile(latencies, 0.99) }
}
