import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConnectionClosedError } from '../../src/index.ts'
import { deliveryInbox, openFixture } from '../support/fixture.ts'
import { rejection } from '../support/rejection.ts'

describe('basic.recover', { timeout: 60_000 }, () => {
  it('as basicRecoverAsync gives what is unacknowledged back to the queue', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('payload', '', queue)
    const { inbox, callback } = deliveryInbox()
    await channel.basicConsume(callback, queue)
    assert.equal((await inbox.next()).envelope.isRedeliver, false)
    assert.equal(await channel.basicRecoverAsync({ requeue: true }), undefined)
    const again = await inbox.next()
    assert.equal(again.body.toString(), 'payload')
    assert.equal(again.envelope.isRedeliver, true)
    assert.equal(again.envelope.deliveryTag, 2)
  })

  for (const method of ['basicRecoverAsync', 'basicRecover'] as const) {
    it(`as ${method} without requeue makes the broker close the connection with 540`, async () => {
      await using fixture = await openFixture()
      const { channel, protocol } = fixture
      const ended = rejection(protocol.waitClosed(), ConnectionClosedError)
      const call = channel[method]({ requeue: false })
      if (method === 'basicRecoverAsync') assert.equal(await call, undefined)
      else assert.equal((await rejection(call, ConnectionClosedError)).replyCode, 540)

      const error = await ended
      assert.equal(error.replyCode, 540)
      assert.equal(error.replyText, 'NOT_IMPLEMENTED - requeue=false')
      assert.equal(error.classId, 60)
      assert.equal(protocol.state, 'closed')
      assert.equal(channel.isOpen, false)
    })
  }

  it('as basicRecover gives what is unacknowledged back and waits for the answer', async () => {
    await using fixture = await openFixture()
    const { channel } = fixture
    const { queue } = await channel.queueDeclare()
    await channel.basicPublish('payload', '', queue)
    assert.equal((await channel.basicGet(queue))?.envelope.isRedeliver, false)
    assert.equal(await channel.basicGet(queue), null)
    assert.equal(await channel.basicRecover({ requeue: true }), undefined)
    const again = await channel.basicGet(queue)
    assert.equal(again?.body.toString(), 'payload')
    assert.equal(again?.envelope.isRedeliver, true)
  })
})
