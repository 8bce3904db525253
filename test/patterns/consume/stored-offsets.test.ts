import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Message } from '../../../src/index.ts'
import { until } from '../../support/until.ts'
import { withScenes } from '../scene.ts'

const scene = await withScenes()

describe('A consumer of a stream with an offset store', () => {
  it('goes on in another connection with the first message that was not handled', async () => {
    await using first = await scene()
    const queue = await first.queue(
      Array.from({ length: 20 }, (_, i) => `m${i}`),
      { 'x-queue-type': 'stream' },
    )
    let stored: bigint | undefined
    const offsetStore = {
      load: () => stored,
      save: (offset: bigint) => {
        stored = offset
      },
    }
    const seen: string[] = []
    const consumer = await first.protocol.consumer(queue, { offsetStore })
    for await (const message of consumer) {
      seen.push(message.text())
      if (seen.length === 8) {
        message.ack()
        break
      }
    }
    await consumer.close()
    assert.equal(stored, 8n)
    await using second = await scene()
    const handler = (message: Message): void => void seen.push(message.text())
    const next = await second.protocol.consumer(queue, handler, { offsetStore, concurrency: 1 })
    await until('the rest has come', () => seen.length === 20)
    await next.close()
    assert.deepEqual(
      seen,
      Array.from({ length: 20 }, (_, i) => `m${i}`),
    )
    assert.equal(stored, 20n)
  })

  it('gets only what its filter asks for', async () => {
    await using the = await scene()
    const queue = await the.queue([], { 'x-queue-type': 'stream' })
    await Promise.all(
      Array.from({ length: 30 }, (_, i) =>
        the.protocol.publish(`m${i}`, '', queue, {
          headers: { 'x-stream-filter-value': ['a', 'b', 'c'][i % 3] ?? '' },
        }),
      ),
    )
    const seen: string[] = []
    await the.protocol.consumer(queue, message => void seen.push(message.text()), {
      arguments: { 'x-stream-offset': 'first', 'x-stream-filter': ['a', 'c'] },
      concurrency: 1,
    })
    await until('all that is wanted has come', () => seen.length >= 20)
    assert.deepEqual(
      seen,
      Array.from({ length: 30 }, (_, i) => i)
        .filter(i => i % 3 !== 1)
        .map(i => `m${i}`),
    )
  })
})
