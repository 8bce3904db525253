// Hello World: send one message to the queue "hello".
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env

await using protocol = await connect(AMQP_URL)
await using channel = await protocol.channel()

await channel.queueDeclare('hello')
await channel.basicPublish('Hello World!', '', 'hello')
console.log(" [x] Sent 'Hello World!'")
