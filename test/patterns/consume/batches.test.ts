import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type BatchOptions, type Consumer, EncodeError, type Message } from '../../../src/index.ts'
import { rejection } from '../../support/rejection.ts'
import { turn } from '../../support/settled.ts'
import { until } from '../../support/until.ts'
import { deferred, type Scene, withScenes } from '../scene.ts'

const scene = await withScenes()
const HOUR = 3_600_000

function texts(messages: readonly Message[]): string[] {
  return messages.map(message => message.text())
}

/** Messages that wait for their batch to be full. */
function collected(consumer: Consumer): number {
  const { unacknowledged = 0, buffered } = consumer.stats()
  return unacknowledged - buffered
}

function numbers(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `${i}`)
}

describe('A handler of batches', { concurrency: 4 }, () => {
  for (const type of ['classic', 'quorum', 'stream'] as const) {
    it(`gets the messages of a ${type} queue in arrays of a size, in order, and acks them`, async () => {
      await using the = await scene()
      const queue = await the.queue(numbers(40), { 'x-queue-type': type })
      const batches: string[][] = []
      const consumer = await the.protocol.consumer(queue, messages => void batches.push(texts(messages)), {
        arguments: type === 'stream' ? { 'x-stream-offset': 'first' } : {},
        batch: { size: 10, wait: HOUR },
      })
      await until('all are handled', () => batches.length === 4)
      assert.deepEqual(batches.flat(), numbers(40))
      assert.ok(batches.every(({ length }) => length === 10))
      assert.equal(consumer.stats().unacknowledged, 0)
      await consumer.close()
      if (type !== 'stream') assert.equal((await the.inspect(queue)).messageCount, 0)
    })
  }

  it('gets what there is when the wait is over', async () => {
    await using the = await scene()
    const queue = await the.queue(numbers(3))
    const batches: string[][] = []
    await the.protocol.consumer(queue, messages => void batches.push(texts(messages)), {
      batch: { size: 10, wait: 20 },
    })
    await until('they are handled', () => batches.flat().length === 3)
    assert.deepEqual(batches.flat(), ['0', '1', '2'])
  })

  it('gets what was collected when its consumer is closed, which waits for it', async () => {
    await using the = await scene()
    const queue = await the.queue(numbers(3))
    const batches: string[][] = []
    const consumer = await the.protocol.consumer(
      queue,
      async messages => {
        await new Promise(resolve => setImmediate(resolve))
        batches.push(texts(messages))
      },
      { batch: { size: 10, wait: HOUR } },
    )
    await until('they are collected', () => collected(consumer) === 3)
    await consumer.close()
    assert.deepEqual(batches, [['0', '1', '2']])
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('acks messages of a stream one by one: what is given back has a lower tag than what is handled before it again', async () => {
    await using the = await scene()
    const queue = await the.queue(numbers(12), { 'x-queue-type': 'stream' })
    const seen: string[] = []
    const cancelled: Error[] = []
    const consumer = await the.protocol.consumer(
      queue,
      messages => {
        if (seen.length === 0) messages[0]?.nack()
        seen.push(...texts(messages))
      },
      { arguments: { 'x-stream-offset': 'first' }, batch: { size: 4, wait: 50 } },
    )
    consumer.on('cancelled', error => cancelled.push(error))
    await until('all are handled, and the first again', () => seen.length === 13)
    assert.deepEqual(seen.toSorted(), [...numbers(12), '0'].toSorted())
    assert.deepEqual(cancelled, [])
    await consumer.close()
  })

  it('may reject single messages, and the others are acked', async () => {
    await using the = await scene()
    const dead = await the.queue()
    const queue = await the.queue(numbers(5), { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead })
    let handled = 0
    const consumer = await the.protocol.consumer(
      queue,
      messages => {
        messages[1]?.reject()
        messages[4]?.reject()
        handled += messages.length
      },
      { batch: { size: 5, wait: HOUR } },
    )
    await until('they are handled', () => handled === 5)
    await consumer.close()
    assert.deepEqual((await the.drain(dead)).map(({ body }) => body).toSorted(), ['1', '4'])
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('that fails has each of its messages treated as onFailure says, and its error reported once', async () => {
    await using the = await scene()
    const parked = await the.queue()
    const queue = await the.queue(numbers(4))
    await the.protocol.consumer(
      queue,
      messages => {
        messages[0]?.ack()
        throw new Error('the database is down')
      },
      { batch: { size: 4, wait: HOUR }, onFailure: { exchangeName: '', routingKey: parked } },
    )
    await until('three are parked', async () => (await the.inspect(parked)).messageCount === 3)
    const copies = await the.drain(parked)
    assert.deepEqual(copies.map(({ body }) => body).toSorted(), ['1', '2', '3'])
    assert.equal(copies[0]?.headers['x-exception-message'], 'the database is down')
    assert.deepEqual(
      the.errors.map(({ message }) => message),
      ['the database is down'],
    )
  })

  it('runs as often at a time as concurrency allows, once by default', async () => {
    await using the = await scene()
    for (const [concurrency, expected] of [
      [undefined, 1],
      [3, 3],
    ] as const) {
      const queue = await the.queue(numbers(12))
      const go = deferred()
      let running = 0
      let most = 0
      let handled = 0
      const consumer = await the.protocol.consumer(
        queue,
        async messages => {
          most = Math.max(most, ++running)
          await go.promise
          running--
          handled += messages.length
        },
        { batch: { size: 2, wait: HOUR }, concurrency },
      )
      await until('so many run', () => running === expected)
      go.resolve()
      await until('all are handled', () => handled === 12)
      assert.equal(most, expected)
      await consumer.close()
      assert.equal((await the.inspect(queue)).messageCount, 0)
    }
  })

  it('gets nothing twice that was collected before its connection was lost', async () => {
    await using the = await scene()
    const queue = await the.queue(numbers(3))
    const batches: string[][] = []
    const consumer = await the.protocol.consumer(queue, messages => void batches.push(texts(messages)), {
      batch: { size: 6, wait: HOUR },
    })
    await until('they are collected', () => collected(consumer) === 3)
    const recovered = new Promise<unknown>(resolve => the.protocol.once('recovered', resolve))
    await the.closeConnection()
    await recovered
    await the.fill(queue, ['3', '4', '5'])
    await until('all are collected', () => batches.flat().length + collected(consumer) >= 6)
    await consumer.close()
    assert.deepEqual(batches.flat().toSorted(), numbers(6))
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })
})

describe('A loop over batches', { concurrency: 4 }, () => {
  it('acks a batch when it asks for the next one', async () => {
    await using the = await scene()
    const queue = await the.queue(numbers(6))
    const consumer = await the.protocol.consumer(queue)
    const seen: string[][] = []
    for await (const batch of consumer.batches({ size: 3, wait: HOUR })) {
      if (seen.push(texts(batch)) === 2) break
    }
    assert.deepEqual(seen, [
      ['0', '1', '2'],
      ['3', '4', '5'],
    ])
    await consumer.close()
    assert.deepEqual((await the.drain(queue)).map(({ body }) => body).toSorted(), ['3', '4', '5'])
  })

  it('gets what was collected when its consumer is closed, and then ends', async () => {
    await using the = await scene()
    const queue = await the.queue(numbers(2))
    const consumer = await the.protocol.consumer(queue)
    const seen: string[][] = []
    const loop = (async () => {
      for await (const batch of consumer.batches({ size: 3, wait: HOUR })) seen.push(texts(batch))
    })()
    await until('they are collected', () => collected(consumer) === 2)
    const closed = consumer.close()
    await loop
    await closed
    await consumer.whenEnded
    assert.deepEqual(seen, [['0', '1']])
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('gets what there is when the wait is over', async () => {
    await using the = await scene()
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(queue)
    const batches = consumer.batches({ size: 3, wait: 10 })
    const { value = [] } = await batches.next()
    assert.deepEqual(texts(value), ['a'])
    await the.fill(queue, ['b'])
    assert.deepEqual(texts((await batches.next()).value ?? []), ['b'])
    await batches.return?.()
    assert.deepEqual(
      (await the.drain(queue)).map(({ body }) => body),
      ['b'],
    )
  })
})

/** What a program does, and what its loops throw then. */
const ENDS: readonly [string, (the: Scene, consumer: Consumer, abort: AbortController) => unknown, string][] = [
  ['its signal is aborted', (_the, _consumer, abort) => abort.abort(), 'AbortError'],
  [
    'its signal times out',
    (_the, _consumer, abort) => abort.abort(new DOMException('', 'TimeoutError')),
    'TimeoutError',
  ],
  ['its connection is closed', the => the.protocol.close(), 'ConnectionClosedError'],
  ['it is closed', (_the, consumer) => consumer.close(), 'nothing'],
]

describe('A loop over batches of a consumer that ends', { concurrency: 4 }, () => {
  for (const [why, end, thrown] of ENDS) {
    it(`since ${why} throws ${thrown}, also if it begins later`, async () => {
      await using the = await scene()
      const abort = new AbortController()
      const consumer = await the.protocol.consumer(await the.queue(), { signal: abort.signal })
      const ended = (batches: AsyncIterator<unknown>): Promise<string> =>
        batches.next().then(
          ({ done }) => (done === true ? 'nothing' : 'a batch'),
          (error: Error) => error.constructor.name,
        )
      const early = consumer.batches({ size: 2 })
      const asked = ended(early)
      await turn()
      await end(the, consumer, abort)
      assert.equal(await asked, thrown)
      assert.deepEqual([await ended(early), await ended(consumer.batches({ size: 2 }))], [thrown, thrown])
    })
  }
})

describe('A batch that could never be full', () => {
  const wrong: readonly [string, BatchOptions, object, RegExp][] = [
    ['is larger than the prefetch', { size: 11 }, { prefetchCount: 10 }, /"size" 11 is more than "prefetchCount" 10/],
    ['has no size', {} as BatchOptions, {}, /"size" must be an integer from 1 to 65535/],
    ['has a size of nothing', { size: 0 }, {}, /"size" must be/],
    ['has an unknown option', { size: 1, timeout: 3 } as BatchOptions, {}, /unknown option "timeout"/],
    ['is not acked', { size: 1 }, { noAck: true }, /no meaning with noAck/],
  ]
  for (const [what, batch, options, message] of wrong) {
    it(`is refused if it ${what}`, async () => {
      await using the = await scene()
      const queue = await the.queue()
      const error = await rejection(
        the.protocol.consumer(queue, () => {}, { batch, ...options }),
        EncodeError,
      )
      assert.match(error.message, message)
      const consumer = await the.protocol.consumer(queue, options)
      assert.throws(() => consumer.batches(batch), { name: 'EncodeError', message })
    })
  }

  it('gets a prefetch for two by default', async () => {
    await using the = await scene()
    const queue = await the.queue(numbers(100))
    const consumer = await the.protocol.consumer(queue, () => new Promise(() => {}), {
      batch: { size: 40, wait: HOUR },
    })
    await until('two batches are here', () => consumer.stats().unacknowledged === 80)
    await consumer.close({ timeout: 0 })
  })
})
