/**
 * Checks that the hot path has not become half as dear again: `npm run bench:guard`.
 *
 *   npm run bench:guard                                 exits 1 if a row is above its limit in two processes of two
 *   npm run bench:guard -- --handicap 1.5               as if every row had become so
 *   npm run bench:guard -- --handicap 1.5 --row confirm as if that one had
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { projectRoot } from '../scripts/broker/home.mjs'
import { prepare } from './prepare.mjs'

const ATTEMPTS = 2
/** One thread, and the same random numbers each time: the compiler makes the same code in each run. */
const FLAGS = ['--predictable', '--single-threaded', '--hash-seed=1', '--random-seed=1']

/** @param {readonly string[]} rows */
async function failedOf(rows) {
  const child = fork('build/bench/guard/guard-process.js', [...rows, ...process.argv.slice(2)], {
    cwd: projectRoot,
    execArgv: FLAGS,
  })
  const [result] = await Promise.race([once(child, 'message'), once(child, 'exit')])
  if (!Array.isArray(result?.failed)) throw new Error('the guard ended without a result')
  return /** @type {string[]} */ (result.failed)
}

async function main() {
  await prepare(line => console.error(`bench: ${line}`))
  /** @type {string[]} All, the first time. */
  let rows = []
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    rows = await failedOf(rows)
    if (rows.length === 0) return 0
  }
  console.log(`\nHalf as dear again, or near it: ${rows.join(', ')}`)
  return 1
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
