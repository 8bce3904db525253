import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type AttemptOutcome, Backoff } from '../../../src/connection/recovery/backoff.ts'
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

/** Time that passes when the test says so, and random numbers that it gives. */
class Time {
  time = 0
  readonly random: () => number

  constructor(random: () => number) {
    this.random = random
  }

  now(): number {
    return this.time
  }

  wallTime(): number {
    return this.time
  }

  after(): never {
    throw new Error('nothing waits here')
  }
}

/** The longest pauses that there may be: `count` of them, each after an attempt that ended with `outcome`. */
function longest(count: number, outcome: AttemptOutcome, settings: Partial<RecoverySettings> = {}): number[] {
  const time = new Time(() => 1)
  const backoff = new Backoff({ ...DEFAULTS, ...settings }, time)
  return Array.from({ length: count }, (_, i) => {
    const pause = backoff.next(i === 0 ? undefined : outcome)
    time.time += pause
    return pause
  })
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0)
}

/** Random numbers that are the same in each run. */
function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
}

/** How many attempts many clients need for an outage, and how long after it they are back, in milliseconds. */
function simulate(outage: number): { attempts: number; median: number; late: number } {
  const late: number[] = []
  let attempts = 0
  const clients = 1_000
  for (let client = 0; client < clients; client++) {
    const time = new Time(seeded(client * 7_919 + outage))
    for (let n = 0; n < 10; n++) time.random()
    const backoff = new Backoff(DEFAULTS, time)
    const end = outage + 100 * time.random()
    time.time = backoff.next()
    attempts++
    for (; time.time < end; attempts++) time.time += backoff.next('unanswered')
    late.push(time.time - end)
  }
  late.sort((a, b) => a - b)
  return { attempts: attempts / clients, median: late[clients / 2] ?? 0, late: late[clients * 0.9] ?? 0 }
}

describe('the pauses of a recovery', () => {
  it('let many clients that lose one broker dial at different times from the first attempt on', () => {
    assert.deepEqual(longest(1, 'unanswered'), [50])
    const random = seeded(1)
    const first = Array.from({ length: 500 }, () => new Backoff(DEFAULTS, new Time(random)).next())
    assert.ok(new Set(first.map(Math.floor)).size > 40)
    assert.deepEqual(longest(1, 'unanswered', { initialDelay: 250 }), [300])
    assert.deepEqual(longest(1, 'unanswered', { initialDelay: 250, maxDelay: 100 }), [100])
    assert.deepEqual(longest(1, 'unanswered', { jitter: 0 }), [0])
  })

  it('grow to about a second while no server answers', () => {
    assert.deepEqual(longest(8, 'unanswered'), [50, 100, 200, 400, 800, 1_400, 1_400, 1_400])
    assert.deepEqual(longest(4, 'unanswered', { maxDelay: 150 }), [50, 100, 150, 150])
    assert.deepEqual(longest(3, 'unanswered', { initialDelay: 2_000 }), [2_050, 2_000, 2_000])
  })

  it('grow with the outage up to maxDelay while a server answers and refuses', () => {
    const pauses = longest(60, 'refused')
    assert.deepEqual(pauses.slice(0, 8), [50, 100, 200, 400, 800, 1_400, 1_400, 1_400])
    assert.deepEqual(pauses.slice(-3), [30_000, 30_000, 30_000])
    for (let n = 20, outage = sum(pauses.slice(0, n)); outage < 300_000; outage += pauses[n++] ?? 0) {
      assert.ok(Math.abs((pauses[n] ?? 0) - outage / 10) < 1, `${pauses[n]} ms after ${outage} ms`)
    }
    assert.deepEqual(
      longest(5, 'refused', { initialDelay: 1_000, factor: 3, maxDelay: 1_200 }),
      [1_050, 1_000, 1_200, 1_200, 1_200],
    )
  })

  it('are a number of milliseconds whatever the options, which may be Infinity', () => {
    const limits = { initialDelay: Number.POSITIVE_INFINITY, maxDelay: Number.POSITIVE_INFINITY }
    for (const jitter of [0, 0.5, 1]) {
      for (const pause of longest(3, 'refused', { ...limits, jitter })) assert.ok(pause > Number.MAX_SAFE_INTEGER)
    }
  })

  it('are short again when a server has refused, and none answers any more', () => {
    const time = new Time(() => 1)
    const backoff = new Backoff(DEFAULTS, time)
    for (let n = 0; n < 20; n++) backoff.next('refused')
    time.time = 100_000
    assert.equal(backoff.next('refused'), 10_000)
    assert.equal(backoff.next('unanswered'), 100)
  })

  it('are long from the first on if connections were lost as soon as they were back', () => {
    assert.equal(new Backoff(DEFAULTS, new Time(() => 1), 5).next(), 1_600)
    assert.equal(new Backoff(DEFAULTS, new Time(() => 1), 50).next(), 30_000)
  })

  it('are random by the share that jitter says', () => {
    const at = (jitter: number, random: number): number => {
      const backoff = new Backoff({ ...DEFAULTS, jitter }, new Time(() => random))
      return [1, 2, 3, 4].map(() => backoff.next('refused')).at(-1) ?? Number.NaN
    }
    assert.deepEqual([at(1, 0), at(1, 0.5)], [0, 400])
    assert.deepEqual([at(0, 0), at(0, 0.9)], [800, 800])
    assert.deepEqual([at(0.5, 0), at(0.5, 0.5)], [400, 600])
  })

  it('have half of all clients back within half a second of any outage, and nine of ten within one', () => {
    // Attempts of a schedule that pauses up to 0.5 s for 15 s, and then up to 30 s: 7, 24, 65, 67, 84.
    const mostAttempts = new Map([
      [1_000, 7],
      [5_000, 14],
      [20_000, 38],
      [60_000, 100],
      [300_000, 470],
    ])
    for (const [outage, most] of mostAttempts) {
      const { attempts, median, late } = simulate(outage)
      assert.ok(median <= 500, `${outage} ms: median ${median} ms`)
      assert.ok(late <= 1_050, `${outage} ms: 90 % ${late} ms`)
      assert.ok(attempts <= most, `${outage} ms: ${attempts} attempts`)
    }
  })

  it('grow with the outage past some minutes, so that an hour takes no more than some thousand attempts', () => {
    assert.ok(simulate(3_600_000).attempts < 2_000)
  })

  it('are short before there has been any connection, but not for names without an address', () => {
    const first = (outcome: AttemptOutcome, settings: Partial<RecoverySettings> = {}) => {
      const time = new Time(() => 1)
      const backoff = new Backoff({ ...DEFAULTS, ...settings }, time, 0, true)
      return [undefined, ...Array.from({ length: 500 }, () => outcome)].map(one => {
        const pause = backoff.next(one)
        time.time += pause
        return pause
      })
    }
    assert.deepEqual(first('unanswered').slice(0, 6), [0, 100, 200, 200, 200, 200])
    assert.deepEqual(first('unresolved').slice(0, 7), [0, 100, 200, 400, 800, 1_400, 1_400])
    assert.deepEqual(first('refused').slice(0, 7), [0, 100, 200, 400, 800, 1_400, 1_400])
    assert.deepEqual(first('unanswered', { initialDelay: 1_000, jitter: 0 }).slice(0, 3), [0, 1_000, 1_000])
    const pauses = first('unanswered')
    const minute = pauses.findIndex((_, i) => sum(pauses.slice(0, i)) > 60_000)
    assert.ok((pauses[minute] ?? 0) <= 250)
    assert.ok(Math.abs((pauses.at(-1) ?? 0) - sum(pauses.slice(0, -1)) * 0.004) < 1)
  })

  it('make no difference in a recovery whether a name had an address', () => {
    assert.deepEqual(longest(8, 'unresolved'), longest(8, 'unanswered'))
  })

  it('are always numbers from 0 to maxDelay', () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom<AttemptOutcome>('refused', 'unanswered', 'unresolved'), { maxLength: 2_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (outcomes, random) => {
          const backoff = new Backoff(DEFAULTS, new Time(() => random))
          for (const outcome of outcomes) {
            const pause = backoff.next(outcome)
            assert.ok(pause >= 0 && pause <= 30_000, String(pause))
          }
        },
      ),
      { numRuns: 20 },
    )
  })
})
