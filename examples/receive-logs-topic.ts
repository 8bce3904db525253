// Topics: print the log lines whose routing key matches a pattern: * is one word, # is any number of words.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const patterns = process.argv.slice(2)
if (patterns.length === 0) {
  console.error('Usage: receive-logs-topic <pattern>..., such as "kern.*" "#.critical"')
  process.exit(1)
}

await using protocol = await connect(AMQP_URL)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

const channel = await protocol.channel()
await channel.exchangeDeclare('topic_logs', 'topic')

const { queue } = await channel.queueDeclare()
await Promise.all(patterns.map(pattern => channel.queueBind(queue, 'topic_logs', pattern)))
await channel.basicConsume(
  (_channel, body, { routingKey }) => {
    console.log(` [x] '${routingKey}': '${body}'`)
  },
  queue,
  { noAck: true },
)

console.log(' [*] Waiting for logs. To exit press CTRL+C')
await protocol.waitClosed()
