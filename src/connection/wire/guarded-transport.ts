import { EncodeError } from '../../errors.ts'
import { abortable } from '../../lib/abortable.ts'
import { nextTick } from '../../lib/platform.ts'
import { asError } from '../../lib/thrown.ts'
import type { Transport, TransportFactory, TransportHandler, TransportPeer } from './transport.ts'

const UNKNOWN_PEER: TransportPeer = { host: '', port: 0, localPort: 0, encrypted: false }

/**
 * A transport of the program's own, which may throw anything: that breaks the connection, and nothing else.
 */
class GuardedTransport implements Transport {
  readonly #transport: Transport
  readonly #broken: (error: Error) => void

  constructor(transport: Transport, broken: (error: Error) => void) {
    this.#transport = transport
    this.#broken = broken
  }

  get pending(): number {
    return this.#guard(() => this.#transport.pending, 0)
  }

  get peer(): TransportPeer {
    return this.#guard(() => this.#transport.peer ?? UNKNOWN_PEER, UNKNOWN_PEER)
  }

  write(segments: readonly Uint8Array[], sent?: () => void): boolean {
    return this.#guard(() => this.#transport.write(segments, sent), false)
  }

  pause(): void {
    this.#guard(() => this.#transport.pause(), undefined)
  }

  resume(): void {
    this.#guard(() => this.#transport.resume(), undefined)
  }

  end(agreed?: boolean): void {
    this.#guard(() => this.#transport.end(agreed), undefined)
  }

  destroy(error?: Error): void {
    this.#guard(() => this.#transport.destroy(error), undefined)
  }

  #guard<T>(call: () => T, otherwise: T): T {
    try {
      return call()
    } catch (thrown) {
      // Later, and not within the call: its owner is in the middle of a change.
      const error = asError(thrown)
      nextTick(() => this.#broken(error))
      return otherwise
    }
  }
}

/** Wraps a transport of the program, and enforces the parts of the contract whose breach would harm the client. */
export function guardedFactory(createTransport: TransportFactory): TransportFactory {
  return async (target, handler, signal, onStep) => {
    let closed = false
    const guarded: TransportHandler = {
      onBytes: (buffer, length) => handler.onBytes(buffer, length),
      onDrain: () => handler.onDrain(),
      onEnd: () => handler.onEnd(),
      onClose: error => {
        if (closed) return
        closed = true
        handler.onClose(error)
      },
    }
    const transport: Transport | undefined = await abortable(
      signal,
      () => createTransport(target, guarded, signal, onStep),
      late => guard(late).destroy(),
    )
    if (typeof transport?.write !== 'function') {
      throw new EncodeError('connect: "createTransport" must resolve to a transport, which has the method write')
    }
    return guard(transport)

    function guard(own: Transport): Transport {
      let broken = false
      return new GuardedTransport(own, error => {
        if (broken) return
        broken = true
        try {
          own.destroy(error)
        } catch {
          // The transport counts as broken even then.
        }
        guarded.onClose(error)
      })
    }
  }
}
