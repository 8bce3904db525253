/** Promises that a test started, to find those that never end. */
export class Pending {
  readonly rejected: { readonly what: string; readonly error: Error }[] = []
  resolved = 0
  readonly #pending = new Map<Promise<unknown>, string>()

  /** Keep an eye on a promise; its rejection is kept, and unhandled no more. */
  track<T>(what: string, promise: Promise<T>): Promise<T> {
    this.#pending.set(promise, what)
    promise.then(
      () => {
        this.#pending.delete(promise)
        this.resolved++
      },
      (error: unknown) => {
        this.#pending.delete(promise)
        this.rejected.push({ what, error: error instanceof Error ? error : new Error(String(error)) })
      },
    )
    return promise
  }

  /** What each that still waits was for. */
  get left(): string[] {
    return [...this.#pending.values()]
  }
}
