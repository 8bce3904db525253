// RPC: answer requests for Fibonacci numbers.
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env

function fibonacci(n: number): bigint {
  let [a, b] = [0n, 1n]
  for (let i = 0; i < n; i++) [a, b] = [b, a + b]
  return a
}

await using protocol = await connect(AMQP_URL)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

const channel = await protocol.channel()
await channel.queueDeclare('rpc_queue')
await channel.basicQos({ prefetchCount: 1 })
await channel.basicConsume(async (channel, body, envelope, { replyTo, correlationId }) => {
  const n = Number(body.toString())
  console.log(` [.] fibonacci(${n})`)
  if (replyTo !== undefined) {
    await channel.basicPublish(String(fibonacci(n)), '', replyTo, { correlationId })
  }
  await channel.basicClientAck(envelope.deliveryTag)
}, 'rpc_queue')

console.log(' [x] Awaiting RPC requests. To exit press CTRL+C')
await protocol.waitClosed()
