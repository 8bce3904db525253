// Publish/subscribe: print every log line sent from now on.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env

await using protocol = await connect(AMQP_URL)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

const channel = await protocol.channel()
await channel.exchangeDeclare('logs', 'fanout')

// Without a name the broker names the queue; it is ours alone and goes when we go.
const { queue } = await channel.queueDeclare()
await channel.queueBind(queue, 'logs')
await channel.basicConsume((_channel, body) => console.log(` [x] ${body}`), queue, { noAck: true })

console.log(' [*] Waiting for logs. To exit press CTRL+C')
await protocol.waitClosed()
