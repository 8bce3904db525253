import type { Clock } from '../lib/clock.ts'
import type { ConfirmFate, ReplyReceiver } from './channel-host.ts'
import type { ClientConnection } from './client-connection.ts'
import type { HandshakeHost } from './handshake.ts'
import type { Message } from './message.ts'

/** The stream of bytes to a client, as the broker sees it. */
export interface ClientPort {
  /** Returns whether it takes more at once; if not, the connection's `drained()` is called when it does. */
  write(bytes: Buffer): boolean
  /** End the stream after what was written. */
  end(): void
  /** Cut it. */
  destroy(): void
  /** Cut it by a reset. */
  reset(): void
  /** Read no more from the client, or again. */
  pause(): void
  resume(): void
  /** `host:port` of the client. */
  readonly peer: string
  /** The common name of the client's certificate, if it came over TLS; '' without a certificate. */
  readonly certificateName?: string | undefined
}

/** The broker, as a connection sees it. */
export interface ConnectionHost extends Omit<HandshakeHost, 'send' | 'certificateName'> {
  readonly clock: Clock
  readonly replies: Map<string, ReplyReceiver>
  /** Why publishers are blocked, if they are. */
  readonly alarm: string | undefined
  post(turn: () => void): void
  run(): void
  uniqueName(prefix: string): string
  confirmFate(message: Message): ConfirmFate
  withhold(message: Message, confirm: () => void): void
  published(message: Message, connection: ClientConnection): void
  /** There is something to write. */
  written(connection: ClientConnection): void
  closed(connection: ClientConnection): void
}
