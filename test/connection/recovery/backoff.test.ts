import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { pauseBefore } from '../../../src/connection/recovery/backoff.ts'
import type { RecoverySettings } from '../../../src/connection/settings/settings.ts'

const DEFAULTS: RecoverySettings = {
  initialDelay: 0,
  maxDelay: 30_000,
  factor: 2,
  jitter: 1,
  maxAttempts: Number.POSITIVE_INFINITY,
  topology: true,
  giveUpOn: () => false,
}
const LATE = 3_600_000

/** The longest pauses before the first attempts. */
function longest(count: number, elapsed: number, settings: Partial<RecoverySettings> = {}): number[] {
  return Array.from({ length: count }, (_, i) => pauseBefore(i + 1, elapsed, { ...DEFAULTS, ...settings }, () => 1))
}

describe('pauseBefore', () => {
  it('makes the first attempt at once, or after initialDelay', () => {
    assert.equal(
      pauseBefore(1, 0, DEFAULTS, () => 1),
      0,
    )
    assert.equal(
      pauseBefore(1, 0, { ...DEFAULTS, initialDelay: 250 }, () => 1),
      250,
    )
    assert.equal(
      pauseBefore(1, 0, { ...DEFAULTS, initialDelay: 250, maxDelay: 100 }, () => 1),
      100,
    )
  })

  it('doubles the window from 100 ms up to maxDelay', () => {
    assert.deepEqual(longest(11, LATE), [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000])
  })

  it('grows by factor from initialDelay', () => {
    assert.deepEqual(
      longest(5, LATE, { initialDelay: 1_000, factor: 3, maxDelay: 20_000 }),
      [1_000, 1_000, 3_000, 9_000, 20_000],
    )
  })

  it('pauses no longer than 500 ms while the loss is fresh: most outages are a restart', () => {
    assert.deepEqual(longest(7, 1_000), [0, 100, 200, 400, 500, 500, 500])
    assert.deepEqual(longest(3, 1_000, { initialDelay: 2_000 }), [2_000, 2_000, 2_000])
  })

  it('takes a random part of the window, of the share that jitter says', () => {
    const at = (jitter: number, random: number) => pauseBefore(5, LATE, { ...DEFAULTS, jitter }, () => random)
    assert.deepEqual([at(1, 0), at(1, 0.5)], [0, 400])
    assert.deepEqual([at(0, 0), at(0, 0.9)], [800, 800])
    assert.deepEqual([at(0.5, 0), at(0.5, 0.5)], [400, 600])
  })

  it('is always a number from 0 to maxDelay, after any number of attempts', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1e9 }),
        fc.nat(1e9),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (attempt, elapsed, random) => {
          const pause = pauseBefore(attempt, elapsed, DEFAULTS, () => random)
          assert.ok(pause >= 0 && pause <= 30_000, String(pause))
        },
      ),
    )
  })
})
