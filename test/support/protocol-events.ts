/** An event of a protocol: its name, and what its listeners got. */
export type SeenEvent = readonly [name: string, ...args: unknown[]]

/** The names of all events of a protocol but `resent`. */
export const PROTOCOL_EVENTS = [
  'blocked',
  'unblocked',
  'connecting',
  'connected',
  'disconnected',
  'recovering',
  'recoveryAttemptFailed',
  'recovered',
  'recoveryFailed',
  'queueRenamed',
  'closed',
] as const
