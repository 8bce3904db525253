/**
 * The broker of `asyncamqp/testing`, for machines without a RabbitMQ. It looks like a node of one.
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeCertificates } from './certificates.mjs'
import { onExit } from './cleanup.mjs'
import { TestingManagement } from './testing-management.mjs'

const clientUser = 'certificate-user'

/** A broker in this process, as the type `RabbitNode` has it. */
export class TestingNode {
  #broker
  #management
  #files
  #folder
  #forget

  /**
   * Use `TestingNode.create()`.
   *
   * @param {import('../../dist/testing.d.ts').Broker} broker
   * @param {string} folder
   * @param {import('./types.d.ts').CertificateFiles} files
   */
  constructor(broker, folder, files) {
    this.#broker = broker
    this.#folder = folder
    this.#files = files
    this.#management = new TestingManagement(broker)
    this.#forget = onExit(() => rmSync(folder, { recursive: true, force: true }))
  }

  /** @param {{ release?: '3.10' | '4.3' | undefined }} [options] */
  static async create({ release } = {}) {
    const { startBroker } = await import('../../dist/testing.mjs')
    const folder = mkdtempSync(join(tmpdir(), 'asyncamqp-testing-'))
    const files = writeCertificates(folder, { clientUser })
    const tls = { cert: readFileSync(files.serverCertFile), key: readFileSync(files.serverKeyFile) }
    const broker = await startBroker({ release, tls })
    const node = new TestingNode(broker, folder, files)
    await node.#management.start()
    return node
  }

  name = 'asyncamqp-testing'
  host = '127.0.0.1'
  version = '4.3.6'
  clientUser = clientUser
  /** There is no process but this one. */
  pid = process.pid
  logFile = ''

  get port() {
    return this.#broker.port
  }
  get url() {
    return this.#broker.url
  }
  get tlsPort() {
    return Number(new URL(this.#broker.tlsUrl).port)
  }
  get tlsUrl() {
    return this.#broker.tlsUrl
  }
  get managementUrl() {
    return this.#management.url
  }
  get managementPort() {
    return Number(new URL(this.managementUrl).port)
  }
  get caFile() {
    return this.#files.caFile
  }
  get clientCertFile() {
    return this.#files.clientCertFile
  }
  get clientKeyFile() {
    return this.#files.clientKeyFile
  }
  get dataDir() {
    return this.#folder
  }

  async start() {
    await this.#broker.start()
  }

  async stop() {
    await this.#broker.stop()
  }

  async kill() {
    await this.#broker.kill()
  }

  freeze() {
    this.#broker.freeze()
  }

  thaw() {
    this.#broker.thaw()
  }

  async evaluate() {
    // Tests wait by it until RabbitMQ has written everything to its disk.
    return ''
  }

  /** @param {'memory' | 'disk'} resource */
  async raiseAlarm(resource) {
    this.#broker.block(`low on ${resource}`)
  }

  async clearAlarms() {
    this.#broker.unblock()
  }

  /** @param {...string} names */
  async closeConnections(...names) {
    for (const name of names) this.#broker.closeConnections({}, name)
  }

  async destroy() {
    await this.#broker[Symbol.asyncDispose]()
    await this.#management.stop()
    this.#forget()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  async [Symbol.asyncDispose]() {
    await this.destroy()
  }
}

/** Whether the tests that run use this broker. */
export function usesTestingBroker() {
  const { ASYNCAMQP_TEST_BROKER: given } = process.env
  return given !== undefined && JSON.parse(given).kind === 'testing'
}
