import { AmqpProtocol } from './amqp-protocol.ts'
import type { ConnectOptions, ConnectUrl } from './connection/settings/options.ts'
import { resolveSettings } from './connection/settings/settings.ts'

/**
 * Connect to a broker, or to one of several.
 *
 * @param url `amqp://login:password@host:port/vhost`, or `amqps://`; several are tried in turn. RabbitMQ's URI
 * specification says what else a URL may hold. Options beside it win over it.
 * @throws ConnectionFailedError if no server could be reached, AuthenticationError if the login or the virtual host
 * is refused, AmqpUriError for a bad URL, EncodeError for a bad option, AbortError or TimeoutError by `signal`.
 */
export function connect(url?: ConnectUrl, options?: ConnectOptions): Promise<AmqpProtocol>
export function connect(options?: ConnectOptions): Promise<AmqpProtocol>
export async function connect(first?: ConnectUrl | ConnectOptions, second?: ConnectOptions): Promise<AmqpProtocol> {
  return AmqpProtocol.open(resolveSettings(first, second))
}

/** `connect` with a URL, by aioamqp's name. */
export async function fromUrl(url: ConnectUrl, options?: ConnectOptions): Promise<AmqpProtocol> {
  return AmqpProtocol.open(resolveSettings(url, options))
}
