import { percentile } from '../statistics.ts'
import { connectOptions } from '../task.ts'
import { outgoing } from './publish.ts'
import type { Perform } from './work.ts'

const INTERVAL = 10

/** How late a 10 ms timer is while a loop publishes and awaits each publish. */
export const lateness: Perform = async (client, task) => {
  const connection = await client.connect(task.url, connectOptions(task))
  const repeat = await connection.publisher(outgoing(task))
  await repeat(2000)
  const late: number[] = []
  const end = performance.now() + task.budget.wall
  let due = performance.now() + INTERVAL
  let timer = setTimeout(tick, INTERVAL)
  function tick() {
    const now = performance.now()
    late.push(now - due)
    due = now + INTERVAL
    timer = setTimeout(tick, INTERVAL)
  }
  while (performance.now() < end) await repeat(100_000)
  clearTimeout(timer)
  // A timer that never fired again was late by all the time since it was due.
  late.push(Math.max(0, performance.now() - due))
  return { latenessP99Millis: percentile(late, 0.99) }
}
