import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError } from '../../src/index.ts'
import { openFixture } from '../support/fixture.ts'
import { rejection } from '../support/rejection.ts'

describe('after close() a channel', { timeout: 60_000 }, () => {
  it('is not open, as it was before', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    assert.equal(channel.isOpen, true)
    await channel.close()
    assert.equal(channel.isOpen, false)
  })

  it('may be closed any number of times', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    await channel.close()
    await Promise.all([channel.close(), channel.close(), channel.close()])
    assert.equal(fixture.protocol.state, 'open')
    assert.deepEqual(fixture.errors, [])
  })

  it('rejects publishes with ChannelClosedError, as not sent', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.close()
    for (const publishing of [channel.basicPublish('payload', '', queue), channel.publish('payload', '', queue)]) {
      const error = await rejection(publishing, ChannelClosedError)
      assert.equal(error.code, 'CHANNEL_CLOSED')
      assert.equal(error.outcome, 'notSent')
      assert.match(error.message, /closed/)
    }
    assert.equal((await fixture.inspect(queue)).messageCount, 0)
  })

  it('rejects queueDeclare with ChannelClosedError', async () => {
    await using fixture = await openFixture()
    await fixture.channel.close()
    const error = await rejection(fixture.channel.queueDeclare('queue'), ChannelClosedError)
    assert.match(error.message, /queue\.declare.*closed/)
  })

  it('rejects basicConsume with ChannelClosedError', async () => {
    await using fixture = await openFixture()
    const { queue } = await fixture.channel.queueDeclare()
    await fixture.channel.close()
    const error = await rejection(
      fixture.channel.basicConsume(() => {}, queue),
      ChannelClosedError,
    )
    assert.match(error.message, /basic\.consume.*closed/)
    assert.equal((await fixture.inspect(queue)).consumerCount, 0)
  })
})
