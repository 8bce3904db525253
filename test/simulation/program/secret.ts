import type { Desk } from './desk.ts'

/** A password that the broker changes while the program is connected. */
export class Secret {
  readonly #desk: Desk
  current = ''

  constructor(desk: Desk) {
    this.#desk = desk
  }

  /** The broker has a new one: the program says so until the client has taken it, or there is a newer one. */
  change(secret: string): void {
    this.current = secret
    this.#desk.forget(`new secret ${secret}`, this.#tell(secret))
  }

  async #tell(secret: string): Promise<void> {
    for (let { protocol } = this.#desk; protocol !== undefined && this.current === secret; { protocol } = this.#desk) {
      try {
        await protocol.updateSecret(secret, 'it was changed')
        return
      } catch {
        await this.#desk.sleep(1_000)
      }
    }
  }
}
