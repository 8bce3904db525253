// A transformer, as in stompest: consume, change, publish the result; what cannot be changed goes to an error queue.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env

await using protocol = await connect(AMQP_URL)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

await Promise.all(['test.in', 'test.out', 'test.error'].map(name => protocol.queueDeclare(name, { durable: true })))

await protocol.consumer(
  'test.in',
  async message => {
    const { count } = message.json<{ readonly count: number }>()
    if (!Number.isFinite(count)) throw new TypeError('count must be a number')
    // The broker has the result before the message is acked: at worst a result comes twice, never not at all.
    await protocol.publish({ count: count + 1 }, '', 'test.out', { correlationId: message.properties.correlationId })
    console.log(` [x] ${count} -> ${count + 1}`)
  },
  // A copy, with the error in its headers, and then the ack.
  { onFailure: { exchangeName: '', routingKey: 'test.error' } },
)

console.log(' [*] Waiting for messages. To exit press CTRL+C')
await protocol.waitClosed()
