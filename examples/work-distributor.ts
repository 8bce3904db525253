// A work distributor: several workers of one process take the next job each, and stop gracefully.
import { setTimeout as sleep } from 'node:timers/promises'
import { type Consumer, connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const workers = Number(process.argv[2] ?? 3)

/** Take jobs until there are no more to come. Asking for the next one acks the one before. */
async function work(name: string, jobs: Consumer): Promise<number> {
  let done = 0
  for await (const message of jobs) {
    const job = message.json<{ readonly name: string; readonly milliseconds: number }>()
    console.log(` [x] ${name} begins ${job.name}`)
    await sleep(job.milliseconds)
    console.log(` [x] ${name} ends ${job.name}`)
    done++
  }
  return done
}

await using protocol = await connect(AMQP_URL)
await protocol.queueDeclare('jobs', { durable: true })

// As many jobs as workers: what is not begun stays in the queue, for other distributors.
const jobs = await protocol.consumer('jobs', { prefetchCount: workers })
// After close() the loops get no more: each ends its job first, which is acked. Unseen jobs go back.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => jobs.close())

console.log(` [*] ${workers} workers wait for jobs. To exit press CTRL+C`)
const done = await Promise.all(Array.from({ length: workers }, (_, i) => work(`worker ${i + 1}`, jobs)))
console.log(` [*] Done: ${done.reduce((sum, count) => sum + count, 0)} jobs`)
