/**
 * The folder of one run under .broker: it holds what its brokers need and write, and a list of their processes, by
 * which a later run ends what a run that was killed has left.
 */
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { onExit } from './cleanup.mjs'
import { isRunning, killProcess, recordOf } from './processes.mjs'

/**
 * @typedef {import('./processes.mjs').ProcessRecord} ProcessRecord
 * @typedef {{ owner: ProcessRecord, keep: boolean, processes: ProcessRecord[], composeProject?: string | undefined }} Ledger
 */

export const projectRoot = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
/** Where every run has its folder. */
export const brokersFolder = join(projectRoot, '.broker')

export class Home {
  /** Distinguishes this run from every other one, in the names of nodes too. */
  id
  folder
  #log
  /** @type {Ledger} */
  #ledger
  #cancelExit
  /** @type {Set<() => unknown>} */
  #beforeRemoval = new Set()

  /** @param {{ log: import('./types.d.ts').Log, keep?: boolean | undefined }} options */
  constructor({ log, keep = Boolean(process.env.ASYNCAMQP_KEEP_BROKER) }) {
    this.id = `${process.pid}-${randomBytes(3).toString('hex')}`
    this.folder = join(brokersFolder, this.id)
    this.#log = log
    this.#ledger = { owner: recordOf(process.pid), keep, processes: [] }
    makeFolder(this.folder)
    this.#writeLedger()
    this.#cancelExit = onExit(() => this.#removeNow())
  }

  /**
   * Has a process ended with this run, or, if this run is killed, by a later one.
   *
   * @param {number} pid
   */
  adopt(pid) {
    this.#ledger.processes = [...this.#ledger.processes.filter(isRunning), recordOf(pid)]
    this.#writeLedger()
  }

  /**
   * Has the containers of a Docker Compose project removed with this run.
   *
   * @param {string} name
   * @param {() => unknown} remove
   */
  adoptComposeProject(name, remove) {
    this.#ledger.composeProject = name
    this.#beforeRemoval.add(remove)
    this.#writeLedger()
  }

  /** Ends the processes and removes the folder. */
  async destroy() {
    this.#cancelExit()
    this.#removeNow()
    // Lets Node take notice of the ends of its children, which would stay as zombies otherwise.
    await sleep(10)
  }

  #removeNow() {
    for (const remove of this.#beforeRemoval) remove()
    this.#beforeRemoval.clear()
    removeHome(this.folder, this.#ledger)
    if (this.#ledger.keep) this.#log(`kept ${this.folder}`)
  }

  #writeLedger() {
    const file = ledgerFile(this.folder)
    // Renamed into place, so that a run that starts meanwhile never reads half of it.
    writeFileSync(`${file}.new`, JSON.stringify(this.#ledger))
    renameSync(`${file}.new`, file)
  }
}

/**
 * Ends the processes that killed runs of this checkout have left, and removes their folders.
 *
 * @param {import('./types.d.ts').Log} log
 * @param {(composeProject: string) => boolean} removeComposeProject returns whether it could
 */
export function removeStaleHomes(log, removeComposeProject) {
  if (!existsSync(brokersFolder)) return
  for (const entry of readdirSync(brokersFolder, { withFileTypes: true })) {
    const folder = join(brokersFolder, entry.name)
    if (!entry.isDirectory() || !existsSync(ledgerFile(folder))) continue
    const ledger = readLedger(folder)
    if (ledger === undefined || isRunning(ledger.owner)) continue
    if (ledger.keep && !ledger.processes.some(isRunning)) continue
    log(`removing what an earlier run left behind in ${folder}`)
    if (ledger.composeProject !== undefined && !removeComposeProject(ledger.composeProject)) {
      log('  its containers cannot be removed now: a later run will try again')
      continue
    }
    removeHome(folder, ledger)
  }
}

/**
 * @param {string} folder
 * @param {Ledger} ledger
 */
function removeHome(folder, { processes, keep }) {
  // Killed, not stopped: RabbitMQ takes seconds to stop in order, for the sake of data that goes with it.
  for (const record of processes) killProcess(record)
  if (keep) return
  removeFolder(folder)
  try {
    rmdirSync(brokersFolder)
  } catch {
    // Another run's folder is in it, or a Debian folder.
  }
}

/**
 * A process that was just killed may still be writing its last file. `maxRetries` does not list the folder again, so
 * a file that is new in it stays.
 *
 * @param {string} folder
 */
function removeFolder(folder) {
  for (let tries = 1; ; tries++) {
    try {
      rmSync(folder, { recursive: true, force: true, maxRetries: 2, retryDelay: 50 })
      return
    } catch (error) {
      if (tries === 5 || /** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOTEMPTY') throw error
    }
  }
}

/** @param {string} folder */
function makeFolder(folder) {
  try {
    mkdirSync(folder, { recursive: true })
  } catch (error) {
    // Another run may have removed the empty parent meanwhile.
    if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'ENOENT') throw error
    mkdirSync(folder, { recursive: true })
  }
}

/** @param {string} folder */
const ledgerFile = folder => join(folder, 'ledger.json')

/**
 * @param {string} folder
 * @returns {Ledger | undefined}
 */
function readLedger(folder) {
  try {
    return JSON.parse(readFileSync(ledgerFile(folder), 'utf8'))
  } catch {
    // The run that made it has removed it meanwhile.
    return undefined
  }
}
