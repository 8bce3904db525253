import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelCallbacks } from '../../src/channel/channel-callbacks.ts'
import { ConsumerCancelledError } from '../../src/errors.ts'

describe('The callbacks for cancellations of a channel', () => {
  it('are those that there were when a consumer was cancelled', () => {
    const calls: string[] = []
    const callbacks = new ChannelCallbacks('channel', { report: error => assert.fail(String(error)) })
    const error = new ConsumerCancelledError('cancelled', { queueName: 'q', consumerTag: 'c' })
    const addAnother = (channel: string, tag: string): void => {
      calls.push(`${channel} ${tag}`)
      assert.ok(calls.length < 10, 'it goes on for ever')
      callbacks.addOnCancellation(addAnother)
    }
    assert.equal(callbacks.cancelled(error), false)
    callbacks.addOnCancellation(addAnother)
    assert.equal(callbacks.cancelled(error), true)
    assert.deepEqual(calls, ['channel c'])
    callbacks.cancelled(error)
    assert.equal(calls.length, 3)
  })
})
