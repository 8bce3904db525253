/** The event loop of a history: it turns as often as somebody waits for a turn, and once for promises and ticks. */
export class EventLoop {
  readonly #setImmediate = globalThis.setImmediate
  readonly #clearImmediate = globalThis.clearImmediate
  readonly #waiting = new Set<NodeJS.Immediate>()

  /** From now on it is known who waits for a turn, until `unwatch`. */
  watch(): void {
    const set = (run: () => void): NodeJS.Immediate => {
      const immediate = this.#setImmediate(() => {
        this.#waiting.delete(immediate)
        run()
      })
      this.#waiting.add(immediate)
      return immediate
    }
    globalThis.setImmediate = set as typeof setImmediate
    globalThis.clearImmediate = immediate => {
      if (immediate !== undefined) this.#waiting.delete(immediate as NodeJS.Immediate)
      this.#clearImmediate(immediate)
    }
  }

  unwatch(): void {
    globalThis.setImmediate = this.#setImmediate
    globalThis.clearImmediate = this.#clearImmediate
  }

  readonly turn = async (): Promise<void> => {
    do await new Promise(resolve => this.#setImmediate(resolve))
    while (this.#waiting.size > 0)
  }
}
