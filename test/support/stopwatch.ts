/** Milliseconds between two looks at the clock. */
const LOOK = 2

/** Where the stopwatch reads milliseconds: those that passed, and those that this process used the CPU. */
export interface StopwatchSources {
  now(): number
  cpu(): number
}

const MACHINE: StopwatchSources = {
  now: () => performance.now(),
  cpu: () => {
    const { user, system } = process.cpuUsage()
    return (user + system) / 1000
  },
}

/**
 * Counts the milliseconds that something takes, without those that a busy machine kept from this process: in them its
 * timers were late, and it used no CPU. What is left is what was waited and worked.
 */
export class Stopwatch implements Disposable {
  readonly #timer = setInterval(() => this.#look(), LOOK)
  readonly #sources: StopwatchSources
  #elapsed = 0
  #last: number
  #cpu: number

  constructor(sources = MACHINE) {
    this.#sources = sources
    this.#last = sources.now()
    this.#cpu = sources.cpu()
  }

  #look(): void {
    const now = this.#sources.now()
    const cpu = this.#sources.cpu()
    this.#elapsed += Math.min(now - this.#last, LOOK + 1 + cpu - this.#cpu)
    this.#last = now
    this.#cpu = cpu
  }

  get elapsed(): number {
    this.#look()
    return this.#elapsed
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
