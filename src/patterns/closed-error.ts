import type { ChannelSource } from '../connection/channel-source.ts'
import { type AmqpError, ChannelClosedError, ConnectionClosedError, type PublishOutcome } from '../errors.ts'

/** The error of what ends since the program closes a part of the connection, or the connection with all of its parts. */
export function closedError(
  { state, endpoint: { serverAddress, serverPort } }: ChannelSource,
  what: string,
  part: 'publisher' | 'client',
  outcome: PublishOutcome,
): AmqpError {
  // The program may know of no such part.
  if (state === 'closing') {
    const server = `${serverAddress}:${serverPort}`
    return new ConnectionClosedError(`${what} failed: the connection to ${server} was closed by the program`, {
      outcome,
    })
  }
  const unconfirmed = part === 'publisher' && outcome === 'unknown' ? ' before the broker had confirmed it' : ''
  return new ChannelClosedError(`${what} failed: its ${part} was closed${unconfirmed}`, { outcome })
}
