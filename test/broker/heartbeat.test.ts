import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConnectionLostError, connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { rejection } from '../support/rejection.ts'
import { openScriptedServer } from '../support/scripted-server.ts'

describe('a heartbeat of one second', { timeout: 10_000 }, () => {
  it('makes the client send one within a second of silence, and give up a server silent for two', async () => {
    await using server = await openScriptedServer()
    const connecting = connect(server.url, { heartbeat: 1, recovery: false })
    const peer = await server.accept()
    const { heartbeat } = await peer.handshake({ heartbeat: 60 })
    const silentSince = performance.now()
    await using protocol = await connecting
    assert.equal(heartbeat, 1)
    assert.equal(protocol.serverHeartbeat, 1)

    const error = await rejection(protocol.waitClosed(), ConnectionLostError)
    const silence = performance.now() - silentSince
    assert.equal(error.reason, 'heartbeat')
    assert.ok(silence >= 1900 && silence < 3500, `gave up after ${silence.toFixed()} ms`)
    assert.equal(protocol.state, 'closed')
    const first = (peer.heartbeats[0] ?? Number.POSITIVE_INFINITY) - silentSince
    assert.ok(first > 0 && first < 1300, `the first heartbeat came after ${first.toFixed()} ms`)
    await peer.closed
  })

  it('keeps an idle connection to the broker open', async () => {
    await using protocol = await connect(broker.url, { heartbeat: 1, recovery: false })
    assert.equal(protocol.serverHeartbeat, 1)
    const ended = protocol.waitClosed()
    const idle = new Promise<string>(resolve => {
      setTimeout(resolve, 3500, 'idle')
    })
    assert.equal(await Promise.race([ended, idle]), 'idle')
    assert.equal(protocol.state, 'open')
    await using channel = await protocol.channel()
    assert.equal(channel.isOpen, true)
  })
})
