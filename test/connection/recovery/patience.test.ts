import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { isLocked, Patience } from '../../../src/connection/recovery/patience.ts'
import { ChannelClosedError } from '../../../src/index.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

function refusal(replyCode: number, replyText: string): ChannelClosedError {
  return new ChannelClosedError('refused', { replyCode, replyText })
}

const LOCKED = refusal(405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'")
const IN_USE = refusal(403, "ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use")
const FORBIDDEN = refusal(403, "ACCESS_REFUSED - access to queue 'q' in vhost '/' refused for user 'u'")
const MISSING = refusal(404, "NOT_FOUND - no queue 'q' in vhost '/'")

describe('the patience of a new connection', () => {
  it('knows what the old connection may still hold', () => {
    assert.deepEqual([LOCKED, IN_USE, FORBIDDEN, MISSING, undefined].map(isLocked), [true, true, false, false, false])
  })

  it('holds others up for a second where something is locked, and for two where it is missing', async () => {
    const clock = new VirtualClock()
    await clock.advance(12_345)
    const patience = new Patience(clock, 0)
    assert.ok(patience.holdsUp(LOCKED) && patience.holdsUp(MISSING))
    await clock.advance(1_000)
    assert.deepEqual([patience.holdsUp(LOCKED), patience.holdsUp(MISSING)], [false, true])
    await clock.advance(1_000)
    assert.equal(patience.holdsUp(MISSING), false)
  })

  it('lasts as long as the broker may take to notice that the old connection is gone', async () => {
    for (const [heartbeat, lasts] of [
      [0, 15_000],
      [5, 15_000],
      [10, 30_000],
    ] as const) {
      const clock = new VirtualClock()
      const patience = new Patience(clock, heartbeat)
      await clock.advance(lasts - 1)
      assert.ok(patience.lasts(LOCKED) && patience.lasts(IN_USE))
      assert.ok(!patience.lasts(MISSING) && !patience.lasts(FORBIDDEN))
      await clock.advance(1)
      assert.ok(!patience.lasts(LOCKED))
    }
  })

  it('tries with growing pauses, and a last time when it ends', async () => {
    const clock = new VirtualClock()
    const patience = new Patience(clock, 0)
    const pauses: number[] = []
    while (patience.lasts(MISSING)) {
      const pause = patience.pause(MISSING, pauses.length + 1)
      pauses.push(pause)
      await clock.advance(pause)
    }
    assert.deepEqual(pauses, [50, 100, 200, 400, 800, 450])
  })
})
