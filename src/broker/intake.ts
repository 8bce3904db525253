import type { ClientPort } from './connection-host.ts'

/**
 * When what comes from one client is taken: not while its publishes are blocked, nor while the broker stands still. What
 * comes meanwhile waits in order.
 */
export class Intake {
  readonly #port: ClientPort
  #isBlocked = false
  #isFrozen = false
  /** The rest of the bytes that came with the publish that was blocked. */
  #held: (() => void)[] = []
  /** What came after these. */
  #unread: Buffer[] = []

  constructor(port: ClientPort) {
    this.#port = port
  }

  get isBlocked(): boolean {
    return this.#isBlocked
  }
  get isFrozen(): boolean {
    return this.#isFrozen
  }

  block(): void {
    this.#isBlocked = true
    this.#throttle()
  }

  unblock(): void {
    this.#isBlocked = false
    this.#throttle()
  }

  freeze(isFrozen: boolean): void {
    this.#isFrozen = isFrozen
    this.#throttle()
  }

  /** Whether bytes that have come may be taken; if not, they wait. */
  takes(bytes: Buffer): boolean {
    if (this.#waits) this.#unread.push(Buffer.from(bytes))
    return !this.#waits
  }

  /** Do what bytes that were taken ask for, now or once the client is not blocked. */
  do(turn: () => void): void {
    if (this.#waits) this.#held.push(turn)
    else turn()
  }

  /** Take what was held, in order, unless there is still something to wait for. */
  held(): (() => void)[] {
    return this.#waits ? [] : this.#held.splice(0)
  }

  /** The same for the bytes that wait. */
  unread(): Buffer[] {
    return this.#waits ? [] : this.#unread.splice(0)
  }

  /** Nothing that waits is done any more. */
  discard(): void {
    this.#held = []
    this.#unread = []
  }

  get #waits(): boolean {
    return this.#isFrozen || this.#isBlocked
  }

  #throttle(): void {
    if (this.#waits) this.#port.pause()
    else this.#port.resume()
  }
}
