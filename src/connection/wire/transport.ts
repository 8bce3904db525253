import { TRANSFERRED_AWAY } from '../../protocol/payload-bytes.ts'

/** What Node's `tls.connect` takes. */
export type TlsOptions = import('node:tls').ConnectionOptions

/** Where a transport has to lead. */
export interface TransportTarget {
  readonly host: string
  readonly port: number
  /** Encrypt with these options; `undefined` means plain TCP. */
  readonly tls: TlsOptions | undefined
}

/** What a transport is doing before it is connected. */
export type TransportStep = 'lookup' | 'connect' | 'tls'

/** What happens on a transport. Nothing is called before it is connected, during its own methods, or after `onClose`. */
export interface TransportHandler {
  /**
   * Bytes 0 to `length` of `buffer` came in; the buffer is written again once this returns. Bytes that were already read
   * may still come after `pause()`.
   */
  onBytes(buffer: Buffer, length: number): void
  /** Nothing is pending any more: write again. May come without a `write()` that returned `false`. */
  onDrain(): void
  /** The peer has ended its side. Writes do nothing from here on. */
  onEnd(): void
  /** It is over; `error` is undefined if both sides ended in order. Called exactly once, last. */
  onClose(error: Error | undefined): void
}

/** An ordered, reliable stream of bytes to one peer. */
export interface Transport {
  /**
   * Send `segments`, in order, in as few system calls as possible. They must not change until they have left. No segment
   * is empty: one that has become empty in the queue was transferred away, and without it the stream is broken.
   *
   * @param sent called later, once all of them have left; never if the transport fails before.
   * @returns `false`: write no more before `onDrain`.
   */
  write(segments: readonly Uint8Array[], sent?: () => void): boolean
  /** Bytes that were written and have not left. 0 right after a write that the kernel took whole. */
  readonly pending: number
  /** Read no more, until `resume()`. The end of the stream may then go unseen. */
  pause(): void
  /**
   * Read on. Bytes that came meanwhile are delivered within one turn of the event loop: if there are none, the peer may
   * be declared dead.
   */
  resume(): void
  /**
   * End this side, after what is pending.
   *
   * @param agreed nothing more will come: the stream may be closed without waiting for the peer's end.
   */
  end(agreed?: boolean): void
  /** Close at once; what is pending is lost. `onClose` gets `error`. */
  destroy(error?: Error): void
  readonly peer: TransportPeer
}

/** Both ends of a stream. */
export interface TransportPeer {
  readonly host: string
  readonly port: number
  readonly localPort: number
  readonly encrypted: boolean
}

/**
 * Make a connected transport: with TLS, after the handshake and the check of the server's name. When `signal` aborts
 * before that, leave nothing open and reject. Call `onStep` with the name of each awaited step, for the error of a timeout.
 */
export type TransportFactory = (
  target: TransportTarget,
  handler: TransportHandler,
  signal: AbortSignal,
  onStep: (step: TransportStep) => void,
) => Promise<Transport>

/** Why a stream has to end: bytes that were announced in it are gone. */
export function transferredAway(): Error {
  return new Error(`the memory of a payload ${TRANSFERRED_AWAY}`)
}
