/** Counts what a consumer was given, and says when a number of messages has come. */
export class Tally {
  received = 0
  bytes = 0
  /** Sum of the values that were read of the properties: it proves that they were read. */
  read = 0
  readonly #kept: unknown[] | undefined
  #target = Number.POSITIVE_INFINITY
  #reached: () => void = () => undefined

  constructor(kept?: unknown[]) {
    this.#kept = kept
  }

  /** `message` is what a program would keep of it, the body if nothing else is said. */
  deliver(body: Uint8Array, read: number, message: unknown = body): void {
    this.received += 1
    this.bytes += body.length
    this.read += read
    if (this.#kept !== undefined) this.#kept.push(message)
    if (this.received >= this.#target) this.#reach()
  }

  /** For the floor, which sees no single message. */
  deliverBytes(messages: number, bytes: number): void {
    this.received += messages
    this.bytes += bytes
    if (this.received >= this.#target) this.#reach()
  }

  /** Resolves when `count` more have come. */
  more(count: number): Promise<void> {
    this.#target = this.received + count
    return new Promise(resolve => {
      this.#reached = resolve
    })
  }

  #reach(): void {
    this.#target = Number.POSITIVE_INFINITY
    this.#reached()
  }
}
