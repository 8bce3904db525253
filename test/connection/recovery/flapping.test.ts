import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Flapping } from '../../../src/connection/recovery/flapping.ts'

describe('flapping', () => {
  it('counts from the fourth connection in a row that is lost within a second of its recovery', () => {
    const flapping = new Flapping()
    const counts = [flapping.lost(0)]
    for (const now of [1_000, 2_000, 3_000, 4_000, 5_000]) {
      flapping.recoveredAt = now
      counts.push(flapping.lost(now + 999))
    }
    assert.deepEqual(counts, [0, 0, 0, 0, 1, 2])
  })

  it('is over when a connection has lasted a second', () => {
    const flapping = new Flapping()
    for (const now of [1_000, 2_000, 3_000, 4_000]) {
      flapping.recoveredAt = now
      flapping.lost(now)
    }
    flapping.recoveredAt = 5_000
    assert.equal(flapping.lost(6_000), 0)
    flapping.recoveredAt = 7_000
    assert.equal(flapping.lost(7_000), 0)
  })
})
