import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AbortError,
  ChannelClosedError,
  ConnectionClosedError,
  DecodeError,
  EncodeError,
  type Message,
} from '../../../src/index.ts'
import { impatientClock } from '../../support/impatient-clock.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'
import { deferred, nextEvent, withScenes } from '../scene.ts'

const scene = await withScenes()

describe('A loop over a consumer', { concurrency: 4 }, () => {
  it('acks a message when it asks for the next one', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c'])
    const consumer = await the.protocol.consumer(queue)
    const seen: Message[] = []
    const last = deferred<Message>()
    const goOn = deferred()
    const loop = (async () => {
      for await (const message of consumer) {
        seen.push(message)
        if (seen.length < 3) continue
        last.resolve(message)
        await goOn.promise
      }
    })()
    const third = await last.promise
    assert.deepEqual(
      seen.map(message => message.text()),
      ['a', 'b', 'c'],
    )
    assert.equal(seen[0]?.ack(), false)
    assert.equal(seen[1]?.nack(), false)
    void consumer.close()
    goOn.resolve()
    await loop
    assert.equal(third.ack(), false)
    assert.deepEqual(await the.inspect(queue), { messageCount: 0, consumerCount: 0 })
  })

  it('leaves every message to several workers that ask at once, also those that wait here already', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c', 'd'])
    const consumer = await the.protocol.consumer(queue)
    await until('all messages wait here', () => consumer.stats().buffered === 4)
    const iterator = consumer[Symbol.asyncIterator]()
    const taken = await Promise.all([iterator.next(), iterator.next(), iterator.next()])
    const { value: last } = await iterator.next()
    const messages = [...taken.map(({ value }) => value), last]
    assert.deepEqual(
      messages.map(message => message?.text()),
      ['a', 'b', 'c', 'd'],
    )
    assert.deepEqual(
      messages.map(message => message?.ack()),
      [true, true, true, true],
    )
    await consumer.close()
    assert.deepEqual(await the.inspect(queue), { messageCount: 0, consumerCount: 0 })
  })

  it('gives back the message in hand and those it has not seen when it is left by break', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c', 'd'])
    const consumer = await the.protocol.consumer(queue)
    for await (const message of consumer) if (message.text() === 'b') break
    assert.deepEqual(await the.inspect(queue), { messageCount: 3, consumerCount: 0 })
    assert.deepEqual(
      (await the.drain(queue)).map(({ body }) => body),
      ['b', 'c', 'd'],
    )
    assert.deepEqual(await consumer.next(), { value: undefined, done: true })
  })

  it('gives them back when its body throws, and closes the consumer', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b'])
    const consumer = await the.protocol.consumer(queue)
    const loop = (async () => {
      for await (const message of consumer) throw new Error(`cannot ${message.text()}`)
    })()
    await assert.rejects(loop, /cannot a/)
    assert.deepEqual(
      (await the.drain(queue)).map(({ body }) => body),
      ['a', 'b'],
    )
  })

  it('may settle a message otherwise', async () => {
    await using the = await scene()
    const dead = await the.queue()
    const queue = await the.queue(['bad', 'good'], { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead })
    const consumer = await the.protocol.consumer(queue)
    for await (const message of consumer) {
      if (message.text() === 'good') break
      assert.equal(message.reject(), true)
      assert.equal(message.ack(), false)
    }
    await until('the dead letter is there', async () => (await the.inspect(dead)).messageCount === 1)
    assert.equal((await the.inspect(queue)).messageCount, 1)
  })

  it('shares the messages with another loop, each with its own in hand', async () => {
    await using the = await scene()
    const queue = await the.queue(Array.from({ length: 20 }, (_, i) => `${i}`))
    const consumer = await the.protocol.consumer(queue)
    const seen: string[] = []
    const loops = [1, 2, 3].map(async () => {
      for await (const message of consumer) {
        seen.push(message.text())
        await new Promise(resolve => setImmediate(resolve))
        if (seen.length === 20) void consumer.close()
      }
    })
    await Promise.all(loops)
    assert.equal(new Set(seen).size, 20)
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('ends normally when the consumer is closed in its body, which acks the message in hand', async () => {
    await using the = await scene({ clock: impatientClock(2_000) })
    const queue = await the.queue(['a', 'b', 'c'])
    const consumer = await the.protocol.consumer(queue)
    for await (const message of consumer) if (message.text() === 'b') await consumer.close()
    assert.deepEqual(
      (await the.drain(queue)).map(({ body }) => body),
      ['c'],
    )
  })

  it('ends normally when the consumer is closed while it waits', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const consumer = await the.protocol.consumer(queue)
    const waiting = consumer.next()
    await consumer.close()
    assert.deepEqual(await waiting, { value: undefined, done: true })
  })

  it('throws when the protocol is closed, once its body has ended', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b'])
    const consumer = await the.protocol.consumer(queue)
    const inHand = deferred()
    const goOn = deferred()
    const loop = (async () => {
      for await (const message of consumer) {
        inHand.resolve()
        await goOn.promise
        assert.equal(message.signal.aborted, false)
      }
    })()
    await inHand.promise
    const closed = the.protocol.close()
    goOn.resolve()
    await rejection(loop, ConnectionClosedError)
    await closed
    assert.deepEqual(
      (await the.drain(queue)).map(({ body }) => body),
      ['b'],
    )
  })

  it('loses nothing when the protocol is closed under load, and repeats nothing that was finished', async () => {
    await using the = await scene()
    const bodies = Array.from({ length: 2_000 }, (_, i) => i)
    const queue = await the.queue(bodies.map(String))
    const consumer = await the.protocol.consumer(queue, { prefetchCount: 100 })
    const finished: number[] = []
    const enough = deferred()
    const loops = [1, 2, 3].map(async () => {
      for await (const message of consumer) {
        await new Promise(resolve => setImmediate(resolve))
        finished.push(Number(message.text()))
        if (finished.length === 500) enough.resolve()
      }
    })
    const ended = Promise.all(loops.map(loop => rejection(loop, ConnectionClosedError)))
    await enough.promise
    await the.protocol.close()
    await ended
    const left = await the.drain(queue)
    assert.ok(left.length > 0)
    assert.deepEqual(
      [...finished, ...left.map(({ body }) => Number(body))].sort((a, b) => a - b),
      bodies,
    )
  })

  it('throws when the signal is aborted, and gives back what it has not seen', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const controller = new AbortController()
    const consumer = await the.protocol.consumer(queue, { signal: controller.signal })
    const waiting = consumer.next()
    controller.abort()
    await rejection(waiting, AbortError)
    assert.equal((await the.inspect(queue)).consumerCount, 0)
  })
})

describe('next()', { concurrency: 4 }, () => {
  it('returns messages in the form of an iterator, which only their own ack settles', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c', 'd'])
    const consumer = await the.protocol.consumer(queue)
    const { value: first, done } = await consumer.next()
    assert.equal(done, false)
    assert.equal(first?.text(), 'a')
    const { value: second } = await consumer.next()
    await consumer.next()
    assert.equal(first?.ack(), true)
    assert.equal(second?.ack(), true)
    await consumer.close()
    assert.deepEqual(
      (await the.drain(queue)).map(({ body }) => body),
      ['c', 'd'],
    )
  })

  it('waits while the consumer is paused', async () => {
    await using the = await scene()
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(queue)
    consumer.pause()
    let seen: string | undefined
    const waiting = consumer.next().then(({ value }) => {
      seen = value?.text()
    })
    await until('the message has been sent', async () => (await the.inspect(queue)).messageCount === 0)
    await the.inspect(queue)
    assert.equal(seen, undefined)
    consumer.resume()
    await waiting
    assert.equal(seen, 'a')
  })

  it('gives back at close what is not settled, without waiting for it', async () => {
    await using the = await scene()
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(queue)
    const closed = nextEvent(consumer, 'closed')
    const { value } = await consumer.next()
    const { signal } = value as Message
    await consumer.close({ timeout: Number.POSITIVE_INFINITY })
    await closed
    await until('it is back', async () => (await the.inspect(queue)).messageCount === 1)
    assert.equal(value?.ack(), false)
    assert.equal(signal.aborted, true)
  })
})

describe('A consumer with noAck', { concurrency: 4 }, () => {
  it('takes everything without acks, and closes without losing what had come', async () => {
    await using the = await scene()
    const queue = await the.queue(Array.from({ length: 1_000 }, (_, i) => `${i}`))
    const consumer = await the.protocol.consumer(queue, { noAck: true })
    await until('all have left the queue', async () => (await the.inspect(queue)).messageCount === 0)
    await consumer.close()
    const seen: string[] = []
    for await (const message of consumer) {
      assert.equal(message.ack(), false)
      seen.push(message.text())
    }
    assert.deepEqual(
      seen,
      Array.from({ length: 1_000 }, (_, i) => `${i}`),
    )
  })

  it('has its handler called with everything that had come before it closes', async () => {
    await using the = await scene()
    const queue = await the.queue(Array.from({ length: 1_000 }, (_, i) => `${i}`))
    const first = deferred()
    const goOn = deferred()
    const seen: string[] = []
    const consumer = await the.protocol.consumer(
      queue,
      async message => {
        first.resolve()
        await goOn.promise
        seen.push(message.text())
      },
      { noAck: true, concurrency: 10 },
    )
    await first.promise
    await until('all have left the queue', async () => (await the.inspect(queue)).messageCount === 0)
    const closed = consumer.close()
    goOn.resolve()
    await closed
    assert.equal(seen.length, 1_000)
  })

  it('refuses onFailure, which it could not keep', async () => {
    await using the = await scene()
    const consumer = the.protocol.consumer('any', () => {}, { noAck: true, onFailure: 'reject' })
    assert.match((await rejection(consumer, EncodeError)).message, /"onFailure" has no meaning with noAck/)
  })
})

describe('protocol.consumer()', { concurrency: 4 }, () => {
  it('rejects if there is no such queue, and disturbs nothing else', async () => {
    await using the = await scene()
    const queue = await the.queue(['a'])
    const other = await the.protocol.consumer(queue)
    const error = await rejection(the.protocol.consumer('no-such-queue'), ChannelClosedError)
    assert.equal(error.replyCode, 404)
    assert.match(error.message, /^basic.consume of "no-such-queue" failed: NOT_FOUND \(404\)/)
    assert.equal((await other.next()).value?.text(), 'a')
    assert.deepEqual(the.errors, [])
  })

  it('rejects if another consumer has the queue for itself', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.protocol.consumer(queue, { exclusive: true })
    const error = await rejection(the.protocol.consumer(queue), ChannelClosedError)
    assert.equal(error.replyCode, 403)
  })

  it('names an option that it does not know, and a value that it cannot use', async () => {
    await using the = await scene()
    const attempts: [Promise<unknown>, RegExp][] = [
      [
        the.protocol.consumer('q', { prefetch: 3 } as object),
        /unknown option "prefetch"; did you mean "prefetchCount"/,
      ],
      ...['concurrency', 'slowHandlerThreshold', 'onFailure', 'batch'].map((name): [Promise<unknown>, RegExp] => [
        the.protocol.consumer('q', { [name]: 3 } as object),
        new RegExp(`^consumer: "${name}" is an option of a consumer with a handler, the argument before the options$`),
      ]),
      [
        the.protocol.consumer('q', 17 as unknown as object),
        /"handler" must be a function, or options in its place, not 17/,
      ],
      [the.protocol.consumer(''), /"queueName" must be the name of a queue, not ""/],
      [the.protocol.consumer('q', () => {}, { concurrency: 0 }), /"concurrency" must be an integer of 1 or more/],
      [
        the.protocol.consumer('q', () => {}, { onFailure: 'again' as 'reject' }),
        /"onFailure" must be "requeue", "reject", "drop"/,
      ],
    ]
    for (const [attempt, message] of attempts) assert.match((await rejection(attempt, EncodeError)).message, message)
  })

  it('sends its arguments and limits', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c'])
    const high = await the.protocol.consumer(queue, { prefetchCount: 2, arguments: { 'x-priority': 10 } })
    await until('two are sent', async () => (await the.inspect(queue)).messageCount === 1)
    await high.close()
  })

  it('ends the wait for its start when the signal is aborted', async () => {
    await using the = await scene()
    const signal = AbortSignal.abort()
    await rejection(the.protocol.consumer('any', { signal }), AbortError)
  })
})

describe('The body of a message', { concurrency: 4 }, () => {
  it('is read as text and as JSON, and an error names the message', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.outside.publish('{"n": 1}', '', queue)
    await the.outside.publish('{"n": ', '', queue, { messageId: 'm-2' })
    await the.outside.publish(Uint8Array.of(0xff, 0xfe), '', queue, { messageId: 'm-3' })
    const consumer = await the.protocol.consumer(queue)
    const [good, cut, bytes] = [await consumer.next(), await consumer.next(), await consumer.next()]
    assert.deepEqual(good.value?.json<{ n: number }>(), { n: 1 })
    assert.throws(
      () => cut.value?.json(),
      (error: Error) => {
        assert.ok(error instanceof DecodeError)
        assert.match(
          error.message,
          /^the body of message "m-2" from the default exchange with routing key "queue-.*" \(delivery tag 2\) is not JSON: /,
        )
        return true
      },
    )
    assert.throws(() => bytes.value?.text(), /the body of message "m-3" .* is not UTF-8/)
  })
})
