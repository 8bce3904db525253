/**
 * Node in other versions than the one that runs this, to try the package with.
 */
import { existsSync, mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { projectRoot } from './broker/home.mjs'
import { run } from './run.mjs'

/**
 * @param {string} wanted the path of a binary, or a version
 * @param {import('./broker/types.d.ts').Log} log
 * @returns {Promise<string>} the path of a binary
 */
export async function otherNode(wanted, log) {
  if (!/^\d+(\.\d+)*$/.test(wanted)) return resolve(wanted)
  const name = `node-${process.platform}-${process.arch}`
  const folder = join(projectRoot, 'node_modules', '.cache', `node-${wanted}`)
  const binary = join(folder, 'node_modules', name, 'bin', 'node')
  if (!existsSync(binary)) {
    log(`installing Node ${wanted} (npm's package ${name}) into ${folder}`)
    mkdirSync(folder, { recursive: true })
    const install = ['install', '--prefix', folder, '--no-save', '--ignore-scripts', `${name}@${wanted}`]
    const code = await run('npm', install, { cwd: folder })
    if (code !== 0 || !existsSync(binary)) throw new Error(`npm could not install ${name}@${wanted}.`)
  }
  return binary
}
