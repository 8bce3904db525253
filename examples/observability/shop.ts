// A shop that publishes orders, answers what things cost, and hears what became of each order: all in the order's trace.
import { EventEmitter, once } from 'node:events'
import { trace } from '@opentelemetry/api'
import { connect, type Message } from 'asyncamqp'
import { startTelemetry } from './telemetry.js'

const { AMQP_URL = 'amqp://localhost', METRICS_PORT = '9465' } = process.env
const items = process.argv.length > 2 ? process.argv.slice(2) : ['apple', 'moon']
const known: Readonly<Record<string, number>> = { apple: 0.4, pear: 0.5, melon: 2.9 }
const telemetry = startTelemetry('shop', Number(METRICS_PORT))

const protocol = await connect(AMQP_URL, { connectionName: 'shop' })
for (const queue of ['orders', 'orders.failed', 'orders.shipped', 'prices']) await protocol.queueDeclare(queue)

await protocol.rpcServer('prices', request => {
  const { item } = request.json<{ readonly item: string }>()
  const price = known[item]
  if (price === undefined) throw new RangeError('not for sale')
  return { item, price }
})

let left = items.length
const ended = new EventEmitter()
const tell = (text: string) => (message: Message) => {
  console.log(` ${text} ${message.json<{ readonly item: string }>().item}`)
  left--
  if (left === 0) ended.emit('all')
}
await protocol.consumer('orders.shipped', tell('[x] Shipped'))
await protocol.consumer('orders.failed', tell('[!] Not for sale:'))
const all = once(ended, 'all')

for (const item of items) {
  await trace.getTracer('shop').startActiveSpan('order', async span => {
    await protocol.publish({ item }, '', 'orders')
    console.log(` [x] Ordered ${item}`)
    span.end()
  })
}

await all
await protocol.close()
await telemetry.stop()
