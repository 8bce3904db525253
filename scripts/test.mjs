/**
 * Runs the tests, all or some, with a broker of their own.
 *
 *   npm test                           all of them
 *   npm test -- test/channel confirms  those whose path contains one of these
 *   npm test -- --node PATH            with another Node, whose binary this is
 *   npm test -- --node 22              with another Node, from npm, in this version
 *   npm test -- --runtime bun          with Bun from npm instead of Node; or deno
 *   npm test -- --rabbitmq 4           with another RabbitMQ, in this version
 *   npm test -- --concurrency N        N files at a time; 3 by default, since many wait
 *   npm test -- --install              as root, installs Debian's RabbitMQ and Chromium if there are none
 *   npm test -- --testing              with the broker of asyncamqp/testing, even if there is a RabbitMQ
 *   npm test -- --coverage             and says which lines of dist they reach
 */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { startBroker } from './broker/find.mjs'
import { projectRoot } from './broker/home.mjs'
import { brokerEnvironment, logBroker } from './broker.mjs'
import { installChromium } from './chromium.mjs'
import { otherNode } from './other-node.mjs'
import { buildPackage, buildTests, checkNodeVersion, filesUnder, installDependencies } from './prepare.mjs'
import { run } from './run.mjs'
import { runTests, testsIn } from './runtimes/run-tests.mjs'
import { installRuntime, runtimes } from './runtimes/runtimes.mjs'

// Only a net under tests that hang: it ends the file, whose other results are lost.
const fileTimeout = (process.env['ASYNCAMQP_FAULTS'] === 'long' ? 180 : 10) * 60_000

/** Files that are about RabbitMQ's own nodes, in whole. */
const aboutNodes = [
  'test/faults/cluster',
  'test/faults/tokens',
  'test/support/rabbit-node',
  'test/support/rabbitmq-version',
]

/** @param {string} line */
const log = line => console.log(`test: ${line}`)

async function main() {
  const { values, positionals: filters } = parseArgs({
    options: {
      node: { type: 'string' },
      runtime: { type: 'string' },
      rabbitmq: { type: 'string' },
      concurrency: { type: 'string', default: '3' },
      install: { type: 'boolean', default: false },
      testing: { type: 'boolean', default: false },
      coverage: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  checkNodeVersion()
  await installDependencies(log)
  const node = values.node === undefined ? process.execPath : await otherNode(values.node, log)
  const nodeVersion = execFileSync(node, ['--version'], { encoding: 'utf8' }).trim().slice(1)
  checkNodeVersion(nodeVersion)
  const runtime = Object.values(runtimes).find(({ name }) => name === values.runtime)
  if (values.runtime !== undefined && runtime === undefined) {
    throw new Error(`There is no runtime "${values.runtime}": take ${Object.keys(runtimes).join(' or ')}.`)
  }
  const binary = runtime === undefined ? '' : await installRuntime(runtime, log)
  await buildPackage(log)
  await buildTests(log)

  const chosen = filesUnder('build/test', '.test.js').filter(
    file => filters.length === 0 || filters.some(filter => file.includes(filter.replace(/\.ts$/, '.js'))),
  )
  if (chosen.length === 0) throw new Error(`No test file's path contains ${filters.join(' or ')}.`)

  const { rabbitmq, install, testing } = values
  if (install && chosen.some(file => file.includes('websocket'))) installChromium(log)
  const broker = await startBroker({ log: logBroker, rabbitmq, install, testing })
  const scratch = mkdtempSync(join(tmpdir(), 'asyncamqp-test-'))
  const skippedFile = join(scratch, 'skipped')
  try {
    const inProcess = broker.kind === 'testing'
    const left = inProcess ? chosen.filter(file => aboutNodes.some(name => file.includes(name))) : []
    const files = chosen.filter(file => !left.includes(file))
    if (runtime !== undefined) {
      const { name, version } = runtime
      log(`${files.length} files with ${name} ${version}, ${values.concurrency} at a time`)
      const options = { concurrency: Number(values.concurrency), environment: brokerEnvironment(broker) }
      process.exitCode = await runTests(runtime, binary, files, options)
      return
    }
    log(`${files.length} files with Node ${nodeVersion}, ${values.concurrency} at a time`)
    const command = [
      node,
      '--test',
      `--test-concurrency=${values.concurrency}`,
      `--test-timeout=${fileTimeout}`,
      '--test-reporter=spec',
      '--test-reporter-destination=stdout',
      `--test-reporter=${join(projectRoot, 'scripts/skipped-reporter.mjs')}`,
      `--test-reporter-destination=${skippedFile}`,
      // Files and not their folder, which Node 22 refuses.
      ...files,
    ]
    const coverage = values.coverage ? [process.execPath, 'node_modules/c8/bin/c8.js', '--include', 'dist'] : []
    const [program = '', ...args] = [...coverage, ...command]
    process.exitCode = await run(program, args, { environment: brokerEnvironment(broker), cwd: projectRoot })
    if (inProcess)
      tellWaiting(left.reduce((sum, file) => sum + testsIn(file), Number(readFileSync(skippedFile, 'utf8'))))
  } finally {
    await broker.stop()
    rmSync(scratch, { recursive: true, force: true })
  }
}

/** @param {number} count */
function tellWaiting(count) {
  log(
    `${count} tests wait for a RabbitMQ: once one is installed, Docker runs, or AMQP_URL names one, npm test runs them; ` +
      'as root on Debian, npm test -- --install',
  )
}

try {
  await main()
} catch (error) {
  console.error(`test: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
