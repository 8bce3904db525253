import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import { pause } from '../../src/lib/pause.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

describe('pause', () => {
  it('waits for its time, and leaves no listener', async () => {
    const clock = new VirtualClock()
    const { signal } = new AbortController()
    const waiting = follow(pause(clock, 100, signal))
    await clock.advance(99)
    assert.equal(waiting.state, 'pending')
    await clock.advance(1)
    assert.equal(waiting.state, 'resolved')
    assert.deepEqual(getEventListeners(signal, 'abort'), [])
  })

  it('ends when the signal is aborted, and leaves no timer', async () => {
    const clock = new VirtualClock()
    const controller = new AbortController()
    const waiting = follow(pause(clock, 100, controller.signal))
    controller.abort()
    await turn()
    assert.deepEqual([waiting.state, clock.pending], ['resolved', 0])
  })

  it('does not begin if the signal is aborted already', async () => {
    const clock = new VirtualClock()
    await pause(clock, 100, AbortSignal.abort())
    assert.equal(clock.pending, 0)
  })
})
