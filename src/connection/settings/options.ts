import type { LogFormat, Logger } from '../../diagnostics/logger.ts'
import type { Clock } from '../../lib/clock.ts'
import type { TlsOptions, TransportFactory } from '../wire/transport.ts'
import type { PasswordFunction, SaslMechanism, SaslName } from './auth.ts'

/** One server, or several of which one is wanted. */
export type ConnectUrl = string | URL | readonly (string | URL)[]

/** One broker of several. */
export interface ServerAddress {
  readonly host: string
  /** Default: the option `port`, or 5672, with TLS 5671. */
  readonly port?: number | undefined
}

/** `ordered`: as listed; `random`: shuffled for each connection; `race`: all at once, the first that opens wins. */
export type ServerOrder = 'ordered' | 'random' | 'race'

/** How a lost connection is opened again. */
export interface RecoveryOptions {
  /** Milliseconds before the first attempt. Default: 0. */
  readonly initialDelay?: number | undefined
  /** The longest pause between two attempts, in milliseconds. Default: 30,000. */
  readonly maxDelay?: number | undefined
  /** How much longer each pause is than the one before. Default: 2. */
  readonly factor?: number | undefined
  /** The share of a pause that is random, from 0 to 1; `'full'` is 1. Default: `'full'`. */
  readonly jitter?: 'full' | number | undefined
  /** Attempts in a row before it gives up. Default: `Infinity`. */
  readonly maxAttempts?: number | undefined
  /** Declare exchanges, queues and bindings again, and consume again. Default: true. */
  readonly topology?: boolean | undefined
  /** Whether to give up at once after this error of an attempt. Default: never. */
  readonly giveUpOn?: ((error: Error) => boolean | PromiseLike<boolean>) | undefined
}

/** The options of `connect()`. Beside a URL, an option wins over what the URL says. */
export interface ConnectOptions {
  /** Name or address of the broker. Default: `localhost`. */
  readonly host?: string | undefined
  /** Default: 5672, with TLS 5671. */
  readonly port?: number | undefined
  /**
   * Several brokers instead of one, as addresses or URLs; a URL of this list wins over the options. Each
   * is tried with an equal share of the time left.
   */
  readonly servers?: readonly (string | URL | ServerAddress)[] | undefined
  /** In which order several brokers are tried. Default: `'ordered'`. */
  readonly serverOrder?: ServerOrder | undefined

  /** The user's name. Default: `guest`. */
  readonly login?: string | undefined
  /** A string, or a function that is asked at each login, and before an `expiresAt` of its answer. Default: `guest`. */
  readonly password?: string | PasswordFunction | undefined
  /** Default: `/`. */
  readonly virtualhost?: string | undefined
  /** Encrypt: `true`, or Node's `tls.ConnectionOptions`. Default: false, with an `amqps` URL true. */
  readonly ssl?: boolean | TlsOptions | undefined
  /** Whether the server must prove with a trusted certificate that it has the host's name. Default: true. */
  readonly verifySsl?: boolean | undefined
  /** The SASL mechanism. Default: `PLAIN`. */
  readonly loginMethod?: SaslName | SaslMechanism | undefined

  /** Most channels of the connection, if the server does not allow fewer; 0: as many as it allows. Default: 0. */
  readonly channelMax?: number | undefined
  /**
   * Bytes of the largest frame, if the server does not want less; 0, or 4096 and more (RabbitMQ 4.3: 8192 and more).
   * Default: 0, the value of the server.
   */
  readonly frameMax?: number | undefined
  /**
   * Seconds between two signs of life; a server that sends nothing for two of these is lost. The lower of the
   * client's and the server's value applies; 0 turns it off. At most 3600. Default: 10.
   */
  readonly heartbeat?: number | undefined
  /** Bytes of the largest incoming message that is taken into memory. Default: 128 MiB. */
  readonly maxMessageSize?: number | undefined
  /** What the broker shows for this connection, beside product, version and platform. */
  readonly clientProperties?: Readonly<Record<string, unknown>> | undefined
  /** The name that the broker shows. Default: `package@host:pid`. */
  readonly connectionName?: string | undefined
  /**
   * `'separate'`: publishes have a connection of their own, named `connectionName` with `.publisher` at its end, so that a
   * broker that is short of memory or disk stops no acks, no consumers and no declares. By it go `publish()`, publishers, RPC
   * calls and replies, copies of failed messages, transactions, and channels that are opened with `connection: 'publisher'`.
   * Default: `'shared'`, one connection for all.
   */
  readonly connections?: 'shared' | 'separate' | undefined

  /** Milliseconds for the whole way to an open connection: name, TCP, TLS and handshake. Default: 10,000. */
  readonly connectTimeout?: number | undefined
  /** Milliseconds that a synchronous method may stay unanswered. Default: 20,000. */
  readonly rpcTimeout?: number | undefined
  /**
   * Encoded bytes that may wait for the socket, a blocked broker or a recovery; above it publishes wait, and hold
   * their payload. The same number of bytes of deliveries may wait for callbacks before reading pauses; four times that
   * number while a call waits for the broker, whose answer comes after deliveries. If it has not come then, 16 MiB more are
   * read after 10 ms, and again after pauses that double, up to a minute. Default: 16 MiB.
   */
  readonly maxBuffered?: number | undefined
  /**
   * Number of publishes of one channel or publisher that may wait so, or for room within `maxInFlight`; further ones
   * reject with `BufferFullError`. Default: no limit.
   */
  readonly maxWaiting?: number | undefined
  /**
   * Milliseconds that a publish without a `timeout` of its own may take, its wait for a lost connection included; then it
   * rejects with `TimeoutError`, whose `outcome` says whether it was sent. `Infinity` is no limit. It holds for
   * `protocol.publish`, and for publishers and channels that have no `publishTimeout` of their own. Default: no limit.
   */
  readonly publishTimeout?: number | undefined
  /**
   * Attempts for the first connection, with the pauses and the `giveUpOn` of `recovery`; `Infinity` is allowed. Each has
   * `connectTimeout`. Errors that the next attempt would get again end them at once: a refused login or virtual host, a
   * certificate that is not trusted, a server that does not speak AMQP. Default: 1; of `connectInBackground` `Infinity`.
   */
  readonly firstAttempts?: number | undefined
  /**
   * Milliseconds after which a handler that still runs is reported, by the event `slow` of its consumer and to the logger,
   * and again each time that has doubled; a quarter later at most. `Infinity` turns it off. Default: 30,000.
   */
  readonly slowHandlerThreshold?: number | undefined
  /** Open a lost connection again, with everything on it. Default: true. */
  readonly recovery?: boolean | RecoveryOptions | undefined

  /** Called with every error that has no promise to reject. */
  readonly onError?: ((error: Error) => void) | undefined
  /**
   * Gets a line for each event: connections that are opened, lost and recovered, consumers that are cancelled, what was
   * sent again, and errors without a promise, if there is no `onError`.
   */
  readonly logger?: Logger | undefined
  /**
   * How `logger` is called: with a text, as `console` takes it, or with an object and a text, as pino does. Default:
   * `'structured'` for a logger with methods `child` and `bindings`, which is pino's mark, else `'text'`.
   */
  readonly logFormat?: LogFormat | undefined
  /**
   * Give this function, or for `true` the method `debug` of `logger`, a line for each frame that is sent or received;
   * passwords and bodies are masked. Default: false, which costs nothing.
   */
  readonly traceFrames?: boolean | ((line: string) => void) | undefined
  /** Ends the attempts for the first connection, and closes the socket. */
  readonly signal?: AbortSignal | undefined
  /** Makes the stream of bytes to the broker. Default: TCP, or TLS. */
  readonly createTransport?: TransportFactory | undefined
  /**
   * Where time and chance come from.
   *
   * @internal
   */
  readonly clock?: Clock | undefined
}
