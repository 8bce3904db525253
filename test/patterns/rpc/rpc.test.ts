import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  AbortError,
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionError,
  EncodeError,
  MessageReturnedError,
  PublishFailedError,
  RemoteError,
  TimeoutError,
} from '../../../src/index.ts'
import { keptByRound } from '../../support/heap.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'
import { deferred, nextEvent, withScenes } from '../scene.ts'

const scene = await withScenes()

describe('An RPC call', { concurrency: 4 }, () => {
  it('resolves with the reply: a string, bytes, JSON or nothing', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.protocol.rpcServer(queue, async request => {
      switch (request.text()) {
        case 'string':
          return 'größe'
        case 'bytes':
          return Uint8Array.of(0, 255)
        case 'object':
          return { sum: 3 }
        case 'array':
          return [1, 2]
        default:
          return undefined
      }
    })
    const client = await the.protocol.rpcClient()
    const reply = await client.call(queue, 'string')
    assert.equal(reply.text(), 'größe')
    assert.equal(reply.properties.contentType, 'text/plain')
    assert.equal(reply.ack(), false)
    assert.deepEqual([...(await client.call(queue, 'bytes')).body], [0, 255])
    const object = await client.call(queue, 'object')
    assert.deepEqual(object.json(), { sum: 3 })
    assert.equal(object.properties.contentType, 'application/json')
    assert.deepEqual((await client.call(queue, 'array')).json(), [1, 2])
    assert.equal((await client.call(queue, 'nothing')).body.length, 0)
  })

  it('carries its properties, and a plain object as JSON', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.protocol.rpcServer(queue, request => ({
      got: request.json(),
      ...request.properties.toJSON(),
      replyTo: request.properties.replyTo?.startsWith('amq.rabbitmq.reply-to.'),
    }))
    const client = await the.protocol.rpcClient({ timeout: 7_000 })
    const reply = await client.call(queue, { a: 1 }, { properties: { correlationId: 'mine', appId: 'me' } })
    assert.deepEqual(reply.json(), {
      got: { a: 1 },
      contentType: 'application/json',
      correlationId: 'mine',
      appId: 'me',
      expiration: '7000',
      replyTo: true,
    })
  })

  it('finds its reply among 2,000 in flight, in whatever order they come', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const client = await the.protocol.rpcClient()
    await the.protocol.rpcServer(
      queue,
      async request => {
        const n = Number(request.text())
        if (n % 3 === 0) await new Promise(resolve => setTimeout(resolve, n % 7))
        return String(n * 2)
      },
      { concurrency: 200 },
    )
    const replies = await Promise.all(
      Array.from({ length: 2_000 }, async (_, i) => Number((await client.call(queue, String(i))).text())),
    )
    assert.deepEqual(
      replies,
      Array.from({ length: 2_000 }, (_, i) => i * 2),
    )
    assert.equal(the.protocol.channelsIdsCount, 3)
  })

  it('rejects with the name and the message of what the handler threw, and the server goes on', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.protocol.rpcServer(queue, request => {
      if (request.text() === 'bad') throw new RangeError('too much')
      if (request.text() === 'worse') throw 'a string'
      return 'good'
    })
    const client = await the.protocol.rpcClient()
    const error = await rejection(client.call(queue, 'bad'), RemoteError)
    assert.deepEqual([error.remoteName, error.message], ['RangeError', 'too much'])
    const other = await rejection(client.call(queue, 'worse'), RemoteError)
    assert.deepEqual([other.remoteName, other.message], ['Error', 'a string'])
    assert.equal((await client.call(queue, 'fine')).text(), 'good')
    assert.deepEqual(the.errors, [])
  })

  it('rejects if the handler returns what cannot be sent', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.protocol.rpcServer(queue, () => 42 as unknown as string)
    const client = await the.protocol.rpcClient()
    const error = await rejection(client.call(queue, ''), RemoteError)
    assert.equal(error.remoteName, 'EncodeError')
    assert.match(error.message, /reply of an rpcServer handler/)
  })

  it('rejects at once if no queue takes it', async () => {
    await using the = await scene()
    const client = await the.protocol.rpcClient()
    const error = await rejection(client.call('no-such-queue', 'x'), MessageReturnedError)
    assert.equal(error.replyCode, 312)
  })

  it('rejects if the broker refuses the request', async () => {
    await using the = await scene()
    const queue = await the.queue([], { 'x-max-length': 0, 'x-overflow': 'reject-publish' })
    const client = await the.protocol.rpcClient()
    await rejection(client.call(queue, 'x'), PublishFailedError)
  })

  it('rejects if its exchange is missing, which costs calls by others nothing', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const goOn = deferred()
    await the.protocol.rpcServer(queue, async () => {
      await goOn.promise
      return 'good'
    })
    const client = await the.protocol.rpcClient()
    const waiting = client.call(queue, 'x')
    for (let i = 0; i < 2; i++) {
      const error = await rejection(client.call(queue, 'x', { exchangeName: 'missing' }), ChannelClosedError)
      assert.equal(error.replyCode, 404)
      assert.equal(error.outcome, 'refused')
      assert.match(error.message, /^rpc call to "queue-.*" by exchange "missing" failed: NOT_FOUND/)
    }
    goOn.resolve()
    assert.equal((await waiting).text(), 'good')
  })

  it('goes by an exchange', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.outside.queueBind(queue, 'amq.direct', 'key')
    await the.protocol.rpcServer(queue, request => request.envelope.routingKey)
    const client = await the.protocol.rpcClient()
    assert.equal((await client.call('key', 'x', { exchangeName: 'amq.direct' })).text(), 'key')
  })

  it('rejects past its timeout, at an abort, and not for the late reply', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const goOn = deferred()
    await the.protocol.rpcServer(queue, async request => {
      if (request.text() === 'slow') await goOn.promise
      return 'answer'
    })
    const client = await the.protocol.rpcClient({ timeout: 100 })
    const error = await rejection(client.call(queue, 'slow'), TimeoutError)
    assert.match(error.message, /^rpc call to "queue-.*" was not answered within 100 ms$/)
    assert.equal(error.outcome, 'unknown')
    const controller = new AbortController()
    const aborted = client.call(queue, 'slow', { signal: controller.signal, timeout: 10_000 })
    controller.abort()
    await rejection(aborted, AbortError)
    await rejection(client.call(queue, 'slow', { signal: AbortSignal.timeout(20), timeout: 10_000 }), TimeoutError)
    goOn.resolve()
    assert.equal((await client.call(queue, 'quick', { timeout: 5_000 })).text(), 'answer')
  })

  it('that no server takes in time is not answered later', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const client = await the.protocol.rpcClient()
    await rejection(client.call(queue, 'x', { timeout: 50 }), TimeoutError)
    await until('it has expired', async () => (await the.inspect(queue)).messageCount === 0)
  })

  it('refuses a correlation id that is in flight, and options that it does not know', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const client = await the.protocol.rpcClient()
    const waiting = rejection(client.call(queue, 'x', { properties: { correlationId: 'same' } }), ChannelClosedError)
    await rejection(client.call(queue, 'x', { properties: { correlationId: 'same' } }), EncodeError)
    await rejection(client.call(queue, 'x', { time: 3 } as object), EncodeError)
    await rejection(client.call(queue, 3 as unknown as string), EncodeError)
    await client.close()
    await waiting
  })
})

describe('The calls that wait', { concurrency: 4 }, () => {
  it('reject when the client is closed, and so do later ones', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const client = await the.protocol.rpcClient()
    const waiting = Array.from({ length: 3 }, () => client.call(queue, 'x'))
    await until('they are sent', async () => (await the.inspect(queue)).messageCount === 3)
    const rejected = Promise.all(waiting.map(call => rejection(call, ChannelClosedError)))
    await client.close()
    for (const error of await rejected) assert.equal(error.outcome, 'unknown')
    const later = await rejection(client.call(queue, 'x'), ChannelClosedError)
    assert.equal(later.outcome, 'notSent')
    assert.equal((await the.inspect(queue)).messageCount, 3)
  })

  it('reject when the connection is lost, are not sent again, and later ones go by the next connection', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const client = await the.protocol.rpcClient()
    const waiting = Array.from({ length: 3 }, () => client.call(queue, 'x'))
    const rejected = Promise.all(waiting.map(call => rejection(call, ConnectionError)))
    await until('they are sent', async () => (await the.inspect(queue)).messageCount === 3)
    await the.closeConnection()
    for (const error of await rejected) assert.equal(error.outcome, 'unknown')
    const later = client.call(queue, 'later')
    await until('it is sent', async () => (await the.inspect(queue)).messageCount === 4)
    await the.protocol.rpcServer(queue, request => request.text())
    assert.equal((await later).text(), 'later')
    assert.equal(the.protocol.channelsIdsCount, 3)
  })

  it('reject when the protocol is closed', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const client = await the.protocol.rpcClient()
    const waiting = rejection(client.call(queue, 'x'), ConnectionClosedError)
    await until('it is sent', async () => (await the.inspect(queue)).messageCount === 1)
    await the.protocol.close()
    await waiting
  })

  it('may be made in a handler that the close of the protocol waits for', async () => {
    await using the = await scene()
    await using other = await scene()
    const [tasks, service, results] = [await the.queue(['task']), await the.queue(), await the.queue()]
    const asked = deferred()
    const goOn = deferred()
    await other.protocol.rpcServer(service, async () => {
      asked.resolve()
      await goOn.promise
      return 'answer'
    })
    const client = await the.protocol.rpcClient()
    await the.protocol.consumer(tasks, async message => {
      const reply = await client.call(service, message.body)
      await the.outside.publish(reply.body, '', results)
    })
    await asked.promise
    const closed = the.protocol.close()
    goOn.resolve()
    await closed
    assert.deepEqual(
      (await the.drain(results)).map(({ body }) => body),
      ['answer'],
    )
    assert.equal((await the.inspect(tasks)).messageCount, 0)
  })
})

describe('An RPC server', { concurrency: 4 }, () => {
  it('answers as many requests at a time as concurrency allows', async () => {
    await using the = await scene()
    const queue = await the.queue()
    let running = 0
    let most = 0
    await the.protocol.rpcServer(
      queue,
      async () => {
        most = Math.max(most, ++running)
        await new Promise(resolve => setImmediate(resolve))
        running--
      },
      { concurrency: 3 },
    )
    const client = await the.protocol.rpcClient()
    await Promise.all(Array.from({ length: 30 }, () => client.call(queue, 'x')))
    assert.equal(most, 3)
  })

  it('works on a request that asks for no reply, and dead-letters it when that fails', async () => {
    await using the = await scene()
    const dead = await the.queue()
    const queue = await the.queue(['good', 'bad'], { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': dead })
    const seen: string[] = []
    const server = await the.protocol.rpcServer(queue, request => {
      seen.push(request.text())
      if (request.text() === 'bad') throw new Error('no good')
    })
    await until('it is dead', async () => (await the.inspect(dead)).messageCount === 1)
    await server.close()
    assert.deepEqual(seen, ['good', 'bad'])
    assert.deepEqual(
      the.errors.map(error => error.message),
      ['no good'],
    )
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('answers what it has in hand before it closes, and gives back the rest', async () => {
    await using the = await scene()
    await using other = await scene()
    const queue = await the.queue()
    const asked = deferred()
    const goOn = deferred()
    const server = await the.protocol.rpcServer(
      queue,
      async request => {
        asked.resolve()
        await goOn.promise
        return request.text()
      },
      { concurrency: 1 },
    )
    const client = await other.protocol.rpcClient()
    const [first, second] = [client.call(queue, 'first'), client.call(queue, 'second')]
    await asked.promise
    const closed = server.close()
    goOn.resolve()
    await closed
    assert.equal((await first).text(), 'first')
    assert.equal((await the.inspect(queue)).messageCount, 1)
    await other.protocol.rpcServer(queue, () => 'by another')
    assert.equal((await second).text(), 'by another')
  })

  it('answers again what it had in hand when its connection was lost', async () => {
    await using the = await scene()
    await using other = await scene()
    const queue = await the.queue()
    const asked = deferred()
    let times = 0
    const server = await the.protocol.rpcServer(queue, async request => {
      if (++times > 1) return `${times}`
      asked.resolve()
      await nextEvent(the.protocol, 'recovered')
      assert.equal(request.signal.aborted, true)
      throw new Error('in vain')
    })
    const client = await other.protocol.rpcClient()
    const reply = client.call(queue, 'x')
    await asked.promise
    await the.closeConnection()
    // If the request was taken away, an error of its handler is not a reply.
    assert.equal((await reply).text(), '2')
    await server.close()
    assert.equal((await the.inspect(queue)).messageCount, 0)
  })

  it('rejects if there is no such queue, and names bad arguments', async () => {
    await using the = await scene()
    const error = await rejection(
      the.protocol.rpcServer('no-such-queue', () => {}),
      ChannelClosedError,
    )
    assert.equal(error.replyCode, 404)
    await rejection(the.protocol.rpcServer('q', 3 as unknown as () => void), EncodeError)
    const misspelt = the.protocol.rpcServer('q', () => {}, { prefetch: 3 } as object)
    assert.match(
      (await rejection(misspelt, EncodeError)).message,
      /^rpcServer: unknown option "prefetch"; did you mean/,
    )
  })
})

describe('An RPC client that calls by many exchanges', () => {
  it('keeps nothing of those that are missing', async () => {
    await using the = await scene()
    const client = await the.protocol.rpcClient()
    const bytes = await keptByRound(async round => {
      for (let i = 0; i < 200; i++) {
        await rejection(client.call('q', 'x', { exchangeName: `missing-${round}-${i}` }), ChannelClosedError)
      }
    })
    assert.ok(bytes < 500_000, `${bytes} bytes more`)
  })
})
