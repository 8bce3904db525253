import { isIP } from 'node:net'
import { parse } from 'node:querystring'
import type { ConnectOptions, SaslMechanism, TlsOptions } from 'asyncamqp'

/** What `credentials` makes, or a program by itself. */
export interface Credentials {
  readonly mechanism: string
  response(): Buffer
  readonly username?: string
  readonly password?: string
}

/** Kinds of credentials. */
export const credentials = {
  plain: (username: string, password: string): Credentials => ({
    mechanism: 'PLAIN',
    response: () => Buffer.from(`\0${username}\0${password}`),
    username,
    password,
  }),
  amqplain: (username: string, password: string): Credentials => ({
    mechanism: 'AMQPLAIN',
    response: () => Buffer.alloc(0),
    username,
    password,
  }),
  external: (): Credentials => ({ mechanism: 'EXTERNAL', response: () => Buffer.alloc(0) }),
}

/** A URL as an object. */
export interface UrlObject {
  readonly protocol?: string
  readonly hostname?: string
  readonly port?: number
  readonly username?: string
  readonly password?: string
  readonly vhost?: string
  readonly channelMax?: number
  readonly frameMax?: number
  readonly heartbeat?: number
}

/** The second argument of `connect`: with what goes to Node's sockets. */
export interface SocketOptions extends Record<string, unknown> {
  readonly clientProperties?: Record<string, unknown>
  readonly credentials?: Credentials
  readonly timeout?: number
  readonly servername?: string
}

/** The options of asyncamqp's `connect` that mean the same. */
export function connectOptions(url: string | UrlObject | false | undefined, socket: SocketOptions): ConnectOptions {
  const parts = typeof url === 'object' ? url : fromText(url || 'amqp://localhost')
  const { protocol = 'amqp', hostname = '' } = parts
  if (protocol !== 'amqp' && protocol !== 'amqps') {
    throw new Error(`Expected amqp: or amqps: as the protocol; got ${protocol && `${protocol}:`}`)
  }
  const noUser = parts.username === undefined && parts.password === undefined
  const user = noUser
    ? credentials.plain('guest', 'guest')
    : credentials.plain(parts.username ?? '', parts.password ?? '')
  const { clientProperties, credentials: login = user, timeout, noDelay, keepAlive, keepAliveDelay, ...tls } = socket
  return {
    host: hostname || 'localhost',
    port: parts.port || (protocol === 'amqp' ? 5672 : 5671),
    ...loginOptions(login),
    virtualhost: parts.vhost || '/',
    ssl: protocol === 'amqps' && { ...(isIP(hostname) === 0 && { servername: hostname }), ...(tls as TlsOptions) },
    channelMax: parts.channelMax ?? 0,
    frameMax: parts.frameMax ?? 131_072,
    ...(parts.heartbeat != null && { heartbeat: parts.heartbeat }),
    ...(timeout !== undefined && { connectTimeout: timeout }),
    ...(clientProperties !== undefined && { clientProperties }),
    // What amqplib has no counterpart of: the program, or the library that it uses, reconnects by itself.
    recovery: false,
    rpcTimeout: Number.POSITIVE_INFINITY,
    // Each of these is an event, too.
    onError: () => {},
  }
}

function loginOptions({ mechanism, username = '', password = '', response }: Credentials): ConnectOptions {
  if (mechanism === 'PLAIN' || mechanism === 'AMQPLAIN') return { login: username, password, loginMethod: mechanism }
  if (mechanism === 'EXTERNAL') return { loginMethod: mechanism }
  const other: SaslMechanism = { name: mechanism, response: () => response() }
  return { loginMethod: other }
}

function fromText(text: string): UrlObject {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined) return { protocol: '' }
  const query = parse(url.search.slice(1))
  const number = (name: string): number | undefined => {
    const value = [query[name]].flat()[0]
    return value === undefined ? undefined : Number.parseInt(value, 10)
  }
  const given = {
    channelMax: number('channelMax'),
    frameMax: number('frameMax'),
    heartbeat: number('heartbeat'),
    ...((url.username !== '' || url.password !== '') && {
      username: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
    }),
  }
  return {
    protocol: url.protocol.slice(0, -1),
    hostname: url.hostname.replaceAll(/^\[|\]$/g, ''),
    port: Number(url.port),
    vhost: decodeURIComponent(url.pathname.slice(1)),
    ...(Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as UrlObject),
  }
}
