/** Something that will happen at a time, unless it is cancelled. */
export interface Timer {
  /** It will not happen any more. Harmless when it has. */
  cancel(): void
}

/** A timer of a clock. */
export interface ClockTimer extends Timer {
  /** Whether the process stays alive for it, from now on. */
  keepAlive(keeps: boolean): void
}

export interface TimerOptions {
  /** The process does not end while this timer runs. Default: false. */
  readonly keepsProcessAlive?: boolean | undefined
}

/** What calls something after a time. */
export interface TimerSource {
  /**
   * Call `run` after `milliseconds`, never within this call. Any length works; `Infinity` means never.
   *
   * @throws RangeError if `milliseconds` is NaN.
   */
  after(milliseconds: number, run: () => void, options?: TimerOptions): Timer
}

/** Time and chance. A test hands in one of its own, so that nothing depends on how fast the machine is. */
export interface Clock extends TimerSource {
  after(milliseconds: number, run: () => void, options?: TimerOptions): ClockTimer
  /** Milliseconds since a moment that stays the same. Never goes back. */
  now(): number
  /** Milliseconds since 1970, as the machine's clock shows them; it may be set back. */
  wallTime(): number
  /** From 0 to less than 1. */
  random(): number
}

/** The longest delay of setTimeout; a longer one would fire at once. */
const LONGEST_TIMEOUT = 2_147_483_647

const NEVER: ClockTimer = { cancel: () => {}, keepAlive: () => {} }

/** Throws if `milliseconds` is NaN: a timer with it would be neither early nor late, and spoil every comparison. */
export function checkDelay(milliseconds: number): void {
  if (Number.isNaN(milliseconds)) throw new RangeError('a delay must be a number of milliseconds, not NaN')
}

class SystemTimer implements ClockTimer {
  readonly #time: number
  readonly #run: () => void
  #keepsProcessAlive: boolean
  #timeout: NodeJS.Timeout

  constructor(milliseconds: number, run: () => void, keepsProcessAlive: boolean) {
    this.#time = performance.now() + milliseconds
    this.#run = run
    this.#keepsProcessAlive = keepsProcessAlive
    this.#timeout = this.#arm(milliseconds)
  }

  cancel(): void {
    clearTimeout(this.#timeout)
  }

  keepAlive(keeps: boolean): void {
    this.#keepsProcessAlive = keeps
    // A number in browsers: nothing keeps a page alive there.
    if (keeps) this.#timeout.ref?.()
    else this.#timeout.unref?.()
  }

  #arm(milliseconds: number): NodeJS.Timeout {
    // Rounded up: setTimeout cuts off fractions, and would fire early.
    const delay = Math.min(Math.ceil(milliseconds), LONGEST_TIMEOUT)
    const timeout = setTimeout(() => this.#fire(), delay)
    if (!this.#keepsProcessAlive) timeout.unref?.()
    return timeout
  }

  #fire(): void {
    const left = this.#time - performance.now()
    if (left > 0) this.#timeout = this.#arm(left)
    else this.#run()
  }
}

/** The time of the machine. */
export const systemClock: Clock = {
  // Asked of the global each time: fake timers of a program's tests replace it, and setTimeout with it.
  now: () => performance.now(),
  wallTime: () => Date.now(),
  random: () => Math.random(),
  after(milliseconds, run, options) {
    checkDelay(milliseconds)
    if (milliseconds === Number.POSITIVE_INFINITY) return NEVER
    return new SystemTimer(milliseconds, run, options?.keepsProcessAlive ?? false)
  },
}
