/** Tries mutants one after the other, as `main.ts` asks by messages. */
import { readFileSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import type { ErrandName } from '../errands/errands.ts'
import type { Random } from '../random.ts'
import { CLIENTS, type Step } from '../steps.ts'
import { prepareV8 } from '../v8-flags.ts'
import { Modules } from './modules.ts'
import type { Mutant } from './mutants.ts'

/** What to try, and how long. */
export interface Task extends Mutant {
  /** Errands that are tried first, each by itself. */
  readonly errands: readonly string[]
  /** Errands that are tried next, several in one history. */
  readonly together: readonly string[]
  /** The first seed of histories, and their number at most. */
  readonly first: number
  readonly histories: number
  /** Seconds of the processor at most. */
  readonly seconds: number
}

export interface Verdict {
  readonly said: string
  readonly seconds: number
  /** What was found is wrong with the client as it is, too, after this mutant or another one. */
  readonly isDirty: boolean
}

interface Simulation {
  runHistory(seed: number, steps: readonly Step[]): Promise<string[]>
}

/** Seconds of the processor that a history may take past the end of the time, before it counts as one that never ends. */
const MOST_OVERTIME = 12
const HISTORY = 'test/simulation/history.ts'
const STEPS = 200
const LONGEST_ERRAND = 240_000
/** Histories of an errand by itself: together they have all forms of it. */
const ERRAND_SEEDS = 4
/** Errands in one history, whose end costs as much as five of them; and how often all have their turn. */
const TOGETHER = 12
const ROUNDS = 2
/** Turns of the event loop in which what a history left behind comes to its end. */
const TURNS = 100

/** Ends the process if a history never ends, busy or idle; idle is when it takes no time of the processor for long. */
const WATCHDOG = `
  const { workerData } = require('node:worker_threads')
  const until = new Float64Array(workerData)
  const used = () => { const { user, system } = process.cpuUsage(); return (user + system) / 1e6 }
  let before = 0, idle = 0
  setInterval(() => {
    const now = used()
    idle = until[0] < Infinity && now - before < 0.05 ? idle + 1 : 0
    before = now
    if (now > until[0] || idle > 15) process.kill(process.pid, 'SIGKILL')
  }, 1_000)
`

const client = new Modules()
// What all mutants have in common is made once.
client.get(HISTORY)
const until = new Float64Array(new SharedArrayBuffer(8)).fill(Number.POSITIVE_INFINITY)
new Worker(WATCHDOG, { eval: true, workerData: until.buffer }).unref()

const used = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1e6
}

/** An errand by itself, in three of its forms. */
function errandSteps(errand: string, seed: number): Step[] {
  return [0, 1, 2].flatMap(n => [
    { do: 'errand', client: n % CLIENTS, what: errand as ErrandName, calm: true, form: 3 * (seed - 1) + n },
    { do: 'wait', ms: LONGEST_ERRAND },
  ])
}

/** Several errands, each in one of its forms. */
function stepsTogether(errands: readonly string[], form: number): Step[] {
  return errands.flatMap((errand, n) => [
    { do: 'errand', client: n % CLIENTS, what: errand as ErrandName, calm: true, form },
    { do: 'wait', ms: LONGEST_ERRAND },
  ])
}

function randomSteps(modules: Modules, seed: number): Step[] {
  const { Random: Chance } = modules.get('test/simulation/random.ts') as { Random: typeof Random }
  const steps = modules.get('test/simulation/random-steps.ts') as typeof import('../random-steps.ts')
  return steps.randomSteps(new Chance(seed), STEPS)
}

/** What is wrong, if anything is. */
async function run(modules: Modules, seed: number, steps: readonly Step[]): Promise<string | undefined> {
  const { runHistory } = modules.get(HISTORY) as Simulation
  const [wrong] = await runHistory(seed, steps)
  return wrong
}

async function hunt(task: Task): Promise<Verdict> {
  const { file, text, replacement, errands, together, first, histories, seconds } = task
  const started = used()
  const verdict = (said: string, isDirty = false): Verdict => ({ said, isDirty, seconds: used() - started })
  const path = `src/${file}`
  const source = readFileSync(new URL(`../../../../${path}`, import.meta.url), 'utf8')
  if (source.split(text).length !== 2) return verdict('does not apply')
  const mutant = client.with(
    path,
    source.replace(text, () => replacement),
  )
  const found = async (where: string, seed: number, steps: readonly Step[]): Promise<Verdict | undefined> => {
    const wrong = await run(mutant, seed, steps).catch(error => `${error}`)
    if (wrong === undefined) return undefined
    for (let turn = 0; turn < TURNS; turn++) await new Promise(resolve => setImmediate(resolve))
    const isDirty = (await run(client, seed, steps)) !== undefined
    return verdict(`found by ${where}: ${wrong.slice(0, 150).replaceAll('\n', ' ')}`, isDirty)
  }
  for (const errand of errands) {
    for (let seed = 1; seed <= ERRAND_SEEDS; seed++) {
      const said = await found(`errand ${errand} (seed ${seed})`, seed, errandSteps(errand, seed))
      if (said !== undefined) return said
    }
  }
  for (let round = 0; round < ROUNDS; round++) {
    for (let from = 0; from < together.length; from += TOGETHER) {
      const some = together.slice(from, from + TOGETHER)
      const said = await found(`an errand of round ${round + 1}`, round + 1, stepsTogether(some, round))
      if (said !== undefined) return said
    }
  }
  let count = 0
  for (; count < histories && used() - started < seconds; count++) {
    const seed = first + count
    const said = await found(`history ${count + 1}`, seed, randomSteps(mutant, seed))
    if (said !== undefined) return said
  }
  return verdict(`missed by ${errands.length + together.length} errands and ${count} histories`)
}

// What a mutant leaves behind may fail later on.
process.on('unhandledRejection', () => {})
process.on('message', async (task: Task) => {
  until[0] = used() + task.seconds + MOST_OVERTIME
  let verdict: Verdict
  try {
    verdict = await hunt(task)
  } catch (error) {
    verdict = { said: `does not run: ${error}`, seconds: 0, isDirty: false }
  }
  until[0] = Number.POSITIVE_INFINITY
  process.send?.(verdict)
})
process.on('disconnect', () => process.exit())
Error.stackTraceLimit = 0
prepareV8()
