/**
 * Brings a checkout to the point where its programs run.
 */
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { projectRoot } from './broker/home.mjs'
import { copyDeclarations } from './declarations.mjs'
import { run } from './run.mjs'

/** @typedef {import('./broker/types.d.ts').Log} Log */

const lowestNode = [20, 19]

/**
 * Says so if Node is too old, instead of failing somewhere deep.
 *
 * @param {string} [version] of another binary than the one that runs this
 */
export function checkNodeVersion(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [lowestMajor = 0, lowestMinor = 0] = lowestNode
  if (major > lowestMajor || (major === lowestMajor && minor >= lowestMinor)) return
  throw new Error(`asyncamqp needs Node ${lowestNode.join('.')} or newer; this is Node ${version}.`)
}

/**
 * Installs what package-lock.json names, unless that is there already.
 *
 * @param {Log} log
 */
export async function installDependencies(log) {
  // npm writes this file at the end of an installation.
  const installed = modificationTime(join(projectRoot, 'node_modules', '.package-lock.json'))
  if (installed >= modificationTime(join(projectRoot, 'package-lock.json'))) return
  log('installing the dependencies (npm ci)')
  const { npm_execpath: npmScript } = process.env
  // npm sets a variable with its own path for the scripts that it runs; beside it, there may be another one on the PATH,
  // or a npm.cmd.
  const code = npmScript?.endsWith('.js')
    ? await run(process.execPath, [npmScript, 'ci'], { cwd: projectRoot })
    : await run('npm', ['ci'], { cwd: projectRoot })
  if (code !== 0) throw new Error('npm ci failed.')
}

/** @param {string} file */
const modificationTime = file => (existsSync(file) ? statSync(file).mtimeMs : Number.NEGATIVE_INFINITY)

/**
 * Builds the package into dist: the code in a file for each entry, and the public declarations.
 *
 * @param {Log} log
 */
export async function buildPackage(log) {
  log('building the package (dist)')
  const dist = emptied('dist')
  const compiled = mkdtempSync(join(tmpdir(), 'asyncamqp-'))
  const [code, declarations] = [join(compiled, 'code'), join(compiled, 'declarations')]
  try {
    // The declarations keep their comments, which editors show; one of the two is enough to find errors.
    await Promise.all([
      compile('tsconfig.json', ['--outDir', declarations, '--emitDeclarationOnly']),
      compile('tsconfig.json', ['--outDir', code, '--declaration', 'false', '--removeComments', '--noCheck']),
    ])
    // The bundler is there only once the dependencies are installed.
    const { bundle, entries } = await import('./bundle.mjs')
    for (const file of Object.values(entries)) copyDeclarations(file.replace(/\.js$/, '.d.ts'), declarations, dist)
    await bundle(code, dist)
  } finally {
    rmSync(compiled, { recursive: true })
  }
}

/**
 * Builds tests, benchmarks and examples into build.
 *
 * @param {Log} log
 */
export async function buildTests(log) {
  log('building the tests (build)')
  emptied('build')
  await compile('tsconfig.test.json')
}

/**
 * Builds the demo alone into build.
 *
 * @param {Log} log
 */
export async function buildDemo(log) {
  log('building the demo (build)')
  emptied('build')
  await compile('scripts/tsconfig.demo.json')
}

/**
 * Removes compiled files whose source is gone: they must never run.
 *
 * @param {string} folder
 */
function emptied(folder) {
  const path = join(projectRoot, folder)
  rmSync(path, { recursive: true, force: true })
  return path
}

/**
 * @param {string} project
 * @param {readonly string[]} [options]
 */
async function compile(project, options = []) {
  const compiler = join(projectRoot, 'node_modules', 'typescript', 'bin', 'tsc')
  const code = await run(process.execPath, [compiler, '-p', project, ...options], { cwd: projectRoot })
  if (code !== 0) throw new Error(`The compiler found errors (tsc -p ${project}).`)
}

/**
 * @param {string} folder
 * @param {string} ending
 */
export function filesUnder(folder, ending) {
  return readdirSync(join(projectRoot, folder), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith(ending))
    .map(file => join(folder, file))
    .sort()
}
