/** Waits for conditions to become true. Code that changes what they depend on calls `check`. */
export class Conditions {
  readonly #waiting = new Set<() => void>()

  /** Resolves when `condition` is true. It may be asked at any time, and must do nothing else. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve()
    return new Promise(resolve => {
      const check = (): void => {
        if (!condition()) return
        this.#waiting.delete(check)
        resolve()
      }
      this.#waiting.add(check)
    })
  }

  /** Something has changed. */
  check(): void {
    if (this.#waiting.size > 0) for (const check of this.#waiting) check()
  }
}
