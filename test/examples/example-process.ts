import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'
import { fileURLToPath } from 'node:url'

const PATIENCE_MS = 30_000

export interface ExampleExit {
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null
  readonly lines: readonly string[]
  readonly errors: string
}

/** One example, run as its reader would run it, and read line by line. */
export class ExampleProcess {
  readonly #name: string
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>
  readonly #lines: string[] = []
  readonly #arrived = new Set<() => void>()
  readonly #closed: Promise<unknown[]>
  #ended = false
  #errors = ''

  /** @param input what it reads from its standard input */
  constructor(name: string, url: string, args: readonly string[] = [], input = '') {
    this.#name = name
    const file = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url))
    this.#child = spawn(process.execPath, [file, ...args], {
      env: { ...process.env, AMQP_URL: url },
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    // One that reads nothing may have ended before.
    this.#child.stdin.on('error', () => {})
    this.#child.stdin.end(input)
    createInterface(this.#child.stdout).on('line', line => {
      this.#lines.push(line)
      this.#wake()
    })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text
    })
    this.#closed = once(this.#child, 'close')
    this.#child.once('close', () => {
      this.#ended = true
      this.#wake()
    })
  }

  /** The lines printed so far. */
  get lines(): readonly string[] {
    return this.#lines
  }

  /** Resolves when `line` has been printed `times` times; rejects when the example ends or stays mute before. */
  async printed(line: string, times = 1): Promise<void> {
    const isThere = () => this.#lines.filter(printed => printed === line).length >= times
    const deadline = AbortSignal.timeout(PATIENCE_MS)
    while (!isThere()) {
      if (this.#ended) throw this.#failure(`ended before it printed ${JSON.stringify(line)}`)
      if (deadline.aborted) throw this.#failure(`did not print ${JSON.stringify(line)} in ${PATIENCE_MS} ms`)
      await this.#nextChange(deadline)
    }
  }

  /** What Ctrl-C does, or `docker stop` with SIGTERM. */
  interrupt(signal: NodeJS.Signals = 'SIGINT'): void {
    this.#child.kill(signal)
  }

  /** Resolves when the example has ended by itself. */
  async exited(): Promise<ExampleExit> {
    const deadline = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE_MS)
    await this.#closed
    clearTimeout(deadline)
    const { exitCode, signalCode: signal } = this.#child
    return { exitCode, signal, lines: this.#lines, errors: this.#errors }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#closed
  }

  #nextChange(deadline: AbortSignal): Promise<void> {
    return new Promise(resolve => {
      const wake = () => {
        this.#arrived.delete(wake)
        deadline.removeEventListener('abort', wake)
        resolve()
      }
      this.#arrived.add(wake)
      deadline.addEventListener('abort', wake)
    })
  }

  #wake(): void {
    for (const wake of this.#arrived) wake()
  }

  #failure(what: string): Error {
    return new Error(`${this.#name} ${what}; it printed:\n${this.#lines.join('\n')}\n${this.#errors}`)
  }
}
