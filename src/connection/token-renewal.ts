import type { Deadline } from '../channel/port.ts'
import { TimeoutError } from '../errors.ts'
import type { ChannelSource } from './channel-source.ts'
import type { Connection } from './connection.ts'
import { noPassword, type PasswordFunction } from './settings/auth.ts'
import { LEAST_PAUSE, LONGEST_ANSWER, Token, TokenSource } from './settings/tokens.ts'

/** The share of a token's remaining time after which a question that failed is asked again. */
const ASKED_AGAIN_AFTER = 0.2

/**
 * Asks the password functions of one connection. If they answer with tokens, it gives the broker another one before that of
 * the login expires (connection.update-secret).
 */
export class TokenRenewal {
  readonly #source: Pick<ChannelSource, 'clock' | 'after' | 'report'>
  /** The token that was used last; undefined if that was a password without an end. */
  #used: { readonly source: TokenSource; readonly token: Token; readonly wasKnown: boolean } | undefined
  #timer: Deadline | undefined

  constructor(source: Pick<ChannelSource, 'clock' | 'after' | 'report'>) {
    this.#source = source
  }

  /** The password of a login. Rejects as the function does. */
  async ask(password: PasswordFunction): Promise<string> {
    const { clock } = this.#source
    const source = TokenSource.of(password)
    const known = source.token
    const answer = await source.answer(clock).catch((error: unknown) => {
      // It is time for another one, but the last is still good.
      if (known !== undefined && known === source.token && clock.wallTime() < known.expiresAt) return known
      throw error
    })
    this.#used = answer instanceof Token ? { source, token: answer, wasKnown: answer === known } : undefined
    // The login reports what is wrong with it.
    return answer instanceof Token ? answer.password : (answer as string)
  }

  /** A login was refused. Returns whether to try again at once: the token was not new, and the next one will be. */
  refused(): boolean {
    if (this.#used?.wasKnown !== true) return false
    this.#used.source.forget(this.#used.token)
    return true
  }

  /** A connection has logged in, in the place of the one before. */
  start(connection: Connection): void {
    this.#timer?.cancel()
    if (this.#used !== undefined) this.#renewIn(this.#used.token.renewAt - this.#source.clock.wallTime(), connection)
  }

  #renewIn(milliseconds: number, connection: Connection): void {
    this.#timer = this.#source.after(Math.max(0, milliseconds), () => void this.#renew(connection), {
      keepsProcessAlive: false,
    })
  }

  /** What the function answers. Rejects if it takes too long: an answer that comes later is used the next time. */
  #answerOf(source: TokenSource): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const late = (): void =>
        reject(new TimeoutError(`the "password" function has not answered within ${LONGEST_ANSWER} ms`))
      const limit = this.#source.after(LONGEST_ANSWER, late, { keepsProcessAlive: false })
      void source
        .answer(this.#source.clock)
        .then(resolve, reject)
        .finally(() => limit.cancel())
    })
  }

  async #renew(connection: Connection): Promise<void> {
    const used = this.#used
    if (used === undefined || connection.ending !== undefined) return
    const { source, token } = used
    try {
      const answer = await this.#answerOf(source)
      // The next login asks, too.
      if (connection.ending !== undefined) return
      const secret = answer instanceof Token ? answer.password : answer
      if (typeof secret !== 'string') throw noPassword(secret)
      await connection.updateSecret(secret, 'the old one will expire')
      if (connection.ending !== undefined) return
      this.#used = answer instanceof Token ? { source, token: answer, wasKnown: false } : undefined
      this.start(connection)
    } catch (error) {
      if (connection.ending !== undefined) return
      this.#source.report(error, 'warn')
      const left = token.expiresAt - this.#source.clock.wallTime()
      this.#renewIn(Math.max(LEAST_PAUSE, ASKED_AGAIN_AFTER * left), connection)
    }
  }
}
