// Publisher confirms: three ways to know that the broker has taken every message, slowest first.
import { type Channel, connect } from 'asyncamqp'

const { AMQP_URL = 'amqp://localhost' } = process.env
const messages = Array.from({ length: Number(process.argv[2] ?? 10_000) }, (_, i) => `message ${i}`)

/** Wait for each confirm before the next message: simple, and a round trip each. */
async function individually(channel: Channel, queue: string): Promise<void> {
  for (const message of messages) await channel.publish(message, '', queue)
}

/** Wait once per hundred: fast, but a failure says only that one of the hundred was not taken. */
async function inBatches(channel: Channel, queue: string): Promise<void> {
  for (const [i, message] of messages.entries()) {
    await channel.basicPublish(message, '', queue)
    if (i % 100 === 99) await channel.waitForConfirms()
  }
  await channel.waitForConfirms()
}

/** Let every publish settle by itself: fast, and each message's fate is known. */
async function asynchronously(channel: Channel, queue: string): Promise<void> {
  const results = await Promise.allSettled(messages.map(message => channel.publish(message, '', queue)))
  const failed = messages.filter((_, i) => results[i]?.status === 'rejected')
  if (failed.length > 0) throw new Error(`to be published again: ${failed.join(', ')}`)
}

await using protocol = await connect(AMQP_URL)
for (const publishAll of [individually, inBatches, asynchronously]) {
  await using channel = await protocol.channel({ publisherConfirms: true })
  const { queue } = await channel.queueDeclare()
  const start = performance.now()
  await publishAll(channel, queue)
  const elapsed = (performance.now() - start).toFixed(0)
  const { messageCount } = await channel.queueDelete(queue)
  console.log(` [x] Published ${messages.length} messages ${publishAll.name} in ${elapsed} ms, ${messageCount} arrived`)
}
