/**
 * Works as hard as one connection lets it, for a number of seconds, and prints its heap once a second.
 *
 *   node --expose-gc soak.js URL SECONDS
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { AmqpError, type Channel, connect } from '../../../src/index.ts'

const [url = '', seconds = '20'] = process.argv.slice(2)
const end = performance.now() + Number(seconds) * 1000
const running = (): boolean => performance.now() < end
const counts = { confirmed: 0, lost: 0, consumed: 0, channels: 0, recovered: 0 }
const protocol = await connect(url, { onError: () => {} })
protocol.on('recovered', () => counts.recovered++)

/** What fails for a fault is done again; anything else is a mistake. */
async function again(work: () => Promise<unknown>): Promise<void> {
  while (running()) {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof AmqpError)) throw error
      counts.lost++
      await sleep(1)
    }
  }
}

const channel = await protocol.channel({ publisherConfirms: true })
const consuming = await protocol.channel()
const { queue } = await channel.queueDeclare('soak', { durable: true })
await consuming.basicQos({ prefetchCount: 100 })
await consuming.basicConsume((own: Channel, _body, { deliveryTag }) => {
  counts.consumed++
  void own.basicClientAck(deliveryTag)
}, queue)

const payload = Buffer.alloc(512, 'x')
const publishing = Array.from({ length: 50 }, () =>
  again(async () => {
    await channel.publish(payload, '', queue, { messageId: String(counts.confirmed), headers: { n: counts.confirmed } })
    counts.confirmed++
    await sleep(5)
  }),
)
const churning = again(async () => {
  await using own = await protocol.channel()
  const { queue: temporary } = await own.queueDeclare()
  await own.queueBind(temporary, 'amq.topic', 'a.#')
  const { consumerTag } = await own.basicConsume(() => {}, temporary)
  await own.basicPublish('x', 'amq.topic', 'a.b')
  await own.basicCancel(consumerTag)
  await own.queueDelete(temporary)
  counts.channels++
  await sleep(10)
})

const { gc } = globalThis
if (gc === undefined) throw new Error('run it with --expose-gc')
while (running()) {
  await sleep(1_000)
  gc()
  console.log(`heap ${process.memoryUsage().heapUsed}`)
}
await Promise.all([...publishing, churning])
await channel.queueDelete(queue).catch(() => {})
await protocol.close()
console.log(`done ${JSON.stringify(counts)}`)
