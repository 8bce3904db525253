/**
 * Finds an installed RabbitMQ, and installs Debian's packages.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, openSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'

/**
 * @typedef {[program: string, ...args: string[]]} Command what further arguments are appended to
 *
 * @typedef {object} Installation
 * @property {string | undefined} version
 * @property {Command} serverCommand
 * @property {Command} epmdCommand
 * @property {Command} erlCallCommand
 *
 * @typedef {import('./types.d.ts').Log} Log
 */

const binFolders = [
  '/usr/lib/rabbitmq/bin',
  '/usr/lib64/rabbitmq/bin',
  '/opt/rabbitmq/sbin',
  '/opt/homebrew/opt/rabbitmq/sbin',
  '/usr/local/opt/rabbitmq/sbin',
]
const erlangFolders = ['/usr/lib/erlang/bin', '/usr/lib64/erlang/bin', '/usr/local/lib/erlang/bin', '/opt/homebrew/bin']

/** @returns {Installation | undefined} */
export function findInstallation() {
  const path = (process.env.PATH ?? '').split(delimiter).filter(folder => folder !== '')
  const server = findCommand('rabbitmq-server', [...path, ...binFolders], leadsToScripts)
  const epmd = findCommand('epmd', [...path, ...erlangFolders])
  if (server === undefined || epmd === undefined) return undefined
  const bin = dirname(realpathSync(server))
  const serverCommand = join(bin, 'rabbitmq-server')
  return {
    // As in /usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/sbin.
    version: /[-/](\d+\.\d+\.\d+)\//.exec(realpathSync(serverCommand))?.[1],
    serverCommand: [serverCommand],
    epmdCommand: [epmd],
    // Erlang has it beside epmd.
    erlCallCommand: [join(dirname(realpathSync(epmd)), 'erl_call')],
  }
}

/**
 * @param {string} name
 * @param {string[]} folders
 * @param {(file: string) => boolean} [accept]
 */
function findCommand(name, folders, accept = () => true) {
  return folders.map(folder => join(folder, name)).find(file => existsSync(file) && accept(file))
}

/**
 * Packages put a wrapper on the PATH that changes to the user rabbitmq and refuses all but that user and root. The
 * server's own scripts, to which the wrapper may be a link, have rabbitmq-env beside them.
 *
 * @param {string} file
 */
const leadsToScripts = file => existsSync(join(dirname(realpathSync(file)), 'rabbitmq-env'))

export const canInstallDebianPackages = () =>
  process.platform === 'linux' && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get')

/**
 * Installs Debian's packages without starting the services that they bring.
 *
 * @param {string[]} packages
 * @param {Log} log
 */
export function installDebianPackages(packages, log) {
  const folder = mkdtempSync(join(tmpdir(), 'asyncamqp-apt-'))
  const logFile = join(folder, 'apt.log')
  const release = forbidServiceStarts()
  try {
    log(`  apt-get update (its output is in ${logFile})`)
    if (!aptGet(['update'], logFile)) log('  apt-get update failed; trying with the package lists that are there')
    log(`  apt-get install ${packages.join(' ')}, without starting a service`)
    if (!aptGet(['install', '--yes', '--no-install-recommends', ...packages], logFile)) {
      const output = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-15).join('\n')
      throw new Error(`apt-get could not install ${packages.join(' and ')}. Its last words were:\n${output}`)
    }
  } finally {
    release()
    rmSync(folder, { recursive: true, force: true })
  }
}

/**
 * @param {string[]} args
 * @param {string} logFile
 */
function aptGet(args, logFile) {
  const output = openSync(logFile, 'a')
  const { status } = spawnSync('/usr/bin/apt-get', ['-o', 'DPkg::Lock::Timeout=300', ...args], {
    stdio: ['ignore', output, output],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  return status === 0
}

/**
 * Debian's packages start their services once installed, unless this file says no. One that is there already is the
 * machine's own decision.
 *
 * @returns {() => void} takes the prohibition back
 */
function forbidServiceStarts() {
  const file = '/usr/sbin/policy-rc.d'
  if (existsSync(file)) return () => {}
  writeFileSync(file, '#!/bin/sh\nexit 101\n', { mode: 0o755 })
  return () => rmSync(file, { force: true })
}
