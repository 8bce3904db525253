/**
 * Loads the packed package as programs do: by Jest, Vitest, tsx, NestJS, bundlers, Bun, Deno, and TypeScript's compilers.
 *
 *   node scripts/loaders.mjs               all rows
 *   node scripts/loaders.mjs --quick       those that CI runs
 *   node scripts/loaders.mjs jest esbuild  rows whose names contain one of these
 *   node scripts/loaders.mjs --node 22     with another Node, from npm, in this version
 */
import { execFile } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { parseArgs } from 'node:util'
import { projectRoot } from './broker/home.mjs'
import { rows } from './loaders/rows.mjs'
import { otherNode } from './other-node.mjs'
import { buildPackage, checkNodeVersion, installDependencies } from './prepare.mjs'

/** Milliseconds that one command may take. */
const COMMAND_TIMEOUT = 300_000

/** @param {string} line */
const log = line => console.log(`loaders: ${line}`)

async function main() {
  const { values, positionals: words } = parseArgs({
    options: { quick: { type: 'boolean', default: false }, node: { type: 'string' } },
    allowPositionals: true,
  })
  checkNodeVersion()
  await installDependencies(log)
  const node = values.node === undefined ? process.execPath : await otherNode(values.node, log)
  await buildPackage(log)
  const wanted = rows.filter(
    row => (!values.quick || row.quick) && (words.length === 0 || words.some(word => row.name.includes(word))),
  )
  if (wanted.length === 0) throw new Error(`No row is called ${words.join(' or ')}.`)

  const folder = mkdtempSync(join(tmpdir(), 'asyncamqp-loaders-'))
  /** @type {string[]} */
  const failed = []
  try {
    const environment = { ...process.env, PATH: `${dirname(node)}${delimiter}${process.env['PATH']}` }
    const packed = await command('npm', ['pack', '--silent', '--pack-destination', folder], projectRoot, environment)
    if (packed.code !== 0) throw new Error(`npm pack failed:\n${packed.output}`)
    const [tarball = ''] = readdirSync(folder)
    for (const row of wanted) {
      const output = await tryRow(row, join(folder, row.name), join(folder, tarball), environment)
      log(`${output === undefined ? 'right ' : 'WRONG '} ${row.name}`)
      if (output === undefined) continue
      failed.push(row.name)
      console.log(output)
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  console.log(`${wanted.length - failed.length} passed, ${failed.length} failed`)
  if (failed.length > 0) process.exitCode = 1
}

/**
 * @param {import('./loaders/rows.mjs').Row} row
 * @param {string} project an empty folder of the row's own
 * @param {string} tarball
 * @param {NodeJS.ProcessEnv} environment
 * @returns {Promise<string | undefined>} what went wrong
 */
async function tryRow(row, project, tarball, environment) {
  mkdirSync(project)
  const files = { 'package.json': JSON.stringify({ name: 'program', private: true, ...row.packageJson }), ...row.files }
  for (const [name, text] of Object.entries(files)) {
    const file = join(project, name)
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
  const quiet = ['--silent', '--no-audit', '--no-fund', '--prefer-offline']
  const steps = [['npm', 'install', ...quiet, tarball, ...row.packages], ...row.commands]
  for (const [program = '', ...args] of steps) {
    const { code, output } = await command(program, args, project, environment)
    if (code !== 0) return `${[program, ...args].join(' ')} ended with ${code}:\n${output}`
  }
  return undefined
}

/**
 * @param {string} program
 * @param {readonly string[]} args
 * @param {string} cwd
 * @param {NodeJS.ProcessEnv} env
 * @returns {Promise<{ code: number | string, output: string }>}
 */
function command(program, args, cwd, env) {
  return new Promise(resolve => {
    execFile(program, args, { cwd, env, timeout: COMMAND_TIMEOUT }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : (error.code ?? error.signal ?? error.message), output: stdout + stderr })
    })
  })
}

try {
  await main()
} catch (error) {
  console.error(`loaders: ${error instanceof Error ? error.message : error}`)
  process.exitCode = 1
}
