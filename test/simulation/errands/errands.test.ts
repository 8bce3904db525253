import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { runHistory } from '../history.ts'
import type { Step } from '../steps.ts'
import { ERRAND_NAMES, type ErrandName } from './errands.ts'

/** How many share a history: what a history does at its end costs as much as five errands. */
const TOGETHER = 4

const thrice = (what: ErrandName): Step[] => [
  { do: 'errand', client: 0, what, calm: true },
  { do: 'wait', ms: 240_000 },
  { do: 'errand', client: 1, what, calm: true },
  { do: 'wait', ms: 240_000 },
  // Its second one may be another form of it.
  { do: 'errand', client: 0, what, calm: true },
  { do: 'wait', ms: 240_000 },
]

describe('Errands that nothing disturbs', () => {
  for (let first = 0; first < ERRAND_NAMES.length; first += TOGETHER) {
    const names = ERRAND_NAMES.slice(first, first + TOGETHER)
    it(`come to what they should: ${names.join(', ')}`, async () => {
      for (const seed of [1, 2]) assert.deepEqual(await runHistory(seed, names.flatMap(thrice)), [])
    })
  }
})
