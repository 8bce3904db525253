/** One thing to do when a signal is aborted. */
export class AbortRegistration {
  readonly run: () => void
  readonly #registrations: Set<AbortRegistration>

  /** @internal */
  constructor(registrations: Set<AbortRegistration>, run: () => void) {
    this.#registrations = registrations
    this.run = run
  }

  /** Do it no more. Harmless when it is done. */
  cancel(): void {
    this.#registrations.delete(this)
  }
}

const REGISTRATIONS = new WeakMap<AbortSignal, Registrations>()

/**
 * All callbacks of one signal, called by a single listener: Node warns of a leak from the eleventh listener
 * on, and needs time that grows with their number to take one away.
 */
class Registrations extends Set<AbortRegistration> {
  readonly #signal: AbortSignal

  constructor(signal: AbortSignal) {
    super()
    this.#signal = signal
  }

  override add(registration: AbortRegistration): this {
    if (this.size === 0) this.#signal.addEventListener('abort', this)
    return super.add(registration)
  }

  override delete(registration: AbortRegistration): boolean {
    const deleted = super.delete(registration)
    // A signal that outlives all waiters keeps nothing of them in memory.
    if (deleted && this.size === 0) this.#signal.removeEventListener('abort', this)
    return deleted
  }

  handleEvent(): void {
    for (const registration of [...this]) {
      // One that ran may have cancelled others.
      if (this.delete(registration)) registration.run()
    }
  }
}

/**
 * Call `run` once when `signal` is aborted, which it must not be yet. All registrations of a signal share one listener, and
 * cancelling takes constant time. `run` must not throw.
 */
export function onAbort(signal: AbortSignal, run: () => void): AbortRegistration {
  let registrations = REGISTRATIONS.get(signal)
  if (registrations === undefined) {
    registrations = new Registrations(signal)
    REGISTRATIONS.set(signal, registrations)
  }
  const registration = new AbortRegistration(registrations, run)
  registrations.add(registration)
  return registration
}
