// Work queues: do the tasks of the queue "task_queue", one at a time. Start several to share the work.
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env

await using protocol = await connect(AMQP_URL)
// close() lets the task in hand end and sends its ack; what was not begun goes to another worker.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

const channel = await protocol.channel()
await channel.queueDeclare('task_queue', { durable: true })
await channel.basicQos({ prefetchCount: 1 })
await channel.basicConsume(async (channel, body, envelope) => {
  const task = body.toString()
  console.log(` [x] Received '${task}'`)
  const seconds = task.split('.').length - 1
  await sleep(seconds * 1000)
  console.log(` [x] Done '${task}'`)
  await channel.basicClientAck(envelope.deliveryTag)
}, 'task_queue')

console.log(' [*] Waiting for tasks. To exit press CTRL+C')
await protocol.waitClosed()
