import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ReadThrottle } from '../../../src/connection/wire/read-throttle.ts'
import { FakeTransport } from '../../support/fake-transport.ts'

function fixture(): { readonly incoming: ReadThrottle; readonly transport: FakeTransport } {
  const transport = new FakeTransport()
  return { transport, incoming: new ReadThrottle(transport, 1_000) }
}

describe('ReadThrottle', () => {
  it('pauses past the limit, and resumes at half of it', () => {
    const { incoming, transport } = fixture()
    incoming.held(1_000)
    assert.equal(transport.paused, false)
    incoming.held(1)
    assert.equal(transport.paused, true)
    incoming.held(-400)
    assert.equal(transport.paused, true)
    incoming.held(-101)
    assert.equal(transport.paused, false)
    assert.deepEqual(transport.calls, ['pause', 'resume'])
  })

  it('never pauses while something awaits the broker', () => {
    const { incoming, transport } = fixture()
    incoming.awaiting(1)
    incoming.held(5_000)
    assert.equal(transport.paused, false)
    incoming.awaiting(-1)
    assert.equal(transport.paused, true)
    incoming.awaiting(1)
    assert.equal(transport.paused, false)
    assert.deepEqual(transport.calls, ['pause', 'resume'])
  })

  it('reads once in spite of a pause', () => {
    const { incoming, transport } = fixture()
    incoming.held(2_000)
    incoming.readOnce()
    incoming.wasRead()
    incoming.wasRead()
    assert.deepEqual(transport.calls, ['pause', 'resume', 'pause'])
  })

  it('goes on reading after such a read where the pause is over by then', () => {
    const { incoming, transport } = fixture()
    incoming.held(2_000)
    incoming.readOnce()
    incoming.held(-2_000)
    incoming.wasRead()
    assert.deepEqual(transport.calls, ['pause', 'resume', 'resume'])
  })

  it('has nothing to read once where it is not paused', () => {
    const { incoming, transport } = fixture()
    incoming.readOnce()
    incoming.wasRead()
    assert.deepEqual(transport.calls, [])
  })
})
