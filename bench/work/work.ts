import type { Client } from '../clients/client.ts'
import type { Task, TaskResult } from '../task.ts'

/** One kind of work, done by a client process for one task. */
export type Perform = (client: Client, task: Task) => Promise<TaskResult>
