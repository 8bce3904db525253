import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** How a program ended. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  /** When, by `performance.now()`. */
  readonly at: number
  readonly errors: string
}

/** A program of the tests in a process of its own, for what must not happen in the process of a test. */
export class Program implements AsyncDisposable {
  /** Lines that it has printed. */
  readonly lines: string[] = []
  readonly exited: Promise<Exit>
  readonly #child
  readonly #waiting = new Set<() => void>()

  /** `file` is a compiled module; `args` are its arguments. */
  constructor(file: URL, args: readonly string[], nodeArguments: readonly string[] = []) {
    this.#child = spawn(process.execPath, [...nodeArguments, file.pathname, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let errors = ''
    this.#child.stderr.setEncoding('utf8').on('data', text => {
      errors += text
    })
    createInterface({ input: this.#child.stdout }).on('line', line => {
      this.lines.push(line)
      for (const wake of this.#waiting) wake()
    })
    this.exited = once(this.#child, 'exit').then(([code, signal]) => ({
      code,
      signal,
      at: performance.now(),
      errors,
    }))
  }

  /** Waits for a line that starts so, and gives the rest of it. */
  async line(start: string, timeout = 20_000): Promise<string> {
    const find = (): string | undefined => this.lines.find(line => line.startsWith(start))
    const end = performance.now() + timeout
    for (;;) {
      const line = find()
      if (line !== undefined) return line.slice(start.length).trim()
      if (performance.now() > end) throw new Error(`The program never printed "${start}": ${this.lines.join(' | ')}`)
      await new Promise<void>((resolve, reject) => {
        const wake = (): void => {
          clearTimeout(timer)
          this.#waiting.delete(wake)
          resolve()
        }
        const timer = setTimeout(wake, end - performance.now())
        this.#waiting.add(wake)
        void this.exited.then(({ code, signal, errors }) => {
          if (find() !== undefined) wake()
          else reject(new Error(`The program ended (${code ?? signal}) without "${start}": ${errors}`))
        })
      })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.exited
  }
}

/** Run the text of an ES module in a process of its own, to its end. From a file: not every runtime imports from `-e`. */
export function runText(program: string): { readonly stdout: string; readonly status: number | null } {
  // In the project, in which every runtime finds the packages that the library imports.
  const folder = mkdtempSync(fileURLToPath(new URL('../../program-', import.meta.url)))
  try {
    const file = join(folder, 'program.mjs')
    writeFileSync(file, program)
    return spawnSync(process.execPath, [file], { encoding: 'utf8', timeout: 20_000 })
  } finally {
    rmSync(folder, { recursive: true })
  }
}
