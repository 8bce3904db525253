/**
 * A private RabbitMQ node.
 */
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { writeCertificates } from './certificates.mjs'
import { startEpmd } from './epmd.mjs'
import { greet } from './greeting.mjs'
import { Home } from './home.mjs'
import { createCertificateUser, managementAnswers } from './management-api.mjs'
import { nodeConfiguration } from './node-configuration.mjs'
import { freePorts } from './ports.mjs'
import { sendSignal } from './processes.mjs'

/**
 * @typedef {import('./types.d.ts').Log} Log
 * @typedef {import('./types.d.ts').NodeOptions} NodeOptions
 * @typedef {import('./types.d.ts').CertificateFiles} CertificateFiles
 * @typedef {import('./types.d.ts').RabbitNode} PublicNode
 * @typedef {import('./installation.mjs').Installation} Installation
 *
 * @typedef {object} Surroundings what the nodes of one cluster share
 * @property {Home} home
 * @property {Installation} installation
 * @property {number} epmdPort
 * @property {CertificateFiles} certificates
 */

const bootTimeout = 180_000
const stopTimeout = 60_000
export const clientUser = 'certificate-user'

/**
 * @param {Installation} installation
 * @param {{ log: Log, keep?: boolean | undefined }} options
 * @returns {Promise<Surroundings>}
 */
export async function prepareSurroundings(installation, { log, keep }) {
  const home = new Home({ log, keep })
  try {
    const certificates = writeCertificates(join(home.folder, 'certificates'), { clientUser })
    const cookie = join(home.folder, '.erlang.cookie')
    writeFileSync(cookie, `asyncamqp-${home.id}`)
    chmodSync(cookie, 0o400)
    return { home, installation, epmdPort: await startEpmd(installation, home), certificates }
  } catch (error) {
    await home.destroy()
    throw error
  }
}

/** @implements {PublicNode} */
export class RabbitNode {
  name
  host = '127.0.0.1'
  port = 0
  tlsPort = 0
  managementPort = 0
  distributionPort = 0
  version = ''
  dataDir
  caFile
  clientCertFile
  clientKeyFile
  clientUser = clientUser
  #surroundings
  #options
  #log
  #hasStarted = false
  /** @type {import('node:child_process').ChildProcess | undefined} */
  #process

  /**
   * @param {Surroundings} surroundings
   * @param {NodeOptions & { number?: number }} options
   */
  constructor(surroundings, { number = 1, ...options }) {
    const { home, certificates } = surroundings
    this.name = RabbitNode.nameOf(home, number)
    this.dataDir = join(home.folder, `node-${number}`)
    this.caFile = certificates.caFile
    this.clientCertFile = certificates.clientCertFile
    this.clientKeyFile = certificates.clientKeyFile
    this.#surroundings = surroundings
    this.#options = options
    this.#log = options.log ?? (() => {})
  }

  /**
   * @param {Home} home
   * @param {number} number
   */
  static nameOf(home, number) {
    return `asyncamqp-${home.id}-${number}@localhost`
  }

  get url() {
    return `amqp://guest:guest@${this.host}:${this.port}`
  }

  get tlsUrl() {
    return `amqps://guest:guest@localhost:${this.tlsPort}`
  }

  get managementUrl() {
    return `http://guest:guest@${this.host}:${this.managementPort}`
  }

  get logFile() {
    return join(this.dataDir, 'rabbit.log')
  }

  get pid() {
    return this.#process?.pid
  }

  async start() {
    if (this.#process !== undefined) throw new Error(`${this.name} runs already.`)
    for (let tries = 1; ; tries++) {
      if (!this.#hasStarted) await this.#choosePorts()
      try {
        await this.#boot()
        return
      } catch (error) {
        await this.kill()
        // Between the search for a free port and its use, another process may take it.
        if (this.#hasStarted || tries === 3 || !/eaddrinuse|already in use/i.test(this.#output())) throw error
        this.#log('a port was taken meanwhile; trying others')
      }
    }
  }

  async stop() {
    await this.#end('SIGTERM')
  }

  async kill() {
    await this.#end('SIGKILL')
  }

  freeze() {
    sendSignal(this.#runningPid(), 'SIGSTOP')
  }

  thaw() {
    sendSignal(this.#runningPid(), 'SIGCONT')
  }

  /** @param {string} expression */
  async evaluate(expression) {
    // rabbitmqctl eval does the same, and takes 100 times as long: it starts an Erlang of its own.
    const [program, ...args] = this.#surroundings.installation.erlCallCommand
    const call = promisify(execFile)(program, [...args, '-sname', this.name, '-e'], {
      env: this.#environment(),
      cwd: this.dataDir,
      maxBuffer: 64 * 1024 * 1024,
    })
    call.child.stdin?.end(`${expression}.\n`)
    const { stdout, stderr } = await call
    const value = /^\{ok, (.*)\}$/s.exec(stdout.trim())?.[1]
    if (value === undefined) throw new Error(`${this.name} does not evaluate ${expression}: ${stdout}${stderr}`)
    return value
  }

  /** @param {'memory' | 'disk'} resource */
  async raiseAlarm(resource) {
    await this.evaluate(
      resource === 'memory'
        ? 'vm_memory_monitor:set_vm_memory_high_watermark(0.00001)'
        : 'rabbit_disk_monitor:set_disk_free_limit("1000000000000000")',
    )
  }

  async clearAlarms() {
    await this.evaluate('vm_memory_monitor:set_vm_memory_high_watermark(0.4)')
    await this.evaluate('rabbit_disk_monitor:set_disk_free_limit("50000000")')
  }

  /** @param {...string} names */
  async closeConnections(...names) {
    const wanted = names.map(name => `{<<"connection_name">>, longstr, <<"${name}">>}`).join(', ')
    const all = 'rabbit_networking:connection_info_all([pid, client_properties])'
    const properties = 'proplists:get_value(client_properties, One, [])'
    const found = `[One || One <- ${all}, Wanted <- [${wanted}], lists:member(Wanted, ${properties})]`
    const pid = 'proplists:get_value(pid, One)'
    await this.evaluate(`[rabbit_networking:close_connection(${pid}, "a test") || One <- ${found}]`)
  }

  async destroy() {
    await this.kill()
    await this.#surroundings.home.destroy()
  }

  async [Symbol.asyncDispose]() {
    await this.destroy()
  }

  async #choosePorts() {
    const [port = 0, tlsPort = 0, managementPort = 0, distributionPort = 0] = await freePorts(4)
    this.port = port
    this.tlsPort = tlsPort
    this.managementPort = managementPort
    this.distributionPort = distributionPort
  }

  async #boot() {
    mkdirSync(this.dataDir, { recursive: true })
    const { files } = this.#configuration()
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.dataDir, name), text)

    const { home, installation } = this.#surroundings
    // A file and not a pipe: a node whose output is not read stops during its boot.
    const output = openSync(join(this.dataDir, 'output.log'), 'w')
    const [program, ...args] = installation.serverCommand
    const child = spawn(program, args, {
      detached: true,
      stdio: ['ignore', output, output],
      cwd: this.dataDir,
      env: this.#environment(),
    })
    closeSync(output)
    await once(child, 'spawn')
    child.unref()
    this.#process = child
    child.once('exit', () => {
      if (this.#process === child) this.#process = undefined
    })
    home.adopt(Number(child.pid))

    await this.#untilReady()
    if (!this.#hasStarted) await createCertificateUser(this.managementUrl, clientUser)
    this.#hasStarted = true
  }

  async #untilReady() {
    const deadline = Date.now() + bootTimeout
    for (;;) {
      if (this.#process === undefined) throw new Error(`RabbitMQ ended while it started. ${this.#lastWords()}`)
      const greeting = await greet({ host: this.host, port: this.port })
      // The name distinguishes this node from another broker that took the port, say one of a second checkout.
      if (
        greeting?.clusterName?.includes(this.#surroundings.home.id) &&
        (await managementAnswers(this.managementUrl))
      ) {
        this.version = greeting.version ?? ''
        return
      }
      if (Date.now() > deadline) {
        throw new Error(`RabbitMQ did not start within ${bootTimeout / 1000} s. ${this.#lastWords()}`)
      }
      await sleep(100)
    }
  }

  /** @param {'SIGTERM' | 'SIGKILL'} signal */
  async #end(signal) {
    const child = this.#process
    if (child?.pid === undefined) return
    const exit = once(child, 'exit')
    child.ref()
    sendSignal(child.pid, signal)
    // A frozen process takes SIGTERM only when it goes on.
    sendSignal(child.pid, 'SIGCONT')
    const limit = setTimeout(() => child.kill('SIGKILL'), stopTimeout)
    await exit
    clearTimeout(limit)
  }

  #runningPid() {
    if (this.pid === undefined) throw new Error(`${this.name} does not run.`)
    return this.pid
  }

  #configuration() {
    return nodeConfiguration({
      node: this,
      homeFolder: this.#surroundings.home.folder,
      epmdPort: this.#surroundings.epmdPort,
      certificates: this.#surroundings.certificates,
      config: this.#options.config ?? {},
      plugins: this.#options.plugins ?? [],
    })
  }

  #environment() {
    return this.#configuration().environment
  }

  #output() {
    return ['output.log', 'rabbit.log']
      .map(name => join(this.dataDir, name))
      .filter(file => existsSync(file))
      .map(file => readFileSync(file, 'utf8'))
      .join('\n')
  }

  #lastWords() {
    const lines = this.#output().trim().split('\n').slice(-30).join('\n')
    return `Its last words were:\n${lines}`
  }
}
