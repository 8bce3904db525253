import type { Errand } from './errand.ts'
import { QUICK } from './recoveries.ts'

/** A consumer of a stream goes on where its store says, and the store has what was handled. */
export const storedOffsets: Errand = async outing => {
  const { protocol } = outing
  const queue = await outing.queue({ arguments: { 'x-queue-type': 'stream' } })
  await outing.publish(queue, '0', '1', '2', '3', '4', '5', '6')
  let stored: bigint | undefined
  let loads = 0
  let saving = 0
  const offsetStore = {
    load: () => {
      loads++
      return stored
    },
    save: async (offset: bigint) => {
      outing.expect(stored === undefined || offset > stored, `offset ${offset} was stored after ${stored}`)
      outing.expect(saving === 0, 'an offset was saved while another one was')
      saving++
      await outing.sleep(100)
      saving--
      stored = offset
    },
  }
  const seen: string[] = []
  const first = outing.keep(
    await protocol.consumer(
      queue,
      async message => {
        seen.push(message.text())
        // The fourth is in hand for longer than the time between two saves.
        await outing.sleep(message.text() === '3' ? 7_000 : 10)
      },
      { concurrency: 1, prefetchCount: 3, offsetStore },
    ),
  )
  await outing.until(() => stored !== undefined, 'a stored offset', 8_000)
  outing.equal(String(stored), '3', 'the offset while the fourth is in hand')
  await outing.until(() => seen.length >= 5, 'five messages', 10_000)
  // It is saved again and again.
  await outing.until(() => saving > 0, 'the next stored offset', 8_000)
  await first.close()
  outing.equal(String(stored), String(seen.length), 'the offset after the close')
  const before = seen.length
  const second = outing.keep(
    await protocol.consumer(queue, message => void seen.push(message.text()), {
      concurrency: 1,
      offsetStore,
      // It is only for the first start.
      arguments: { 'x-stream-offset': 'first' },
    }),
  )
  await outing.until(() => seen.length >= 7, 'the rest of the stream')
  outing.equal(seen, ['0', '1', '2', '3', '4', '5', '6'], `the stream, after a new start at ${before}`)
  outing.equal(loads, 2, 'times that the store was asked')
  await second.close()
  outing.equal(String(stored), '7', 'the offset at the end')
}

/** A consumer that began at the end of a stream has what is published from then on, also during an outage. */
export const streamOutage: Errand = async outing => {
  const own = await outing.connect({ recovery: QUICK })
  const queue = await outing.queue({ arguments: { 'x-queue-type': 'stream' } })
  await outing.publish(queue, 'before')
  await outing.sleep(2_000 + 137 * outing.number)
  const seen: string[] = []
  const options = { arguments: { 'x-stream-offset': 'next' }, prefetchCount: 10 } as const
  outing.keep(await own.protocol.consumer(queue, message => void seen.push(message.text()), options))
  for (const text of ['1', '2']) {
    own.refuse(true)
    own.cut()
    await outing.publish(queue, text)
    await outing.sleep(100)
    own.refuse(false)
    await outing.until(() => seen.includes(text), 'what was published to a stream during an outage', 5_000)
  }
  outing.equal(seen, ['1', '2'], 'what was read of a stream')
}

/** A message of a stream that fails is handled again here; one that is rejected is passed over. */
export const failedInStream: Errand = async outing => {
  const queue = await outing.queue({ arguments: { 'x-queue-type': 'stream' } })
  await outing.publish(queue, '0', '1', '2')
  const seen: string[] = []
  const consumer = outing.keep(
    await outing.protocol.consumer(
      queue,
      message => {
        seen.push(message.text())
        if (message.text() === '1' && seen.length < 9) throw new Error('not yet')
      },
      {
        concurrency: 1,
        arguments: { 'x-stream-offset': 'first' },
        onFailure: outing.number % 2 === 0 ? 'reject' : { retries: 1, delays: [50] },
      },
    ),
  )
  await outing.until(() => seen.includes('2'), 'the end of a stream')
  await outing.sleep(500)
  const should = outing.number % 2 === 0 ? ['0', '1', '2'] : ['0', '1', '1', '2']
  outing.equal([...seen].sort(), should, 'what was handled of a stream')
  await consumer.close()
}
