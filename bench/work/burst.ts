import { measureSpan } from '../measure.ts'
import { countSocketWrites } from '../socket-writes.ts'
import { connectOptions } from '../task.ts'
import { grown } from './consume.ts'
import { outgoing } from './publish.ts'
import type { Perform } from './work.ts'

const BURST = 100_000

/** Publishes in one go without awaiting any, and says what of the memory was not given back. */
export const burst: Perform = async (client, task) => {
  const writes = task.countWrites ? countSocketWrites() : undefined
  const connection = await client.connect(task.url, connectOptions(task))
  const repeat = await connection.burst(outgoing(task))
  await repeat(1000)
  if (writes !== undefined) {
    const before = writes()
    await repeat(BURST)
    return { writesPerThousand: ((writes() - before) * 1000) / BURST, total: BURST + 1000 }
  }
  globalThis.gc?.()
  const before = process.memoryUsage()
  let total = 0
  const measurement = await measureSpan(
    async () => {
      await repeat(BURST)
      total += BURST
    },
    () => total,
  )
  globalThis.gc?.()
  return { ...measurement, ...grown(before, process.memoryUsage()), total: BURST + 1000 }
}
