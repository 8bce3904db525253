/**
 * Measures the package beside its peers: `npm run bench`; `npm run bench -- --help` shows the options.
 */
import { fileURLToPath } from 'node:url'
import { startBroker } from '../scripts/broker/find.mjs'
import { projectRoot } from '../scripts/broker/home.mjs'
import { otherNode } from '../scripts/other-node.mjs'
import { run } from '../scripts/run.mjs'
import { installRuntime, runtimes } from '../scripts/runtimes/runtimes.mjs'
import { prepare } from './prepare.mjs'

/** @param {string} line */
const log = line => console.error(`bench: ${line}`)

/** What gives a program `gc()`. */
const EXPOSE_GC = { bun: '--expose-gc', deno: '--v8-flags=--expose-gc' }

/** @param {string} wanted */
async function runtimeOf(wanted) {
  if (wanted !== 'bun' && wanted !== 'deno') throw new Error(`--runtime must be bun or deno, not ${wanted}`)
  const { version, args } = runtimes[wanted]
  const binary = await installRuntime(runtimes[wanted], log)
  return { name: `${wanted} ${version}`, binary, args, exposeGc: EXPOSE_GC[wanted] }
}

async function main() {
  const args = process.argv.slice(2)
  const at = args.indexOf('--node')
  if (at >= 0) {
    const [, wanted = ''] = args.splice(at, 2)
    const node = await otherNode(wanted, log)
    process.exitCode = await run(node, [fileURLToPath(import.meta.url), ...args])
    return
  }
  const runtimeAt = args.indexOf('--runtime')
  const runtime = runtimeAt < 0 ? undefined : await runtimeOf(args.splice(runtimeAt, 2)[1] ?? '')
  await prepare(log)
  const bench = await import('../build/bench/main.js')
  await bench.main(args, { root: projectRoot, runtime, startBroker: () => startBroker({ log }) })
}

try {
  await main()
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
