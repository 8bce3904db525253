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
    const takes = !this.#isFrozen && !this.#isBlocked
    if (!takes) this.#unread.push(Buffer.from(bytes))
    return takes
  }

  /** Do what bytes that were taken ask for, now or once the client is not blocked. */
  do(turn: () => void): void {
    if (this.#isBlocked) this.#held.push(turn)
    else turn()
  }

  /** Take what was held, in order. */
  held(): (() => void)[] {
    return this.#held.splice(0)
  }

  /** Take the bytes that wait. */
  unread(): Buffer[] {
    return this.#unread.splice(0)
  }

  /** Nothing that waits is done any more. */
  discard(): void {
    this.#held = []
    this.#unread = []
  }

  #throttle(): void {
    if (this.#isFrozen || this.#isBlocked) this.#port.pause()
    else this.#port.resume()
  }
}
