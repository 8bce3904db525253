import type { Client } from '../clients/client.ts'
import { measureSpan } from '../measure.ts'
import { Tally } from '../tally.ts'
import type { Task, TaskResult } from '../task.ts'
import { connectOptions } from '../task.ts'
import { incoming } from './consume.ts'
import { outgoing } from './publish.ts'

const MESSAGES = 100

/**
 * A program that loads its client, publishes 100 messages, each confirmed before the next, consumes and acknowledges
 * them, and closes: nothing is warm. The figures are of all of it.
 */
export async function shortProgram(load: () => Promise<Client>, task: Task): Promise<TaskResult> {
  let programs = 0
  return measureSpan(
    async () => {
      const client = await load()
      const connection = await client.connect(task.url, connectOptions(task))
      const publish = await connection.confirmer(outgoing(task), 1)
      await publish(MESSAGES)
      const tally = new Tally()
      const all = tally.more(MESSAGES)
      await connection.consumer(incoming(task, tally))
      await all
      await connection.close()
      programs += 1
    },
    () => programs,
  )
}
