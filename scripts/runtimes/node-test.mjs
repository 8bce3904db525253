/**
 * What the tests use of `node:test`, for other runtimes than Node. Their own runners fail a test for every rejection that
 * no code handles, also if the test listens for it, and cannot leave out a test by its name.. `run-file.mjs` runs a file of tests by it.
 */
import { inspect } from 'node:util'
import { skips } from './skips.mjs'

/**
 * @typedef {object} Options
 * @property {number} [timeout] milliseconds of each test
 * @property {number | boolean} [concurrency] tests at a time
 * @property {string | boolean} [skip]
 *
 * @typedef {(context: Context) => unknown} Run
 *
 * @typedef {object} Suite
 * @property {string} title
 * @property {Suite | undefined} parent
 * @property {Options} options
 * @property {(() => Promise<void>)[]} parts its tests and suites
 * @property {Record<'before' | 'after' | 'beforeEach' | 'afterEach', (() => unknown)[]>} hooks
 */

/** Milliseconds, for a test that says nothing of it. */
const TIMEOUT = 60_000
/** Tests at a time in a suite with `concurrency: true`. */
const MANY = 4

const runtime = 'bun' in process.versions ? 'bun' : 'deno'

/**
 * What became of the tests of a file.
 *
 * @typedef {object} Report
 * @property {number} passed
 * @property {{ title: string, error: string }[]} failed
 * @property {{ title: string, reason: string }[]} skipped
 */

/** @type {Report} */
const report = { passed: 0, failed: [], skipped: [] }
/** @type {Set<import('./skips.mjs').Skip>} */
const rows = new Set()
/** Those by which no test was left out yet. @type {Set<import('./skips.mjs').Skip>} */
const unused = new Set()
/** Unhandled errors, while tests run. @type {((error: unknown) => void)[]} */
const running = []

/** @param {string} title @param {Suite | undefined} parent @param {Options} options @returns {Suite} */
function newSuite(title, parent, options) {
  return { title, parent, options, parts: [], hooks: { before: [], after: [], beforeEach: [], afterEach: [] } }
}

const root = newSuite('', undefined, {})
let current = root

/** Both take their options, and `it` its function, or leave them out. @param {unknown[]} given */
function parsed([title, ...others]) {
  const options = /** @type {Options} */ (others.find(each => typeof each === 'object') ?? {})
  const run = /** @type {Run} */ (others.find(each => typeof each === 'function') ?? (() => {}))
  return { title: String(title), options, run }
}

/** @param {unknown[]} given */
export function describe(...given) {
  const { title, options, run } = parsed(given)
  const suite = newSuite(title, current, options)
  current.parts.push(() => runSuite(suite))
  const outer = current
  current = suite
  run(/** @type {never} */ (undefined))
  current = outer
}

/** @param {unknown[]} given */
export function it(...given) {
  const { title, options, run } = parsed(given)
  const suite = current
  suite.parts.push(() => runTest(newSuite(title, suite, options), run))
}

export const test = it
/** @param {() => unknown} run */
export const before = run => void current.hooks.before.push(run)
/** @param {() => unknown} run */
export const after = run => void current.hooks.after.push(run)
/** @param {() => unknown} run */
export const beforeEach = run => void current.hooks.beforeEach.push(run)
/** @param {() => unknown} run */
export const afterEach = run => void current.hooks.afterEach.push(run)

/** What a test gets. */
class Context {
  name
  /** @type {(() => unknown)[]} */
  undo = []
  /** @type {string | undefined} */
  skipped
  mock = { method: mockMethod.bind(undefined, this) }

  /** @param {string} name */
  constructor(name) {
    this.name = name
  }

  /** @param {() => unknown} run */
  after(run) {
    this.undo.push(run)
  }

  /** @param {string} [reason] */
  skip(reason = '') {
    this.skipped = reason
  }

  /** @param {string} line */
  diagnostic(line) {
    console.log(`# ${line}`)
  }
}

/**
 * @param {Context} context
 * @param {Record<string, unknown>} object
 * @param {string} name
 * @param {(...args: unknown[]) => unknown} [instead]
 */
function mockMethod(context, object, name, instead) {
  const own = Object.getOwnPropertyDescriptor(object, name)
  const original = /** @type {(...args: unknown[]) => unknown} */ (object[name])
  /** @type {{ arguments: unknown[], this: unknown }[]} */
  const calls = []
  /** @type {(this: unknown, ...args: unknown[]) => unknown} */
  function mocked(...args) {
    calls.push({ arguments: args, this: this })
    return Reflect.apply(instead ?? original, this, args)
  }
  Object.defineProperty(object, name, { value: mocked, configurable: true, writable: true })
  context.after(() => {
    if (own === undefined) delete object[name]
    else Object.defineProperty(object, name, own)
  })
  return Object.assign(mocked, { mock: { calls, callCount: () => calls.length } })
}

/** @param {Suite} suite @returns {Suite[]} from the outermost on, without the root */
function line(suite) {
  return suite.parent === undefined ? [] : [...line(suite.parent), suite]
}

/** @param {Suite} suite */
function fullTitle(suite) {
  return line(suite)
    .map(each => each.title)
    .join(' › ')
}

/** @param {Suite} suite @param {'timeout' | 'skip'} name */
function inherited(suite, name) {
  return line(suite).findLast(each => each.options[name] !== undefined)?.options[name]
}

/** @param {Suite} suite */
async function runSuite(suite) {
  const { concurrency } = suite.options
  const limit = typeof concurrency === 'number' ? concurrency : concurrency === true ? MANY : 1
  const parts = [...suite.parts]
  try {
    for (const hook of suite.hooks.before) await hook()
    await Promise.all(
      Array.from({ length: limit }, async () => {
        for (let part = parts.shift(); part !== undefined; part = parts.shift()) await part()
      }),
    )
    for (const hook of suite.hooks.after) await hook()
  } catch (error) {
    report.failed.push({ title: fullTitle(suite) || 'the file', error: inspect(error) })
  }
}

/** @param {Suite} suite of one test @param {Run} run */
async function runTest(suite, run) {
  const title = fullTitle(suite)
  const row = Array.from(rows).find(each => title.startsWith(each.title ?? ''))
  const skip = inherited(suite, 'skip')
  if (row !== undefined) unused.delete(row)
  const reason = row?.reason ?? (skip === true ? '' : skip || undefined)
  if (typeof reason === 'string') {
    report.skipped.push({ title, reason })
    return
  }
  const context = new Context(suite.title)
  const timeout = Number(inherited(suite, 'timeout') ?? TIMEOUT)
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  /** @type {(error: unknown) => void} */
  let fail = () => {}
  const failed = new Promise((_, reject) => {
    fail = reject
    timer = setTimeout(reject, timeout, new Error(`timed out after ${timeout} ms`))
  })
  failed.catch(() => {})
  running.push(fail)
  // Hooks outside of any suite hold for every test of the file.
  const suites = [root, ...line(suite)]
  try {
    const whole = async () => {
      // As in Node, a test starts in a promise job: what it does in nextTick comes after other promise jobs.
      await undefined
      for (const each of suites) for (const hook of each.hooks.beforeEach) await hook()
      await run(context)
    }
    await Promise.race([whole(), failed])
    for (const undo of context.undo) await undo()
    for (const each of suites) for (const hook of each.hooks.afterEach) await hook()
    if (context.skipped === undefined) report.passed++
    else report.skipped.push({ title, reason: context.skipped })
  } catch (error) {
    report.failed.push({ title, error: inspect(error) })
  } finally {
    clearTimeout(timer)
    running.splice(running.indexOf(fail), 1)
  }
}

/** @param {'unhandledRejection' | 'uncaughtException'} event */
function watch(event) {
  process.on(event, error => {
    // A test that listens itself expects it.
    if (process.listenerCount(event) > 1) return
    if (running.length === 0) report.failed.push({ title: 'outside of the tests', error: inspect(error) })
    for (const fail of running) fail(error)
  })
}

watch('unhandledRejection')
watch('uncaughtException')

/**
 * Run what has been described.
 *
 * @param {string} path of the file, from the project on
 * @returns {Promise<Report>}
 */
export async function runAll(path) {
  for (const row of skips) {
    if (!row.runtimes.includes(runtime) || row.file !== path || row.title === undefined) continue
    rows.add(row)
    unused.add(row)
  }
  await runSuite(root)
  for (const { title = '' } of unused) report.failed.push({ title, error: 'no test of skips.mjs is called so' })
  if (report.passed + report.failed.length + report.skipped.length === 0) {
    report.failed.push({ title: 'the file', error: 'it has no tests' })
  }
  return report
}
