// Routing: print the log lines of the severities given on the command line.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const severities = process.argv.slice(2)
if (severities.length === 0) {
  console.error('Usage: receive-logs-direct [info] [warning] [error]')
  process.exit(1)
}

await using protocol = await connect(AMQP_URL)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

const channel = await protocol.channel()
await channel.exchangeDeclare('direct_logs', 'direct')

const { queue } = await channel.queueDeclare()
await Promise.all(severities.map(severity => channel.queueBind(queue, 'direct_logs', severity)))
await channel.basicConsume(
  (_channel, body, { routingKey }) => {
    console.log(` [x] '${routingKey}': '${body}'`)
  },
  queue,
  { noAck: true },
)

console.log(' [*] Waiting for logs. To exit press CTRL+C')
await protocol.waitClosed()
