// Work queues: hand a task to one of the workers. Every dot in its text stands for a second of work.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const task = process.argv.slice(2).join(' ') || 'Hello World!'

await using protocol = await connect(AMQP_URL)
await using channel = await protocol.channel()

// A durable queue and a persistent message (delivery mode 2) outlive a restart of the broker.
await channel.queueDeclare('task_queue', { durable: true })
await channel.basicPublish(task, '', 'task_queue', { deliveryMode: 2 })
console.log(` [x] Sent '${task}'`)
