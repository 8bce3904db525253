/**
 * Shows what the package does, from a fresh clone on: `npm start`.
 */
import { startBroker } from './broker/find.mjs'
import { projectRoot } from './broker/home.mjs'
import { brokerEnvironment, logBroker } from './broker.mjs'
import { buildDemo, buildPackage, checkNodeVersion, installDependencies } from './prepare.mjs'
import { run } from './run.mjs'

/** @param {string} line */
const log = line => console.log(`start: ${line}`)

async function main() {
  checkNodeVersion()
  await installDependencies(log)
  await buildPackage(log)
  await buildDemo(log)
  const broker = await startBroker({ log: logBroker })
  try {
    log('running examples/demo.ts')
    const args = ['build/examples/demo.js', ...process.argv.slice(2)]
    process.exitCode = await run(process.execPath, args, { environment: brokerEnvironment(broker), cwd: projectRoot })
  } finally {
    await broker.stop()
    if (broker.kind !== 'url') logBroker('stopped, its files are removed')
  }
}

try {
  await main()
} catch (error) {
  console.error(`start: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
