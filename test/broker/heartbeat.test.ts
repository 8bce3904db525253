import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConnectionLostError, connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { rejection } from '../support/rejection.ts'
import { openScriptedServer } from '../support/scripted-server.ts'
import { until } from '../support/until.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

describe('a heartbeat of one second', { timeout: 60_000 }, () => {
  it('makes the client send one within a second of silence, and give up a server silent for two', async () => {
    await using server = await openScriptedServer()
    const clock = new VirtualClock()
    const connecting = connect(server.url, { heartbeat: 1, recovery: false, clock })
    const peer = await server.accept()
    const { heartbeat } = await peer.handshake({ heartbeat: 60 })
    await using protocol = await connecting
    assert.equal(heartbeat, 1)
    assert.equal(protocol.serverHeartbeat, 1)

    const ended = rejection(protocol.waitClosed(), ConnectionLostError)
    await clock.advance(1_000)
    await until('a heartbeat has come', () => peer.heartbeats > 0)
    const { reason } = await clock.until(ended)
    assert.equal(reason, 'heartbeat')
    assert.ok(clock.now() >= 2_000 && clock.now() <= 3_000, `gave up after ${clock.now()} ms`)
    assert.equal(protocol.state, 'closed')
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
