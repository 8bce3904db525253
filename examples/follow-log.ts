// Log fan-out: print every line that is published from now on. Each follower gets all lines.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env

await using protocol = await connect(AMQP_URL)
await protocol.exchangeDeclare('log', 'fanout')

// Without a name the broker names the queue; it is ours alone, goes when we go, and comes back after a lost connection.
const { queue } = await protocol.queueDeclare()
await protocol.queueBind(queue, 'log')

const lines = await protocol.consumer(queue, { noAck: true })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => lines.close())

console.log(' [*] Waiting for lines. To exit press CTRL+C')
for await (const line of lines) console.log(` [x] ${line.properties.appId}: ${line.text()}`)
