import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EncodeError, type FailureAction, type Message } from '../../../src/index.ts'
import { impatientClock } from '../../support/impatient-clock.ts'
import { rejection } from '../../support/rejection.ts'
import { Stopwatch } from '../../support/stopwatch.ts'
import { until } from '../../support/until.ts'
import { deferred, withScenes } from '../scene.ts'

const scene = await withScenes()

describe('A handler', { concurrency: 4 }, () => {
  it('acks its message by returning, plain or with a promise', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c'])
    const seen: string[] = []
    const consumer = await the.protocol.consumer(queue, message => {
      seen.push(message.text())
      return seen.length === 2 ? Promise.resolve() : undefined
    })
    await until('all are seen', () => seen.length === 3)
    await consumer.close()
    assert.deepEqual(seen, ['a', 'b', 'c'])
    assert.deepEqual(await the.inspect(queue), { messageCount: 0, consumerCount: 0 })
  })

  it('runs as often at a time as concurrency allows', async () => {
    await using the = await scene()
    const queue = await the.queue(Array.from({ length: 20 }, (_, i) => `${i}`))
    let running = 0
    let most = 0
    let seen = 0
    await the.protocol.consumer(
      queue,
      async () => {
        most = Math.max(most, ++running)
        await new Promise(resolve => setImmediate(resolve))
        running--
        seen++
      },
      { concurrency: 5 },
    )
    await until('all are seen', () => seen === 20)
    assert.equal(most, 5)
  })

  it('keeps the order with a concurrency of 1', async () => {
    await using the = await scene()
    const bodies = Array.from({ length: 200 }, (_, i) => `${i}`)
    const queue = await the.queue(bodies)
    const log: string[] = []
    await the.protocol.consumer(
      queue,
      async message => {
        log.push(`begin ${message.text()}`)
        await new Promise(resolve => setImmediate(resolve))
        log.push(`end ${message.text()}`)
      },
      { concurrency: 1 },
    )
    await until('all are seen', () => log.length === 400)
    assert.deepEqual(
      log,
      bodies.flatMap(body => [`begin ${body}`, `end ${body}`]),
    )
  })

  it('gets more than the default prefetch at a time if concurrency is higher', async () => {
    await using the = await scene()
    const queue = await the.queue(Array.from({ length: 60 }, (_, i) => `${i}`))
    const all = deferred()
    let running = 0
    await the.protocol.consumer(
      queue,
      async () => {
        if (++running === 60) all.resolve()
        await all.promise
      },
      { concurrency: 60 },
    )
    await all.promise
  })

  it('starts no more once the consumer is paused, and goes on in order when it is resumed', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c'])
    const first = deferred()
    const goOn = deferred()
    const seen: string[] = []
    const consumer = await the.protocol.consumer(
      queue,
      async message => {
        seen.push(message.text())
        if (seen.length > 1) return
        first.resolve()
        await goOn.promise
      },
      { concurrency: 1 },
    )
    await first.promise
    consumer.pause()
    assert.equal(consumer.isPaused, true)
    goOn.resolve()
    await the.fill(queue, ['d'])
    await until('all have been sent', async () => (await the.inspect(queue)).messageCount === 0)
    assert.deepEqual(seen, ['a'])
    consumer.resume()
    await until('all are seen', () => seen.length === 4)
    assert.deepEqual(seen, ['a', 'b', 'c', 'd'])
  })

  it('gets all the messages: a loop beside it is refused', async () => {
    await using the = await scene()
    const consumer = await the.protocol.consumer(await the.queue(['a']), () => {})
    await rejection(consumer.next(), EncodeError)
  })

  it('may settle its message itself, once', async () => {
    await using the = await scene()
    const queue = await the.queue(['a'])
    const results: boolean[] = []
    const consumer = await the.protocol.consumer(queue, message => {
      results.push(message.reject(), message.ack(), message.nack())
    })
    await until('it has run', () => results.length === 3)
    await consumer.close()
    assert.deepEqual(results, [true, false, false])
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })
})

describe('A handler that fails', { concurrency: 4 }, () => {
  it('has its error reported, and its message held back for a second before it is requeued', async () => {
    await using the = await scene()
    const queue = await the.queue(['poison'])
    using stopwatch = new Stopwatch()
    const seen: { at: number; own: number; isRedeliver: boolean; deliveryCount: number }[] = []
    const consumer = await the.protocol.consumer(queue, message => {
      const { deliveryCount, envelope } = message
      seen.push({ at: performance.now(), own: stopwatch.elapsed, isRedeliver: envelope.isRedeliver, deliveryCount })
      if (seen.length < 3) throw new Error(`failure ${seen.length}`)
    })
    await until('it is seen a third time', () => seen.length === 3)
    await consumer.close()
    const [first, second, third] = seen
    assert.ok(first !== undefined && second !== undefined && third !== undefined)
    assert.ok(second.at - first.at >= 950 && second.own - first.own < 1_900, `${second.at - first.at}`)
    assert.ok(third.at - second.at >= 1_900 && third.own - second.own < 3_500, `${third.at - second.at}`)
    assert.deepEqual(
      seen.map(({ isRedeliver, deliveryCount }) => [isRedeliver, deliveryCount]),
      [
        [false, 0],
        [true, 1],
        [true, 1],
      ],
    )
    assert.deepEqual(
      the.errors.map(error => error.message),
      ['failure 1', 'failure 2'],
    )
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('does not spin, and lets others go on', async () => {
    await using the = await scene()
    const queue = await the.queue(['poison', ...Array.from({ length: 50 }, (_, i) => `${i}`)])
    let failures = 0
    const good: string[] = []
    await the.protocol.consumer(
      queue,
      message => {
        if (message.text() === 'poison') {
          failures++
          throw new Error('poison')
        }
        good.push(message.text())
      },
      { concurrency: 1 },
    )
    await until('all others are done', () => good.length === 50)
    assert.equal(failures, 1)
    await the.fill(
      queue,
      Array.from({ length: 50 }, (_, i) => `${i}`),
    )
    await until('those too', () => good.length === 100)
    assert.ok(failures <= 2)
  })

  it('holds back messages that are alike for as long as the first of them', async () => {
    // The pause of a second message would be 2 s.
    await using the = await scene({ clock: impatientClock(2_000) })
    const queue = await the.queue(Array.from({ length: 10 }, () => 'same'))
    let good = 0
    await the.protocol.consumer(queue, message => {
      if (!message.envelope.isRedeliver) throw new Error('once')
      good++
    })
    await until('all are done', () => good === 10)
  })

  it('is counted against the delivery limit of a quorum queue, whose count the message has', async () => {
    await using the = await scene()
    const dead = await the.queue()
    const queue = await the.queue(['poison'], {
      'x-queue-type': 'quorum',
      'x-delivery-limit': 1,
      'x-dead-letter-exchange': '',
      'x-dead-letter-routing-key': dead,
    })
    const counts: number[] = []
    await the.protocol.consumer(queue, message => {
      counts.push(message.deliveryCount)
      throw new Error('poison')
    })
    await until('it is dead', async () => (await the.inspect(dead)).messageCount === 1)
    assert.deepEqual(counts, [0, 1])
  })

  it('sends its message to the dead-letter exchange with "reject"', async () => {
    await using the = await scene()
    const dead = await the.queue()
    const queue = await the.queue(['bad'], { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead })
    await the.protocol.consumer(
      queue,
      async () => {
        throw new Error('no good')
      },
      { onFailure: 'reject' },
    )
    await until('it is dead', async () => (await the.inspect(dead)).messageCount === 1)
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('has a copy with its error sent to the error destination, and then the message acked', async () => {
    await using the = await scene()
    const errors = await the.queue()
    const queue = await the.queue()
    const properties = {
      contentType: 'text/plain',
      headers: { tenant: 7, CC: [queue] },
      deliveryMode: 2,
      correlationId: 'c',
      messageId: 'm',
      timestamp: new Date(1_700_000_000_000),
      messageType: 't',
      userId: 'guest',
      appId: 'a',
    }
    await the.outside.publish('bad', '', queue, properties)
    await the.protocol.consumer(
      queue,
      () => {
        throw new TypeError('no good')
      },
      { onFailure: { exchangeName: '', routingKey: errors } },
    )
    await until('the copy is there', async () => (await the.inspect(errors)).messageCount === 1)
    const copy = await the.outside.basicGet(errors, { noAck: true })
    assert.equal(copy?.body.toString(), 'bad')
    const { headers = {}, ...others } = copy?.properties.toJSON() ?? {}
    const { headers: _headers, ...sent } = properties
    assert.deepEqual(others, sent)
    assert.equal(headers['tenant'], 7)
    assert.equal(headers['CC'], undefined)
    assert.equal(headers['x-exception-message'], 'no good')
    assert.match(String(headers['x-exception-stacktrace']), /^TypeError: no good\n {4}at /)
    assert.equal(headers['x-original-exchange'], '')
    assert.equal(headers['x-original-routingKey'], queue)
    await until('nothing is left', async () => (await the.inspect(queue)).messageCount === 0)
  })

  it('keeps its message if the error destination does not take the copy', async () => {
    await using the = await scene()
    const queue = await the.queue(['bad', 'worse'])
    const exchangeName = `${queue}-missing`
    const consumer = await the.protocol.consumer(
      queue,
      message => {
        throw new Error(message.text())
      },
      {
        onFailure: message =>
          message.text() === 'bad' ? { exchangeName: '', routingKey: exchangeName } : { exchangeName, routingKey: '' },
      },
    )
    await until('both copies have failed', () => the.errors.length >= 4)
    await consumer.close()
    assert.deepEqual((await the.drain(queue)).map(({ body }) => body).sort(), ['bad', 'worse'])
    const codes = the.errors.map(error => ('code' in error ? error.code : error.message))
    assert.deepEqual(codes.sort(), ['CHANNEL_CLOSED', 'MESSAGE_RETURNED', 'bad', 'worse'])
  })

  it('asks a function, which may have settled the message', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b'])
    const asked: [string, unknown][] = []
    const consumer = await the.protocol.consumer(
      queue,
      async message => {
        throw message.text()
      },
      {
        onFailure: async (message, error) => {
          asked.push([message.text(), error])
          if (message.text() === 'a') return 'reject'
          message.ack()
          return undefined
        },
      },
    )
    await until('both are asked for', () => asked.length === 2)
    await consumer.close()
    assert.deepEqual(asked, [
      ['a', 'a'],
      ['b', 'b'],
    ])
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('has a failing function reported too, and its message requeued', async () => {
    await using the = await scene()
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(
      queue,
      () => {
        throw new Error('handler')
      },
      {
        onFailure: () => {
          throw new Error('onFailure')
        },
      },
    )
    await until('both are reported', () => the.errors.length === 2)
    await consumer.close()
    assert.deepEqual(
      the.errors.map(error => error.message),
      ['handler', 'onFailure'],
    )
    assert.equal((await the.inspect(queue)).messageCount, 1)
  })

  it('has what its function returns checked', async () => {
    await using the = await scene()
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(
      queue,
      () => {
        throw new Error('handler')
      },
      { onFailure: () => 'again' as 'reject' },
    )
    await until('both are reported', () => the.errors.length === 2)
    await consumer.close()
    assert.ok(the.errors[1] instanceof EncodeError)
  })

  /** The first `count` warnings in the log of a consumer whose handler fails. */
  async function warningsOf(onFailure: FailureAction, count: number) {
    const warnings: string[] = []
    const ignore = (): void => {}
    const logger = { debug: ignore, info: ignore, warn: (text: string) => warnings.push(text), error: ignore }
    await using the = await scene({ onError: undefined, logger, heartbeat: 600 })
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(
      queue,
      () => {
        throw new Error('no good')
      },
      { onFailure },
    )
    await until('it is warned of', () => warnings.length >= count)
    await consumer.close()
    return { warnings, queue, connectionName: the.connectionName }
  }

  it('warns if there is no onError, and ends no process', async () => {
    const { warnings, queue, connectionName } = await warningsOf('reject', 1)
    assert.deepEqual(warnings, [
      `[asyncamqp ${connectionName}] a handler of queue "${queue}" failed (onFailure: reject): no good`,
    ])
  })

  it('is logged if its copy has nowhere to go, with what becomes of the message', async () => {
    const { warnings } = await warningsOf({ exchangeName: '', routingKey: 'nowhere' }, 2)
    assert.match(
      warnings[1] ?? '',
      /the copy of a message from the default exchange .*, whose handler failed, was not published, and it goes back to its queue: publish of a message .*"nowhere".* came back: NO_ROUTE/,
    )
  })

  it('is not asked about a message that it has settled', async () => {
    await using the = await scene()
    const queue = await the.queue(['a'])
    let asked = 0
    const consumer = await the.protocol.consumer(
      queue,
      message => {
        message.ack()
        throw new Error('after the ack')
      },
      {
        onFailure: () => {
          asked++
        },
      },
    )
    await until('it is reported', () => the.errors.length === 1)
    await consumer.close()
    assert.equal(asked, 0)
  })
})

describe('Closing a consumer with a handler', { concurrency: 4 }, () => {
  it('waits for what runs, acks it, and gives back the rest unseen', async () => {
    await using the = await scene()
    const queue = await the.queue(Array.from({ length: 50 }, (_, i) => `${i}`))
    const running = deferred()
    const goOn = deferred()
    const begun: string[] = []
    const done: string[] = []
    const consumer = await the.protocol.consumer(
      queue,
      async message => {
        begun.push(message.text())
        if (begun.length === 3) running.resolve()
        await goOn.promise
        done.push(message.text())
      },
      { concurrency: 3 },
    )
    await running.promise
    const closed = consumer.close()
    assert.equal(consumer.close() instanceof Promise, true)
    await until('the unseen are back', async () => (await the.inspect(queue)).messageCount === 47)
    goOn.resolve()
    await closed
    assert.deepEqual(done, ['0', '1', '2'])
    assert.deepEqual(begun, done)
    const left = await the.drain(queue)
    assert.deepEqual(
      left.map(({ body }) => body),
      Array.from({ length: 47 }, (_, i) => `${i + 3}`),
    )
  })

  it('gives back, after the timeout, what a handler that hangs has in hand', async () => {
    await using the = await scene({ clock: impatientClock(1_000) })
    const queue = await the.queue(['a', 'b'])
    const running = deferred<Message>()
    const consumer = await the.protocol.consumer(
      queue,
      message => {
        running.resolve(message)
        return new Promise(() => {})
      },
      { concurrency: 1 },
    )
    const message = await running.promise
    const { signal } = message
    await consumer.close({ timeout: 200 })
    assert.equal(message.ack(), false)
    assert.equal(signal.aborted, true, 'somebody else may work on it')
    assert.match(signal.reason.message, /was closed: the message was given back$/)
    assert.equal((await the.inspect(queue)).messageCount, 2)
  })

  it('requeues at once what was held back', async () => {
    await using the = await scene({ clock: impatientClock(700) })
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(queue, () => {
      throw new Error('no good')
    })
    await until('it has failed', () => the.errors.length === 1)
    await consumer.close()
    assert.equal((await the.inspect(queue)).messageCount, 1)
  })

  it('happens at the close of the protocol, which waits for the handler and what it publishes', async () => {
    await using the = await scene()
    const results = await the.queue()
    const queue = await the.queue(['a', 'b', 'c'])
    const running = deferred()
    const goOn = deferred()
    const channel = await the.protocol.channel({ publisherConfirms: true })
    await the.protocol.consumer(
      queue,
      async message => {
        running.resolve()
        await goOn.promise
        await channel.publish(message.text(), '', results)
      },
      { concurrency: 1 },
    )
    await running.promise
    const closed = the.protocol.close()
    await until('the unseen are back', async () => (await the.inspect(queue)).messageCount === 2)
    goOn.resolve()
    await closed
    assert.deepEqual(
      (await the.drain(results)).map(({ body }) => body),
      ['a'],
    )
    assert.equal((await the.inspect(queue)).messageCount, 2)
    assert.deepEqual(the.errors, [])
  })

  it('rejects for a bad option only', async () => {
    await using the = await scene()
    const consumer = await the.protocol.consumer(await the.queue(), () => {})
    await rejection(consumer.close({ timeout: -1 }), EncodeError)
    await consumer.close()
    await consumer.close()
  })

  for (const what of ['consumer', 'protocol'] as const) {
    it(`of the ${what} under load loses nothing, repeats nothing that was finished, and counts no failed attempt`, async () => {
      await using the = await scene()
      const bodies = Array.from({ length: 2_000 }, (_, i) => i)
      const queue = await the.queue(bodies.map(String), { 'x-queue-type': 'quorum', 'x-delivery-limit': 3 })
      const finished: number[] = []
      const enough = deferred()
      const consumer = await the.protocol.consumer(
        queue,
        async message => {
          await new Promise(resolve => setImmediate(resolve))
          finished.push(Number(message.text()))
          if (finished.length === 700) enough.resolve()
        },
        { concurrency: 20, prefetchCount: 200 },
      )
      await enough.promise
      await (what === 'consumer' ? consumer : the.protocol).close()
      const left = await the.drain(queue)
      assert.ok(left.length > 0)
      assert.deepEqual(
        [...finished, ...left.map(({ body }) => Number(body))].sort((a, b) => a - b),
        bodies,
      )
      // Before RabbitMQ 4.3 every return counts, by basic.nack too: once for each message.
      for (const { headers } of left) assert.ok(Number(headers['x-delivery-count'] ?? 0) <= 1)
    })
  }
})

describe('Messages that are held back', { concurrency: 2 }, () => {
  const windows = [
    { type: 'classic', prefetchCount: 4, count: 20 },
    { type: 'quorum', prefetchCount: 4, count: 20 },
    // The default is 32.
    { type: 'classic', prefetchCount: undefined, count: 32 },
    { type: 'quorum', prefetchCount: undefined, count: 100 },
  ]
  for (const { type, prefetchCount, count } of windows) {
    it(`keep no others of a ${type} queue away, though they are ${count} at a prefetch of ${prefetchCount ?? 32}`, async () => {
      await using the = await scene()
      const poison = Array.from({ length: count }, (_, i) => `poison ${i}`)
      const queue = await the.queue(poison, { 'x-queue-type': type })
      const good: string[] = []
      let failed = 0
      const handler = (message: Message) => {
        if (!message.text().startsWith('poison')) return good.push(message.text())
        failed++
        throw new Error('no')
      }
      const consumer = await the.protocol.consumer(queue, handler, { prefetchCount })
      await the.fill(queue, ['a', 'b', 'c'])
      await until('the others are handled', () => good.length === 3)
      await consumer.close()
      assert.ok(failed >= count)
      await until('they are back', async () => (await the.inspect(queue)).messageCount === count)
    })
  }
})
