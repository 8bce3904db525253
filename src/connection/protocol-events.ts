import type { ConnectionRole } from './connection-state.ts'

/**
 * Events of an `AmqpProtocol` and what their listeners get. None needs a listener. `connection` says which it is with
 * `connections: 'separate'`; else it is always `'main'`.
 */
export interface AmqpProtocolEvents {
  /**
   * An attempt for the first connection will be made after `delay` milliseconds; the first is number 1. The last one failed
   * with `error`. Only of a protocol from `connectInBackground()`.
   */
  connecting: [attempt: number, delay: number, error: Error | undefined, connection: ConnectionRole]
  /** The first connection is open. Only of a protocol from `connectInBackground()`. */
  connected: [connection: ConnectionRole]
  /** The broker takes no publishes for now; `reason` says why: it is short of memory, for instance. Publishes wait. */
  blocked: [reason: string, connection: ConnectionRole]
  /** The broker takes publishes again: those that waited go out. */
  unblocked: [connection: ConnectionRole]
  /** The connection was lost. */
  disconnected: [error: Error, connection: ConnectionRole]
  /** An attempt to recover will be made after `delay` milliseconds; the first is number 1. The last one failed with `error`. */
  recovering: [attempt: number, delay: number, error: Error | undefined, connection: ConnectionRole]
  /** An attempt to recover failed. A `ConnectionFailedError` lists each server with its step and cause in `attempts`. */
  recoveryAttemptFailed: [attempt: number, error: Error, connection: ConnectionRole]
  /** Everything is back except what the broker still refuses: that is tried again, and reported by `recoveryFailed`. */
  recovered: [connection: ConnectionRole]
  /** One exchange, queue, binding or consumer could not be recovered so far; the rest goes on. */
  recoveryFailed: [what: string, error: Error]
  /** A server-named queue has a new name after a recovery. */
  queueRenamed: [oldName: string, newName: string]
  /**
   * This many messages of `protocol.publish` were sent again, since a lost connection or a closed channel had left their
   * fate unknown, or since the broker nacked them while it was failing over.
   */
  resent: [count: number]
  /** The connection is over; `error` says why, unless the program closed it. */
  closed: [error?: Error]
}

export const PROTOCOL_EVENTS: Readonly<Record<keyof AmqpProtocolEvents, true>> = {
  connecting: true,
  connected: true,
  blocked: true,
  unblocked: true,
  disconnected: true,
  recovering: true,
  recoveryAttemptFailed: true,
  recovered: true,
  recoveryFailed: true,
  queueRenamed: true,
  resent: true,
  closed: true,
}

/** Gives an event to the program. */
export type EmitEvent = <K extends keyof AmqpProtocolEvents>(event: K, ...args: AmqpProtocolEvents[K]) => void
