import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { ConnectionClosedError, connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { openFixture } from '../support/fixture.ts'
import { rejection } from '../support/rejection.ts'
import { watchSockets } from '../support/sockets.ts'

describe('close() of a connection', { timeout: 60_000 }, () => {
  it('ends the state, the channels, the socket and the wait for the end, without an error', async t => {
    const sockets = watchSockets(t)
    const { protocol, channel, errors } = await openFixture()
    const closed = once(protocol, 'closed')
    const waiting = protocol.waitClosed()
    assert.equal(protocol.state, 'open')

    assert.equal(await protocol.close(), undefined)
    assert.equal(protocol.state, 'closed')
    assert.equal(channel.isOpen, false)
    assert.equal(await waiting, undefined)
    assert.equal((await closed)[0], undefined)
    assert.deepEqual(errors, [])

    assert.equal(sockets.length, 1)
    const [socket] = sockets
    if (socket?.closed === false) await new Promise(resolve => socket.once('close', resolve))

    const error = await rejection(protocol.channel(), ConnectionClosedError)
    assert.equal(error.replyCode, undefined)
    assert.match(error.message, /closed/)
  })

  it('called twice gives the same promise', async () => {
    const protocol = await connect(broker.url, { recovery: false })
    const closing = protocol.close()
    assert.equal(protocol.close(), closing)
    await closing
    assert.equal(protocol.close(), closing)
    assert.equal(protocol.state, 'closed')
  })
})
