/**
 * A broker in a container, by the project's docker-compose.yml.
 */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { writeCertificates } from './certificates.mjs'
import { greet } from './greeting.mjs'
import { Home, projectRoot } from './home.mjs'
import { createCertificateUser, managementAnswers } from './management-api.mjs'
import { clientUser } from './node.mjs'
import { freePorts } from './ports.mjs'

// The first start downloads the images.
const startTimeout = 300_000
const host = '127.0.0.1'
const withoutDocker =
  'Without Docker: -- --testing uses the broker of asyncamqp/testing, and AMQP_URL names a RabbitMQ that runs.'

/** Whether there is Docker Compose and an engine that it can reach. */
export function dockerEngineRuns() {
  // Older clients that reach no engine print an empty version, and succeed.
  return (
    /\d/.test(docker(['info', '--format', '{{.ServerVersion}}']) ?? '') && docker(['compose', 'version']) !== undefined
  )
}

/**
 * What a command prints, or undefined if it fails.
 *
 * @param {string[]} args
 */
function docker(args) {
  const { status, stdout } = spawnSync('docker', args, {
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'utf8',
    timeout: 20_000,
  })
  return status === 0 ? stdout : undefined
}

/**
 * @param {{ log: import('./types.d.ts').Log, keep?: boolean | undefined, rabbitmq?: string | undefined }} options
 * @returns {Promise<import('./types.d.ts').Broker>}
 */
export async function startComposeBroker({ log, keep, rabbitmq }) {
  const home = new Home({ log, keep })
  const composeProject = `asyncamqp-${home.id}`
  try {
    const folder = join(home.folder, 'certificates')
    const { caFile, clientCertFile, clientKeyFile } = writeCertificates(folder, { clientUser, readable: true })
    const [port = 0, tlsPort = 0, managementPort = 0, streamPort = 0] = await freePorts(4)
    home.adoptComposeProject(composeProject, () => removeComposeProject(composeProject))
    log(`starting RabbitMQ with Docker Compose (project ${composeProject})`)
    const started = compose(composeProject, ['up', '--detach'], {
      ASYNCAMQP_CERTIFICATES: folder,
      ...(rabbitmq !== undefined && { RABBITMQ_VERSION: rabbitmq }),
      AMQP_PORT: String(port),
      AMQPS_PORT: String(tlsPort),
      MANAGEMENT_PORT: String(managementPort),
      STREAM_PORT: String(streamPort),
    })
    if (!started) throw new Error(`Docker could not start RabbitMQ, for the reason above. ${withoutDocker}`)
    const managementUrl = `http://guest:guest@${host}:${managementPort}`
    const version = await untilReady(composeProject, port, managementUrl)
    await createCertificateUser(managementUrl, clientUser)
    return {
      kind: 'docker',
      url: `amqp://guest:guest@${host}:${port}`,
      host,
      port,
      tlsUrl: `amqps://guest:guest@localhost:${tlsPort}`,
      tlsPort,
      managementUrl,
      caFile,
      clientCertFile,
      clientKeyFile,
      clientUser,
      version,
      dataDir: home.folder,
      stop: () => home.destroy(),
    }
  } catch (error) {
    await home.destroy()
    throw error
  }
}

/**
 * Removes the containers of a project. Returns whether that worked; if not, Docker has said why.
 *
 * @param {string} composeProject
 */
export function removeComposeProject(composeProject) {
  return compose(composeProject, ['down', '--volumes', '--timeout', '1'])
}

/**
 * Returns whether it worked.
 *
 * @param {string} composeProject
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [environment]
 */
function compose(composeProject, args, environment = {}) {
  const file = join(projectRoot, 'docker-compose.yml')
  const { status } = spawnSync('docker', ['compose', '--project-name', composeProject, '--file', file, ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, ...environment },
  })
  return status === 0
}

/**
 * @param {string} composeProject
 * @param {number} port
 * @param {string} managementUrl
 */
async function untilReady(composeProject, port, managementUrl) {
  const deadline = Date.now() + startTimeout
  while (Date.now() < deadline) {
    const greeting = await greet({ host, port })
    if (greeting !== undefined && (await managementAnswers(managementUrl))) return greeting.version
    await sleep(250)
  }
  compose(composeProject, ['logs', '--tail', '30'])
  throw new Error(
    `RabbitMQ in Docker did not start within ${startTimeout / 1000} s; its log is above. ${withoutDocker}`,
  )
}
