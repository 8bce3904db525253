import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError, type ConsumeArguments, type QueueArguments, timestamp } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { openFixture } from '../support/fixture.ts'
import { rejection } from '../support/rejection.ts'

const skip = broker.isAtLeast(4, 3) ? false : 'the arguments are those of RabbitMQ 4.3'
const deadLetters = { 'x-dead-letter-exchange': 'amq.fanout' }

/** Arguments that are typed, and what RabbitMQ refuses in the place of the last one. */
const QUEUES: readonly (readonly [type: string, accepted: QueueArguments, refused: readonly unknown[]])[] = [
  ['classic', { 'x-message-ttl': 1_000 }, ['a']],
  ['classic', { 'x-expires': 60_000 }, ['a', 0]],
  ['classic', { 'x-max-length': 5 }, ['a', -1]],
  ['classic', { 'x-max-length-bytes': 5 }, ['a']],
  ['classic', { 'x-overflow': 'reject-publish-dlx' }, ['wrong', 5]],
  ['classic', { 'x-max-priority': 255 }, ['a', 256]],
  ['classic', { 'x-single-active-consumer': true }, ['yes', 1]],
  ['classic', { 'x-queue-version': 2 }, [1]],
  ['classic', deadLetters, [5]],
  ['classic', { ...deadLetters, 'x-dead-letter-routing-key': 'k' }, [5]],
  ['quorum', { ...deadLetters, 'x-overflow': 'reject-publish', 'x-dead-letter-strategy': 'at-least-once' }, ['wrong']],
  ['quorum', { 'x-single-active-consumer': true }, ['yes']],
  ['quorum', { 'x-delivery-limit': -1 }, []],
  ['quorum', { 'x-consumer-timeout': 60_000 }, ['a', -1]],
  ['quorum', { 'x-consumer-disconnected-timeout': 60_000 }, ['a']],
  ['quorum', { 'x-quorum-initial-group-size': 1 }, ['a', 0]],
  ['quorum', { 'x-quorum-target-group-size': 1 }, []],
  ['quorum', { 'x-queue-leader-locator': 'balanced' }, ['wrong']],
  ['stream', { 'x-max-age': '7D' }, ['7 days', 7]],
  ['stream', { 'x-stream-max-segment-size-bytes': 1_000_000 }, ['a']],
  ['stream', { 'x-stream-filter-size-bytes': 16 }, ['a', 15]],
  ['stream', { 'x-initial-cluster-size': 1 }, ['a']],
  // RabbitMQ does not look at the values of these; it refuses them for other types of queues.
  ['quorum', { 'x-delayed-retry-type': 'all', 'x-delayed-retry-min': 1_000, 'x-delayed-retry-max': 2_000 }, []],
  ['quorum', { 'x-delayed-retry-type': 'failed' }, []],
  ['quorum', { 'x-delayed-retry-type': 'returned' }, []],
  ['quorum', { 'x-delayed-retry-type': 'disabled' }, []],
]

const CONSUMERS: readonly (readonly [type: string, accepted: ConsumeArguments, refused: readonly unknown[]])[] = [
  ['classic', { 'x-priority': -5 }, ['a']],
  ['quorum', { 'x-priority': 5 }, ['a']],
  ['quorum', { 'x-consumer-timeout': 60_000 }, ['a', -1]],
  ['stream', { 'x-stream-offset': 'first' }, ['wrong', '5 minutes', '5']],
  ['stream', { 'x-stream-offset': 'last' }, []],
  ['stream', { 'x-stream-offset': 'next' }, []],
  ['stream', { 'x-stream-offset': 5 }, []],
  ['stream', { 'x-stream-offset': 5n }, []],
  ['stream', { 'x-stream-offset': new Date() }, []],
  ['stream', { 'x-stream-offset': timestamp(1_700_000_000) }, []],
  ['stream', { 'x-stream-offset': '5m' }, []],
  ['stream', { 'x-stream-filter': 'a' }, []],
  ['stream', { 'x-stream-filter': ['a', 'b'], 'x-stream-match-unfiltered': true }, []],
]

/** The accepted arguments with another value of the last one. */
function spoilt(accepted: Readonly<Record<string, unknown>>, value: unknown): Record<string, never> {
  return { ...accepted, [Object.keys(accepted).at(-1) ?? '']: value } as Record<string, never>
}

describe('Arguments of queue.declare', { timeout: 60_000, skip }, () => {
  for (const [type, accepted, refused] of QUEUES) {
    const names = Object.entries(accepted).map(([name, value]) => `${name} ${value}`)
    it(`are taken of a ${type} queue: ${names.join(', ')}`, async () => {
      await using fixture = await openFixture()
      const queue = fixture.queueName()
      const { protocol } = fixture
      await protocol.queueDeclare(queue, { arguments: { 'x-queue-type': type, ...accepted } })
      for (const value of refused) {
        const wrong = { arguments: { 'x-queue-type': type, ...spoilt(accepted, value) } }
        const error = await rejection(protocol.queueDeclare(fixture.queueName(), wrong), ChannelClosedError)
        assert.equal(error.replyCode, 406)
        assert.match(error.message, /[Ii]nvalid/)
      }
    })
  }

  it('are refused of another type of queue', async () => {
    await using fixture = await openFixture()
    for (const [type, args] of [
      ['classic', { 'x-delayed-retry-type': 'all' }],
      ['classic', { 'x-consumer-timeout': 60_000 }],
      ['quorum', { 'x-max-priority': 10 }],
      ['stream', { 'x-single-active-consumer': true }],
    ] as const) {
      const declaring = fixture.protocol.queueDeclare(fixture.queueName(), {
        arguments: { 'x-queue-type': type, ...args },
      })
      assert.equal((await rejection(declaring, ChannelClosedError)).replyCode, 406)
    }
  })
})

describe('Arguments of basic.consume', { timeout: 60_000, skip }, () => {
  for (const [type, accepted, refused] of CONSUMERS) {
    const names = Object.entries(accepted).map(([name, value]) => `${name} ${value}`)
    it(`are taken of a ${type} queue: ${names.join(', ')}`, async () => {
      await using fixture = await openFixture()
      const queue = fixture.queueName()
      const { protocol } = fixture
      await protocol.queueDeclare(queue, { arguments: { 'x-queue-type': type } })
      for (const args of [accepted, ...refused.map(value => spoilt(accepted, value))]) {
        const channel = await protocol.channel()
        await channel.basicQos({ prefetchCount: 1 })
        const consuming = channel.basicConsume(() => {}, queue, { arguments: args })
        if (args === accepted) await consuming
        else assert.equal((await rejection(consuming, ChannelClosedError)).replyCode, 406)
        await channel.close()
      }
    })
  }
})
