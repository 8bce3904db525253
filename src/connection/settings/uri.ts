import { AmqpUriError } from '../../errors.ts'
import { hintFor } from '../../protocol/option-check.ts'
import { SASL_NAMES, type SaslName } from './auth.ts'

/** What an AMQP URI says. Missing parts are undefined, which is not the same as empty: `amqp://host/` names the vhost ''. */
export interface UriParts {
  /** The scheme was `amqps`. */
  readonly tls: boolean
  readonly login: string | undefined
  readonly password: string | undefined
  /** Without the brackets of an IPv6 address. */
  readonly host: string | undefined
  readonly port: number | undefined
  readonly virtualhost: string | undefined
  readonly query: UriQuery
}

/** The query parameters, as RabbitMQ's own clients read them. */
export interface UriQuery {
  /** Seconds; 0 is off. */
  readonly heartbeat?: number
  /** Milliseconds. */
  readonly connectionTimeout?: number
  readonly channelMax?: number
  readonly frameMax?: number
  /** In the order given. */
  readonly authMechanisms?: readonly SaslName[]
  readonly cacertfile?: string
  readonly certfile?: string
  readonly keyfile?: string
  readonly verify?: 'verify_peer' | 'verify_none'
  readonly serverNameIndication?: string
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** The limits of a heartbeat in seconds, of a URL and of an option: more is meant as milliseconds, probably. */
export const LONGEST_HEARTBEAT = 3600
/** Bytes that every frame-max must allow. §1.4.2.6 */
export const FRAME_MIN_SIZE = 4096

const PARAMETERS = [
  'heartbeat',
  'connection_timeout',
  'channel_max',
  'frame_max',
  'auth_mechanism',
  'cacertfile',
  'certfile',
  'keyfile',
  'verify',
  'server_name_indication',
]

// WHATWG's URL is not used: it mangles hosts, drops empty credentials and cannot distinguish absent from empty.
const URI = /^([a-z][a-z0-9+.-]*):\/\/([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?(#.*)?$/is

/**
 * Read an AMQP URI after RabbitMQ's URI specification.
 *
 * @throws AmqpUriError for anything that is not one. It never shows the password.
 */
export function parseUri(url: string | URL): UriParts {
  const text = typeof url === 'string' ? url : url.href
  const [, scheme, authority = '', path, query, fragment] = URI.exec(text) ?? []
  const uri = new UriText(text, authority, query)
  if (scheme === undefined || !/^amqps?$/i.test(scheme)) {
    throw uri.error('does not start with "amqp://" or "amqps://"')
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these cannot be in a URI
  if (/[\u0000-\u0020\u007f]/.test(text)) throw uri.error('contains white space or a control character')
  if (fragment !== undefined) throw uri.error("has a fragment; write a '#' in a name or password as %23")
  if (uri.misplacedAt && query?.includes('@')) throw uri.error("has an '@' in its query")

  const at = authority.lastIndexOf('@')
  const userinfo = at === -1 ? undefined : authority.slice(0, at)
  if (userinfo?.includes('@')) throw uri.error("has more than one '@'; write an '@' in a name or password as %40")
  const colon = userinfo?.indexOf(':') ?? -1
  const login = colon === -1 ? userinfo : userinfo?.slice(0, colon)
  const password = colon === -1 ? undefined : userinfo?.slice(colon + 1)

  if (path?.includes('@') && password !== undefined) {
    throw uri.error("has an '@' behind a '/'; write an '@' in a name or password as %40, and a '/' as %2F")
  }
  if (path?.includes('/')) {
    throw uri.error("has more than one '/' behind the host; write a '/' in the name of a virtual host as %2F")
  }
  return {
    tls: scheme.length === 5,
    login: uri.decode('user name', login),
    password: uri.decode('password', password),
    ...hostAndPort(uri, authority.slice(at + 1)),
    virtualhost: shortString(uri, uri.decode('virtual host', path)),
    query: readQuery(uri, query ?? ''),
  }
}

/**
 * A URI as a message or a log may show it: without its password and its query. If it is not clear where the password ends,
 * since something in it was not percent-encoded, everything after the user's name is hidden.
 */
export function maskUri(text: string): string {
  const [, scheme = '', rest = ''] = /^(amqps?:\/\/)?(.*)$/is.exec(text) ?? []
  const [authority = ''] = /^[^/?#]*/.exec(rest) ?? []
  const [withoutQuery = ''] = /^[^?]*/.exec(rest) ?? []
  const colon = rest.indexOf(':')
  const at = authority.indexOf('@')
  const isClear = at === rest.lastIndexOf('@') && !rest.includes('#')
  if (isClear && at !== -1) {
    return colon === -1 || colon > at
      ? scheme + withoutQuery
      : `${scheme}${rest.slice(0, colon)}:***${withoutQuery.slice(at)}`
  }
  // No password, unless the host was forgotten: "amqp://user:pass".
  const isHost = /^(\[[^\]]*\]|[^:]*)(:\d{0,5})?$/.test(authority)
  if (isClear && isHost) return scheme + withoutQuery
  return colon === -1 ? `${scheme}***` : `${scheme}${rest.slice(0, colon)}:***`
}

/** The URI as it was given, for messages that must not show its password. */
class UriText {
  readonly #text: string
  /** An '@' comes only after the authority: it may end a password that holds a bare '/', '?' or '#'. */
  readonly misplacedAt: boolean
  /** An '@' in the query: it may be the rest of a password that has a bare '?'. */
  readonly #isQuerySecret: boolean

  constructor(text: string, authority: string, query = '') {
    this.#text = text
    this.#isQuerySecret = query.includes('@')
    this.misplacedAt = text.includes('@') && !authority.includes('@')
  }

  /** A part of the query, in a form that a message may show. */
  quoted(part: string): string {
    return this.#isQuerySecret ? '"***"' : `"${part}"`
  }

  error(problem: string, cause?: unknown): AmqpUriError {
    const hint = this.misplacedAt ? "; percent-encode '/', '?', '#' and '@' in a name or password" : ''
    return new AmqpUriError(`the AMQP URI "${maskUri(this.#text)}" ${problem}${hint}`, { cause })
  }

  decode(what: string, encoded: string): string
  decode(what: string, encoded: string | undefined): string | undefined
  decode(what: string, encoded: string | undefined): string | undefined {
    if (encoded === undefined || !encoded.includes('%')) return encoded
    try {
      return decodeURIComponent(encoded)
    } catch {
      // Without a cause: its message could show a part of the password.
      throw this.error(`has a ${what} with a '%' that is not the percent-encoding of UTF-8; write a '%' as %25`)
    }
  }
}

function hostAndPort(uri: UriText, text: string): { host: string | undefined; port: number | undefined } {
  const [, address, name, port] = /^(?:\[([^[\]]*)\]|([^:[\]]*))(?::(.*))?$/s.exec(text) ?? []
  if (address === undefined && name === undefined) {
    throw uri.error('has a bad host; an IPv6 address has to be in brackets, as in "amqp://[::1]"')
  }
  if (address !== undefined && !isIPv6(address)) {
    throw uri.error('has something in brackets that is not an IPv6 address')
  }
  if (port?.includes(':')) {
    throw uri.error('has a bad port; an IPv6 address has to be in brackets, as in "amqp://[::1]"')
  }
  const host = uri.decode('host', address ?? name ?? '')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: exactly these cannot be in a host name
  if (/[\u0000-\u0020/@?#\u007f]/.test(host)) throw uri.error('has a bad host')
  return { host: host === '' ? undefined : host, port: portNumber(uri, port) }
}

/** Also with a zone, which WHATWG's URL does not take. */
function isIPv6(address: string): boolean {
  return /^[0-9a-f.:]+(%.+)?$/i.test(address) && URL.canParse(`amqp://[${address.replace(/%.*/s, '')}]`)
}

function portNumber(uri: UriText, text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port < 1 || port > 65_535) throw uri.error('has a bad port: it must be a number from 1 to 65535')
  return port
}

function shortString(uri: UriText, virtualhost: string | undefined): string | undefined {
  if (virtualhost !== undefined && Buffer.byteLength(virtualhost) > 255) {
    throw uri.error('has a virtual host of more than 255 bytes')
  }
  return virtualhost
}

function readQuery(uri: UriText, text: string): UriQuery {
  const query: Mutable<UriQuery> = {}
  const mechanisms: SaslName[] = []
  const seen = new Set<string>()
  for (const pair of text.split('&')) {
    if (pair === '') continue
    const equals = pair.indexOf('=')
    const name = uri.decode('query', equals === -1 ? pair : pair.slice(0, equals))
    const value = uri.decode(`parameter ${uri.quoted(name)}`, equals === -1 ? '' : pair.slice(equals + 1))
    if (seen.has(name) && name !== 'auth_mechanism') throw uri.error(`has the parameter ${uri.quoted(name)} twice`)
    seen.add(name)
    switch (name) {
      case 'heartbeat':
        query.heartbeat = integer(uri, name, value, 0, LONGEST_HEARTBEAT, 'seconds')
        break
      case 'connection_timeout':
        query.connectionTimeout = integer(uri, name, value, 1, 2_147_483_647, 'milliseconds')
        break
      case 'channel_max':
        query.channelMax = integer(uri, name, value, 0, 65_535, 'channels, 0 for no limit')
        break
      case 'frame_max':
        query.frameMax = frameMax(uri, name, value)
        break
      case 'auth_mechanism':
        mechanisms.push(oneOf(uri, name, value.toUpperCase(), SASL_NAMES))
        break
      case 'verify':
        query.verify = oneOf(uri, name, value, ['verify_peer', 'verify_none'])
        break
      case 'cacertfile':
      case 'certfile':
      case 'keyfile':
        query[name] = notEmpty(uri, name, value)
        break
      case 'server_name_indication':
        query.serverNameIndication = notEmpty(uri, name, value)
        break
      default:
        throw unknownParameter(uri, name)
    }
  }
  if (mechanisms.length > 0) query.authMechanisms = mechanisms
  return query
}

function unknownParameter(uri: UriText, name: string): AmqpUriError {
  return uri.error(`has the unknown parameter ${uri.quoted(name)}; ${hintFor(name, PARAMETERS)}`)
}

function badParameter(uri: UriText, name: string, allowed: string, value: string): AmqpUriError {
  return uri.error(`has a bad "${name}": it must be ${allowed}, not ${uri.quoted(value)}`)
}

function integer(uri: UriText, name: string, value: string, least: number, most: number, unit: string): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : -1
  if (number < least || number > most) {
    throw badParameter(uri, name, `an integer from ${least} to ${most} (${unit})`, value)
  }
  return number
}

function frameMax(uri: UriText, name: string, value: string): number {
  if (value === '0') return 0
  return integer(uri, name, value, FRAME_MIN_SIZE, 0xff_ff_ff_ff, 'bytes; or 0 for no limit')
}

function oneOf<T extends string>(uri: UriText, name: string, value: string, allowed: readonly T[]): T {
  const choice = allowed.find(one => one === value)
  if (choice === undefined) throw badParameter(uri, name, allowed.join(' or '), value)
  return choice
}

function notEmpty(uri: UriText, name: string, value: string): string {
  if (value === '') throw uri.error(`has an empty "${name}"`)
  return value
}
