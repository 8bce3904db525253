/**
 * Checks that the hot path has not become twice as dear: `npm run bench:guard`.
 *
 *   npm run bench:guard                 exits 1 when it has
 *   npm run bench:guard -- --self-test  and shows that it would notice
 *   npm run bench:guard -- --record     writes down what it costs now, in bench/guard/limits.json
 */
import { projectRoot } from '../scripts/broker/home.mjs'
import { prepare } from './prepare.mjs'

try {
  await prepare(line => console.error(`bench: ${line}`))
  const { guard } = await import('../build/bench/guard/guard.js')
  process.exitCode = (await guard(process.argv.slice(2), projectRoot)) ? 0 : 1
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
