/**
 * Measures the package beside its peers: `npm run bench`; `npm run bench -- --help` shows the options.
 */
import { fileURLToPath } from 'node:url'
import { startBroker } from '../scripts/broker/find.mjs'
import { projectRoot } from '../scripts/broker/home.mjs'
import { otherNode } from '../scripts/other-node.mjs'
import { run } from '../scripts/run.mjs'
import { prepare } from './prepare.mjs'

/** @param {string} line */
const log = line => console.error(`bench: ${line}`)

async function main() {
  const args = process.argv.slice(2)
  const at = args.indexOf('--node')
  if (at >= 0) {
    const [, wanted = ''] = args.splice(at, 2)
    const node = await otherNode(wanted, log)
    process.exitCode = await run(node, [fileURLToPath(import.meta.url), ...args])
    return
  }
  await prepare(log)
  const bench = await import('../build/bench/main.js')
  await bench.main(args, { root: projectRoot, startBroker: () => startBroker({ log }) })
}

try {
  await main()
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
