/**
 * Shows what the simulation finds: puts one deliberate fault after the other into a copy of the client, and hunts.
 *
 *   npm run build:test
 *   node build/test/simulation/mutants/main.js                  all, a minute of the processor at most for each
 *   node build/test/simulation/mutants/main.js nack secret      those whose name has one of these words
 *   node build/test/simulation/mutants/main.js --seconds 10     with less time
 *   node build/test/simulation/mutants/main.js --histories 20   in the first 20 histories
 *   node build/test/simulation/mutants/main.js --part 1/2       one half of them
 */
import { spawnSync } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { MUTANTS, type Mutant } from './mutants.ts'

/** Seconds of the processor that a history may take past the end of the time, before it counts as one that never ends. */
const MOST_OVERTIME = 30

const project = fileURLToPath(new URL('../../../../', import.meta.url))
const { values, positionals } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    /** Histories at most. */
    histories: { type: 'string' },
    /** The first seed: the same histories for each, so that a run can be repeated. */
    first: { type: 'string', default: '1' },
    /** One of several parts of the list: `2/3`. */
    part: { type: 'string', default: '1/1' },
  },
  allowPositionals: true,
})

/** A copy of what the simulation needs, compiled, and of the sources of the client. */
function workshop(): string {
  const folder = mkdtempSync(join(tmpdir(), 'asyncamqp-mutant-'))
  for (const path of ['package.json', 'src', 'build/src', 'build/test/simulation', 'build/test/support']) {
    cpSync(join(project, path), join(folder, path), { recursive: true })
  }
  symlinkSync(join(project, 'node_modules'), join(folder, 'node_modules'))
  return folder
}

/** Compile one file of the sources alone: a tenth of the time that all of them take. */
function compile(folder: string, file: string): string {
  const config = {
    extends: join(project, 'tsconfig.test.json'),
    compilerOptions: { rootDir: '.', outDir: 'build', noResolve: true, types: [], sourceMap: false },
    include: [],
    files: [`src/${file}`],
  }
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config))
  const tsc = [join(project, 'node_modules/typescript/bin/tsc'), '-p', '.', '--noCheck']
  const { status, stdout } = spawnSync(process.execPath, tsc, { cwd: folder, encoding: 'utf8' })
  return status === 0 ? '' : (stdout.split('\n')[0] ?? '?')
}

/** What a minute of simulation says of a mutant. */
function hunt(folder: string, { file, text, replacement }: Mutant): string {
  const path = join(folder, 'src', file)
  const source = readFileSync(path, 'utf8')
  if (source.split(text).length !== 2) return 'does not apply'
  const compiled = join(folder, 'build/src', file.replace(/ts$/, 'js'))
  const original = readFileSync(compiled)
  writeFileSync(
    path,
    source.replace(text, () => replacement),
  )
  try {
    const complaint = compile(folder, file)
    if (complaint !== '') return `does not compile: ${complaint}`
    if (readFileSync(compiled).equals(original)) return 'changes nothing'
    const main = ['build/test/simulation/main.js', '--cpu', '--seconds', values.seconds, '--first', values.first]
    if (values.histories !== undefined) main.push('--histories', values.histories)
    const most = Number(values.seconds) + MOST_OVERTIME
    const limited = ['-c', 'ulimit -t "$0"; exec "$@"', String(most), process.execPath, ...main]
    const { stdout, stderr, status } = spawnSync('sh', limited, { cwd: folder, encoding: 'utf8' })
    const [, count = '?', time = '?'] = /^(\d+) histories of .*, ([\d.]+) s of them/m.exec(stdout) ?? []
    if (status === 0) return `missed in ${count} histories`
    const [, seed = '?', wrong = ''] = /^seed (\d+):\n {2}(.*)/m.exec(stdout) ?? []
    if (seed === '?')
      return status === null ? 'found: a history never ended' : `does not run: ${stderr.trim().split('\n').at(-1)}`
    return `found after ${Number(count) + 1} histories in ${time} s (seed ${seed}): ${wrong.slice(0, 100)}`
  } finally {
    writeFileSync(path, source)
    writeFileSync(compiled, original)
  }
}

const [part = 1, parts = 1] = values.part.split('/').map(Number)
const chosen = MUTANTS.filter(
  ({ name }, n) =>
    n % parts === part - 1 && (positionals.length === 0 || positionals.some(word => name.includes(word))),
)
const folder = workshop()
let found = 0
try {
  for (const mutant of chosen) {
    const said = hunt(folder, mutant)
    if (said.startsWith('found')) found++
    console.log(`${mutant.name}: ${said}`)
  }
} finally {
  rmSync(folder, { recursive: true, force: true })
}
console.log(`found ${found} of ${chosen.length}`)
