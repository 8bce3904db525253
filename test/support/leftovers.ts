import { createHook } from 'node:async_hooks'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const WATCHED = new Set([
  'Timeout',
  'Immediate',
  'TCPWRAP',
  'TLSWRAP',
  'PIPEWRAP',
  'TCPCONNECTWRAP',
  'GETADDRINFOREQWRAP',
])

/** The library's folder, as stacks have it. A folder around the project may be called src, too. */
const LIBRARY = new URL('../../src/', import.meta.url)
const PATHS = [LIBRARY.href, fileURLToPath(LIBRARY)]

/** Watches the sockets and timers of the library, so that a test can check that none is left. */
export class Leftovers implements Disposable {
  readonly #alive = new Map<number, string>()
  readonly #hook = createHook({
    init: (id, type) => {
      if (!WATCHED.has(type)) return
      const limit = Error.stackTraceLimit
      Error.stackTraceLimit = 40
      const stack = new Error(type).stack ?? ''
      Error.stackTraceLimit = limit
      // Those of the tests and their proxies are their own business.
      if (PATHS.some(path => stack.includes(path))) this.#alive.set(id, stack)
    },
    destroy: id => void this.#alive.delete(id),
  })

  constructor() {
    this.#hook.enable()
  }

  /** Waits for those that are about to end, and returns the stacks that made the others. */
  async rest(patience = 1_500): Promise<string[]> {
    for (const end = performance.now() + patience; performance.now() < end; ) {
      await turn()
      if (this.#alive.size === 0) break
      await sleep(20)
    }
    return [...this.#alive.values()]
  }

  [Symbol.dispose](): void {
    this.#hook.disable()
  }
}
