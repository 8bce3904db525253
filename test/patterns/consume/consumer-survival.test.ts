import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  ChannelClosedError,
  ConnectionClosedError,
  ConnectionError,
  type Consumer,
  ConsumerCancelledError,
  type Message,
} from '../../../src/index.ts'
import { impatientClock } from '../../support/impatient-clock.ts'
import { management } from '../../support/management.ts'
import { uniqueName } from '../../support/names.ts'
import { rejection } from '../../support/rejection.ts'
import { until } from '../../support/until.ts'
import { deferred, nextEvent, type Scene, withScenes } from '../scene.ts'

const scene = await withScenes()

/** Have the broker close the channel of a message with 406, by an ack that it did not expect. */
function killChannel(message: Message): void {
  const { acker } = message
  message.ack()
  acker?.settle('ack', message.envelope.deliveryTag, false, false)
}

/** Take the next message, and ack it. */
async function take(consumer: Consumer): Promise<string | undefined> {
  const { value } = await consumer.next()
  value?.ack()
  return value?.text()
}

function collect(consumer: Consumer): { readonly seen: string[]; readonly ended: Promise<void> } {
  const seen: string[] = []
  const ended = (async () => {
    for await (const message of consumer) seen.push(message.text())
  })()
  ended.catch(() => {})
  return { seen, ended }
}

describe('A consumer whose queue is deleted', { concurrency: 4 }, () => {
  it('says so, and goes on within 1.5 s after the queue is made again', async () => {
    await using the = await scene({ clock: impatientClock(1_500) })
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(queue)
    const { seen } = collect(consumer)
    await until('the first is seen', () => seen.length === 1)
    const cancelled = nextEvent<Error>(consumer, 'cancelled')
    const resumed = nextEvent(consumer, 'resumed')
    await the.outside.queueDelete(queue)
    const error = await cancelled
    assert.ok(error instanceof ConsumerCancelledError)
    assert.equal(error.queueName, queue)
    // Long enough for the pauses to have grown.
    await until('three seconds are over', () => new Promise<true>(resolve => setTimeout(resolve, 3_000, true)))
    await the.outside.queueDeclare(queue, { durable: true })
    await the.fill(queue, ['b'])
    await resumed
    await until('the next is seen', () => seen.length === 2, { interval: 10 })
    assert.deepEqual(seen, ['a', 'b'])
    assert.deepEqual(the.errors, [])
    assert.equal(the.protocol.channelsIdsCount, 1)
  })

  it('is reported if there is no listener', async () => {
    await using the = await scene()
    const queue = await the.queue()
    await the.protocol.consumer(queue)
    await the.outside.queueDelete(queue)
    await until('it is reported', () => the.errors.length === 1)
    assert.ok(the.errors[0] instanceof ConsumerCancelledError)
  })

  it('ends if onCancel says so, and its loop throws', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const reasons: Error[] = []
    const consumer = await the.protocol.consumer(queue, {
      onCancel: error => {
        reasons.push(error)
        return 'close'
      },
    })
    const { ended } = collect(consumer)
    const closed = nextEvent<Error>(consumer, 'closed')
    await the.outside.queueDelete(queue)
    const error = await rejection(ended, ConsumerCancelledError)
    // The loop has one of its own, which shows its line.
    assert.deepEqual(reasons, [error])
    assert.equal(await closed, reasons[0])
    await rejection(consumer.next(), ConsumerCancelledError)
    await consumer.close()
  })

  it('aborts the signals of messages in hand, which cannot be settled any more', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c'])
    const consumer = await the.protocol.consumer(queue)
    const { value: message } = await consumer.next()
    assert.ok(message !== undefined)
    const aborted = new Promise(resolve => message.signal.addEventListener('abort', resolve, { once: true }))
    await the.outside.queueDelete(queue)
    await aborted
    assert.ok(message.signal.reason instanceof ConsumerCancelledError)
    assert.equal(message.ack(), false)
  })

  it('can be closed while it waits for the queue', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const consumer = await the.protocol.consumer(queue)
    const { ended } = collect(consumer)
    const cancelled = nextEvent(consumer, 'cancelled')
    await the.outside.queueDelete(queue)
    await cancelled
    await consumer.close()
    await ended
    await the.protocol.close()
  })

  it('outlives a queue that came instead and is another connection’s, and says so', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const consumer = await the.protocol.consumer(queue)
    const reasons: Error[] = []
    consumer.on('cancelled', error => reasons.push(error))
    const { seen } = collect(consumer)
    await the.outside.queueDelete(queue)
    await the.outside.queueDeclare(queue, { exclusive: true })
    await until('it was refused', () => reasons.length === 2)
    assert.equal((reasons[1] as ChannelClosedError).replyCode, 405)
    await the.outside.queueDelete(queue)
    await the.outside.queueDeclare(queue, { durable: true })
    await the.fill(queue, ['a'])
    await until('it goes on', () => seen.length === 1)
  })

  it('ends when onCancel wants it no more after a refusal', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const onCancel = (error: Error) => (error instanceof ChannelClosedError ? 'close' : 'resume')
    const consumer = await the.protocol.consumer(queue, { onCancel })
    const { ended } = collect(consumer)
    await the.outside.queueDelete(queue)
    await the.outside.queueDeclare(queue, { exclusive: true })
    const error = await rejection(ended, ChannelClosedError)
    assert.equal(error.replyCode, 405)
  })
})

describe('A consumer whose channel the broker closes', { concurrency: 4 }, () => {
  it('opens another one and goes on', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c'])
    const consumer = await the.protocol.consumer(queue)
    const cancelled = nextEvent<Error>(consumer, 'cancelled')
    const { value: first } = await consumer.next()
    assert.ok(first !== undefined)
    killChannel(first)
    const error = await cancelled
    assert.ok(error instanceof ChannelClosedError)
    assert.equal(error.replyCode, 406)
    assert.equal((await consumer.next()).value?.text(), 'b')
    const { value: third } = await consumer.next()
    assert.equal(third?.text(), 'c')
    assert.equal(third.ack(), true)
    assert.equal(the.protocol.channelsIdsCount, 1)
  })

  it('goes on with its handler, even if an earlier one hangs', async () => {
    await using the = await scene()
    const queue = await the.queue(['hang'])
    const hanging = deferred<Message>()
    const seen: string[] = []
    const consumer = await the.protocol.consumer(queue, message => {
      seen.push(message.text())
      if (seen.length > 1) return undefined
      hanging.resolve(message)
      return new Promise(() => {})
    })
    const message = await hanging.promise
    const resumed = nextEvent(consumer, 'resumed')
    killChannel(message)
    await resumed
    await the.fill(queue, ['next'])
    await until('the next is seen', () => seen.includes('next'))
    await consumer.close({ timeout: 100 })
  })
})

describe('A consumer of a stream', { concurrency: 2 }, () => {
  const stream = { 'x-queue-type': 'stream' }
  const bodies = Array.from({ length: 10 }, (_, i) => `${i}`)
  const first = { arguments: { 'x-stream-offset': 'first' }, prefetchCount: 4 } as const

  for (const [what, lose] of [
    ['its connection is lost', (the: Scene) => the.closeConnection()],
    ['its channel is closed', async (_the: Scene, message: Message) => killChannel(message)],
  ] as const) {
    it(`goes on after what is settled, after ${what}`, async () => {
      await using the = await scene()
      const queue = await the.queue(bodies, stream)
      const consumer = await the.protocol.consumer(queue, first)
      const resumed = nextEvent(consumer, 'resumed')
      const seen: (string | undefined)[] = []
      while (seen.length < 5) seen.push(await take(consumer))
      const { value: sixth } = await consumer.next()
      assert.ok(sixth !== undefined)
      assert.equal(sixth.text(), '5')
      await lose(the, sixth)
      await resumed
      while (seen.at(-1) !== '9') seen.push(await take(consumer))
      assert.deepEqual(
        seen.filter(body => body !== '5'),
        bodies.filter(body => body !== '5'),
      )
      await consumer.close({ timeout: 0 })
    })

    it(`that another connection declared misses nothing after ${what}, without an offset`, async () => {
      await using the = await scene()
      const queue = await the.queue([], stream)
      const consumer = await the.protocol.consumer(queue, { prefetchCount: 1 })
      const resumed = nextEvent(consumer, 'resumed')
      await the.fill(queue, ['a'])
      const { value: message } = await consumer.next()
      assert.ok(message !== undefined)
      await the.fill(queue, ['b', 'c'])
      await lose(the, message)
      await resumed
      await the.fill(queue, ['d'])
      const seen = new Set<string | undefined>()
      while (!seen.has('d')) seen.add(await take(consumer))
      seen.delete('a')
      assert.deepEqual([...seen], ['b', 'c', 'd'])
      await consumer.close({ timeout: 0 })
    })

    it(`is not who gets messages of one from another queue: it goes on after ${what}`, async () => {
      await using the = await scene()
      const queue = await the.queue()
      const headers = { 'x-stream-offset': 5 }
      for (const body of ['a', 'b', 'c']) await the.outside.publish(body, '', queue, { headers })
      const consumer = await the.protocol.consumer(queue, { prefetchCount: 1 })
      const resumed = nextEvent(consumer, 'resumed')
      const { value: message } = await consumer.next()
      assert.ok(message !== undefined)
      await lose(the, message)
      await resumed
      const seen = new Set<string | undefined>()
      while (!seen.has('c')) seen.add(await take(consumer))
      seen.delete('a')
      assert.deepEqual([...seen], ['b', 'c'])
      await consumer.close({ timeout: 0 })
    })
  }
})

describe('A consumer of a stream that gives messages back', { concurrency: 4 }, () => {
  const stream = { 'x-queue-type': 'stream' }
  const first = { arguments: { 'x-stream-offset': 'first' }, prefetchCount: 10 } as const
  const ways: readonly (readonly [what: string, end: (the: Scene, queue: string) => Promise<unknown>])[] = [
    [
      'by close()',
      async (the, queue) => {
        const consumer = await the.protocol.consumer(queue, first)
        await consumer.next()
        await consumer.close()
      },
    ],
    [
      'by a loop that is left',
      async (the, queue) => {
        for await (const _message of await the.protocol.consumer(queue, first)) break
      },
    ],
    [
      'by a handler that fails',
      async (the, queue) => {
        const seen: string[] = []
        const handler = (message: Message) => {
          seen.push(message.text())
          if (seen.length === 2) throw new Error('not yet')
        }
        const consumer = await the.protocol.consumer(queue, handler, { ...first, concurrency: 1 })
        await until('it is handled again', () => seen.filter(text => text === '1').length === 2)
        assert.deepEqual(seen, ['0', '1', '2', '3', '1'])
        await consumer.close()
      },
    ],
    [
      'to nobody, by a program that rejects one',
      async (the, queue) => {
        const channel = await the.protocol.channel()
        await channel.basicQos({ prefetchCount: 1 })
        const seen: string[] = []
        await channel.basicConsume(
          async (ch, body, { deliveryTag }) => {
            seen.push(String(body))
            await ch.basicReject(deliveryTag)
          },
          queue,
          { arguments: first.arguments },
        )
        await until('all have come', () => seen.length === 4)
      },
    ],
  ]
  for (const [what, end] of ways) {
    it(`costs its connection nothing: ${what}`, async () => {
      await using the = await scene()
      const queue = await the.queue(['0', '1', '2', '3'], stream)
      const lost: Error[] = []
      the.protocol.on('disconnected', error => lost.push(error))
      await end(the, queue)
      // The broker closes a connection over the bytes that it has read by now.
      await the.protocol.queueDeclare(queue, { passive: true })
      assert.deepEqual(lost, [])
    })
  }

  it('misses nothing if it had got nothing before its connection was lost', async () => {
    await using the = await scene()
    const queue = await the.queue([], stream)
    const seen: string[] = []
    const consumer = await the.protocol.consumer(queue, message => seen.push(message.text()))
    const cancelled = nextEvent(consumer, 'cancelled')
    await the.closeConnection()
    await the.fill(queue, ['a', 'b'])
    await cancelled
    await the.fill(queue, ['c'])
    await until('all have come', () => seen.length === 3)
    assert.deepEqual(seen, ['a', 'b', 'c'])
  })
})

describe('A consumer that had its queue for itself', () => {
  it('waits for its turn if another has it so meanwhile', async () => {
    await using the = await scene()
    const queue = await the.queue()
    const consumer = await the.protocol.consumer(queue, { exclusive: true })
    const interrupted = nextEvent(consumer, 'cancelled')
    const waiting = consumer.next()
    await Promise.all([
      the.outside.queueDelete(queue),
      the.outside.queueDeclare(queue, { durable: true }),
      the.outside.basicConsume(() => {}, queue, { exclusive: true, consumerTag: 'other' }),
    ])
    await interrupted
    // It asks for the queue, and is refused, several times.
    await new Promise(resolve => setTimeout(resolve, 500))
    const resumed = nextEvent(consumer, 'resumed')
    await the.outside.basicCancel('other')
    await resumed
    await the.fill(queue, ['a'])
    assert.equal((await waiting).value?.text(), 'a')
  })
})

describe('A consumer that may no longer consume', { concurrency: 3 }, () => {
  /** A queue that is refused once it was consumed from, and what interrupts its consumer then. */
  const ends: [
    when: string,
    options: { readonly exclusive?: boolean },
    interrupt: (the: Scene, restricted: Scene, queue: string) => Promise<unknown>,
  ][] = [
    ['whose queue was deleted', {}, (the, _, queue) => moveQueue(the, queue)],
    ['that had its queue for itself', { exclusive: true }, (the, _, queue) => moveQueue(the, queue)],
    ['whose connection was lost', {}, (_, restricted) => restricted.closeConnection()],
  ]
  for (const [when, options, interrupt] of ends) {
    it(`${when} says so, tries on until it may again, and no other consumer waits`, async t => {
      const user = uniqueName('user')
      await management().createUser(user, 'secret')
      t.after(() => management().deleteUser(user))
      await using the = await scene()
      const vhost = await vhostOf(the)
      await management().setPermissions(vhost, user)
      await using restricted = await scene({ login: user, password: 'secret' })
      const queue = uniqueName('exclusive')
      await the.outside.queueDeclare(queue, { durable: true })
      const other = await the.queue()
      const consumer = await restricted.protocol.consumer(queue, options)
      const codes: (number | undefined)[] = []
      consumer.on('cancelled', error => codes.push((error as ChannelClosedError).replyCode))
      const undisturbed = await restricted.protocol.consumer(other)
      const waiting = consumer.next()
      await management().setPermissions(vhost, user, { read: `^${other}$` })
      await interrupt(the, restricted, queue)
      await until('it was refused', () => codes.includes(403))
      await the.fill(other, ['a'])
      assert.equal((await undisturbed.next()).value?.text(), 'a')
      await management().setPermissions(vhost, user)
      await the.fill(queue, ['b'])
      assert.equal((await waiting).value?.text(), 'b')
    })
  }
})

/** Have the broker cancel the consumers of a queue that is there again. */
async function moveQueue(the: Scene, queue: string): Promise<void> {
  await the.outside.queueDelete(queue)
  await the.outside.queueDeclare(queue, { durable: true })
}

describe('A consumer whose connection is lost', { concurrency: 2 }, () => {
  it('goes on with the next one, and sees again what it had not settled', async () => {
    await using the = await scene()
    const queue = await the.queue(['a', 'b', 'c'])
    const consumer = await the.protocol.consumer(queue)
    const cancelled = nextEvent<Error>(consumer, 'cancelled')
    const resumed = nextEvent(consumer, 'resumed')
    const { value: message } = await consumer.next()
    assert.ok(message !== undefined)
    const { signal } = message
    await the.closeConnection()
    assert.ok((await cancelled) instanceof ConnectionError)
    assert.equal(signal.aborted, true)
    assert.equal(message.ack(), false)
    await resumed
    const seen = new Set<string | undefined>()
    for (let i = 0; i < 3; i++) seen.add((await consumer.next()).value?.text())
    assert.deepEqual([...seen].sort(), ['a', 'b', 'c'])
    await consumer.close({ timeout: 0 })
    assert.deepEqual(the.errors, [])
  })

  it('goes on with its handler: nothing is lost, and nothing acked twice', async () => {
    await using the = await scene()
    const bodies = Array.from({ length: 200 }, (_, i) => `${i}`)
    const queue = await the.queue(bodies)
    const seen = new Set<string>()
    const half = deferred()
    const goOn = deferred()
    await the.protocol.consumer(
      queue,
      async message => {
        if (seen.size === 100) {
          half.resolve()
          await goOn.promise
        }
        seen.add(message.text())
      },
      { concurrency: 10 },
    )
    await half.promise
    await the.closeConnection()
    await nextEvent(the.protocol, 'recovered')
    goOn.resolve()
    await until('all are seen', () => seen.size === 200)
    await until('all are acked', async () => (await the.inspect(queue)).messageCount === 0)
    await the.protocol.close()
    assert.equal((await the.inspect(queue)).messageCount, 0)
    assert.deepEqual(the.errors, [])
  })

  it('ends with the reason if recovery is off', async () => {
    await using the = await scene({ recovery: false })
    const queue = await the.queue(['a'])
    const consumer = await the.protocol.consumer(queue)
    const { seen, ended } = collect(consumer)
    await until('the first is seen', () => seen.length === 1)
    await the.closeConnection()
    const error = await rejection(ended, ConnectionClosedError)
    assert.equal(error.replyCode, 320)
    await rejection(consumer.next(), ConnectionClosedError)
  })
})

async function vhostOf(the: Scene): Promise<string> {
  return (await management().connection(the.connectionName)).vhost
}
