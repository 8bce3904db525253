/**
 * Runs the tests, all or some, with a broker of their own.
 *
 *   npm test                           all of them
 *   npm test -- test/channel confirms  those whose path contains one of these
 *   npm test -- --node PATH            with another Node, whose binary this is
 *   npm test -- --node 22              with another Node, from npm, in this version
 *   npm test -- --rabbitmq 4           with another RabbitMQ, in this version
 *   npm test -- --concurrency N        N files at a time; 2 unless told
 *   npm test -- --coverage             and says which lines of dist they reach
 */
import { execFileSync } from 'node:child_process'
import { parseArgs } from 'node:util'
import { startBroker } from './broker/find.mjs'
import { projectRoot } from './broker/home.mjs'
import { brokerEnvironment, logBroker } from './broker.mjs'
import { otherNode } from './other-node.mjs'
import { buildPackage, buildTests, checkNodeVersion, filesUnder, installDependencies } from './prepare.mjs'
import { run } from './run.mjs'

// Only a net under tests that hang: it ends the file, whose other results are lost.
const fileTimeout = (process.env['ASYNCAMQP_FAULTS'] === 'long' ? 180 : 10) * 60_000

/** @param {string} line */
const log = line => console.log(`test: ${line}`)

async function main() {
  const { values, positionals: filters } = parseArgs({
    options: {
      node: { type: 'string' },
      rabbitmq: { type: 'string' },
      concurrency: { type: 'string', default: '2' },
      coverage: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  checkNodeVersion()
  await installDependencies(log)
  const node = values.node === undefined ? process.execPath : await otherNode(values.node, log)
  const nodeVersion = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1)
  checkNodeVersion(nodeVersion)
  await buildPackage(log)
  await buildTests(log)

  const files = filesUnder('build/test', '.test.js').filter(
    file => filters.length === 0 || filters.some(filter => file.includes(filter.replace(/\.ts$/, '.js'))),
  )
  if (files.length === 0) throw new Error(`No test file's path contains ${filters.join(' or ')}.`)

  const broker = await startBroker({ log: logBroker, rabbitmq: values.rabbitmq })
  try {
    log(`${files.length} files with Node ${nodeVersion}, ${values.concurrency} at a time`)
    const command = [
      node,
      '--test',
      `--test-concurrency=${values.concurrency}`,
      `--test-timeout=${fileTimeout}`,
      '--test-reporter=spec',
      // Files and not their folder, which Node 22 refuses.
      ...files,
    ]
    const coverage = values.coverage ? [process.execPath, 'node_modules/c8/bin/c8.js', '--include', 'dist'] : []
    const [program = '', ...args] = [...coverage, ...command]
    process.exitCode = await run(program, args, { environment: brokerEnvironment(broker), cwd: projectRoot })
  } finally {
    await broker.stop()
  }
}

try {
  await main()
} catch (error) {
  console.error(`test: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
