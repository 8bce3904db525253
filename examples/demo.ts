/**
 * Publishes messages, each awaited until the broker has confirmed it, consumes and acknowledges them, and says how
 * fast that went: `npm start`, or `npm start -- 20000` for another number of messages.
 */
import { connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const count = Number(process.argv[2] ?? 100_000)
/** How many publishes may be unconfirmed at a time. */
const publishWindow = 1000
const prefetchCount = 500
const smallest = 16
const largest = 1024

const protocol = await connect(AMQP_URL)
const { product, version, cluster_name: cluster } = protocol.serverProperties
const { host, port } = protocol.peer
console.log(`connected to ${String(cluster)} at ${host}:${port}, which speaks as ${String(product)} ${String(version)}`)

const publisher = await protocol.channel({ publisherConfirms: true })
const { queue } = await publisher.queueDeclare(`asyncamqp-demo-${process.pid}`, { durable: false, exclusive: true })
console.log(`declared the queue ${queue}`)

const sizes = Array.from({ length: count }, (_, index) => smallest + ((index * 7919) % (largest - smallest + 1)))
const payload = Buffer.alloc(largest, 'asyncamqp ')
const bytes = sizes.reduce((sum, size) => sum + size, 0)

const consumer = await protocol.channel()
await consumer.basicQos({ prefetchCount })
let consumed = 0
let consumedBytes = 0
let allConsumed: (() => void) | undefined
const consumedAll = new Promise<void>(resolve => {
  allConsumed = resolve
})
const { consumerTag } = await consumer.basicConsume(async (channel, body, envelope) => {
  consumed += 1
  consumedBytes += body.length
  await channel.basicClientAck(envelope.deliveryTag)
  if (consumed === count) allConsumed?.()
}, queue)

console.log(
  `publishing ${count} messages of ${smallest} B to ${largest / 1024} KiB, ${publishWindow} unconfirmed at most`,
)
const latencies = new Float64Array(count)
const startedAt = performance.now()
let next = 0
await Promise.all(Array.from({ length: publishWindow }, publishInTurn))
report('published and confirmed', count, bytes)
await consumedAll
report('consumed and acknowledged', consumed, consumedBytes)

latencies.sort()
console.log(`  time to a confirm: ${percentile(50)} ms at the median, ${percentile(99)} ms at the 99th percentile`)

await consumer.basicCancel(consumerTag)
await publisher.queueDelete(queue)
await protocol.close()
console.log('deleted the queue, closed the connection')

/** One of the publishers that share the messages: each awaits the confirm of its message, then takes the next one. */
async function publishInTurn(): Promise<void> {
  while (next < count) {
    const index = next
    next += 1
    const publishedAt = performance.now()
    await publisher.publish(payload.subarray(0, sizes[index]), '', queue)
    latencies[index] = performance.now() - publishedAt
  }
}

function report(what: string, messages: number, size: number): void {
  const seconds = (performance.now() - startedAt) / 1000
  const perSecond = Math.round(messages / seconds).toLocaleString('en')
  const megabytes = (size / 1e6).toFixed(1)
  console.log(`  ${what}: ${messages} messages, ${megabytes} MB in ${seconds.toFixed(2)} s, ${perSecond} a second`)
}

function percentile(share: number): string {
  return (latencies[Math.ceil((count * share) / 100) - 1] ?? 0).toFixed(1)
}
