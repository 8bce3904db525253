/** Milliseconds between two looks at the clock. */
const LOOK = 2

/**
 * Counts the milliseconds that something takes, without those that a busy machine kept from this process: in them its
 * timers were late, and it used no CPU. What is left is what was waited and worked.
 */
export class Stopwatch implements Disposable {
  readonly #timer = setInterval(() => this.#look(), LOOK)
  #elapsed = 0
  #last = performance.now()
  #cpu = process.cpuUsage()

  #look(): void {
    const now = performance.now()
    const { user, system } = process.cpuUsage(this.#cpu)
    const passed = now - this.#last
    this.#elapsed += Math.min(passed, LOOK + 1 + (user + system) / 1000)
    this.#last = now
    this.#cpu = process.cpuUsage()
  }

  get elapsed(): number {
    this.#look()
    return this.#elapsed
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer)
  }
}
