// RPC: ask the server for Fibonacci numbers, several at once, and match the answers by their correlation id.
import { randomUUID } from 'node:crypto'
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const numbers = process.argv.length > 2 ? process.argv.slice(2) : ['30']

await using protocol = await connect(AMQP_URL)
await using channel = await protocol.channel({ publisherConfirms: true })

const waiting = new Map<string, (answer: string) => void>()
const { queue: replyTo } = await channel.queueDeclare()
await channel.basicConsume(
  (_channel, body, _envelope, { correlationId = '' }) => waiting.get(correlationId)?.(body.toString()),
  replyTo,
  { noAck: true },
)

async function fibonacci(n: string): Promise<string> {
  const correlationId = randomUUID()
  const answer = new Promise<string>(resolve => waiting.set(correlationId, resolve))
  try {
    // Mandatory: without a server's queue the request comes back as an error, instead of waiting for ever.
    await channel.publish(n, '', 'rpc_queue', { correlationId, replyTo }, { mandatory: true })
    return await answer
  } finally {
    waiting.delete(correlationId)
  }
}

for (const n of numbers) console.log(` [x] Requesting fibonacci(${n})`)
await Promise.all(numbers.map(async n => console.log(` [.] fibonacci(${n}) = ${await fibonacci(n)}`)))
