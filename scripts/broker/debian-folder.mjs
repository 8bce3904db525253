/**
 * RabbitMQ in the version of another Debian release than the machine's: a folder with that release, made by
 * debootstrap and entered by chroot, which takes root.
 */
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readdirSync, readFileSync, renameSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brokersFolder, Home } from './home.mjs'
import { canInstallDebianPackages, installDebianPackages } from './installation.mjs'
import { isVersion } from './version.mjs'

/**
 * @typedef {import('./installation.mjs').Installation} Installation
 * @typedef {import('./types.d.ts').Log} Log
 * @typedef {{ release: string, rabbitmq: string }} Offer
 */

/** Newest first: what a version that fits several means. */
const offers = [
  { release: 'forky', rabbitmq: '4.3' },
  { release: 'trixie', rabbitmq: '4.0' },
  { release: 'bookworm', rabbitmq: '3.10' },
]
const debootstrap = '/usr/sbin/debootstrap'
const keyring = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** @param {string} name */
const script = name => fileURLToPath(new URL(name, import.meta.url))

/**
 * Why no Debian folder can have this version of RabbitMQ here, or undefined if one can.
 *
 * @param {string} wanted
 * @returns {{ reason: string, remedy: string } | undefined}
 */
export function debianFolderObstacle(wanted) {
  if (offerOf(wanted) === undefined) {
    const list = offers.map(offer => `${versionOf(offer)} (${offer.release})`).join(', ')
    return {
      reason: `the Debian releases that this script knows have RabbitMQ ${list}`,
      remedy: 'ask for a version that one of them has',
    }
  }
  if (process.platform !== 'linux' || process.getuid?.() !== 0) {
    return {
      reason: 'only root can make one and enter it, on Linux',
      remedy: 'run the same command as root, on Linux with apt-get or debootstrap',
    }
  }
  if (spawnSync('unshare', ['--mount', 'true'], { stdio: 'ignore' }).status !== 0) {
    return {
      reason: 'root may not mount anything here',
      remedy: 'let it, where this runs in a container: docker run --privileged',
    }
  }
  if (!hasDebootstrap() && !canInstallDebianPackages()) {
    return {
      reason: 'debootstrap and the package debian-archive-keyring are not installed, and there is no apt-get for it',
      remedy: `install them: ${debootstrap} and ${keyring} have to be there`,
    }
  }
  return undefined
}

/**
 * Gives RabbitMQ in a Debian folder, which is made first unless an earlier run did.
 *
 * @param {string} wanted
 * @param {Log} log
 * @returns {Promise<Installation>}
 */
export async function debianFolderInstallation(wanted, log) {
  const offer = offerOf(wanted)
  if (offer === undefined) throw new Error(`No Debian release that this script knows has RabbitMQ ${wanted}.`)
  const folder = folderOf(offer)
  if (!existsSync(folder)) await makeDebianFolder(offer, folder, log)
  const version = versionIn(folder)
  if (version === undefined || !isVersion(version, wanted)) {
    throw new Error(
      `${folder} holds RabbitMQ ${version ?? 'no more'}, not ${wanted}: ask for that, or remove the folder ` +
        `to have the one that Debian ${offer.release} has now.`,
    )
  }
  const enter = ['--mount', 'sh', script('in-debian-folder.sh'), folder, tmpdir(), brokersFolder, '--']
  return {
    version,
    serverCommand: ['unshare', ...enter, '/usr/lib/rabbitmq/bin/rabbitmq-server'],
    epmdCommand: ['unshare', ...enter, '/usr/bin/epmd'],
    erlCallCommand: ['unshare', ...enter, '/usr/bin/erl_call'],
  }
}

/** @param {string} wanted */
function offerOf(wanted) {
  return offers.find(offer => {
    const version = versionOf(offer)
    return isVersion(version, wanted) || isVersion(wanted, version)
  })
}

/**
 * What it is known to have, or if there is a folder, what that has: a release that is not out yet moves on.
 *
 * @param {Offer} offer
 */
const versionOf = offer => versionIn(folderOf(offer)) ?? offer.rabbitmq

/** @param {Offer} offer */
const folderOf = ({ release }) => join(brokersFolder, `debian-${release}`)

const hasDebootstrap = () => existsSync(debootstrap) && existsSync(keyring)

/**
 * @param {Offer} offer
 * @param {string} folder
 * @param {Log} log
 */
async function makeDebianFolder({ release, rabbitmq }, folder, log) {
  if (!hasDebootstrap()) {
    log('debootstrap is not installed; running as root, so installing it')
    installDebianPackages(['debootstrap', 'debian-archive-keyring'], log)
  }
  log(`making a folder with Debian ${release}, which has RabbitMQ ${rabbitmq}`)
  log('  this takes about a minute and 340 MB, once: the folder stays for later runs')
  const startedAt = Date.now()
  // Made in the folder of this run, which goes with it when it fails or ends, and by the next run if it is killed.
  const home = new Home({ log, keep: false })
  try {
    const made = join(home.folder, 'debian')
    const logFile = join(home.folder, 'debootstrap.log')
    log(`  (output in ${logFile})`)
    const code = await runApart(['sh', script('make-debian-folder.sh'), release, made], home, logFile)
    if (code !== 0) {
      const output = readFileSync(logFile, 'utf8').trimEnd().split('\n').slice(-15).join('\n')
      throw new Error(`Debian ${release} could not be put into a folder. The last words were:\n${output}`)
    }
    const seconds = ((Date.now() - startedAt) / 1000).toFixed(0)
    const moved = moveUnlessThere(made, folder)
    log(
      moved
        ? `  made ${folder} in ${seconds} s; remove it with rm -rf when not needed`
        : '  another run made it meanwhile',
    )
  } finally {
    await home.destroy()
  }
}

/**
 * Runs a command whose mounts and processes nothing outlives: killing the one process that this starts ends them all.
 *
 * @param {string[]} command
 * @param {Home} home
 * @param {string} logFile
 */
async function runApart(command, home, logFile) {
  const output = openSync(logFile, 'w')
  const apart = ['--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
  const child = spawn('unshare', [...apart, ...command], { detached: true, stdio: ['ignore', output, output] })
  closeSync(output)
  await once(child, 'spawn')
  home.adopt(Number(child.pid))
  const [code] = await once(child, 'exit')
  return code
}

/**
 * @param {string} from
 * @param {string} to
 */
function moveUnlessThere(from, to) {
  try {
    renameSync(from, to)
    return true
  } catch (error) {
    const { code } = /** @type {NodeJS.ErrnoException} */ (error)
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return false
    throw error
  }
}

/** @param {string} folder */
function versionIn(folder) {
  const lib = join(folder, 'usr/lib/rabbitmq/lib')
  if (!existsSync(lib)) return undefined
  return readdirSync(lib)
    .map(name => /^rabbitmq_server-(.+)$/.exec(name)?.[1])
    .find(version => version !== undefined)
}
