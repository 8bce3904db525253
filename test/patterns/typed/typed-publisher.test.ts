import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import {
  AbortError,
  AmqpError,
  BufferFullError,
  ChannelClosedError,
  type Codec,
  ConnectionClosedError,
  type ConnectOptions,
  connect,
  DecodeError,
  EncodeError,
  RemoteError,
  TimeoutError,
} from '../../../src/index.ts'
import { startBroker } from '../../../src/testing/index.ts'
import { keptByRound } from '../../support/heap.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'
import { deferred } from '../scene.ts'
import { ORDER, type Order, schema } from './scene.ts'

async function open(options: ConnectOptions = {}) {
  const broker = await startBroker()
  const protocol = await connect({ ...broker.inMemory, ...options })
  await protocol.queueDeclare('q')
  return {
    broker,
    protocol,
    get bodies(): string[] {
      return broker.queue('q').ready.map(({ body }) => String(body))
    },
    async [Symbol.asyncDispose](): Promise<void> {
      await protocol.close({ timeout: 100 })
      await broker[Symbol.asyncDispose]()
    },
  }
}

/** Resolves when the first one is released, of objects with id 0. */
function gated(): { readonly orders: typeof ORDER; release(): void } {
  const gate = deferred()
  const orders = schema<Order>(async value => {
    if ((value as Order).id === 0) await gate.promise
    return { value }
  })
  return { orders, release: () => gate.resolve() }
}

describe('A publisher with a schema', () => {
  it('ends a publish whose schema closes the connection and never answers', async () => {
    await using the = await open()
    const lost = once(the.protocol, 'disconnected')
    await the.broker.stop()
    await lost
    const silent = schema<object>(() => {
      void the.protocol.close()
      return new Promise(() => {})
    })
    const error = await rejection(the.protocol.publish({}, '', 'q', {}, { schema: silent }), ConnectionClosedError)
    assert.equal(error.outcome, 'notSent')
  })

  it('publishes what fits, and sends nothing of what does not', async () => {
    await using the = await open()
    const publisher = await the.protocol.publisher({ schema: ORDER })
    await publisher.publish({ id: 1 }, 'q')
    const misfit = { id: 'two' } as unknown as Order
    for (const publishing of [
      publisher.publish(misfit, 'q', { messageId: 'm2' }),
      the.protocol.publish(misfit, '', 'q', { messageId: 'm2' }, { schema: ORDER }),
    ]) {
      const error = await rejection(publishing, EncodeError)
      assert.equal(
        error.message,
        'publish of message "m2" to the default exchange with routing key "q": payload does not fit its schema: id: expected a number, got string',
      )
      assert.deepEqual(error.issues, [{ path: 'id', message: 'expected a number, got string' }])
      assert.equal(error.outcome, 'notSent')
    }
    await the.protocol.publish({ id: 3 }, '', 'q', undefined, { schema: ORDER })
    assert.deepEqual(the.bodies, ['{"id":1}', '{"id":3}'])
    assert.equal(the.broker.published.length, 2)
    const [message] = the.broker.queue('q').ready
    assert.equal(message?.properties.contentType, 'application/json')
    assert.equal(message?.properties.deliveryMode, 2)
  })

  it('keeps the order of its publishes, however long the validation of each takes', async () => {
    await using the = await open()
    const { orders, release } = gated()
    const publisher = await the.protocol.publisher({ schema: orders })
    const publishes = [0, 1, 2].map(id => publisher.publish({ id }, 'q'))
    const others = [0, 3, 4].map(id => the.protocol.publish({ id }, '', 'q', {}, { schema: orders }))
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(publisher.pending, 3)
    assert.deepEqual(the.bodies, [])
    release()
    await Promise.all([...publishes, ...others])
    assert.equal(publisher.pending, 0)
    const order = (ids: number[]) => the.bodies.map(body => JSON.parse(body).id).filter(id => ids.includes(id))
    assert.deepEqual(order([1, 2]), [1, 2])
    assert.deepEqual(order([3, 4]), [3, 4])
    assert.equal(order([0]).length, 2)
  })

  it('keeps nothing of what it has published', async () => {
    await using broker = await startBroker({ publishedLimit: 1 })
    await using protocol = await connect(broker.inMemory)
    await protocol.exchangeDeclare('all', 'fanout')
    const publisher = await protocol.publisher({ exchangeName: 'all', schema: ORDER })
    const bytes = await keptByRound(async () => {
      for (let i = 0; i < 25; i++) {
        await Promise.all(Array.from({ length: 200 }, (_, id) => publisher.publish({ id }, 'key')))
      }
    })
    assert.ok(bytes < 500_000, `${bytes} bytes more`)
  })

  it('keeps the order of its publishes also after one that had timed out, and after one that is confirmed later', async () => {
    await using the = await open()
    const { orders, release } = gated()
    const fast = schema<Order>(value => ({ value }))
    const publish = (id: number, options: object): Promise<void> =>
      the.protocol.publish({ id }, '', 'q', {}, { schema: fast, ...options })
    the.broker.withholdConfirms()
    const late = publish(1, { timeout: 20 })
    const confirmed = publish(2, {})
    await rejection(late, TimeoutError)
    const slow = publish(0, { schema: orders })
    the.broker.releaseConfirms()
    await confirmed
    const last = publish(4, {})
    await new Promise(resolve => setImmediate(resolve))
    release()
    await Promise.all([slow, last])
    assert.deepEqual(the.bodies, ['{"id":1}', '{"id":2}', '{"id":0}', '{"id":4}'])
  })

  it('waits at its end for what its schema publishes', async () => {
    await using the = await open()
    const { orders, release } = gated()
    let inner: Promise<void> | undefined
    const publishing = schema<Order>(value => {
      const { id } = value as Order
      if (id !== 1) return orders['~standard'].validate(value)
      inner = publisher.publish({ id: 0 }, 'q')
      return { value }
    })
    const publisher = await the.protocol.publisher({ schema: publishing })
    const outer = publisher.publish({ id: 1 }, 'q')
    const closed = publisher.close()
    await new Promise(resolve => setImmediate(resolve))
    release()
    await Promise.all([outer, inner, closed])
    assert.deepEqual(the.bodies.toSorted(), ['{"id":0}', '{"id":1}'])
  })

  it('bounds a validation by timeout and signal, after which the others go on', async () => {
    await using the = await open()
    const never = schema<Order>(value => ((value as Order).id === 0 ? new Promise(() => {}) : { value }))
    const publisher = await the.protocol.publisher({ schema: never, publishTimeout: 50 })
    const controller = new AbortController()
    const first = publisher.publish({ id: 0 }, 'q', {}, { signal: controller.signal })
    const second = publisher.publish({ id: 0 }, 'q', {}, { timeout: 1 })
    const third = publisher.publish({ id: 0 }, 'q')
    const last = publisher.publish({ id: 1 }, 'q', {}, { timeout: 5_000 })
    controller.abort()
    assert.equal((await rejection(first, AbortError)).outcome, 'notSent')
    assert.equal((await rejection(second, TimeoutError)).outcome, 'notSent')
    assert.equal((await rejection(third, TimeoutError)).outcome, 'notSent')
    await last
    assert.deepEqual(the.bodies, ['{"id":1}'])
  })

  it('rejects what it still validates when its connection is closed, after it has waited for it', async () => {
    await using the = await open()
    const { orders, release } = gated()
    const publisher = await the.protocol.publisher({ schema: orders })
    const sent = publisher.publish({ id: 0 }, 'q')
    const closing = publisher.close()
    release()
    await Promise.all([sent, closing])
    await rejection(publisher.publish({ id: 1 }, 'q'), AmqpError)

    const never = schema<Order>(() => new Promise(() => {}))
    const other = await the.protocol.publisher({ schema: never })
    const pending = rejection(other.publish({ id: 1 }, 'q'), AmqpError)
    const plain = rejection(the.protocol.publish({ id: 1 }, '', 'q', {}, { schema: never }), AmqpError)
    await new Promise(resolve => setImmediate(resolve))
    await the.protocol.close({ timeout: 20 })
    assert.equal((await pending).outcome, 'notSent')
    assert.equal((await plain).outcome, 'notSent')
    assert.equal((await rejection(other.publish({ id: 1 }, 'q'), AmqpError)).outcome, 'notSent')
  })

  it('that is closed rejects what it validates without end, and takes nothing more', async () => {
    await using the = await open()
    const { orders } = gated()
    const publisher = await the.protocol.publisher({ schema: orders })
    const publishes = [0, 1].map(id => publisher.publish({ id }, 'q'))
    const closing = publisher.close({ timeout: 10 })
    publishes.push(publisher.publish({ id: 0 }, 'q'))
    const errors = await Promise.all(publishes.map(publishing => rejection(publishing, ChannelClosedError)))
    await closing
    for (const { message, outcome } of errors) {
      assert.equal(
        message,
        'publish of a message to the default exchange with routing key "q" failed: its publisher was closed',
      )
      assert.equal(outcome, 'notSent')
    }
    assert.equal(publisher.pending, 0)
    assert.deepEqual(the.bodies, [])
  })

  it('is closed once: a second call gets the same promise, and does not cut the first one short', async () => {
    await using the = await open()
    const { orders, release } = gated()
    for (const schema of [orders, undefined]) {
      const publisher = await the.protocol.publisher({ schema })
      const sent = publisher.publish({ id: 0 }, 'q')
      const closed = publisher.close()
      assert.equal(publisher.close({ timeout: 0 }), closed)
      setImmediate(release)
      await Promise.all([sent, closed])
    }
  })

  it('validates no more at a time than may wait', async () => {
    await using the = await open({ maxWaiting: 2 })
    const { orders, release } = gated()
    const publisher = await the.protocol.publisher({ schema: orders })
    const publishes = [0, 1].map(id => publisher.publish({ id }, 'q'))
    await rejection(publisher.publish({ id: 2 }, 'q'), BufferFullError)
    release()
    await Promise.all(publishes)
  })

  it('validates one at a time if none may wait', async () => {
    await using the = await open({ maxWaiting: 0 })
    const publisher = await the.protocol.publisher({ schema: ORDER })
    const publishes = [1, 2].map(id => publisher.publish({ id }, 'q'))
    const error = await rejection(publishes[1] ?? Promise.resolve(), BufferFullError)
    assert.equal(
      error.message,
      'publish of a message to the default exchange with routing key "q" was refused: 1 publishes wait already, the limit set by maxWaiting',
    )
    await publishes[0]
    await the.protocol.publish({ id: 3 }, '', 'q', {}, { schema: ORDER })
    assert.deepEqual(the.bodies, ['{"id":1}', '{"id":3}'])
  })

  it('publishes what a handler has given it while the connection is being closed', async () => {
    await using the = await open()
    const { orders, release } = gated()
    const publisher = await the.protocol.publisher({ schema: orders })
    const [began, goOn] = [deferred(), deferred()]
    let published: Promise<void> | undefined
    await the.protocol.queueDeclare('work')
    await the.protocol.consumer('work', async () => {
      began.resolve()
      await goOn.promise
      published = publisher.publish({ id: 0 }, 'q')
    })
    await the.protocol.publish('', '', 'work')
    await began.promise
    const closed = the.protocol.close()
    goOn.resolve()
    for (let i = 0; i < 10; i++) await new Promise(resolve => setImmediate(resolve))
    release()
    await Promise.all([published, closed])
    assert.deepEqual(the.bodies, ['{"id":0}'])
  })

  it('refuses bad options', async () => {
    await using the = await open()
    await rejection(the.protocol.publisher({ schema: {} as never }), EncodeError)
    await rejection(the.protocol.publisher({ codecs: [{} as never] }), EncodeError)
    const options = { schema: 1 } as never
    assert.equal((await rejection(the.protocol.publish({}, '', 'q', {}, options), EncodeError)).outcome, 'notSent')
    const unknown = { schema: ORDER, mandatry: true } as never
    await rejection(the.protocol.publish({ id: 1 }, '', 'q', {}, unknown), EncodeError)
  })
})

describe('A publisher with codecs', () => {
  it('encodes by content type and packs by content encoding', async () => {
    await using the = await open()
    const list: Codec = {
      contentType: 'a/list',
      encode: value => String(value),
      decode: body => body.toString().split(','),
    }
    const publisher = await the.protocol.publisher({ codecs: [list] })
    await publisher.publish([1, 2], 'q', { contentType: 'a/list', contentEncoding: 'gzip' })
    await publisher.publish(gzipSync('"by hand"'), 'q', { contentEncoding: 'gzip' })
    const [first, second] = the.broker.queue('q').ready
    assert.equal(gunzipSync(first?.body ?? '').toString(), '1,2')
    assert.equal(gunzipSync(second?.body ?? '').toString(), '"by hand"')
    const consumer = await the.protocol.consumer('q', { codecs: [list] })
    assert.deepEqual((await consumer.next()).value?.json(), ['1', '2'])
    assert.equal((await consumer.next()).value?.json(), 'by hand')
  })
})

describe('RPC with schemas', () => {
  const NUMBERS = schema<readonly number[]>(value =>
    Array.isArray(value) ? { value } : { issues: [{ message: 'expected an array' }] },
  )
  const SUM = schema<number>(value =>
    typeof value === 'number' ? { value } : { issues: [{ message: 'expected a number' }] },
  )

  it('answers what fits, and refuses what does not on either side', async () => {
    await using the = await open()
    let handled = 0
    const bad = 'none' as unknown as number
    await the.protocol.rpcServer(
      'q',
      request => {
        handled++
        const numbers = request.json()
        return numbers.length === 0 ? bad : numbers.reduce((a, b) => a + b)
      },
      { schema: { request: NUMBERS, reply: SUM } },
    )
    const client = await the.protocol.rpcClient({ schema: { request: NUMBERS, reply: SUM } })
    assert.equal((await client.call('q', [1, 2])).json(), 3)
    const packed = { properties: { contentEncoding: 'gzip' } }
    const reply = await client.call('q', [1, 2], packed)
    assert.equal(reply.json(), 3)
    assert.equal(reply.properties.contentEncoding, 'gzip')

    const error = await rejection(client.call('q', {} as never), EncodeError)
    assert.match(error.message, /^rpc call to "q" .*: payload does not fit its schema: expected an array$/)
    assert.equal(error.outcome, 'notSent')
    assert.equal(handled, 2)

    const plain = await the.protocol.rpcClient()
    const refused = await rejection(plain.call('q', {}), RemoteError)
    assert.equal(refused.remoteName, 'DecodeError')
    assert.match(refused.message, /does not fit its schema: expected an array/)
    assert.equal(handled, 2)
    const misfit = await rejection(plain.call('q', []), RemoteError)
    assert.equal(misfit.remoteName, 'EncodeError')

    const other = await the.protocol.rpcClient({ schema: { reply: NUMBERS } })
    const odd = await rejection(other.call('q', [1]), DecodeError)
    assert.deepEqual(odd.issues, [{ path: '', message: 'expected an array' }])
    assert.match(
      odd.message,
      /^rpc call to "q" with correlationId "\S+" failed: the body of .* does not fit its schema: expected an array$/,
    )
    assert.match(odd.stack ?? '', /^DecodeError: rpc call to "q" .*\n.*typed-publisher\.test/)
  })

  it('answers null if it fits, and nothing with an empty reply', async () => {
    await using the = await open()
    const maybe = schema<number | null>(value => (value === null ? { value } : { issues: [{ message: 'not null' }] }))
    const server = await the.protocol.rpcServer('q', () => null, { schema: { reply: maybe } })
    const client = await the.protocol.rpcClient({ schema: { reply: maybe } })
    assert.equal((await client.call('q', '')).json(), null)
    await server.close()
    await the.protocol.rpcServer('q', () => {}, { codecs: [] })
    const plain = await the.protocol.rpcClient()
    assert.equal((await plain.call('q', '')).text(), '')
  })

  it('hands its handler nothing that was given back while it was validated', async () => {
    await using the = await open()
    const { orders, release } = gated()
    let handled = 0
    const server = await the.protocol.rpcServer('q', () => void handled++, { schema: { request: orders } })
    await the.protocol.publish({ id: 0 }, '', 'q', { replyTo: 'replies', correlationId: '1' })
    await the.protocol.publish({ id: 0 }, '', 'q')
    await until('both are validated', () => server.consumer.stats().handlersRunning === 2)
    await server.close({ timeout: 10 })
    release()
    await new Promise(resolve => setImmediate(resolve))
    assert.equal(handled, 0)
    assert.equal(the.bodies.length, 2)
  })

  it('bounds validation by the timeout of the call', async () => {
    await using the = await open()
    const never = schema<readonly number[]>(() => new Promise(() => {}))
    await the.protocol.rpcServer('q', () => 'a reply')
    const asks = await the.protocol.rpcClient({ schema: { request: never }, timeout: 20 })
    assert.equal((await rejection(asks.call('q', []), TimeoutError)).outcome, 'notSent')
    const hears = await the.protocol.rpcClient({ schema: { reply: never }, timeout: 20 })
    await rejection(hears.call('q', ''), TimeoutError)
    assert.equal(the.broker.published.filter(({ routingKey }) => routingKey === 'q').length, 1)
  })

  it('answers in the content type and encoding of the request', async () => {
    await using the = await open()
    const codec: Codec = { contentType: 'a/upper', encode: value => String(value).toUpperCase(), decode: String }
    await the.protocol.rpcServer('q', request => `${request.json()}!`, { codecs: [codec] })
    const client = await the.protocol.rpcClient({ codecs: [codec] })
    const reply = await client.call('q', 'text', { properties: { contentType: 'a/upper', contentEncoding: 'br' } })
    assert.equal(reply.json(), 'TEXT!')
    assert.equal(reply.properties.contentType, 'a/upper')
    assert.equal(reply.properties.contentEncoding, 'br')
  })
})
