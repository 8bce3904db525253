interface Call {
  start(): Promise<unknown>
  resolve(value: unknown): void
  reject(error: unknown): void
}

/** Calls of one channel, of which each starts when the one before is answered. */
export class Calls {
  readonly #waiting: Call[] = []
  #running: Call | undefined

  /** Starts it at once, in this very call, if no other one runs. */
  add<T>(start: () => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ start, resolve: resolve as (value: unknown) => void, reject })
      this.#next()
    })
  }

  /** The channel is closed. */
  end(error: Error): void {
    const all = this.#running === undefined ? this.#waiting : [this.#running, ...this.#waiting]
    this.#running = undefined
    for (const { reject } of all.splice(0)) reject(error)
    this.#waiting.length = 0
  }

  #next(): void {
    if (this.#running !== undefined) return
    const call = this.#waiting.shift()
    this.#running = call
    call?.start().then(
      value => {
        this.#done(call)
        call.resolve(value)
      },
      error => {
        this.#done(call)
        call.reject(error)
      },
    )
  }

  #done(call: Call): void {
    if (this.#running !== call) return
    this.#running = undefined
    this.#next()
  }
}
