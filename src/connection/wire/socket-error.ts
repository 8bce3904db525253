import { ConnectionLostError } from '../../errors.ts'

/** What the network or TLS had against it: an error of a lost connection has that underneath. */
export function underneath(error: Error): NodeJS.ErrnoException {
  return error instanceof ConnectionLostError && error.cause instanceof Error ? error.cause : error
}

/** What an error of a socket says. OpenSSL's have all but the reason in their message. */
export function socketReason(error: Error): string {
  const { message, library, reason } = error as Error & { readonly library?: unknown; readonly reason?: unknown }
  return typeof library === 'string' && typeof reason === 'string' ? `TLS: ${reason}` : message.trim()
}
