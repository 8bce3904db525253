/**
 * Bun and Deno, as they come from npm, to try the package with. Versions are exact: they change when somebody changes them.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { projectRoot } from '../broker/home.mjs'
import { run } from '../run.mjs'

/** @param {string} file */
const beside = file => fileURLToPath(new URL(file, import.meta.url))

/**
 * @typedef {object} Runtime
 * @property {string} name
 * @property {string} version
 * @property {string} binary in the package of this platform, which has no script to install it
 * @property {readonly string[]} args for a program
 * @property {readonly string[]} testArgs for a file of tests
 */

/** As npm's packages call them. */
const bunArch = process.arch === 'arm64' ? 'aarch64' : process.arch
const denoLibc = process.platform === 'linux' ? '-glibc' : ''

const denoArgs = ['run', '--allow-all', '--no-check', '--quiet', '--node-modules-dir=manual']

/** @type {{ readonly bun: Runtime, readonly deno: Runtime }} */
export const runtimes = {
  bun: {
    name: 'bun',
    version: '1.4.5',
    binary: `@oven/bun-${process.platform}-${bunArch}/bin/bun`,
    args: ['run'],
    testArgs: ['run', '--preload', beside('bun-preload.mjs')],
  },
  deno: {
    name: 'deno',
    version: '2.9.6',
    binary: `@deno/${process.platform}-${process.arch}${denoLibc}/deno`,
    args: denoArgs,
    testArgs: [...denoArgs, `--import-map=${beside('deno-imports.json')}`],
  },
}

/**
 * @param {Runtime} runtime
 * @param {import('../broker/types.d.ts').Log} log
 * @returns {Promise<string>} the path of its binary
 */
export async function installRuntime({ name, version, binary }, log) {
  const folder = join(projectRoot, 'node_modules', '.cache', `${name}-${version}`)
  const installed = join(folder, 'node_modules', binary)
  if (!existsSync(installed)) {
    log(`installing ${name} ${version} from npm into ${folder}`)
    mkdirSync(folder, { recursive: true })
    const install = ['install', '--prefix', folder, '--no-save', '--ignore-scripts', `${name}@${version}`]
    const code = await run('npm', install, { cwd: folder })
    if (code !== 0 || !existsSync(installed)) throw new Error(`npm could not install ${name}@${version}.`)
  }
  return installed
}
