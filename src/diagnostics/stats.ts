import type { Endpoint } from './server-context.ts'

/** The figures of one publisher, at the moment. */
export interface PublisherStats {
  /**
   * Undefined for a publisher of several exchanges: that of `protocol.publish` after the first 15 exchanges, of replies
   * of an RPC server, and of copies of failed messages.
   */
  readonly exchangeName: string | undefined
  /** Messages that are sent, and that the broker has not confirmed. */
  readonly unconfirmed: number
  /** Messages that wait to be sent, or to be sent again; also those that a schema or codecs still work on. */
  readonly waiting: number
  /** Messages that were sent again so far: a receiver may see them twice. */
  readonly resent: number
}

/** The figures of one consumer, at the moment. */
export interface ConsumerStats {
  readonly queueName: string
  /** Undefined while it has none. */
  readonly consumerTag: string | undefined
  /** `recovering` after a lost connection, `restarting` after another end by the broker, `stopped` once it is closed. */
  readonly state: 'starting' | 'consuming' | 'recovering' | 'restarting' | 'stopped'
  /** `pause()` was called last. */
  readonly isPaused: boolean
  /** Handlers or callbacks that have begun and not ended. */
  readonly handlersRunning: number
  /** Most that may run at a time; `Infinity` is no limit, and 0 is for a consumer without a handler. */
  readonly concurrency: number
  /** Messages that have arrived, and that no handler, callback or loop has got. */
  readonly buffered: number
  /**
   * Messages that have arrived and that this client has not settled, those of `buffered` included; 0 with `noAck`. Undefined
   * for `channel.basicConsume`, since the program settles by tags.
   */
  readonly unacknowledged: number | undefined
}

/** The figures of a connection, at the moment, as `protocol.stats()` computes them. Times are whole milliseconds. */
export interface ConnectionStats extends Endpoint {
  readonly state: 'connecting' | 'open' | 'recovering' | 'closing' | 'closed'
  /** How long the present connection is open; 0 while there is none. */
  readonly openMs: number
  /** Channels that are open on the present connection, the client's own included. */
  readonly openChannels: number
  /** How often a lost connection was recovered. */
  readonly reconnects: number
  /** Since the loss that is being recovered from; 0 if nothing is. */
  readonly recoveringMs: number
  /** How long the last recovery took; undefined before the first. */
  readonly lastRecoveryMs: number | undefined
  /** How long all recoveries took, the present one included. */
  readonly totalRecoveryMs: number
  /** Why the broker blocks publishers; undefined while it does not. */
  readonly blockedReason: string | undefined
  /** How long the broker blocked publishers in all, the present block included. */
  readonly totalBlockedMs: number
  /** Messages that are sent in confirm mode, and that the broker has not confirmed. */
  readonly unconfirmed: number
  /** Publishes, and calls of channels, that wait: for a recovery, for the broker, for the socket, for `maxInFlight`. */
  readonly waiting: number
  /** Encoded bytes that wait for the socket. `maxBuffered` bounds them. */
  readonly bufferedBytes: number
  /** Bytes of deliveries that wait for callbacks of consumers without a prefetch limit. `maxBuffered` bounds them, too. */
  readonly receivedBytesWaiting: number
  /** The sum over all consumers that know it. */
  readonly unacknowledged: number
  /** The sum over all consumers. */
  readonly handlersRunning: number
  /** Messages that were sent in confirm mode since the first connection; one that is sent again counts again. */
  readonly published: number
  /** Messages that have arrived since the first connection (basic.deliver and basic.get-ok). */
  readonly delivered: number
  /**
   * Publishers of `protocol.publisher()` and of `protocol.publish`, and those of this client itself; each from its first
   * message on.
   */
  readonly publishers: readonly PublisherStats[]
  /** Consumers of `protocol.consumer()`, `protocol.rpcServer()` and `channel.basicConsume()`. */
  readonly consumers: readonly ConsumerStats[]
  /**
   * With `connections: 'separate'`: the figures of the connection for publishes alone. Beside them, numbers and totals are
   * sums over both connections, and `openMs` is 0 if one of them is not open.
   */
  readonly publisherConnection?: ConnectionStats | undefined
}

/** What parts of a connection add their figures to. */
export interface PartStats {
  readonly publishers: PublisherStats[]
  readonly consumers: ConsumerStats[]
}
