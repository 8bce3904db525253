/**
 * Shows what the package does, from a fresh clone on.
 *
 *   npm start                 with the RabbitMQ that is here, or else with the broker of asyncamqp/testing
 *   npm start -- --install    as root, installs Debian's RabbitMQ if there is none
 *   npm start -- --testing    with the broker of asyncamqp/testing
 */
import { parseArgs } from 'node:util'
import { startBroker } from './broker/find.mjs'
import { projectRoot } from './broker/home.mjs'
import { brokerEnvironment, logBroker } from './broker.mjs'
import { buildDemo, buildPackage, checkNodeVersion, installDependencies } from './prepare.mjs'
import { run } from './run.mjs'

/** @param {string} line */
const log = line => console.log(`start: ${line}`)

async function main() {
  const { values, positionals } = parseArgs({
    options: { install: { type: 'boolean' }, testing: { type: 'boolean' } },
    allowPositionals: true,
  })
  checkNodeVersion()
  await installDependencies(log)
  await buildPackage(log)
  await buildDemo(log)
  const broker = await startBroker({ log: logBroker, ...values })
  try {
    log('running examples/demo.ts')
    const args = ['build/examples/demo.js', ...positionals]
    process.exitCode = await run(process.execPath, args, { environment: brokerEnvironment(broker), cwd: projectRoot })
  } finally {
    await broker.stop()
    if (broker.kind !== 'url') logBroker('stopped')
  }
}

try {
  await main()
} catch (error) {
  console.error(`start: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
