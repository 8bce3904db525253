// A page in Chromium, driven by the DevTools protocol.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { WebSocket } from 'ws'

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-dev-shm-usage',
  '--no-first-run',
  '--hide-scrollbars',
]

const LOAD_LIMIT_MS = 120_000

/** @typedef {{ readonly method: string, readonly params: any }} Event */

export class Browser {
  #process
  #profile
  /** @type {WebSocket | undefined} */
  #socket
  #lastId = 0
  /** @type {Map<number, { resolve: (result: any) => void, reject: (error: Error) => void }>} */
  #calls = new Map()
  /** @type {Set<(event: Event) => void>} */
  #listeners = new Set()

  /** @param {string} chromium the path of its binary */
  constructor(chromium) {
    this.#profile = mkdtempSync(join(tmpdir(), 'asyncamqp-site-'))
    const flags = [...FLAGS, `--user-data-dir=${this.#profile}`, '--remote-debugging-port=0', 'about:blank']
    this.#process = spawn(chromium, flags, { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  }

  async connect() {
    const { port } = new URL(await this.#address())
    const pages = /** @type {any[]} */ (await (await fetch(`http://127.0.0.1:${port}/json`)).json())
    const page = pages.find(({ type }) => type === 'page')
    const socket = new WebSocket(page.webSocketDebuggerUrl)
    await once(socket, 'open')
    socket.on('message', bytes => this.#take(JSON.parse(String(bytes))))
    this.#socket = socket
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await this.send(`${domain}.enable`)
  }

  async #address() {
    for await (const line of createInterface(this.#process.stderr)) {
      const [, address] = /listening on (ws:\S+)/.exec(line) ?? []
      if (address !== undefined) return address
    }
    throw new Error('Chromium did not start')
  }

  /** @param {any} message */
  #take(message) {
    if (message.id === undefined) {
      for (const listener of this.#listeners) listener(message)
      return
    }
    const call = this.#calls.get(message.id)
    this.#calls.delete(message.id)
    if (message.error === undefined) call?.resolve(message.result)
    else call?.reject(new Error(message.error.message))
  }

  /** @param {string} method @param {object} [params] @returns {Promise<any>} */
  send(method, params = {}) {
    const id = ++this.#lastId
    this.#socket?.send(JSON.stringify({ id, method, params }))
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }))
  }

  /** @param {(event: Event) => void} listener */
  onEvent(listener) {
    this.#listeners.add(listener)
  }

  /**
   * Opens a page, and waits until it has loaded and its program has taken it over.
   *
   * @param {string} url
   */
  async open(url) {
    /** @type {Promise<void>} */
    const loaded = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Error(`${url} has not loaded within ${LOAD_LIMIT_MS} ms`)), LOAD_LIMIT_MS).unref()
      /** @param {Event} event */
      const listener = ({ method }) => {
        if (method !== 'Page.loadEventFired') return
        this.#listeners.delete(listener)
        resolve()
      }
      this.#listeners.add(listener)
    })
    await this.send('Page.navigate', { url })
    await loaded
    await this.until("document.querySelector('#app')?.__vue_app__ !== undefined")
  }

  /** The value of an expression in the page, which may be a promise. @param {string} expression @returns {Promise<any>} */
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', {
      ...{ expression, awaitPromise: true, returnByValue: true, userGesture: true },
    })
    if (exceptionDetails !== undefined) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`)
    return result.value
  }

  /** Waits until an expression is true. @param {string} expression */
  async until(expression) {
    await this.evaluate(`new Promise((resolve, reject) => {
      const end = Date.now() + 30_000
      const look = () => {
        if (${expression}) resolve(true)
        else if (Date.now() > end) reject(new Error('not within 30 s: ' + ${JSON.stringify(expression)}))
        else setTimeout(look, 20)
      }
      look()
    })`)
  }

  /** @param {number} width @param {number} height pixels of the window */
  resize(width, height) {
    return this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 })
  }

  /** @param {string} file */
  async screenshot(file) {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' })
    writeFileSync(file, Buffer.from(data, 'base64'))
  }

  async close() {
    this.#socket?.terminate()
    const { pid } = this.#process
    // The group: Chromium has several processes.
    if (pid !== undefined && this.#process.exitCode === null) {
      const ended = once(this.#process, 'exit')
      process.kill(-pid, 'SIGKILL')
      await ended
    }
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10 })
  }
}
