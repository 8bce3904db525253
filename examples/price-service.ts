// An RPC service: answers with JSON, eight requests at a time. What the handler throws reaches the caller as an error.
// It may be started before the broker: whatever it asks for waits until that is there.
import { connectInBackground } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const prices: ReadonlyMap<string, number> = new Map([
  ['apple', 0.4],
  ['pear', 0.5],
  ['melon', 2.9],
])

await using protocol = connectInBackground(AMQP_URL)
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

await protocol.queueDeclare('prices', { durable: true })
await protocol.rpcServer(
  'prices',
  request => {
    const { item, count } = request.json<{ readonly item: string; readonly count: number }>()
    const price = prices.get(item)
    if (price === undefined) throw new RangeError(`there is no price for ${item}`)
    return { item, total: price * count }
  },
  { concurrency: 8 },
)

console.log(' [*] Waiting for requests. To exit press CTRL+C')
await protocol.waitClosed()
