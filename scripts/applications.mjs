/**
 * Runs the tests of applications of amqplib (rascal, amqp-connection-manager, golevelup's module for NestJS, and amqplib itself) on asyncamqp: in
 * the place of amqplib they get the layer in test/applications/amqplib, which has its API, over the packed package.
 *
 *   node scripts/applications.mjs                     all of them
 *   node scripts/applications.mjs rascal amqplib      those whose names contain one of these
 *   node scripts/applications.mjs --original          with amqplib itself, to see what fails without asyncamqp, too
 *   node scripts/applications.mjs --rabbitmq 4        with another RabbitMQ, in this version
 *   node scripts/applications.mjs --sources FOLDER    with clones of the repositories in this folder, in the place of GitHub
 *   node scripts/applications.mjs --keep              leaves the projects where they are
 */
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { differences } from './applications/differences.mjs'
import { rows } from './applications/rows.mjs'
import { getSources } from './applications/sources.mjs'
import { projectRoot } from './broker/home.mjs'
import { logBroker, startBroker } from './broker.mjs'
import { buildPackage, checkNodeVersion, installDependencies } from './prepare.mjs'

/**
 * @typedef {import('./applications/rows.mjs').Row} Row
 * @typedef {import('./applications/rows.mjs').Result} Result
 * @typedef {import('./applications/rows.mjs').Suite} Suite
 * @typedef {{ passed: number, failed: number }} Total without the differences that are expected
 */

/** Milliseconds that one command may take. */
const COMMAND_TIMEOUT = 900_000

/** @param {string} line */
const log = line => console.log(`applications: ${line}`)

async function main() {
  const { values, positionals: words } = parseArgs({
    options: {
      original: { type: 'boolean', default: false },
      keep: { type: 'boolean', default: false },
      rabbitmq: { type: 'string' },
      install: { type: 'boolean' },
      sources: { type: 'string' },
    },
    allowPositionals: true,
  })
  const wanted = rows.filter(row => words.length === 0 || words.some(word => row.name.includes(word)))
  if (wanted.length === 0) throw new Error(`No application is called ${words.join(' or ')}.`)
  checkNodeVersion()
  await installDependencies(log)
  await buildPackage(log)

  const folder = mkdtempSync(join(tmpdir(), 'asyncamqp-applications-'))
  const broker = await startBroker({ log: logBroker, rabbitmq: values.rabbitmq, install: values.install })
  const total = { passed: 0, failed: 0 }
  try {
    const environment = await prepareBroker(broker)
    await command('npm', ['pack', '--silent', '--pack-destination', folder], projectRoot)
    const [tarball = ''] = readdirSync(folder)
    for (const row of wanted) {
      try {
        await tryApplication(row, join(folder, row.name), join(folder, tarball), environment, values, total)
      } catch (error) {
        log(`${row.name}: NOT RUN: ${error instanceof Error ? error.message : error}`)
        total.failed++
      }
    }
  } finally {
    await broker.stop()
    if (values.keep) log(`the projects are in ${folder}`)
    else rmSync(folder, { recursive: true, force: true })
  }
  console.log(`${total.passed} passed, ${total.failed} failed`)
  if (total.failed > 0) process.exitCode = 1
}

/**
 * @param {Row} row
 * @param {string} project an empty folder of the row's own
 * @param {string} tarball
 * @param {NodeJS.ProcessEnv} environment
 * @param {{ original: boolean, sources?: string | undefined }} options
 * @param {Total} total
 */
async function tryApplication(row, project, tarball, environment, { original, sources }, total) {
  await prepareProject(row, project, tarball, sources)
  if (!original) await placeLayer(project)
  for (const suite of row.suites) {
    log(`${row.name}, ${suite.name}: running`)
    const results = await runSuite(suite, project, environment)
    report(row, suite, results, original ? {} : (differences[row.name] ?? {}), total)
  }
}

/**
 * What the tests expect of a broker: RabbitMQ's usual ports, and the users that they log in as.
 *
 * @param {import('./broker/types.d.ts').Broker} broker
 * @returns {Promise<NodeJS.ProcessEnv>}
 */
async function prepareBroker(broker) {
  const { managementUrl } = broker
  if (managementUrl === undefined) throw new Error('The applications need a RabbitMQ with its management plugin.')
  const { origin, port, username, password } = new URL(managementUrl)
  const headers = { authorization: `Basic ${btoa(`${username}:${password}`)}`, 'content-type': 'application/json' }
  /** @type {[string, object][]} */
  const settings = [
    ['users/rabbitmq', { password: 'rabbitmq', tags: 'administrator' }],
    ['permissions/%2F/rabbitmq', { configure: '.*', write: '.*', read: '.*' }],
  ]
  for (const [path, body] of settings) {
    const response = await fetch(`${origin}/api/${path}`, { method: 'PUT', headers, body: JSON.stringify(body) })
    if (!response.ok) throw new Error(`The broker refused to make the user rabbitmq: ${response.status}.`)
  }
  const silent = createServer().listen(0, '127.0.0.1').unref()
  await once(silent, 'listening')
  const { port: silentPort } = /** @type {import('node:net').AddressInfo} */ (silent.address())
  return {
    ...process.env,
    ASYNCAMQP_PORTS: JSON.stringify({ 5672: broker.port, 15672: Number(port), silent: silentPort }),
    NODE_OPTIONS: `--require=${join(import.meta.dirname, 'applications/redirect.cjs')}`,
  }
}

/**
 * @param {Row} row
 * @param {string} project an empty folder of the row's own
 * @param {string} tarball
 * @param {string | undefined} sources
 */
async function prepareProject(row, project, tarball, sources) {
  mkdirSync(project)
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'program', private: true }))
  log(`${row.name}: installing ${row.packages[0]} and what its tests need`)
  const quiet = ['--silent', '--no-audit', '--no-fund', '--prefer-offline', '--ignore-scripts', '--legacy-peer-deps']
  await command('npm', ['install', ...quiet, tarball, ...row.packages], project)
  for (const [name, place] of Object.entries(row.moved ?? {})) {
    renameSync(join(project, 'node_modules', name), join(project, place))
  }
  if (row.sources !== undefined) await getSources(row.sources, project, sources, log)
  for (const [name, [found, given]] of Object.entries(row.patches ?? {})) {
    const text = readFileSync(join(project, name), 'utf8')
    if (!text.includes(found)) throw new Error(`${name} of ${row.name} has no "${found}" any more.`)
    writeFileSync(join(project, name), text.replace(found, given))
  }
  for (const [name, text] of Object.entries(row.files ?? {})) {
    mkdirSync(dirname(join(project, name)), { recursive: true })
    writeFileSync(join(project, name), text)
  }
}

/**
 * Puts the layer wherever amqplib is.
 *
 * @param {string} project
 */
async function placeLayer(project) {
  const { build } = await import('esbuild')
  const bundle = join(project, 'layer.js')
  await build({
    entryPoints: [join(projectRoot, 'test/applications/amqplib/index.ts')],
    outfile: bundle,
    ...{ bundle: true, platform: 'node', format: 'cjs', external: ['asyncamqp'], logLevel: 'error' },
  })
  const files = {
    'channel_api.js': "const { promiseApi: { connect }, credentials, IllegalOperationError } = require('./layer.js')",
    'callback_api.js': "const { callbackApi: { connect }, credentials, IllegalOperationError } = require('./layer.js')",
    'lib/connect.js':
      "const { callbackApi: { rawConnect: connect }, credentials, IllegalOperationError } = require('../layer.js')",
  }
  const places = readdirSync(project, { recursive: true, encoding: 'utf8' }).filter(file =>
    /(^|\/)amqplib\/channel_api\.js$/.test(file.replaceAll('\\', '/')),
  )
  if (places.length === 0) throw new Error('amqplib is not installed.')
  for (const place of places) {
    const amqplib = join(project, dirname(place))
    cpSync(bundle, join(amqplib, 'layer.js'))
    for (const [name, text] of Object.entries(files)) {
      writeFileSync(join(amqplib, name), `${text}\nmodule.exports = { connect, credentials, IllegalOperationError }\n`)
    }
  }
}

/**
 * @param {Suite} suite
 * @param {string} project
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Promise<Result[]>}
 */
async function runSuite({ folder, command: words, environment: own }, project, environment) {
  const file = join(project, 'results.json')
  const [program = '', ...args] = words.map(word => word.replace('RESULTS', file))
  const output = await command(program, args, join(project, folder), { ...environment, ...own }, true)
  if (!existsSync(file)) throw new Error(`${words.join(' ')} left no results:\n${output}`)
  const results = JSON.parse(readFileSync(file, 'utf8'))
  rmSync(file)
  return Array.isArray(results) ? results : fromJest(results)
}

/**
 * @param {any} report as Jest and Vitest write it
 * @returns {Result[]}
 */
function fromJest({ testResults }) {
  return testResults.flatMap((/** @type {any} */ { name, message, assertionResults }) =>
    // A file that cannot be loaded has no tests.
    assertionResults.length === 0
      ? [{ name, failure: message }]
      : assertionResults
          .filter((/** @type {any} */ { status }) => status === 'passed' || status === 'failed')
          .map((/** @type {any} */ { ancestorTitles, title, status, failureMessages, invocations }) => ({
            name: [...ancestorTitles, title].join(' > '),
            ...(status === 'failed' && { failure: failureMessages.join('\n') }),
            ...(invocations > 1 && { tries: invocations }),
          })),
  )
}

/**
 * @param {Row} row
 * @param {Suite} suite
 * @param {readonly Result[]} results
 * @param {Readonly<Record<string, string>>} expected
 * @param {Total} total
 */
function report(row, suite, results, expected, total) {
  const failures = results.filter(({ failure }) => failure !== undefined)
  const unexpected = failures.filter(({ name }) => !(name in expected))
  log(`${row.name}, ${suite.name}: ${results.length - failures.length} of ${results.length} passed`)
  for (const { name, tries, failure } of results) {
    if (tries !== undefined && failure === undefined) log(`  passed at try ${tries}: ${name}`)
  }
  for (const { name } of failures) if (name in expected) log(`  differs: ${name}\n    ${expected[name]}`)
  for (const { name, failure } of results) {
    if (name in expected && failure === undefined) log(`  passed, but is in the list of differences: ${name}`)
  }
  for (const { name, failure = '' } of unexpected) log(`  FAILED: ${name}\n${failure.replaceAll(/^/gm, '    ')}`)
  if (results.length !== suite.tests) log(`  WRONG: it has ${results.length} tests, not ${suite.tests}`)
  total.passed += results.length - failures.length
  total.failed += unexpected.length + (results.length === suite.tests ? 0 : 1)
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} [env]
 * @param {boolean} [mayFail] tests that fail end with an error
 * @returns {Promise<string>} what it printed
 */
function command(program, args, cwd, env, mayFail = false) {
  return new Promise((resolve, reject) => {
    execFile(program, args, { cwd, env, timeout: COMMAND_TIMEOUT, maxBuffer: 2 ** 28 }, (error, stdout, stderr) => {
      const output = stdout + stderr
      if (error === null || (mayFail && typeof error.code === 'number')) resolve(output)
      else reject(new Error(`${[program, ...args].join(' ')} failed (${error.code ?? error.signal}):\n${output}`))
    })
  })
}

try {
  await main()
} catch (error) {
  console.error(`applications: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
