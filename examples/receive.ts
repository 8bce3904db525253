// Hello World: print what arrives in the queue "hello".
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env

await using protocol = await connect(AMQP_URL)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

const channel = await protocol.channel()
await channel.queueDeclare('hello')
await channel.basicConsume((_channel, body) => console.log(` [x] Received '${body}'`), 'hello', { noAck: true })

console.log(' [*] Waiting for messages. To exit press CTRL+C')
await protocol.waitClosed()
