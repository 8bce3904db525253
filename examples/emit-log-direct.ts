// Routing: send a log line with a severity as its routing key.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const [severity = 'info', ...words] = process.argv.slice(2)
const line = words.join(' ') || 'Hello World!'

await using protocol = await connect(AMQP_URL)
await using channel = await protocol.channel()

await channel.exchangeDeclare('direct_logs', 'direct')
await channel.basicPublish(line, 'direct_logs', severity)
console.log(` [x] Sent '${severity}': '${line}'`)
