import type { ClientPort } from './connection-host.ts'

/**
 * When what comes from one client is taken: not while its publishes are blocked, nor while the broker stands still. What
 * comes meanwhile waits in order.
 */
export class Intake {
  readonly #port: ClientPort
  #isBlocked = false
  #isFrozen = false
  /** What waits, in order. */
  #held: (() => void)[] = []

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

  /** Do what the client asks for, now or once there is nothing to wait for. */
  do(turn: () => void): void {
    if (this.#waits) this.#held.push(turn)
    else turn()
  }

  /** Take what was held, in order, unless there is still something to wait for. */
  held(): (() => void)[] {
    return this.#waits ? [] : this.#held.splice(0)
  }

  /** Nothing that waits is done any more. */
  discard(): void {
    this.#held = []
  }

  get #waits(): boolean {
    return this.#isFrozen || this.#isBlocked
  }

  #throttle(): void {
    if (this.#waits) this.#port.pause()
    else this.#port.resume()
  }
}
