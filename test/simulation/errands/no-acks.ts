import type { Errand, Outing, OwnConnection } from './errand.ts'

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
  await runToTheLast(outing)
  await closeBehindCancel(outing)
  const loop = outing.keep(await outing.protocol.consumer(queue, { noAck: true }))
  await outing.publish(queue, 'more')
  const { value } = await loop.next({ timeout: 5_000 })
  outing.expect(value !== undefined, 'no message without acks')
}

/** Callbacks and handlers that are slow have all that had come when their consumer, its channel or its connection ends. */
async function runToTheLast(outing: Outing): Promise<void> {
  const { control, connect } = outing.startBroker()
  const texts = ['1', '2', '3', '4', '5', '6']
  const ends: readonly ((own: OwnConnection, stop: () => Promise<unknown>) => Promise<unknown>)[] = [
    (_own, stop) => stop(),
    async own => own.cut(),
    // What comes in one read with the end of the connection has come.
    async () => control.closeConnections(320, 'CONNECTION_FORCED'),
    async own => {
      control.closeConnections(320, 'CONNECTION_FORCED')
      // All of it is one read.
      await outing.sleep(2)
      own.thaw('toClient')
    },
  ]
  const other = await connect()
  const publish = (): Promise<unknown> =>
    Promise.all(texts.map(text => other.protocol.publish(text, '', 'slow', {}, { timeout: 5_000 })))
  await other.protocol.queueDeclare('slow')
  for (const [n, end] of ends.entries())
    for (const isHandler of [true, false]) {
      // With so little room, the last ones are read at once with the end of the connection.
      const own = await connect({ recovery: false, ...(n === 2 && { maxBuffered: 1 }) })
      const { protocol } = own
      const seen: string[] = []
      const work = async (text: string): Promise<void> => {
        seen.push(text)
        await outing.sleep(50)
      }
      let stop: () => Promise<unknown>
      if (isHandler) {
        const consumer = await protocol.consumer('slow', message => work(message.text()), {
          noAck: true,
          concurrency: 1,
        })
        stop = () => consumer.close()
      } else {
        const channel = await protocol.channel()
        const { consumerTag } = await channel.basicConsume((_channel, body) => work(body.toString()), 'slow', {
          noAck: true,
          concurrency: 1,
        })
        stop = () => channel.basicCancel(consumerTag)
      }
      if (n === 3) own.freeze('toClient')
      await publish()
      await outing.sleep(20)
      await end(own, stop)
      await outing.until(() => seen.length === texts.length, `messages without acks, ended in way ${n}`, 1_000)
      outing.equal([...seen].sort(), texts, `messages without acks of a ${isHandler ? 'handler' : 'callback'}`)
      await protocol.close()
      await other.protocol.ready({ timeout: 20_000 })
      const ready = control.evidence().queued.get('slow')?.length
      outing.equal(ready, 0, 'messages without acks that are left')
    }
}

/** A close of the connection hands out what came before the consumer was cancelled; a close of the channel drops it. */
async function closeBehindCancel(outing: Outing): Promise<void> {
  const { control, connect } = outing.startBroker()
  const texts = ['1', '2', '3', '4', '5', '6']
  for (const isGraceful of [true, false]) {
    const { protocol } = await connect()
    const queueName = `cancelled ${isGraceful}`
    await protocol.queueDeclare(queueName)
    for (const text of texts) await protocol.publish(text, '', queueName, {}, { timeout: 5_000 })
    const channel = await protocol.channel()
    const seen: string[] = []
    const callback = async (_channel: unknown, body: Buffer): Promise<void> => {
      seen.push(body.toString())
      await outing.sleep(50)
    }
    const { consumerTag } = await channel.basicConsume(callback, queueName, { noAck: true, concurrency: 1 })
    await outing.until(() => seen.length > 0, 'a message without acks')
    await channel.basicCancel(consumerTag)
    await (isGraceful ? protocol.close() : channel.close())
    const { length } = seen
    await outing.sleep(500)
    outing.equal(seen.length, length, 'callbacks after a close')
    const came = texts.length - (control.evidence().queued.get(queueName)?.length ?? 0)
    if (isGraceful) outing.equal(seen, texts.slice(0, came), 'messages that waited behind a cancel')
    await protocol.close()
  }
}
