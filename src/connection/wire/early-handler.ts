import type { TransportHandler } from './transport.ts'

/** Hears a transport for its owner, which is made after it: it may have ended by then, and nothing is read before. */
export class EarlyHandler<Owner extends TransportHandler> implements TransportHandler {
  owner: Owner | undefined
  /** How it has ended without an owner. */
  #ended: ((owner: Owner) => void) | undefined

  /** From now on `owner` hears the transport. */
  begin(owner: Owner): void {
    this.owner = owner
    this.#ended?.(owner)
    this.#ended = undefined
  }

  onBytes(buffer: Buffer, length: number): void {
    this.owner?.onBytes(buffer, length)
  }

  onDrain(): void {
    this.owner?.onDrain()
  }

  onEnd(): void {
    this.#whenOwned(owner => owner.onEnd())
  }

  onClose(error: Error | undefined): void {
    this.#whenOwned(owner => owner.onClose(error))
  }

  #whenOwned(run: (owner: Owner) => void): void {
    if (this.owner === undefined) this.#ended = run
    else run(this.owner)
  }
}
