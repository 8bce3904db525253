import type { PasswordFunction } from './auth.ts'

/**
 * The password of a connection's logins: the one that the program gave or whose function is asked each time, or a newer one
 * that it pushed since (connection.update-secret). The newer of both wins. If that is refused, the other one has its
 * turn: of two tokens, either may be the one that has expired.
 */
export class Secrets {
  #pushed: string | undefined
  /** What each function last answered; made for the first. */
  #answers: WeakMap<PasswordFunction, string> | undefined
  #pushedIsRefused = false

  /** The program gave the broker a new secret. */
  push(secret: string): void {
    this.#pushed = secret
    this.#pushedIsRefused = false
  }

  /** A login was refused: the next one tries the other secret. */
  refused(): void {
    this.#pushedIsRefused = !this.#pushedIsRefused
  }

  /** The password of a login for which the program gave `password`; `ask` asks it if that is a function. */
  async current(
    password: string | PasswordFunction,
    ask: (password: PasswordFunction) => Promise<string>,
  ): Promise<string> {
    const before = this.#pushed
    let isNews = false
    let answer = password
    if (typeof answer === 'function') {
      this.#answers ??= new WeakMap()
      const last = this.#answers.get(answer)
      const given = await ask(answer)
      // The login reports what is wrong with it.
      if (typeof given !== 'string') return given
      this.#answers.set(answer, given)
      // Something pushed while it was asked is newer than its answer.
      isNews = given !== last && this.#pushed === before
      answer = given
    }
    const pushed = this.#pushed
    if (pushed === undefined) return answer
    if (isNews) {
      this.#pushed = undefined
      return answer
    }
    return this.#pushedIsRefused ? answer : pushed
  }
}
