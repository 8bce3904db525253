import { AmqpProtocol } from './amqp-protocol.ts'
import type { ConnectOptions, ConnectUrl } from './connection/settings/options.ts'
import { resolveSettings } from './connection/settings/settings.ts'
import { atCallSite, fromCallSite, placeOfCall } from './lib/call-site.ts'
import { asError } from './lib/thrown.ts'

/**
 * Connect to a broker, or to one of several.
 *
 * @param url `amqp://login:password@host:port/vhost`, or `amqps://`; several are tried in turn. RabbitMQ's URI
 * specification says what else a URL may hold. Options beside it win over it.
 * @throws ConnectionFailedError if no server could be reached, in `firstAttempts` attempts; AuthenticationError if the login
 * or the virtual host is refused, AmqpUriError for a bad URL, EncodeError for a bad option and for a URL that is undefined,
 * AbortError or TimeoutError by `signal`.
 */
export function connect(url: ConnectUrl, options?: ConnectOptions): Promise<AmqpProtocol>
/** Connects to the broker that the options name, `localhost` by default. */
export function connect(options?: ConnectOptions): Promise<AmqpProtocol>
export function connect(
  ...args: [first?: ConnectUrl | ConnectOptions, second?: ConnectOptions]
): Promise<AmqpProtocol> {
  return fromCallSite(placeOfCall(), () => AmqpProtocol.open(resolveSettings(...args)))
}

/** `connect` with a URL, by aioamqp's name. */
export function fromUrl(url: ConnectUrl, options?: ConnectOptions): Promise<AmqpProtocol> {
  return fromCallSite(placeOfCall(), () => AmqpProtocol.open(resolveSettings(url, options)))
}

/**
 * The same without waiting for the broker, which may start later: returns at once, and connects in the background, for as
 * long as `firstAttempts` says. All that is asked of the protocol meanwhile waits for the connection, within its own
 * `timeout` and `signal`, as it does during a recovery.
 *
 *     const protocol = connectInBackground('amqp://localhost')
 *     await protocol.queueDeclare('orders') // once the broker is there
 *     await protocol.consumer('orders', message => console.log(message.text()))
 *
 * `protocol.ready()` resolves once it is connected, and the events `connecting` and `connected` say how it goes. If a server
 * refuses the login, the virtual host or TLS, or when the attempts are over, all waiting calls and `waitClosed()` reject
 * with that error; if there are none, it goes to `onError`, or is a warning. The process stays alive until it is
 * connected or closed.
 *
 * @throws AmqpUriError for a bad URL, EncodeError for a bad option, and nothing later.
 */
export function connectInBackground(url: ConnectUrl, options?: ConnectOptions): AmqpProtocol
/** Connects in the background to the broker that the options name, `localhost` by default. */
export function connectInBackground(options?: ConnectOptions): AmqpProtocol
export function connectInBackground(
  ...args: [first?: ConnectUrl | ConnectOptions, second?: ConnectOptions]
): AmqpProtocol {
  const site = placeOfCall()
  try {
    return AmqpProtocol.openInBackground(resolveSettings(...args))
  } catch (error) {
    throw atCallSite(asError(error), site)
  }
}
