import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Channel } from '../../../src/channel/channel.ts'
import type { SourcedChannelOptions } from '../../../src/connection/channel-source.ts'
import { PublishFailedError } from '../../../src/index.ts'
import { ConfirmingChannel } from '../../../src/patterns/publish/confirming-channel.ts'
import { until } from '../../support/until.ts'
import { ProtocolSource } from '../protocol-source.ts'
import { withScenes } from '../scene.ts'

const scene = await withScenes()

/** Keeps the channels that it gave. */
class RememberingSource extends ProtocolSource {
  readonly channels: Channel[] = []

  override async openingChannel(options?: SourcedChannelOptions): Promise<Channel> {
    const channel = await super.openingChannel(options)
    this.channels.push(channel)
    return channel
  }
}

describe('A confirming channel', () => {
  it('is left for another when the broker nacks, and fails nothing else that is pending on it', async () => {
    await using the = await scene()
    const full = await the.queue([], { 'x-max-length': 5, 'x-overflow': 'reject-publish' })
    const queue = await the.queue()
    const source = new RememberingSource(the.protocol)
    const confirming = new ConfirmingChannel(source)
    const publishes = Array.from({ length: 60 }, (_, n) => (n % 2 === 0 ? full : queue)).map(async routingKey => ({
      routingKey,
      error: await confirming.publish('', '', routingKey, {}).then(
        () => undefined,
        (error: unknown) => error,
      ),
    }))
    const failed = (await Promise.all(publishes)).filter(({ error }) => error !== undefined)
    assert.ok(failed.length > 0)
    for (const { routingKey, error } of failed) {
      assert.equal(routingKey, full)
      assert.ok(error instanceof PublishFailedError)
    }
    await confirming.publish('', '', queue, {})
    const [first, second] = source.channels
    assert.equal(source.channels.length, 2)
    await until('the first is closed', () => first?.isOpen === false)
    assert.equal(second?.isOpen, true)
    await confirming.close()
    assert.deepEqual(the.errors, [])
  })
})
