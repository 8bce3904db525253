import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { runHistory } from './history.ts'
import { Random } from './random.ts'
import { randomSteps } from './random-steps.ts'
import { shrink } from './shrink.ts'
import type { Step } from './steps.ts'

const SEEDS = 60
const LENGTH = 200
/** These are the same for each run: a change must be judged by itself. The command looks at others each time. */
const first = Number(process.env['ASYNCAMQP_SIMULATION_SEED'] ?? 1)

describe('Programs, a network and a broker in one process', { timeout: 600_000 }, () => {
  it(`keep what the README promises in ${SEEDS} histories of ${LENGTH} random steps, from seed ${first} on`, async () => {
    for (let seed = first; seed < first + SEEDS; seed++) {
      assert.deepEqual(await runHistory(seed, randomSteps(new Random(seed), LENGTH)), [], `seed ${seed}`)
    }
  })

  it('do the same again from the same seed', async () => {
    const steps = randomSteps(new Random(7), 60)
    const traces = [1, 2].map(() => [] as string[])
    for (const trace of traces) await runHistory(7, steps, line => trace.push(line))
    assert.deepEqual(traces[0], traces[1])
    assert.ok((traces[0] ?? []).length > 100)
  })
})

describe('shrink', () => {
  const steps: readonly Step[] = Array.from({ length: 50 }, (_, ms) => ({ do: 'wait', ms }))

  it('leaves the fewest steps that still fail', async () => {
    const has = (some: readonly Step[], ms: number) => some.some(step => step.do === 'wait' && step.ms === ms)
    const least = await shrink(steps, async some => has(some, 7) && has(some, 31))
    assert.deepEqual(least, [
      { do: 'wait', ms: 7 },
      { do: 'wait', ms: 31 },
    ])
  })
})
