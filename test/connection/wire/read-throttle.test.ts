import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ReadThrottle } from '../../../src/connection/wire/read-throttle.ts'
import { FakeTransport } from '../../support/fake-transport.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

function fixture() {
  const transport = new FakeTransport()
  const clock = new VirtualClock()
  return { transport, clock, incoming: new ReadThrottle(transport, 1_000, clock) }
}

describe('ReadThrottle', () => {
  it('pauses past the limit, and resumes at half of it', () => {
    const { incoming, transport } = fixture()
    incoming.buffered(1_000)
    assert.equal(transport.paused, false)
    incoming.buffered(1)
    assert.equal(transport.paused, true)
    incoming.buffered(-400)
    assert.equal(transport.paused, true)
    incoming.buffered(-101)
    assert.equal(transport.paused, false)
    assert.deepEqual(transport.calls, ['pause', 'resume'])
  })

  it('goes on past the limit while something awaits the broker', () => {
    const { incoming, transport } = fixture()
    incoming.operationStarted()
    incoming.buffered(4_000)
    assert.equal(transport.paused, false)
    incoming.operationEnded()
    assert.equal(transport.paused, true)
    incoming.operationStarted()
    assert.equal(transport.paused, false)
    assert.deepEqual(transport.calls, ['pause', 'resume'])
  })

  it('pauses at four times the limit, and reads in ever rarer sips while something still awaits the broker', async () => {
    const { incoming, transport, clock } = fixture()
    incoming.operationStarted()
    incoming.buffered(4_001)
    assert.equal(transport.paused, true)
    const sips: number[] = []
    for (let at = 0; at < 2_000; at += 10) {
      if (!transport.paused) {
        sips.push(at)
        incoming.buffered(10)
        incoming.wasRead()
        assert.equal(transport.paused, true)
      }
      await clock.advance(10)
    }
    assert.deepEqual(sips, [50, 150, 350, 750, 1_550])
    incoming.buffered(-2_000)
    assert.equal(transport.paused, false, 'there is room again')
    assert.equal(clock.pending, 0)
  })

  it('sips no more once nothing awaits the broker', async () => {
    const { incoming, transport, clock } = fixture()
    incoming.operationStarted()
    incoming.buffered(5_000)
    incoming.operationEnded()
    await clock.advance(10_000)
    assert.equal(transport.paused, true)
  })

  it('reads once in spite of a pause', () => {
    const { incoming, transport } = fixture()
    incoming.buffered(2_000)
    incoming.readOnce()
    incoming.wasRead()
    incoming.wasRead()
    assert.deepEqual(transport.calls, ['pause', 'resume', 'pause'])
  })

  it('goes on reading after such a read if the pause is over by then', () => {
    const { incoming, transport } = fixture()
    incoming.buffered(2_000)
    incoming.readOnce()
    incoming.buffered(-2_000)
    incoming.wasRead()
    assert.deepEqual(transport.calls, ['pause', 'resume'])
  })

  it('has nothing to read once where it is not paused', () => {
    const { incoming, transport } = fixture()
    incoming.readOnce()
    incoming.wasRead()
    assert.deepEqual(transport.calls, [])
  })
})
