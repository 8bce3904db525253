// Topics: send a log line under a dotted routing key, such as "kern.critical".
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const [routingKey = 'anonymous.info', ...words] = process.argv.slice(2)
const line = words.join(' ') || 'Hello World!'

await using protocol = await connect(AMQP_URL)
await using channel = await protocol.channel()

await channel.exchangeDeclare('topic_logs', 'topic')
await channel.basicPublish(line, 'topic_logs', routingKey)
console.log(` [x] Sent '${routingKey}': '${line}'`)
