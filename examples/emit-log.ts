// Publish/subscribe: send a log line to everybody who listens.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const line = process.argv.slice(2).join(' ') || 'info: Hello World!'

await using protocol = await connect(AMQP_URL)
await using channel = await protocol.channel()

await channel.exchangeDeclare('logs', 'fanout')
await channel.basicPublish(line, 'logs', '')
console.log(` [x] Sent '${line}'`)
