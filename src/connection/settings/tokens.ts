import { EncodeError } from '../../errors.ts'
import type { Clock } from '../../lib/clock.ts'
import type { ExpiringPassword, PasswordFunction } from './auth.ts'

/** The share of a token's time after which another one is asked for. */
const RENEWED_AFTER = 0.8
/** Milliseconds between two tokens, at least. */
export const LEAST_PAUSE = 1_000
/** Milliseconds after which a question without an answer is asked again. */
export const LONGEST_ANSWER = 10_000
/** No time of a token is before 1973: it would be one in seconds. */
const LEAST_TIME = 100_000_000_000

/** A password that expires. Times are those of the wall clock. */
export class Token {
  readonly password: string
  readonly expiresAt: number
  /** When another one is asked for. */
  readonly renewAt: number

  constructor({ password, expiresAt }: Partial<ExpiringPassword>, now: number) {
    const end = Number(expiresAt)
    if (typeof password !== 'string' || !(end >= LEAST_TIME) || typeof expiresAt === 'string') {
      throw new EncodeError(
        'the "password" function must return a string, or { password, expiresAt } with a string and a Date or milliseconds since 1970',
      )
    }
    this.password = password
    this.expiresAt = end
    this.renewAt = now + Math.max(LEAST_PAUSE, RENEWED_AFTER * (end - now))
  }
}

const sources = new WeakMap<PasswordFunction, TokenSource>()

/** What a password function answers. All connections of the process that were given it share its tokens. */
export class TokenSource {
  /** The last one, unless it was refused. */
  token: Token | undefined
  readonly #password: PasswordFunction
  #asking: { readonly since: number; readonly answer: Promise<unknown> } | undefined

  private constructor(password: PasswordFunction) {
    this.#password = password
  }

  static of(password: PasswordFunction): TokenSource {
    let source = sources.get(password)
    if (source === undefined) {
      source = new TokenSource(password)
      sources.set(password, source)
    }
    return source
  }

  /** A token that need not be renewed yet, or what the function answers now. Rejects as the function does. */
  async answer(clock: Clock): Promise<unknown> {
    const { token } = this
    if (token !== undefined && clock.wallTime() < token.renewAt) return token
    const asked = this.#asking
    if (asked !== undefined && clock.now() - asked.since < LONGEST_ANSWER) {
      const answer = await asked.answer
      // Any other answer is for one login.
      if (answer instanceof Token) return answer
    }
    const asking = { since: clock.now(), answer: this.#ask(clock) }
    this.#asking = asking
    try {
      return await asking.answer
    } finally {
      if (this.#asking === asking) this.#asking = undefined
    }
  }

  async #ask(clock: Clock): Promise<unknown> {
    const answer: unknown = await this.#password()
    if (typeof answer !== 'object' || answer === null) return answer
    this.token = new Token(answer, clock.wallTime())
    return this.token
  }

  /** The broker refused it. */
  forget(token: Token): void {
    if (this.token === token) this.token = undefined
  }
}
