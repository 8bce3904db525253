import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ReadThrottle } from '../../../src/connection/wire/read-throttle.ts'
import { FakeTransport } from '../../support/fake-transport.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

const MIB = 1024 * 1024

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

  it('pauses at four times the limit, and goes on for 16 MiB ever more rarely while something awaits the broker', async () => {
    const { incoming, transport, clock } = fixture()
    incoming.operationStarted()
    incoming.buffered(4_001)
    assert.equal(transport.paused, true)
    const resumed: number[] = []
    let read = 0
    for (let at = 0; at < 200_000; at += 10) {
      if (!transport.paused) resumed.push(at)
      for (; !transport.paused; read += MIB) incoming.buffered(MIB)
      await clock.advance(10)
    }
    // Each pause is twice as long as the one before, and a minute at most.
    assert.deepEqual(resumed, [10, 30, 70, 150, 310, 630, 1_270, 2_550, 5_110, 10_230, 20_470, 40_950, 81_910, 141_910])
    assert.equal(read, resumed.length * 17 * MIB)
    incoming.buffered(-read - 1)
    assert.equal(transport.paused, false, 'there is room again')
    assert.equal(clock.pending, 0)
  })

  it('begins again with each wait for the broker', async () => {
    const { incoming, transport, clock } = fixture()
    incoming.buffered(5_000)
    for (let times = 0; times < 3; times++) {
      incoming.operationStarted()
      await clock.advance(9)
      assert.equal(transport.paused, true)
      await clock.advance(1)
      assert.equal(transport.paused, false)
      incoming.operationEnded()
      assert.equal(transport.paused, true)
    }
  })

  it('stays paused once nothing awaits the broker', async () => {
    const { incoming, transport, clock } = fixture()
    incoming.operationStarted()
    incoming.buffered(5_000)
    incoming.operationEnded()
    await clock.advance(100_000)
    assert.equal(transport.paused, true)
    assert.equal(clock.pending, 0)
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
