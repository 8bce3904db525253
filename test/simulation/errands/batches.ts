import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** A loop over batches has them full, or after the wait, and acks each when it asks for the next one. */
export const batches: Errand = async outing => {
  const queue = await outing.queue()
  const consumer = outing.keep(await outing.protocol.consumer(queue, { prefetchCount: 10 }))
  await outing.publish(queue, '1', '2', '3', '4', '5', '6', '7', '8')
  const seen: string[][] = []
  const times: number[] = []
  for await (const batch of consumer.batches({ size: 3, wait: 400 })) {
    seen.push(batch.map(message => message.text()))
    times.push(outing.clock.now())
    if (seen.length === 3) break
  }
  outing.equal(
    seen,
    [
      ['1', '2', '3'],
      ['4', '5', '6'],
      ['7', '8'],
    ],
    'the batches',
  )
  const wait = (times[2] ?? 0) - (times[1] ?? 0)
  outing.expect(wait >= 300 && wait <= 500, `a batch that is not full came after ${wait} ms`)
  await outing.holds(queue, 2, 'messages of a batch that goes back')
}

/** A batch is handed over after its wait, though messages go on to come. */
export const trickles: Errand = async outing => {
  const { clock } = outing
  const queue = await outing.queue()
  const began = clock.now()
  const seen: { size: number; at: number }[] = []
  const see = (messages: readonly unknown[]): void => void seen.push({ size: messages.length, at: clock.now() - began })
  const batch = { size: 10, wait: 500 }
  const consumer = outing.keep(
    outing.number % 2 === 0
      ? await outing.protocol.consumer(queue, messages => see(messages), { batch })
      : await outing.protocol.consumer(queue),
  )
  const loop = async (): Promise<void> => {
    for await (const messages of consumer.batches(batch)) see(messages)
  }
  const looped = outing.number % 2 === 0 ? undefined : outing.meanwhile(loop())
  for (let n = 0; n < 6; n++) {
    await outing.publish(queue, `${n}`)
    await outing.sleep(200)
  }
  await outing.until(() => seen.reduce((sum, { size }) => sum + size, 0) === 6, 'six messages', 2_000)
  outing.equal(seen.length, 2, 'batches of what trickles in')
  const [first] = seen
  outing.expect((first?.at ?? 0) >= 450 && (first?.at ?? 0) <= 700, `the first batch came after ${first?.at} ms`)
  await outing.publish(queue, 'alone')
  await outing.until(() => seen.length === 3, 'a batch of one', 1_000)
  await consumer.close()
  await looped
  await outing.holds(queue, 0, 'messages that are left')
}

/** A batch that ends before the one before it settles its own messages alone, and what is settled with others learns of no loss. */
export const besideBatches: Errand = async outing => {
  const queue = await outing.queue()
  const tries: string[] = []
  const consumer = outing.keep(
    await outing.protocol.consumer(
      queue,
      async messages => {
        const texts = messages.map(message => message.text())
        const isFirst = !tries.includes('1')
        tries.push(...texts)
        if (!texts.includes('1') || !isFirst) return
        await outing.sleep(200)
        throw new Error('not yet')
      },
      { batch: { size: 2, wait: 300 }, concurrency: 2 },
    ),
  )
  await outing.publish(queue, '1', '2', '3', '4')
  await outing.until(() => tries.length >= 6, 'a batch that failed after the next one was acked', 5_000)
  outing.equal(tries.slice(4).sort(), ['1', '2'], 'what comes again')
  await consumer.close()
  const own = await outing.connect({ recovery: QUICK })
  const looped = await own.protocol.consumer(queue)
  const batches = looped.batches({ size: 2 })
  await outing.publish(queue, '5', '6')
  const { value: [first] = [] } = await batches.next()
  const signal = first?.signal
  const next = outing.meanwhile(batches.next())
  await outing.holds(queue, 0, 'messages that are left')
  own.cut()
  await outing.sleep(100)
  outing.equal(signal?.aborted, false, 'the signal of a message that is settled')
  await own.protocol.close()
  await next.catch(() => {})
}

/** A handler of batches: the messages of one that fails have the end that the consumer says. */
export const failedBatches: Errand = async outing => {
  const dead = await outing.queue()
  const queue = await outing.queue({ arguments: { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead } })
  const seen: string[][] = []
  const consumer = outing.keep(
    await outing.protocol.consumer(
      queue,
      async messages => {
        const texts = messages.map(message => message.text())
        seen.push(texts)
        await outing.sleep(20)
        if (texts.includes('3')) throw new Error('no use for three')
      },
      { batch: { size: 2, wait: 300 }, onFailure: 'reject' },
    ),
  )
  await outing.publish(queue, '1', '2', '3', '4', '5')
  await outing.until(() => seen.length === 2, 'two batches')
  await outing.sleep(40)
  const began = outing.clock.now()
  await consumer.close()
  outing.took(began, 20, 400, 'the close with a batch that is being collected')
  outing.equal(seen, [['1', '2'], ['3', '4'], ['5']], 'the batches of a handler')
  await outing.holds(dead, 2, 'dead letters')
  outing.equal(await outing.takeAll(dead), ['3', '4'], 'the dead letters')
  await outing.holds(queue, 0, 'messages that are left')
}
