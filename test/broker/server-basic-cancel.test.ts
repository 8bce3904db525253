import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Channel, ConsumerCancelledError } from '../../src/index.ts'
import { deliveryInbox, openFixture } from '../support/fixture.ts'
import { Inbox } from '../support/inbox.ts'

describe('a consumer that the broker cancels', { timeout: 60_000 }, () => {
  it('is reported if the channel has no cancellation callback, and does it no harm', async () => {
    const errors = new Inbox<Error>()
    await using fixture = await openFixture({ onError: error => errors.add(error) })
    const { channel } = fixture
    await using other = await fixture.protocol.channel()
    const { queue } = await channel.queueDeclare()
    const { inbox, callback } = deliveryInbox()
    const { consumerTag } = await channel.basicConsume(callback, queue)
    await other.queueDelete(queue)

    const reported = await errors.next()
    assert.ok(reported instanceof ConsumerCancelledError)
    assert.equal(reported.consumerTag, consumerTag)
    assert.equal(reported.queueName, queue)

    const next = await channel.queueDeclare()
    await channel.basicConsume(callback, next.queue, { consumerTag })
    await channel.basicPublish('payload', '', next.queue)
    assert.equal((await inbox.next()).body.toString(), 'payload')
    assert.equal(channel.isOpen, true)
    assert.equal(errors.received.length, 1)
  })

  it('calls plain and async cancellation callbacks with the channel and the consumer tag', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const calls = new Inbox<[string, Channel, string]>()
    channel.addCancellationCallback((given, consumerTag) => calls.add(['plain', given, consumerTag]))
    channel.addCancellationCallback(async (given, consumerTag) => {
      await given.queueDeclare()
      calls.add(['async', given, consumerTag])
    })
    const { queue } = await channel.queueDeclare()
    const { consumerTag } = await channel.basicConsume(() => {}, queue)
    await channel.queueDelete(queue)
    assert.deepEqual(
      (await calls.take(2)).map(([kind, given, tag]) => [kind, given === channel, tag]),
      [
        ['plain', true, consumerTag],
        ['async', true, consumerTag],
      ],
    )
    assert.deepEqual(fixture.errors, [])
    assert.equal(channel.isOpen, true)
  })

  it('calls the other cancellation callbacks if one throws or rejects, and the channel stays open', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const calls = new Inbox<string>()
    channel.addCancellationCallback(() => {
      throw new Error('thrown')
    })
    channel.addCancellationCallback(async () => {
      throw new Error('rejected')
    })
    channel.addCancellationCallback((_, consumerTag) => calls.add(consumerTag))
    const { queue } = await channel.queueDeclare()
    const { consumerTag } = await channel.basicConsume(() => {}, queue)
    await channel.queueDelete(queue)
    assert.equal(await calls.next(), consumerTag)

    assert.match((await channel.queueDeclare()).queue, /^amq\.gen-/)
    assert.equal(channel.isOpen, true)
    const reported = fixture.errors.map(error => (error instanceof Error ? error.message : String(error)))
    assert.equal(reported.length, 2)
    assert.match(reported[0] ?? '', /thrown/)
    assert.match(reported[1] ?? '', /rejected/)
  })
})
