/**
 * Runs files of tests by another runtime than Node, each in a process of its own, and says what passed, failed and was
 * left out.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { projectRoot } from '../broker/home.mjs'
import { skips } from './skips.mjs'

const runFileProgram = fileURLToPath(new URL('run-file.mjs', import.meta.url))
/** Milliseconds that a file may take. */
const FILE_TIMEOUT = 300_000

/**
 * @param {import('./runtimes.mjs').Runtime} runtime
 * @param {string} binary
 * @param {readonly string[]} files compiled ones
 * @param {{ concurrency: number, environment: NodeJS.ProcessEnv }} options
 * @returns {Promise<number>} an exit code
 */
export async function runTests(runtime, binary, files, { concurrency, environment }) {
  const scratch = mkdtempSync(join(tmpdir(), 'asyncamqp-runtime-'))
  const left = [...files]
  let passed = 0
  let failed = 0
  /** @type {Map<string, number>} */
  const skipped = new Map()
  /** @param {string} reason @param {number} count */
  const skip = (reason, count = 1) => skipped.set(reason, (skipped.get(reason) ?? 0) + count)

  /** @param {string} file */
  async function runFile(file) {
    const whole = skips.find(each => each.title === undefined && matches(each, runtime, file))
    if (whole !== undefined) {
      skip(whole.reason, testsIn(file))
      return
    }
    const started = performance.now()
    const reportFile = join(scratch, file.replaceAll(/[/\\]/g, '_'))
    const output = await runProgram(binary, [...runtime.testArgs, runFileProgram, file, reportFile], environment)
    const report = readReport(reportFile)
    const seconds = ((performance.now() - started) / 1000).toFixed(1)
    if (report === undefined) {
      failed++
      console.log(`✖ ${file} (${seconds} s) ended without a report:\n${output}`)
      return
    }
    for (const { reason } of report.skipped) skip(reason)
    passed += report.passed
    failed += report.failed.length
    const sign = report.failed.length === 0 ? '✔' : '✖'
    console.log(`${sign} ${file} (${report.passed} passed, ${report.skipped.length} left out, ${seconds} s)`)
    for (const { title, error } of report.failed) console.log(`  ✖ ${title}\n${error.replace(/^/gm, '    ')}`)
  }

  try {
    await Promise.all(
      Array.from({ length: concurrency }, async () => {
        for (let file = left.shift(); file !== undefined; file = left.shift()) await runFile(file)
      }),
    )
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
  const total = Array.from(skipped.values()).reduce((sum, count) => sum + count, 0)
  console.log(`\n${passed} passed, ${failed} failed, ${total} left out`)
  for (const [reason, count] of skipped) console.log(`  ${count}: ${reason}`)
  return failed === 0 ? 0 : 1
}

/** @param {import('./skips.mjs').Skip} skip @param {import('./runtimes.mjs').Runtime} runtime @param {string} file */
function matches(skip, { name }, file) {
  const [, path = ''] = file.replace(/\.js$/, '.ts').split('build/')
  return skip.runtimes.some(each => each === name) && path.startsWith(skip.file)
}

/** How many tests a file has at least. @param {string} file */
export function testsIn(file) {
  return readFileSync(file, 'utf8').match(/^ *it\(/gm)?.length ?? 0
}

/** @param {string} file @returns {import('./node-test.mjs').Report | undefined} */
function readReport(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** @param {string} program @param {readonly string[]} args @param {NodeJS.ProcessEnv} environment @returns {Promise<string>} */
function runProgram(program, args, environment) {
  const options = { cwd: projectRoot, env: { ...process.env, ...environment }, timeout: FILE_TIMEOUT }
  return new Promise(resolve => {
    execFile(program, args, { ...options, killSignal: 'SIGKILL', maxBuffer: 2 ** 26 }, (_, stdout, stderr) =>
      resolve(stdout + stderr),
    )
  })
}
