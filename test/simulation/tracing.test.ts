import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { OPERATIONS, TraceRecorder } from '../support/trace-recorder.ts'
import { runHistory } from './history.ts'
import { Random } from './random.ts'
import { randomSteps } from './steps.ts'

const SEEDS = 12
const LENGTH = 200
const FINE = new Set(['start end asyncStart asyncEnd', 'start end error asyncStart asyncEnd'])
const FINE_AT_ONCE = new Set(['start end', 'start error end'])

describe('Tracing', { timeout: 300_000 }, () => {
  it(`ends once whatever it starts, in ${SEEDS} histories of ${LENGTH} random steps`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const recorders = OPERATIONS.map(operation => new TraceRecorder<object>(operation))
      assert.deepEqual(await runHistory(seed, randomSteps(new Random(seed), LENGTH)), [], `seed ${seed}`)
      for (const recorder of recorders) {
        recorder.stop()
        const fine = recorder.operation === 'settle' ? FINE_AT_ONCE : FINE
        const odd = recorder.all.filter(({ events }) => !fine.has(events.join(' ')))
        assert.deepEqual(odd, [], `seed ${seed}, ${recorder.operation}, of ${recorder.all.length}`)
      }
    }
  })
})
