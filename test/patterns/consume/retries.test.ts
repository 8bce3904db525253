import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EncodeError, type Message } from '../../../src/index.ts'
import { uniqueName } from '../../support/names.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'
import { withScenes } from '../scene.ts'

const scene = await withScenes()
const TYPES = ['classic', 'quorum', 'stream'] as const
const OFFSETS = { stream: { 'x-stream-offset': 'first' }, classic: {}, quorum: {} } as const

/** Each attempt that a handler sees. */
function recorder() {
  const attempts: string[] = []
  const seen: Message[] = []
  return {
    attempts,
    seen,
    fail: (message: Message): never => {
      seen.push(message)
      attempts.push(`${message.text()} ${message.attempt}`)
      throw new Error(`no use for ${message.text()}`)
    },
  }
}

describe('A retry policy', { concurrency: 4 }, () => {
  for (const type of TYPES) {
    it(`has a message of a ${type} queue handled as often as asked, then parks it with the error`, async () => {
      await using the = await scene()
      const queue = await the.queue(['bad'], { 'x-queue-type': type })
      const parked = await the.queue()
      const { attempts, fail } = recorder()
      const consumer = await the.protocol.consumer(queue, fail, {
        arguments: OFFSETS[type],
        onFailure: { retries: 3, delays: [20, 40], otherwise: { exchangeName: '', routingKey: parked } },
      })
      await until('it is parked', async () => (await the.inspect(parked)).messageCount === 1)
      assert.deepEqual(attempts, ['bad 1', 'bad 2', 'bad 3', 'bad 4'])
      const [copy] = await the.drain(parked)
      assert.equal(copy?.headers['x-exception-message'], 'no use for bad')
      assert.equal(copy?.headers['x-original-routingKey'], queue)
      assert.equal(copy?.headers['x-retries'], undefined, 'who handles it from there starts anew')
      await consumer.close()
      if (type !== 'stream') assert.equal((await the.inspect(queue)).messageCount, 0)
    })

    it(`holds up nothing else of a ${type} queue while a message waits`, async () => {
      await using the = await scene()
      const queue = await the.queue(['bad', 'bad', 'good', 'good'], { 'x-queue-type': type })
      const seen: string[] = []
      const consumer = await the.protocol.consumer(
        queue,
        message => {
          seen.push(message.text())
          if (message.text() === 'bad') throw new Error('no use')
        },
        { prefetchCount: 2, arguments: OFFSETS[type], onFailure: { retries: 1, delays: [3_600_000] } },
      )
      await until('the others are handled', () => seen.filter(text => text === 'good').length === 2)
      assert.equal(seen.length, 4)
      await consumer.close()
    })
  }

  it('shows a message at each attempt as it was first published', async () => {
    await using the = await scene()
    const exchange = uniqueName('exchange')
    await the.outside.exchangeDeclare(exchange, 'topic')
    const queue = await the.queue()
    await the.outside.queueBind(queue, exchange, 'orders.#')
    const { seen, fail } = recorder()
    await the.protocol.consumer(queue, fail, { onFailure: { retries: 2, delays: [10], otherwise: 'drop' } })
    const properties = { messageId: 'm1', headers: { kind: 'order' }, replyTo: 'somewhere', expiration: '100000' }
    await the.protocol.publish('x', exchange, 'orders.new', properties)
    await until('all attempts are made', () => seen.length === 3)
    for (const { envelope, properties, body } of seen) {
      assert.deepEqual([envelope.exchangeName, envelope.routingKey], [exchange, 'orders.new'])
      assert.deepEqual(
        [properties.messageId, properties.headers?.['kind'], properties.replyTo],
        ['m1', 'order', 'somewhere'],
      )
      assert.equal(body.toString(), 'x')
    }
  })

  it('rejects the message at the end if nothing else is said, to the dead-letter exchange', async () => {
    await using the = await scene()
    const dead = await the.queue()
    const queue = await the.queue(['bad'], { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead })
    const { attempts, fail } = recorder()
    await the.protocol.consumer(queue, fail, { onFailure: { retries: 1, delays: [10] } })
    await until('it is dead-lettered', async () => (await the.inspect(dead)).messageCount === 1)
    assert.deepEqual(attempts, ['bad 1', 'bad 2'])
  })

  it('drops it at the end if the policy says so, past every dead-letter exchange', async () => {
    await using the = await scene()
    const dead = await the.queue()
    const queue = await the.queue(['bad'], { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead })
    const { attempts, fail } = recorder()
    const consumer = await the.protocol.consumer(queue, fail, { onFailure: { retries: 0, otherwise: 'drop' } })
    await until('it is handled', () => attempts.length === 1)
    await consumer.close()
    assert.equal((await the.inspect(dead)).messageCount, 0)
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('may be the decision about one failure', async () => {
    await using the = await scene()
    const queue = await the.queue(['bad', 'hopeless'])
    const { attempts, fail } = recorder()
    await the.protocol.consumer(queue, fail, {
      concurrency: 1,
      onFailure: message => (message.text() === 'hopeless' ? 'drop' : { retries: 2, delays: [10], otherwise: 'drop' }),
    })
    await until('all attempts are made', () => attempts.length === 4)
    assert.deepEqual(attempts.toSorted(), ['bad 1', 'bad 2', 'bad 3', 'hopeless 1'])
  })

  it('makes the queue in which messages wait again if somebody has deleted it', async () => {
    await using the = await scene()
    const queue = await the.queue(['first'])
    const { attempts, fail } = recorder()
    await the.protocol.consumer(queue, fail, { onFailure: { retries: 1, delays: [30], otherwise: 'drop' } })
    await until('the first is done', () => attempts.length === 2)
    await the.outside.queueDelete(`${queue}.retry.30`)
    await the.fill(queue, ['second'])
    await until('the second is done', () => attempts.length === 4)
    assert.deepEqual(attempts, ['first 1', 'first 2', 'second 1', 'second 2'])
  })

  it('lets the broker remove the queue in which messages wait once it is idle', async () => {
    await using the = await scene()
    const queue = await the.queue(['bad'])
    const { attempts, fail } = recorder()
    await the.protocol.consumer(queue, fail, { onFailure: { retries: 1, delays: [40], otherwise: 'drop' } })
    await until('it is done', () => attempts.length === 2)
    // The broker refuses a declare with other arguments than those of the queue.
    await the.outside.queueDeclare(`${queue}.retry.40`, {
      durable: true,
      arguments: {
        'x-queue-type': 'quorum',
        'x-dead-letter-strategy': 'at-least-once',
        'x-overflow': 'reject-publish',
        'x-message-ttl': 40,
        'x-expires': 7 * 86_400_000 + 40,
        'x-dead-letter-exchange': '',
        'x-dead-letter-routing-key': queue,
      },
    })
  })

  it('requeues the message, and reports why, if it may not make the queue in which it would wait', async () => {
    await using the = await scene()
    const queue = await the.queue(['bad'])
    await the.outside.queueDeclare(`${queue}.retry.50`, { durable: true })
    const { attempts, fail } = recorder()
    const consumer = await the.protocol.consumer(queue, fail, { onFailure: { retries: 5, delays: [50] } })
    await until('the reason is reported', () => the.errors.some(error => /\.retry\.50/.test(error.message)))
    await consumer.close()
    assert.deepEqual(attempts, ['bad 1'])
    assert.equal((await the.inspect(queue)).messageCount, 1)
  })
})

describe('A retry policy that cannot be followed', () => {
  const wrong: readonly [string, unknown, RegExp][] = [
    ['has no number of retries', { retries: undefined }, /"retries" must be an integer from 0 to 10000/],
    ['has a fraction of retries', { retries: 1.5 }, /"retries" must be/],
    ['has no delay', { retries: 1, delays: [] }, /"delays" must be an array of milliseconds/],
    [
      'has an undefined delay',
      { retries: 1, delays: [undefined] },
      /"delays" must be an integer from 1 to \d+, not undefined/,
    ],
    [
      'has a hole for a delay',
      { retries: 1, delays: new Array(1) },
      /"delays" must be an integer from 1 to \d+, not undefined/,
    ],
    ['has a delay of nothing', { retries: 1, delays: [0] }, /"delays" must be an integer from 1/],
    ['has a delay of more than 30 days', { retries: 1, delays: [2_592_000_001] }, /"delays" must be an integer/],
    ['ends with another retry', { retries: 1, otherwise: 'requeue' }, /"otherwise" must be "reject", "drop"/],
    ['has an unknown option', { retries: 1, delay: [1] }, /did you mean "delays"/],
    ['has a misspelt option alone', { retry: 3 }, /unknown option "retry"; did you mean "retries"/],
    ['has no option that is known', { times: 3 }, /known are retries, delays, otherwise, exchangeName, routingKey/],
  ]
  for (const [what, onFailure, message] of wrong) {
    it(`is refused if it ${what}`, async () => {
      await using the = await scene()
      const queue = await the.queue()
      const error = await rejection(
        the.protocol.consumer(queue, () => {}, { onFailure: onFailure as 'drop' }),
        EncodeError,
      )
      assert.match(error.message, message)
    })
  }

  it('is refused if its queue has a name that the broker chose', async () => {
    await using the = await scene()
    const { queue } = await the.protocol.queueDeclare('')
    const error = await rejection(
      the.protocol.consumer(queue, () => {}, { onFailure: { retries: 1 } }),
      EncodeError,
    )
    assert.match(error.message, /needs a queue with a name of its own/)
  })
})

describe('A copy that waits for its next attempt', () => {
  it('may have expired in its own queue before', async () => {
    await using the = await scene()
    const late = await the.queue()
    const queue = await the.queue(['x'], {
      'x-message-ttl': 500,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': late,
    })
    await until('it has expired', async () => (await the.inspect(late)).messageCount === 1)
    const attempts: number[] = []
    await the.protocol.consumer(
      queue,
      message => {
        attempts.push(message.attempt)
        throw new Error('no use')
      },
      { onFailure: { retries: 2, delays: [10], otherwise: 'drop' } },
    )
    await the.protocol.consumer(
      late,
      () => {
        throw new Error('back')
      },
      { onFailure: { exchangeName: '', routingKey: queue } },
    )
    await until('all attempts are made', () => attempts.length === 3)
    assert.deepEqual(attempts, [1, 2, 3])
  })
})
