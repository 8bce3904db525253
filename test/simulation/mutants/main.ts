/**
 * Shows what the simulation finds: puts one deliberate fault after the other into the client, and hunts.
 *
 *   npm run build:test
 *   node build/test/simulation/mutants/main.js                  all, a minute of the processor at most for each
 *   node build/test/simulation/mutants/main.js nack secret      those whose name has one of these words
 *   node build/test/simulation/mutants/main.js --seconds 10     with less time
 *   node build/test/simulation/mutants/main.js --histories 20   in the first 20 histories
 *   node build/test/simulation/mutants/main.js --errands        with all errands before the histories
 *   node build/test/simulation/mutants/main.js --kind errand    those that the table has for an errand; or history, none
 *   node build/test/simulation/mutants/main.js --part 1/2       one half of them
 *
 * A mutant that the table of `../README.md` has for an errand is tried by this errand first.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ERRAND_NAMES } from '../errands/errands.ts'
import { MUTANTS, type Mutant } from './mutants.ts'
import type { Task, Verdict } from './worker.ts'

const { values, positionals } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    /** Histories at most. */
    histories: { type: 'string', default: 'Infinity' },
    /** The first seed: the same histories for each, so that a run can be repeated. */
    first: { type: 'string', default: '1' },
    /** All errands go first. */
    errands: { type: 'boolean', default: false },
    /** Those that the table has for an `errand`, for a `history`, or for `none`. */
    kind: { type: 'string' },
    /** One of several parts of the list: `2/3`. */
    part: { type: 'string', default: '1/1' },
  },
  allowPositionals: true,
})

/** What the table says of each mutant. */
const table = new Map(
  readFileSync(fileURLToPath(new URL('../../../../test/simulation/README.md', import.meta.url)), 'utf8')
    .split('\n')
    .map(line => line.split(' | '))
    .map(([name = '', said = '']) => [name.replace(/^\| /, ''), said.replace(/ \|$/, '')]),
)

const kindOf = ({ name }: Mutant): string => {
  const said = table.get(name) ?? ''
  if (said.startsWith('errand ')) return 'errand'
  return said.startsWith('not: ') ? 'none' : 'history'
}

function taskOf(mutant: Mutant): Task {
  const [, errand] = /^errand `(\w+)`/.exec(table.get(mutant.name) ?? '') ?? []
  return {
    ...mutant,
    errands: errand === undefined ? [] : [errand],
    together: values.errands ? ERRAND_NAMES.filter(name => name !== errand) : [],
    first: Number(values.first),
    histories: Number(values.histories),
    seconds: Number(values.seconds),
  }
}

let worker: ChildProcess | undefined

async function ask(task: Task): Promise<Verdict> {
  worker ??= fork(fileURLToPath(new URL('worker.js', import.meta.url)), { serialization: 'advanced' })
  const current = worker
  const ended = new AbortController()
  const { signal } = ended
  const answered = once(current, 'message', { signal }) as Promise<[Verdict]>
  const exited = once(current, 'exit', { signal }) as Promise<[number | null, string | null]>
  current.send(task)
  try {
    return await Promise.race([
      answered.then(([verdict]) => verdict),
      exited.then(([code, killed]) => {
        worker = undefined
        const said = killed === 'SIGKILL' ? 'found: a history never ended' : `does not run: ${code} ${killed}`
        return { said, seconds: task.seconds, isDirty: false }
      }),
    ])
  } finally {
    ended.abort()
    await Promise.allSettled([answered, exited])
  }
}

/** A mutant may leave something behind that fails later ones: then it is tried by a process of its own. */
async function hunt(task: Task): Promise<Verdict> {
  const verdict = await ask(task)
  if (!verdict.isDirty) return verdict
  worker?.kill()
  worker = undefined
  return ask(task)
}

const [part = 1, parts = 1] = values.part.split('/').map(Number)
const chosen = MUTANTS.filter(
  (mutant, n) =>
    n % parts === part - 1 &&
    (values.kind === undefined || values.kind === kindOf(mutant)) &&
    (positionals.length === 0 || positionals.some(word => mutant.name.includes(word))),
)
const started = process.hrtime.bigint()
let found = 0
let spent = 0
for (const mutant of chosen) {
  const { said, seconds } = await hunt(taskOf(mutant))
  if (said.startsWith('found')) found++
  spent += seconds
  console.log(`${mutant.name}: ${said}, in ${seconds.toFixed(1)} s; the table: ${table.get(mutant.name) ?? 'nothing'}`)
}
worker?.kill()
const elapsed = Number(process.hrtime.bigint() - started) / 1e9
const time = `${elapsed.toFixed(0)} s, ${spent.toFixed(0)} s of them on the processor`
console.log(`found ${found} of ${chosen.length} in ${time}`)
