import { surface } from './call-safely.ts'

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
  /** A function, since a polyfill may take no object. */
  readonly #aborted = (): void => runAll(this)

  constructor(signal: AbortSignal) {
    super()
    this.#signal = signal
  }

  override add(registration: AbortRegistration): this {
    if (this.size === 0) this.#listen(true)
    return super.add(registration)
  }

  override delete(registration: AbortRegistration): boolean {
    const deleted = super.delete(registration)
    // A signal that outlives all waiters keeps nothing of them in memory.
    if (deleted && this.size === 0) this.#listen(false)
    return deleted
  }

  /** A signal may be an object of the program's: what its methods throw is not an error of what is bounded by it. */
  #listen(listens: boolean): void {
    try {
      if (listens) this.#signal.addEventListener('abort', this.#aborted)
      else this.#signal.removeEventListener('abort', this.#aborted)
    } catch (error) {
      surface(error)
    }
  }
}

function runAll(registrations: Set<AbortRegistration>): void {
  for (const registration of [...registrations]) {
    // One that ran may have cancelled others.
    if (registrations.delete(registration)) registration.run()
  }
}

/**
 * An `AbortController` and its signal in one, for what only this package ends: each connection makes two, and Node's cost it
 * more than all that they are for.
 */
export class Cancellation {
  aborted = false
  reason: unknown
  /** @internal */
  readonly registrations = new Set<AbortRegistration>()
  #signal: AbortSignal | undefined

  abort(reason: unknown = new DOMException('This operation was aborted', 'AbortError')): void {
    if (this.aborted) return
    this.aborted = true
    this.reason = reason
    runAll(this.registrations)
  }

  throwIfAborted(): void {
    if (this.aborted) throw this.reason
  }

  /** A signal that goes with it, for code that takes no other. Made for the first that asks. */
  get signal(): AbortSignal {
    this.#signal ??= this.#makeSignal()
    return this.#signal
  }

  #makeSignal(): AbortSignal {
    const controller = new AbortController()
    if (this.aborted) controller.abort(this.reason)
    else onAbort(this, () => controller.abort(this.reason))
    return controller.signal
  }
}

function registrationsOf(signal: AbortSignal): Registrations {
  let registrations = REGISTRATIONS.get(signal)
  if (registrations === undefined) {
    registrations = new Registrations(signal)
    REGISTRATIONS.set(signal, registrations)
  }
  return registrations
}

/**
 * Call `run` once when `signal` is aborted, which it must not be yet. All registrations of a signal share one listener, and
 * cancelling takes constant time. `run` must not throw.
 */
export function onAbort(signal: AbortSignal | Cancellation, run: () => void): AbortRegistration {
  const registrations = signal instanceof Cancellation ? signal.registrations : registrationsOf(signal)
  const registration = new AbortRegistration(registrations, run)
  registrations.add(registration)
  return registration
}
