/** Milliseconds after which a wait has failed: long for a busy machine, short for a test. */
const PATIENCE = 8000

/** What a callback was called with, for a test to await in order. */
export class Inbox<T> {
  /** Everything that came, taken or not. */
  readonly received: T[] = []
  #taken = 0
  #waiting: ((item: T) => void)[] = []

  add(item: T): void {
    this.received.push(item)
    const take = this.#waiting.shift()
    if (take !== undefined) {
      this.#taken++
      take(item)
    }
  }

  /** The first item that was not taken yet; waits for it. */
  next(): Promise<T> {
    if (this.#taken < this.received.length) return Promise.resolve(this.received[this.#taken++] as T)
    return new Promise((resolve, reject) => {
      const what = `item ${this.received.length + this.#waiting.length + 1}`
      const timer = setTimeout(() => reject(new Error(`Waited ${PATIENCE} ms in vain for ${what}.`)), PATIENCE)
      this.#waiting.push(item => {
        clearTimeout(timer)
        resolve(item)
      })
    })
  }

  /** The next `count` items. */
  async take(count: number): Promise<T[]> {
    const items: T[] = []
    while (items.length < count) items.push(await this.next())
    return items
  }
}
