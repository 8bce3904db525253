import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { OPERATIONS, TraceRecorder } from '../support/trace-recorder.ts'
import { runHistory } from './history.ts'
import { Random } from './random.ts'
import { randomSteps } from './random-steps.ts'

const SEEDS = 12
const LENGTH = 200
const FINE = new Set(['start end asyncStart asyncEnd', 'start end error asyncStart asyncEnd'])
/** A handler that throws within its call has failed before that returns. */
const FINE_OF_HANDLERS = new Set([...FINE, 'start error end asyncStart asyncEnd'])
const FINE_AT_ONCE = new Set(['start end', 'start error end'])

function fineOf(operation: string): ReadonlySet<string> {
  if (operation === 'settle') return FINE_AT_ONCE
  return operation === 'process' || operation === 'rpc.handle' ? FINE_OF_HANDLERS : FINE
}

describe('Tracing', { timeout: 300_000 }, () => {
  it(`ends once whatever it starts, in ${SEEDS} histories of ${LENGTH} random steps`, async () => {
    for (let seed = 1; seed <= SEEDS; seed++) {
      const recorders = OPERATIONS.map(operation => new TraceRecorder<object>(operation))
      assert.deepEqual(await runHistory(seed, randomSteps(new Random(seed), LENGTH)), [], `seed ${seed}`)
      for (const recorder of recorders) {
        recorder.stop()
        const odd = recorder.all.filter(({ events }) => !fineOf(recorder.operation).has(events.join(' ')))
        assert.deepEqual(odd, [], `seed ${seed}, ${recorder.operation}, of ${recorder.all.length}`)
      }
    }
  })
})
