/**
 * Hunts for faults: histories of random steps, each from a seed, until the time is up.
 *
 *   node build/test/simulation/main.js                        for a minute, from fresh seeds
 *   node build/test/simulation/main.js --seconds 3600         for an hour
 *   node build/test/simulation/main.js --cpu                  for a minute of the processor's time, which others may use too
 *   node build/test/simulation/main.js --shrink               and, of a history that is wrong, the fewest steps that still fail
 *   node build/test/simulation/main.js --seed 17              one history again, and what is wrong with it
 *   node build/test/simulation/main.js --seed 17 --shrink     and the fewest of its steps that still fail
 *   node build/test/simulation/main.js --histories 1000       1,000 histories, from seed 1 on
 *   node build/test/simulation/main.js --first 7              from seed 7 on
 *   node build/test/simulation/main.js --histories 1000 --workers 2   in two processes: each has a part of the same histories
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { runHistory } from './history.ts'
import { Random } from './random.ts'
import { randomSteps } from './random-steps.ts'
import { shrink } from './shrink.ts'
import type { Step } from './steps.ts'
import { prepareV8 } from './v8-flags.ts'

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    steps: { type: 'string', default: '200' },
    seed: { type: 'string' },
    shrink: { type: 'boolean', default: false },
    histories: { type: 'string' },
    first: { type: 'string' },
    /** Processes, if the number of histories is given. */
    workers: { type: 'string', default: '1' },
    /** The seconds are those of the processor. */
    cpu: { type: 'boolean', default: false },
    /** Go on after a failure. */
    all: { type: 'boolean', default: false },
  },
})
const length = Number(values.steps)

const stepsOf = (seed: number): Step[] => randomSteps(new Random(seed), length)

/** The same kind of failure: words that differ from run to run are left out. */
const kindOf = (wrong: string): string => wrong.replace(/[\d-]+/g, '#').slice(0, 60)

/** Print the fewest steps that still fail, as a script. */
async function printLeast(seed: number, steps: readonly Step[], [first = '']: readonly string[]): Promise<void> {
  const kind = kindOf(first)
  const least = await shrink(steps, async fewer => (await runHistory(seed, fewer)).some(each => kindOf(each) === kind))
  console.log(`await runHistory(${seed}, [`)
  for (const step of least) console.log(`  ${JSON.stringify(step)},`)
  console.log('])')
  for (const each of await runHistory(seed, least)) console.log(`  ${each}`)
}

async function one(seed: number): Promise<void> {
  const steps = stepsOf(seed)
  const wrong = await runHistory(seed, steps)
  if (wrong.length > 0 && values.shrink) await printLeast(seed, steps, wrong)
  else for (const each of wrong) console.log(`  ${each}`)
  console.log(wrong.length === 0 ? `seed ${seed}: right` : `seed ${seed}: WRONG`)
  if (wrong.length > 0) process.exitCode = 1
}

async function many(): Promise<void> {
  // Stacks are expensive, and not read: a history that is wrong is run again.
  Error.stackTraceLimit = 0
  prepareV8()
  const started = process.hrtime.bigint()
  const elapsed = (): number => Number(process.hrtime.bigint() - started) / 1e9
  const used = (): number => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1e6
  }
  const seconds = values.cpu ? used : elapsed
  const most = values.histories === undefined ? Number.POSITIVE_INFINITY : Number(values.histories)
  const fresh = values.histories === undefined ? Number(started % 2_000_000_000n) : 1
  let seed = values.first === undefined ? fresh : Number(values.first)
  // If a history ends the process or never comes to its end, this is where to begin again.
  console.log(`from seed ${seed} on`)
  let count = 0
  let failed = 0
  for (; count < most && (values.histories !== undefined || seconds() < Number(values.seconds)); count++, seed++) {
    const wrong = await runHistory(seed, stepsOf(seed))
    if (wrong.length === 0) continue
    failed++
    console.log(`seed ${seed}:`)
    for (const each of wrong.slice(0, 8)) console.log(`  ${each}`)
    if (values.shrink) await printLeast(seed, stepsOf(seed), wrong)
    if (!values.all) break
  }
  const time = `${elapsed().toFixed(1)} s, ${used().toFixed(1)} s of them on the processor`
  console.log(`${count} histories of ${length} steps in ${time}: ${failed} wrong`)
  if (failed > 0) process.exitCode = 1
}

/** The same histories, of which each process has a part. The first that is wrong ends all, unless they go on. */
async function together(count: number, first: number, workers: number): Promise<void> {
  const share = Math.ceil(count / workers)
  const running = new Set<ChildProcess>()
  const run = async (from: number): Promise<void> => {
    const part = ['--histories', String(Math.min(share, count - from)), '--first', String(first + from)]
    const flags = (['shrink', 'all'] as const).flatMap(flag => (values[flag] ? `--${flag}` : []))
    const child = fork(fileURLToPath(import.meta.url), [...part, '--steps', values.steps, ...flags])
    running.add(child)
    const [code] = await once(child, 'exit')
    running.delete(child)
    if (code === 0) return
    process.exitCode = 1
    if (!values.all) for (const other of running) other.kill()
  }
  await Promise.all(Array.from({ length: Math.ceil(count / share) }, (_, n) => run(n * share)))
}

const workers = Number(values.workers)
if (values.seed !== undefined) await one(Number(values.seed))
else if (workers > 1 && values.histories !== undefined)
  await together(Number(values.histories), Number(values.first ?? 1), workers)
else await many()
