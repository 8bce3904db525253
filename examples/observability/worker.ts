// A worker whose work is traced from end to end: it asks for a price, ships the order, and puts aside what it cannot ship.
import { connect } from 'asyncamqp'
import { startTelemetry } from './telemetry.js'

const { AMQP_URL = 'amqp://localhost', METRICS_PORT = '9464' } = process.env
const telemetry = startTelemetry('worker', Number(METRICS_PORT))

await using protocol = await connect(AMQP_URL, { connectionName: 'worker' })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => protocol.close())

for (const queue of ['orders', 'orders.failed', 'orders.shipped']) await protocol.queueDeclare(queue)
const prices = await protocol.rpcClient({ timeout: 5_000 })

// The handler runs within the span of its message. What it publishes and asks goes on in the same trace.
await protocol.consumer(
  'orders',
  async message => {
    const { item } = message.json<{ readonly item: string }>()
    const reply = await prices.call('prices', { item })
    const { price } = reply.json<{ readonly price: number }>()
    await protocol.publish({ item, price }, '', 'orders.shipped')
    console.log(` [x] Shipped ${item} for ${price}`)
  },
  { onFailure: { exchangeName: '', routingKey: 'orders.failed' }, concurrency: 4 },
)

console.log(' [*] Waiting for orders. To exit press CTRL+C')
await protocol.waitClosed()
await telemetry.stop()
