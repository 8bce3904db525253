import type { Repeat } from '../clients/client.ts'
import { measure } from '../measure.ts'
import { connectOptions } from '../task.ts'
import { outgoing } from './publish.ts'
import type { Perform } from './work.ts'

/** Unconfirmed publishes of each connection. */
const WINDOW = 10

/** Confirmed publishes over many connections at a time. */
export const connections: Perform = async (client, task) => {
  const repeats: Repeat[] = []
  for (let number = 0; number < task.row.connections; number += 1) {
    const connection = await client.connect(task.url, connectOptions(task))
    repeats.push(await connection.confirmer(outgoing(task), WINDOW))
  }
  let total = 0
  const run = async (count: number) => {
    await Promise.all(repeats.map(repeat => repeat(count / repeats.length)))
    total += count
  }
  return measure(run, () => total, task.budget, repeats.length)
}
