import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { runHistory } from '../history.ts'
import { ERRAND_NAMES } from './errands.ts'

describe('An errand that nothing disturbs', () => {
  for (const what of ERRAND_NAMES) {
    it(`comes to what it should: ${what}`, async () => {
      for (const seed of [1, 2]) {
        const wrong = await runHistory(seed, [
          { do: 'errand', client: 0, what, calm: true },
          { do: 'wait', ms: 240_000 },
          { do: 'errand', client: 1, what, calm: true },
          { do: 'wait', ms: 240_000 },
          // Its second one may be another form of it.
          { do: 'errand', client: 0, what, calm: true },
          { do: 'wait', ms: 240_000 },
        ])
        assert.deepEqual(wrong, [])
      }
    })
  }
})
