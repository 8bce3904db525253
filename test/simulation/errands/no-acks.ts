import type { Errand } from './errand.ts'

/** What came without acks is gone at the broker: a handler gets all of it, even while its consumer is closed. */
export const noAcks: Errand = async outing => {
  const queue = await outing.queue()
  const seen: string[] = []
  const consumer = outing.keep(
    await outing.protocol.consumer(
      queue,
      async message => {
        seen.push(message.text())
        await outing.sleep(10)
        outing.expect(!message.ack(), 'a message without acks was acked')
      },
      { noAck: true, concurrency: 2 },
    ),
  )
  const all = Array.from({ length: 12 }, (_, n) => `${n}`)
  await outing.publish(queue, ...all)
  await outing.until(() => seen.length > 0, 'a message without acks')
  await consumer.close()
  outing.equal(seen.length + (await outing.ready(queue)), all.length, 'what was handled and what is left')
  outing.equal(seen, all.slice(0, seen.length), 'the order')
  const loop = outing.keep(await outing.protocol.consumer(queue, { noAck: true }))
  await outing.publish(queue, 'more')
  const { value } = await loop.next({ timeout: 5_000 })
  outing.expect(value !== undefined, 'no message without acks')
}
