import { createRequire } from 'node:module'
import { measureSpan } from '../measure.ts'
import type { Task, TaskResult } from '../task.ts'
import { grown } from './consume.ts'

/** Loads the package, as a program does first of all. */
export async function load({ client, row }: Task): Promise<TaskResult> {
  const require = createRequire(import.meta.url)
  let loaded = 0
  globalThis.gc?.()
  const before = process.memoryUsage()
  const measurement = await measureSpan(
    async () => {
      if (row.of === 'require') require(client)
      else await import(client)
      loaded += 1
    },
    () => loaded,
  )
  globalThis.gc?.()
  return { ...measurement, ...grown(before, process.memoryUsage()) }
}
