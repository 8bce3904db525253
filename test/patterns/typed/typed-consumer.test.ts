import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { describe, it } from 'node:test'
import { gzipSync } from 'node:zlib'
import {
  AbortError,
  type AmqpProtocol,
  type ConnectOptions,
  ConsumerCancelledError,
  connect,
  DecodeError,
  EncodeError,
  type Message,
} from '../../../src/index.ts'
import { type Broker, startBroker } from '../../../src/testing/index.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'
import { deferred, nextEvent } from '../scene.ts'
import { ORDER, type Order, schema } from './scene.ts'

/** A queue with a dead-letter queue, and what was reported. */
class Scene implements AsyncDisposable {
  readonly broker: Broker
  readonly protocol: AmqpProtocol
  readonly errors: Error[]

  private constructor(broker: Broker, protocol: AmqpProtocol, errors: Error[]) {
    this.broker = broker
    this.protocol = protocol
    this.errors = errors
  }

  static async open(options: ConnectOptions = {}): Promise<Scene> {
    const broker = await startBroker()
    const errors: Error[] = []
    const protocol = await connect({ ...broker.inMemory, onError: error => errors.push(error), ...options })
    await protocol.queueDeclare('dead')
    const args = { 'x-dead-letter-exchange': '', 'x-dead-letter-routing-key': 'dead' }
    await protocol.queueDeclare('q', { durable: true, arguments: args })
    return new Scene(broker, protocol, errors)
  }

  async publish(...payloads: object[]): Promise<void> {
    for (const payload of payloads) await this.protocol.publish(payload, '', 'q')
  }

  get dead(): string[] {
    return this.broker.queue('dead').ready.map(({ body }) => String(body))
  }

  get ready(): string[] {
    return this.broker.queue('q').ready.map(({ body }) => String(body))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.protocol.close({ timeout: 100 })
    await this.broker[Symbol.asyncDispose]()
  }
}

const REJECT = { schema: ORDER, onFailure: 'reject' } as const

describe('A consumer with a schema', () => {
  it('gives its handler only what fits, typed, and the rest to onFailure with the issues', async () => {
    await using the = await Scene.open()
    const seen: Order[] = []
    const failed: [number, unknown][] = []
    await the.protocol.consumer('q', message => void seen.push(message.json()), {
      schema: ORDER,
      onFailure: (message, error) => {
        failed.push([message.body.length, error])
        return 'reject'
      },
    })
    await the.publish({ id: 1, extra: true }, { id: 'two' }, [], { id: 3 })
    await the.protocol.publish('{', '', 'q')
    await until('all are settled', () => seen.length === 2 && the.dead.length === 3)
    assert.deepEqual(seen, [{ id: 1 }, { id: 3 }])
    assert.deepEqual(the.dead, ['{"id":"two"}', '[]', '{'])
    const [[size, error] = []] = failed
    assert.equal(size, 12)
    assert.ok(error instanceof DecodeError)
    assert.equal(error.code, 'DECODE_ERROR')
    assert.deepEqual(error.issues, [{ path: 'id', message: 'expected a number, got string' }])
    assert.match(
      error.message,
      /^the body of a message from .* does not fit its schema: id: expected a number, got string$/,
    )
    assert.equal(the.errors.length, 3, 'each is reported')
  })

  it('gives its loop and next() only what fits', async () => {
    await using the = await Scene.open()
    const consumer = await the.protocol.consumer('q', REJECT)
    await the.publish({ id: 1 }, {}, {}, { id: 2 }, { id: 3 }, {})
    const seen: number[] = []
    for await (const message of consumer) {
      seen.push(message.json().id)
      if (seen.length === 2) break
    }
    assert.deepEqual(seen, [1, 2])
    assert.deepEqual(the.ready, ['{"id":2}', '{"id":3}', '{}'])
    const other = await the.protocol.consumer('q', REJECT)
    const { value } = await other.next()
    assert.equal(value?.json().id, 2)
    assert.equal(value?.ack(), true)
    assert.equal(value?.ack(), false)
  })

  it('gives batches only what fits, in order, also if validation takes longer for the first', async () => {
    await using the = await Scene.open()
    const slow = schema<Order>(async value => {
      const { id } = value as Order
      for (let i = 0; i < 10 - id; i++) await new Promise(resolve => setImmediate(resolve))
      return ORDER['~standard'].validate(value)
    })
    const batches: number[][] = []
    const options = { schema: slow, onFailure: 'reject', batch: { size: 4, wait: 60_000 } } as const
    const consumer = await the.protocol.consumer(
      'q',
      messages => void batches.push(messages.map(each => each.json().id)),
      options,
    )
    await the.publish({ id: 1 }, { id: 'x' }, { id: 2 }, { id: 3 }, {}, { id: 4 }, { id: 5 })
    await until(
      'one is handled',
      () => batches.length === 1 && the.dead.length === 2 && consumer.stats().buffered === 0,
    )
    assert.deepEqual(batches, [[1, 2, 3, 4]])
    await consumer.close()
    assert.deepEqual(batches, [[1, 2, 3, 4], [5]])

    await the.publish({ id: 6 }, {}, { id: 7 })
    const loop = await the.protocol.consumer('q', { schema: slow, onFailure: 'drop' })
    for await (const batch of loop.batches({ size: 2, wait: 60_000 })) {
      assert.deepEqual(
        batch.map(each => each.json().id),
        [6, 7],
      )
      break
    }
  })

  it('settles by a batch neither a message before it that does not fit, nor one that is still validated', async () => {
    await using the = await Scene.open()
    const failing = deferred()
    const onFailure = async (): Promise<'reject'> => {
      await failing.promise
      return 'reject'
    }
    const batches: number[][] = []
    const batch = { size: 2, wait: 60_000 }
    const handle = (messages: Message<Order>[]): void => void batches.push(messages.map(each => each.json().id))
    const consumer = await the.protocol.consumer('q', handle, { schema: ORDER, onFailure, batch })
    await the.publish({}, { id: 1 }, { id: 2 })
    await until('the batch is acked', () => the.broker.queue('q').unacked.length < 2)
    assert.deepEqual(batches, [[1, 2]])
    assert.equal(the.broker.queue('q').unacked.length, 1)
    failing.resolve()
    await until('the other one is dead', () => the.dead.length === 1)
    await consumer.close()

    const valid = new Map<number, () => void>()
    const slow = schema<Order>(
      value => new Promise(resolve => valid.set((value as Order).id, () => resolve({ value }))),
    )
    const loop = await the.protocol.consumer('q', { schema: slow })
    const abort = new AbortController()
    const others = [1, 2].map(() => rejection(loop.next({ signal: abort.signal }), AbortError))
    const asked = loop.batches(batch)
    const first = asked.next()
    await the.publish({ id: 1 }, { id: 2 }, { id: 3 })
    await until('three are validated', () => valid.size === 3)
    abort.abort()
    await Promise.all(others)
    for (const id of [2, 3]) valid.get(id)?.()
    await first
    asked.next().catch(() => {})
    await until('the batch is acked', () => the.broker.queue('q').unacked.length < 2)
    assert.equal(the.broker.queue('q').unacked.length, 1)
  })

  it('keeps the order of messages with a concurrency of 1, and decodes no more than concurrency allows', async () => {
    for (const concurrency of [1, 3]) {
      await using the = await Scene.open()
      let validating = 0
      let most = 0
      const slow = schema<Order>(async value => {
        most = Math.max(most, ++validating)
        const { id } = value as Order
        for (let i = 0; i < 20 - 2 * id; i++) await new Promise(resolve => setImmediate(resolve))
        validating--
        return { value }
      })
      const seen: number[] = []
      await the.publish(...Array.from({ length: 10 }, (_, id) => ({ id })))
      await the.protocol.consumer('q', message => void seen.push(message.json().id), { schema: slow, concurrency })
      await until('all are handled', () => seen.length === 10)
      assert.equal(most, concurrency)
      if (concurrency === 1) assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    }
  })

  it('hands out what is decoded in the order of delivery, whatever was decoded first', async () => {
    await using the = await Scene.open()
    const valid = new Map<number, () => void>()
    const slow = schema<Order>(
      value => new Promise(resolve => valid.set((value as Order).id, () => resolve({ value }))),
    )
    const seen: number[] = []
    const consumer = await the.protocol.consumer('q', message => void seen.push(message.json().id), { schema: slow })
    await the.publish(...Array.from({ length: 8 }, (_, id) => ({ id })))
    await until('all are validated', () => valid.size === 8)
    consumer.pause()
    for (const id of [6, 2, 7, 1, 4]) valid.get(id)?.()
    await new Promise(resolve => setImmediate(resolve))
    assert.deepEqual(seen, [])
    consumer.resume()
    await Promise.resolve()
    assert.deepEqual(seen, [1, 2, 4, 6, 7])
    for (const id of [5, 0, 3]) valid.get(id)?.()
    await until('all are handled', () => seen.length === 8)
    assert.deepEqual(seen.slice(5), [5, 0, 3])
  })

  it('whose validation never ends takes one place, and gives the message back at a close', async () => {
    await using the = await Scene.open()
    const never = schema<Order>(value => ((value as Order).id === 0 ? new Promise(() => {}) : { value }))
    const seen: number[] = []
    const options = { schema: never, concurrency: 2 }
    const consumer = await the.protocol.consumer('q', message => void seen.push(message.json().id), options)
    await the.publish({ id: 0 }, { id: 1 }, { id: 2 })
    await until('the others are handled', () => seen.length === 2)
    assert.equal(consumer.stats().unacknowledged, 1)
    await consumer.close()
    assert.deepEqual(the.ready, ['{"id":0}'])
  })

  it('that is closed while it validates hands out nothing more', async () => {
    await using the = await Scene.open()
    const valid = deferred()
    const slow = schema<Order>(async value => {
      await valid.promise
      return { value }
    })
    const seen: Message[] = []
    const loop = await the.protocol.consumer('q', { schema: slow })
    const consumer = await the.protocol.consumer('q', message => void seen.push(message), { schema: slow })
    await the.publish({ id: 1 }, { id: 2 })
    const next = loop.next()
    await until('both are delivered', () => the.ready.length === 0)
    await Promise.all([consumer.close(), loop.close()])
    assert.deepEqual(await next, { value: undefined, done: true })
    valid.resolve()
    await new Promise(resolve => setImmediate(resolve))
    assert.deepEqual(seen, [])
    assert.deepEqual(the.ready.sort(), ['{"id":1}', '{"id":2}'])
  })

  it('whose next() times out or is aborted while it validates loses no message', async () => {
    await using the = await Scene.open()
    const valid = deferred()
    const slow = schema<Order>(async value => {
      await valid.promise
      return { value }
    })
    const consumer = await the.protocol.consumer('q', { schema: slow })
    await the.publish({ id: 1 })
    await rejection(consumer.next({ timeout: 1 }), Error)
    await rejection(consumer.next({ signal: AbortSignal.abort() }), Error)
    valid.resolve()
    const { value } = await consumer.next()
    assert.deepEqual(value?.json(), { id: 1 })
  })

  it('that loses its connection while it validates gets the message again', async () => {
    await using the = await Scene.open({ recovery: { initialDelay: 1 } })
    const first = deferred()
    let validations = 0
    const slow = schema<Order>(async value => {
      if (validations++ === 0) await first.promise
      return { value }
    })
    const seen: [number, boolean][] = []
    const consumer = await the.protocol.consumer(
      'q',
      message => void seen.push([message.json().id, message.envelope.isRedeliver]),
      { schema: slow },
    )
    await the.publish({ id: 1 })
    await until('it validates', () => validations === 1)
    the.broker.cutConnections()
    await until('it came again', () => seen.length === 1)
    first.resolve()
    await new Promise(resolve => setImmediate(resolve))
    assert.deepEqual(seen, [[1, true]])
    await until('it is acked', () => consumer.stats().unacknowledged === 0)
    assert.deepEqual(
      the.errors.filter(error => error instanceof DecodeError),
      [],
    )
  })

  it('handles again what came back from a wait for its next attempt, as it was first published', async () => {
    await using the = await Scene.open()
    await the.protocol.exchangeDeclare('e', 'direct')
    await the.protocol.queueBind('q', 'e', 'key')
    const seen: unknown[] = []
    const handler = (message: Message<Order>): void => {
      seen.push([message.attempt, message.json().id, message.envelope.exchangeName])
      if (message.attempt === 1) throw new Error('once more')
    }
    const retries = { retries: 1, delays: [1] }
    await the.protocol.consumer('q', handler, { schema: ORDER, onFailure: retries })
    await the.protocol.publish({ id: 1 }, 'e', 'key')
    await until('it is handled twice', () => seen.length === 2)
    assert.deepEqual(seen, [
      [1, 1, 'e'],
      [2, 1, 'e'],
    ])
  })

  it('without acks gives all that came to its loop, and drops what does not fit', async () => {
    await using the = await Scene.open()
    await the.publish({ id: 1 }, {}, { id: 2 }, { id: 3 })
    const later = schema<Order>(async value => ORDER['~standard'].validate(value))
    const consumer = await the.protocol.consumer('q', { schema: later, noAck: true })
    await until('all are delivered', () => the.ready.length === 0)
    const seen: number[] = []
    for await (const message of consumer) {
      seen.push(message.json().id)
      if (seen.length === 1) void consumer.close()
    }
    assert.deepEqual(seen, [1, 2, 3])
    assert.equal(the.errors.length, 1)
  })

  it('without acks throws what ended it when nothing that came fits any more', async () => {
    await using the = await Scene.open()
    const validated = deferred()
    const later = schema<Order>(async value => {
      await validated.promise
      return ORDER['~standard'].validate(value)
    })
    const consumer = await the.protocol.consumer('q', { schema: later, noAck: true, onCancel: () => 'close' })
    const ended = nextEvent(consumer, 'closed')
    const loop = consumer[Symbol.asyncIterator]()
    const asked = [loop.next(), loop.next()]
    await the.publish({}, { id: 1 })
    await until('both are delivered', () => the.ready.length === 0)
    the.broker.cancelConsumers('q')
    await ended
    asked.push(loop.next())
    validated.resolve()
    const [first, ...others] = await Promise.allSettled(asked)
    assert.equal(first?.status === 'fulfilled' && first.value.value?.json().id, 1)
    assert.ok(others.every(other => other.status === 'rejected' && other.reason instanceof ConsumerCancelledError))
    await rejection(loop.next(), ConsumerCancelledError)
  })

  it('has the work on a message that does not fit traced as failed, from its start to its end', async () => {
    await using the = await Scene.open()
    const events: string[] = []
    const names = ['start', 'end', 'error', 'asyncEnd']
    const listeners = names.map(name => [`tracing:asyncamqp:process:${name}`, () => void events.push(name)] as const)
    for (const [name, listener] of listeners) subscribe(name, listener)
    await the.publish({})
    await the.protocol.consumer('q', () => {}, REJECT)
    await until('it is settled', () => the.dead.length === 1)
    for (const [name, listener] of listeners) unsubscribe(name, listener)
    assert.deepEqual(events, ['start', 'end', 'error', 'asyncEnd'])
  })

  it('refuses options that mean nothing', async () => {
    await using the = await Scene.open()
    const consumer = (options: object): Promise<unknown> => the.protocol.consumer('q', options as never)
    await rejection(consumer({ onFailure: 'reject' }), EncodeError)
    await rejection(consumer({ schema: {} }), EncodeError)
    await rejection(consumer({ codecs: [{}] }), EncodeError)
    await rejection(consumer({ schema: ORDER, noAck: true, onFailure: 'reject' }), EncodeError)
  })
})

describe('A consumer with codecs', () => {
  it('unpacks bodies, and gives what is too large to onFailure, never to its handler', async () => {
    await using the = await Scene.open({ maxMessageSize: 100_000 })
    const seen: string[] = []
    const failed: unknown[] = []
    await the.protocol.consumer('q', message => void seen.push(message.text()), {
      codecs: [],
      onFailure: (_message, error) => {
        failed.push(error)
        return 'reject'
      },
    })
    const properties = { contentEncoding: 'gzip' }
    await the.protocol.publish(gzipSync(Buffer.alloc(10_000_000)), '', 'q', properties)
    await the.protocol.publish('not gzip', '', 'q', properties)
    await the.protocol.publish('packed', '', 'q', properties, { codecs: [] })
    await the.protocol.publish('plain', '', 'q')
    await until('all are settled', () => seen.length === 2 && failed.length === 2)
    assert.deepEqual(seen.sort(), ['packed', 'plain'])
    assert.ok(failed.every(error => error instanceof DecodeError && error.issues === undefined))
    assert.match(String(failed), /has more than maxMessageSize, 100000 bytes/)
    // As they came.
    assert.equal(the.dead.length, 2)
    assert.ok(the.dead.includes('not gzip'))
  })
})
