/**
 * Checks that the hot path has not become half as dear again: `npm run bench:guard`.
 *
 *   npm run bench:guard                    exits 1 when it has, in two processes of two
 *   npm run bench:guard -- --handicap 1.5  as if it had
 */
import { projectRoot } from '../scripts/broker/home.mjs'
import { run } from '../scripts/run.mjs'
import { prepare } from './prepare.mjs'

const ATTEMPTS = 2

async function main() {
  await prepare(line => console.error(`bench: ${line}`))
  const program = ['build/bench/guard/guard-process.js', ...process.argv.slice(2)]
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    if ((await run(process.execPath, program, { cwd: projectRoot })) === 0) return 0
  }
  return 1
}

try {
  process.exitCode = await main()
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
