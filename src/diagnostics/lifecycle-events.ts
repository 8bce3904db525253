import type { ConnectionAttempt, LossReason } from '../errors.ts'
import type { Endpoint } from './server-context.ts'
import type { ConnectionStats } from './stats.ts'

/**
 * What happens to a connection and to what is on it, by name, and what its subscribers get beside `Endpoint`. Each
 * has a plain diagnostics channel, `asyncamqp:` and the name:
 *
 *     import { subscribe } from 'node:diagnostics_channel'
 *     import type { LifecycleEvent } from 'asyncamqp'
 *
 *     subscribe('asyncamqp:connection.lost', message => {
 *       const { serverAddress, error } = message as LifecycleEvent<'connection.lost'>
 *     })
 *
 * Times are whole milliseconds.
 */
export interface LifecycleEvents {
  /** An attempt for the first connection will be made. */
  'connection.connecting': {
    /** The first is 1. */
    readonly attempt: number
    /** The pause before it. */
    readonly delayMs: number
    /** What the last attempt failed with; undefined before the first. */
    readonly error: Error | undefined
    /** As of `connection.opened`. */
    readonly stats: () => ConnectionStats
  }
  /** The first connection is open. */
  'connection.opened': {
    /** How long that took: all attempts, with name, TCP, TLS and handshake. */
    readonly durationMs: number
    readonly encrypted: boolean
    /** `RabbitMQ`, for instance; undefined if the server does not say. */
    readonly serverProduct: string | undefined
    readonly serverVersion: string | undefined
    /** As agreed on; 0 if there are none. */
    readonly heartbeatSeconds: number
    /** The figures of the connection at any time from now on, as of `protocol.stats()`. */
    readonly stats: () => ConnectionStats
  }
  /** An open connection has ended, and the program has not asked for that. */
  'connection.lost': {
    readonly error: Error
    /** `'closedByServer'`, or the reason of a `ConnectionLostError`. */
    readonly reason: LossReason | 'closedByServer'
    /** How long it was open. */
    readonly openMs: number
    /** Another one will follow. If it is false, `connection.closed` follows. */
    readonly willRecover: boolean
  }
  /** An attempt to recover will be made. */
  'connection.recovering': {
    /** The first is 1. */
    readonly attempt: number
    /** The pause before it. */
    readonly delayMs: number
    /** What the last attempt failed with; undefined before the first. */
    readonly error: Error | undefined
  }
  /** An attempt to recover failed. */
  'connection.recovery_attempt_failed': {
    readonly attempt: number
    readonly error: Error
    /** Each server that was tried, with the step that failed and why; empty if it failed once it was connected. */
    readonly servers: readonly ConnectionAttempt[]
    /** The pause before the next attempt; undefined if there will be none. */
    readonly nextDelayMs: number | undefined
  }
  /** A lost connection is open again, with everything on it but what `entity.recovery_failed` names. */
  'connection.recovered': {
    readonly attempts: number
    /** From the loss on. */
    readonly durationMs: number
    readonly channels: number
    readonly exchanges: number
    readonly queues: number
    readonly bindings: number
    readonly consumers: number
    /** Entities and consumers that the broker still refuses, and that are tried on. */
    readonly stillMissing: number
  }
  /** The recovery gave up: `connection.closed` follows. */
  'connection.recovery_failed': {
    readonly error: Error
    readonly attempts: number
    readonly durationMs: number
  }
  /** An exchange, queue, binding, consumer or channel could not be recovered so far; the rest goes on. */
  'entity.recovery_failed': {
    /** `queue "orders"`, for instance. */
    readonly entity: string
    readonly error: Error
    /** It is tried again, now or at the next recovery. */
    readonly willRetry: boolean
  }
  /** A server-named queue has a new name after a recovery. */
  'queue.renamed': {
    readonly oldName: string
    readonly newName: string
  }
  /** The broker takes no publishes for now. */
  'connection.blocked': {
    /** The broker's words: `low on memory`, for instance. */
    readonly reason: string
  }
  /** The broker takes publishes again, or the blocked connection is gone. */
  'connection.unblocked': {
    readonly blockedMs: number
    /** It is gone: the broker may block the next one, too. */
    readonly connectionEnded: boolean
  }
  /** The connection is over for good. */
  'connection.closed': {
    /** Why; undefined if the program closed it. */
    readonly error: Error | undefined
  }
  /** Messages were sent again: a receiver may see them twice, but for those that are `nacked`. */
  'publisher.resent': {
    /** Undefined for a publisher of several exchanges. */
    readonly exchangeName: string | undefined
    readonly count: number
    /** How many of them the broker had refused (basic.nack). The fate of the others was unknown. */
    readonly nacked: number
  }
  /** The broker has ended a consumer, or its channel or connection ended. */
  'consumer.cancelled': {
    readonly queueName: string
    /** Undefined if it had none at the moment. */
    readonly consumerTag: string | undefined
    /** A `ConsumerCancelledError`, `ChannelClosedError` or `ConnectionLostError`. */
    readonly error: Error
    /** It will try to consume again: false for a consumer of a channel; undefined if `onCancel` decides about that. */
    readonly willResume: boolean | undefined
  }
  /** A consumer of `protocol.consumer()` consumes again. */
  'consumer.resumed': {
    readonly queueName: string
    readonly consumerTag: string | undefined
    /** How long it did not consume. */
    readonly interruptedMs: number
    /** What had ended it. */
    readonly error: Error
  }
  /**
   * A consumer of `protocol.consumer()` is over though its connection goes on: `onCancel` decided that, or the broker can
   * never accept it.
   */
  'consumer.given_up': {
    readonly queueName: string
    readonly error: Error
  }
  /** Handlers have run for longer than `slowHandlerThreshold`, which is reported again each time that has doubled. */
  'consumer.slow_handlers': {
    readonly queueName: string
    readonly consumerTag: string | undefined
    readonly slowHandlers: number
    /** The slow ones included. */
    readonly handlersRunning: number
    /** How long the slowest has run at least, */
    readonly longestMs: number
    /** and its message. */
    readonly deliveryTag: number
    readonly messageId: string | undefined
  }
  /** The server closed a channel for an error. One that the client was closing anyway is not reported. */
  'channel.closed': {
    readonly channelId: number
    /** A `ChannelClosedError`. */
    readonly error: Error
    readonly replyCode: number
    readonly replyText: string
    /** The method at fault, such as `queue.declare`; undefined if the server names none. */
    readonly method: string | undefined
  }
}

/** The names of the events. */
export type LifecycleEventName = keyof LifecycleEvents

/** What a subscriber of `asyncamqp:<name>` gets. */
export type LifecycleEvent<N extends LifecycleEventName> = Endpoint & LifecycleEvents[N]
