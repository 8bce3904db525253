import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { hasNoDelay, watchSockets } from '../support/sockets.ts'

describe('connect()', { timeout: 60_000 }, () => {
  it('gives an open protocol that knows what the server says of itself', async () => {
    await using protocol = await connect(broker.url)
    assert.equal(protocol.state, 'open')
    assert.equal(protocol.blocked, undefined)
    assert.equal(protocol.serverProperties['product'], 'RabbitMQ')
    assert.match(String(protocol.serverProperties['version']), /^\d+\.\d+\.\d+/)
    assert.ok(protocol.serverMechanisms.includes('PLAIN'))
    assert.equal(protocol.channelsIdsCount, 0)
  })

  it('keeps the tuning it is given, or the limit of the server if that is lower', async () => {
    await using offered = await connect(broker.url, { heartbeat: 3600 })
    await using protocol = await connect(broker.url, { frameMax: 131_072, channelMax: 10, heartbeat: 100 })
    assert.equal(protocol.serverFrameMax, 131_072)
    assert.equal(protocol.serverChannelMax, 10)
    assert.equal(protocol.serverHeartbeat, Math.min(100, offered.serverHeartbeat))

    await using lower = await connect(broker.url, { frameMax: 8192, heartbeat: 5 })
    assert.equal(lower.serverFrameMax, 8192)
    assert.equal(lower.serverChannelMax, offered.serverChannelMax)
    assert.equal(lower.serverHeartbeat, 5)
    await using channel = await lower.channel()
    assert.equal(channel.isOpen, true)
  })

  it('turns Nagle’s algorithm off', async t => {
    const sockets = watchSockets(t)
    await using protocol = await connect(broker.url)
    assert.equal(protocol.state, 'open')
    assert.equal(sockets.length, 1)
    assert.deepEqual(sockets.map(hasNoDelay), [true])
  })
})
