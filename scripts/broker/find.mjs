/**
 * Finds or starts a broker, by the first way that this machine offers.
 */
import { createCluster } from './cluster.mjs'
import { dockerEngineRuns, removeComposeProject, startComposeBroker } from './compose.mjs'
import { debianFolderInstallation, debianFolderObstacle } from './debian-folder.mjs'
import { useGivenBroker } from './given.mjs'
import { removeStaleHomes } from './home.mjs'
import { canInstallDebianPackages, findInstallation, installDebianPackages } from './installation.mjs'
import { prepareSurroundings, RabbitNode } from './node.mjs'
import { TestingNode, usesTestingBroker } from './testing-node.mjs'
import { isVersion, wantedVersion } from './version.mjs'

/**
 * @typedef {import('./types.d.ts').Log} Log
 * @typedef {import('./types.d.ts').NodeOptions} NodeOptions
 * @typedef {import('./installation.mjs').Installation} Installation
 */

/**
 * Finds a broker: the one that `AMQP_URL` names; else a private node of an installed RabbitMQ; else, if `install` asks
 * for it, the same after installing Debian's package, as root; else one in Docker; else the one of `asyncamqp/testing`,
 * which has to be built. If a version is asked for that is not the installed one, a folder with another Debian
 * release, as root, takes the place of the package.
 *
 * @param {import('./types.d.ts').FindOptions} [options] `testing`: none but the broker of `asyncamqp/testing`
 * @returns {Promise<import('./types.d.ts').Broker>}
 */
export async function startBroker({ log = () => {}, keep, install = false, testing = false, ...options } = {}) {
  if (testing) {
    log('using the broker of asyncamqp/testing, in this process')
    return await startTestingBroker()
  }
  const rabbitmq = wantedVersion(options.rabbitmq)
  const { AMQP_URL, AMQP_MANAGEMENT_URL } = process.env
  if (AMQP_URL) {
    log('using the broker that AMQP_URL names')
    const given = await useGivenBroker(AMQP_URL, AMQP_MANAGEMENT_URL)
    if (rabbitmq !== undefined && given.version !== undefined && !isVersion(given.version, rabbitmq)) {
      throw new Error(
        `AMQP_URL names a broker that is RabbitMQ ${given.version}, not ${rabbitmq}: unset one of the two.`,
      )
    }
    return { ...given, rabbitmq }
  }
  removeStaleHomes(log, removeComposeProject)
  const installation = await prepareInstallation(rabbitmq, install, log)
  if (installation === undefined) {
    if (dockerEngineRuns()) return { ...(await startComposeBroker({ log, keep, rabbitmq })), rabbitmq }
    if (rabbitmq !== undefined) throw new Error(noSuchVersion(rabbitmq))
    log('no RabbitMQ is here to use; using the broker of asyncamqp/testing, in this process')
    return await startTestingBroker()
  }
  log('starting a private RabbitMQ node')
  const startedAt = Date.now()
  const node = await startInstalled(installation, { log, keep })
  log(
    `RabbitMQ ${node.version} started in ${((Date.now() - startedAt) / 1000).toFixed(1)} s, its files are in ${node.dataDir}`,
  )
  const { url, host, port, tlsUrl, tlsPort, managementUrl, caFile, clientCertFile, clientKeyFile } = node
  return {
    kind: 'node',
    ...{ url, host, port, tlsUrl, tlsPort, managementUrl, caFile, clientCertFile, clientKeyFile },
    clientUser: node.clientUser,
    version: node.version,
    rabbitmq,
    pid: node.pid,
    nodeName: node.name,
    dataDir: node.dataDir,
    stop: () => node.destroy(),
  }
}

/** @returns {Promise<import('./types.d.ts').Broker>} */
async function startTestingBroker() {
  const node = await TestingNode.create()
  const { url, host, port, tlsUrl, tlsPort, managementUrl, caFile, clientCertFile, clientKeyFile, version } = node
  return {
    kind: 'testing',
    ...{ url, host, port, tlsUrl, tlsPort, managementUrl, caFile, clientCertFile, clientKeyFile, version },
    stop: () => node.destroy(),
  }
}

/**
 * Starts a private node to do with as one likes: stop it, kill it, freeze it, start it again. Tests that use the broker of
 * `asyncamqp/testing` get another one of those.
 *
 * @param {NodeOptions} [options]
 * @returns {Promise<import('./types.d.ts').RabbitNode>}
 */
export async function startNode(options = {}) {
  if (usesTestingBroker()) return await TestingNode.create()
  return await startInstalled(await needInstallation(options), options)
}

/**
 * @param {Installation} installation
 * @param {NodeOptions} options
 */
async function startInstalled(installation, { log = () => {}, ...options }) {
  const surroundings = await prepareSurroundings(installation, { log, keep: options.keep })
  const node = new RabbitNode(surroundings, { ...options, log })
  try {
    await node.start()
  } catch (error) {
    await node.destroy()
    throw error
  }
  return node
}

/**
 * Starts several private nodes and joins them into one cluster.
 *
 * @param {number} size
 * @param {NodeOptions} [options]
 * @returns {Promise<import('./types.d.ts').RabbitCluster>}
 */
export async function startCluster(size, options = {}) {
  return await createCluster(await needInstallation(options), size, options)
}

/**
 * The RabbitMQ to start nodes with, installed if that is asked for, or undefined if this machine can have none.
 *
 * @param {string | undefined} wanted
 * @param {boolean} install whether to
 * @param {Log} log
 * @returns {Promise<Installation | undefined>}
 */
async function prepareInstallation(wanted, install, log) {
  const found = findInstallation()
  if (wanted !== undefined) {
    if (found?.version !== undefined && isVersion(found.version, wanted)) return found
    return debianFolderObstacle(wanted) === undefined ? await debianFolderInstallation(wanted, log) : undefined
  }
  if (found !== undefined || !install || !canInstallDebianPackages()) return found
  log('no RabbitMQ is installed; running as root, so installing it')
  installDebianPackages(['rabbitmq-server'], log)
  return findInstallation()
}

/** @param {NodeOptions} options */
async function needInstallation({ log = () => {}, rabbitmq }) {
  const wanted = wantedVersion(rabbitmq)
  const installation = await prepareInstallation(wanted, false, log)
  if (installation !== undefined) return installation
  if (wanted !== undefined) throw new Error(`A node of one's own cannot come from Docker. ${noSuchVersion(wanted)}`)
  throw new Error("A node of one's own needs an installed RabbitMQ: sudo apt-get install rabbitmq-server")
}

/** @param {string} wanted */
function noSuchVersion(wanted) {
  const installed = findInstallation()
  const here = installed === undefined ? 'none is installed' : `${installed.version ?? 'another version'} is installed`
  const { reason, remedy } = debianFolderObstacle(wanted) ?? { reason: '', remedy: '' }
  return `There is no RabbitMQ ${wanted} here to use: ${here}, and no folder with another Debian can have it here, since
${reason}.
Any one of these helps:
  - ${remedy}
  - start Docker: then the same command again uses docker-compose.yml, with the image of that version
  - name one you have: AMQP_URL=amqp://user:password@host:5672`
}
