import { AmqpUriError, EncodeError } from '../../errors.ts'
import { requiredBuiltin } from '../../lib/platform.ts'
import { asError } from '../../lib/thrown.ts'
import {
  badValue,
  booleanOption,
  checkOptions,
  integerOption,
  shortStringOption,
  stringOption,
} from '../../protocol/option-check.ts'
import type { TlsOptions, TransportTarget } from '../wire/transport.ts'
import { type Credentials, SASL_NAMES, type SaslMechanism, type SaslName } from './auth.ts'
import type { ConnectOptions, ConnectUrl, ServerAddress } from './options.ts'
import { maskUri, parseUri, type UriParts, type UriQuery } from './uri.ts'

/** One server, and how to log in there. */
export interface ServerSettings extends TransportTarget, Credentials {
  readonly virtualhost: string
}

/** What URLs can say of the connection as a whole. */
type ConnectionKey = 'heartbeat' | 'connectionTimeout' | 'channelMax' | 'frameMax'
export type ConnectionQuery = { readonly [Key in ConnectionKey]: number | undefined }

/** The checked options that a server's own address falls back to, or gives way to. */
interface CommonOptions {
  readonly host: string | undefined
  readonly port: number | undefined
  readonly login: string | undefined
  readonly password: ConnectOptions['password']
  readonly virtualhost: string | undefined
  readonly ssl: boolean | TlsOptions | undefined
  readonly verifySsl: boolean | undefined
  readonly loginMethod: SaslName | SaslMechanism | undefined
}

interface ParsedUri {
  readonly text: string
  readonly parts: UriParts
}

const NOTHING: UriParts = {
  tls: false,
  login: undefined,
  password: undefined,
  host: undefined,
  port: undefined,
  virtualhost: undefined,
  query: {},
}

const TLS_PARAMETERS = {
  cacertfile: 'cacertfile',
  certfile: 'certfile',
  keyfile: 'keyfile',
  verify: 'verify',
  serverNameIndication: 'server_name_indication',
} as const

export function isUrl(value: unknown): value is string | URL {
  return typeof value === 'string' || value instanceof URL
}

/** The servers that a URL, a list of URLs or the options name, and what the URLs say of the connection as a whole. */
export function resolveServers(
  url: ConnectUrl | undefined,
  options: ConnectOptions,
): { readonly servers: readonly ServerSettings[]; readonly fromUris: ConnectionQuery } {
  const common = commonOptions(options)
  const uris: ParsedUri[] = []
  const parse = (name: string, given: unknown): ParsedUri => {
    if (!isUrl(given)) throw badValue('connect', name, 'a URL', given)
    const uri = { text: String(given), parts: parseUri(given) }
    uris.push(uri)
    return uri
  }

  let servers: ServerSettings[]
  if (options.servers !== undefined) {
    if (url !== undefined) throw new EncodeError('connect: give a URL or "servers", not both')
    if (common.host !== undefined) throw new EncodeError('connect: give "host" or "servers", not both')
    if (!Array.isArray(options.servers)) throw badValue('connect', 'servers', 'a list', options.servers)
    servers = Array.from(options.servers, (server: unknown, index) => {
      const name = `servers[${index}]`
      return isUrl(server) ? serverOfList(parse(name, server), common) : serverAt(address(name, server), common)
    })
  } else if (url === undefined) {
    servers = [serverAt({ host: 'localhost' }, common)]
  } else {
    const urls: readonly unknown[] = isUrl(url) ? [url] : url
    if (urls.length > 1 && common.host !== undefined) {
      throw new EncodeError('connect: give "host" or several URLs, not both')
    }
    servers = Array.from(urls, (one, index) => serverOf(parse(isUrl(url) ? 'url' : `url[${index}]`, one), common))
  }
  if (servers.length === 0) throw new EncodeError('connect: the list of servers is empty')
  return {
    servers,
    fromUris: {
      heartbeat: agreed(uris, 'heartbeat'),
      connectionTimeout: agreed(uris, 'connectionTimeout'),
      channelMax: agreed(uris, 'channelMax'),
      frameMax: agreed(uris, 'frameMax'),
    },
  }
}

function commonOptions(options: ConnectOptions): CommonOptions {
  const host = stringOption('connect', 'host', options.host)
  if (host === '') throw new EncodeError('connect: "host" is empty')
  return {
    host: host === undefined ? undefined : hostName('host', host),
    port: integerOption('connect', 'port', options.port, 1, 65_535),
    login: stringOption('connect', 'login', options.login),
    password: passwordOption(options.password),
    virtualhost: shortStringOption('connect', 'virtualhost', options.virtualhost),
    ssl: sslOption(options.ssl),
    verifySsl: booleanOption('connect', 'verifySsl', options.verifySsl),
    loginMethod: loginMethodOption(options.loginMethod),
  }
}

function passwordOption(value: ConnectOptions['password']): ConnectOptions['password'] {
  if (value === undefined || typeof value === 'string' || typeof value === 'function') return value
  throw badValue('connect', 'password', 'a string or a function', value)
}

function sslOption(value: ConnectOptions['ssl']): ConnectOptions['ssl'] {
  if (value === undefined || typeof value === 'boolean') return value
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw badValue('connect', 'ssl', "true, false or Node's tls.ConnectionOptions", value)
}

function loginMethodOption(value: ConnectOptions['loginMethod']): ConnectOptions['loginMethod'] {
  if (value === undefined) return undefined
  if (typeof value === 'string') {
    const name = SASL_NAMES.find(one => one === value.toUpperCase())
    if (name !== undefined) return name
  } else if (typeof value?.name === 'string' && typeof value.response === 'function') {
    return value
  }
  throw badValue('connect', 'loginMethod', `${SASL_NAMES.join(', ')} or an object with name and response()`, value)
}

function address(name: string, value: unknown): ServerAddress {
  if (typeof value !== 'object' || value === null) throw badValue('connect', name, 'a URL or { host, port }', value)
  checkOptions(`connect, "${name}"`, value, ['host', 'port'])
  const host = stringOption('connect', `${name}.host`, 'host' in value ? value.host : undefined)
  if (host === undefined || host === '') throw new EncodeError(`connect: "${name}" has no host`)
  hostName(`${name}.host`, host)
  const port = 'port' in value ? integerOption('connect', `${name}.port`, value.port, 1, 65_535) : undefined
  return { host, port }
}

/** A URL in place of a name would be shown with its password by every error that names the host. */
function hostName(option: string, host: string): string {
  if (host !== '[]' && !/[/@?#\s]/.test(host)) return host
  throw new EncodeError(`connect: "${option}" must be the name or address of a broker, not "${maskUri(host)}"`)
}

function serverAt({ host, port }: ServerAddress, common: CommonOptions): ServerSettings {
  return serverOf({ text: '', parts: NOTHING }, { ...common, host: common.host ?? host, port: port ?? common.port })
}

/** A URL in the option `servers`: it wins over the options for all servers. */
function serverOfList(uri: ParsedUri, common: CommonOptions): ServerSettings {
  const { parts } = uri
  return serverOf(uri, {
    ...common,
    port: parts.port ?? common.port,
    login: parts.login ?? common.login,
    password: parts.password ?? common.password,
    virtualhost: parts.virtualhost ?? common.virtualhost,
    ssl: parts.tls && common.ssl === false ? true : common.ssl,
    loginMethod: parts.query.authMechanisms === undefined ? common.loginMethod : undefined,
  })
}

/** What `options` say wins over the URI. */
function serverOf({ text, parts }: ParsedUri, options: CommonOptions): ServerSettings {
  const { query } = parts
  const encrypted = options.ssl === undefined ? parts.tls : options.ssl !== false
  if (!encrypted) refuseTlsParameters(text, query)
  return {
    host: withoutBrackets(options.host ?? parts.host ?? 'localhost'),
    port: options.port ?? parts.port ?? (encrypted ? 5671 : 5672),
    tls: encrypted ? tlsOptions(text, query, options) : undefined,
    login: options.login ?? parts.login ?? 'guest',
    password: options.password ?? parts.password ?? 'guest',
    virtualhost: options.virtualhost ?? parts.virtualhost ?? '/',
    loginMethods: options.loginMethod === undefined ? (query.authMechanisms ?? ['PLAIN']) : [options.loginMethod],
  }
}

function withoutBrackets(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host
}

// A certificate that is never looked at would let a program believe that its password is safe.
function refuseTlsParameters(text: string, query: UriQuery): void {
  for (const key of Object.keys(TLS_PARAMETERS) as (keyof typeof TLS_PARAMETERS)[]) {
    if (query[key] === undefined) continue
    throw new AmqpUriError(
      `the AMQP URI "${maskUri(text)}" has the parameter "${TLS_PARAMETERS[key]}", which only works with TLS; use "amqps://"`,
    )
  }
}

function tlsOptions(text: string, query: UriQuery, options: CommonOptions): TlsOptions {
  const given: TlsOptions = typeof options.ssl === 'object' ? options.ssl : {}
  const own: TlsOptions = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
  const ca = fileOf(text, 'cacertfile', query.cacertfile)
  const cert = fileOf(text, 'certfile', query.certfile)
  const key = fileOf(text, 'keyfile', query.keyfile) ?? cert
  const servername = query.serverNameIndication
  return {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
    ...(servername === undefined ? {} : { servername }),
    ...own,
    // Always set, so that NODE_TLS_REJECT_UNAUTHORIZED does not decide it.
    rejectUnauthorized: options.verifySsl ?? own.rejectUnauthorized ?? query.verify !== 'verify_none',
  }
}

function fileOf(text: string, parameter: string, path: string | undefined): Buffer | undefined {
  if (path === undefined) return undefined
  try {
    return requiredBuiltin('node:fs', 'give the certificates in "ssl"').readFileSync(path)
  } catch (thrown) {
    const cause = asError(thrown)
    throw new AmqpUriError(
      `the AMQP URI "${maskUri(text)}" names a "${parameter}" that cannot be read: ${cause.message}`,
      { cause },
    )
  }
}

/** What all URLs that mention `key` say of it; undefined if none does. */
function agreed(uris: readonly ParsedUri[], key: ConnectionKey): number | undefined {
  let said: number | undefined
  for (const { parts } of uris) {
    const value = parts.query[key]
    said ??= value
    if (value !== undefined && value !== said) throw disagreement(uris, key)
  }
  return said
}

function disagreement(uris: readonly ParsedUri[], key: ConnectionKey): AmqpUriError {
  const values = uris.map(({ parts }) => parts.query[key]).filter(value => value !== undefined)
  const name = key.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)
  return new AmqpUriError(`the AMQP URIs do not agree on "${name}": ${[...new Set(values)].join(', ')}`)
}
