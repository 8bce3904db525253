import { AuthenticationError, EncodeError } from '../../errors.ts'
import { asError } from '../../lib/thrown.ts'

/** What a SASL mechanism answers: the bytes as they are, or a string as UTF-8. */
export type SaslResponse = string | Uint8Array

/** A SASL mechanism of the program's own. */
export interface SaslMechanism {
  /** As the server lists it, such as `RABBIT-CR-DEMO`. */
  readonly name: string
  /**
   * Called without `challenge` for the first response (connection.start-ok), then once for each challenge of the
   * server (connection.secure). Called again at each login.
   */
  response(challenge?: Buffer): SaslResponse | Promise<SaslResponse>
}

/** A password that expires, such as an OAuth 2 token. */
export interface ExpiringPassword {
  readonly password: string
  /** A date, or milliseconds since 1970. */
  readonly expiresAt: Date | number
}

/**
 * Asked for the password at each login. For one that expires, it is asked again when 80 % of the time is over, and the broker
 * gets the new one on the open connection; connections that were given the same function share its answer.
 */
export type PasswordFunction = () => string | ExpiringPassword | Promise<string | ExpiringPassword>

/** The SASL mechanisms that are built in. */
export const SASL_NAMES = ['PLAIN', 'AMQPLAIN', 'EXTERNAL'] as const
/** The mechanisms that this client knows. */
export type SaslName = (typeof SASL_NAMES)[number]

/** The user that logs in, and how. */
export interface Credentials {
  readonly login: string
  readonly password: string | PasswordFunction
  /** In the order of preference. */
  readonly loginMethods: readonly (SaslName | SaslMechanism)[]
}

/**
 * The first of the wanted mechanisms that the server has.
 *
 * @param serverMechanisms the list of connection.start: names, with a space between them. §1.4.2.2
 * @throws AuthenticationError when the server has none of them.
 */
export function chooseMechanism(credentials: Credentials, serverMechanisms: string): SaslMechanism {
  const offered = serverMechanisms.toUpperCase().split(' ')
  for (const method of credentials.loginMethods) {
    const name = typeof method === 'string' ? method : method.name
    if (!offered.includes(name.toUpperCase())) continue
    return typeof method === 'string' ? builtIn(method, credentials) : method
  }

  const wanted = credentials.loginMethods.map(method => (typeof method === 'string' ? method : method.name))
  const hint = wanted.includes('EXTERNAL') ? '; EXTERNAL needs the plugin rabbitmq_auth_mechanism_ssl' : ''
  const names = serverMechanisms.split(' ').filter(name => name !== '')
  throw new AuthenticationError(
    `the server does not offer the SASL mechanism ${wanted.join(' or ')}, only ${names.join(', ') || 'none'}${hint}`,
  )
}

function builtIn(name: SaslName, credentials: Credentials): SaslMechanism {
  switch (name) {
    case 'PLAIN':
      return { name, response: challenge => passwordResponse(name, challenge, credentials, plain) }
    case 'AMQPLAIN':
      return { name, response: challenge => passwordResponse(name, challenge, credentials, amqPlain) }
    case 'EXTERNAL':
      // The server takes the name from the client's certificate.
      return { name, response: () => '' }
  }
}

async function passwordResponse(
  name: SaslName,
  challenge: Buffer | undefined,
  { login, password }: Credentials,
  encode: (login: string, password: string) => Buffer,
): Promise<Buffer> {
  if (challenge !== undefined) {
    throw new AuthenticationError(`the server answered ${name} with a challenge, which ${name} does not have`)
  }
  const text = typeof password === 'string' ? password : await askedPassword(password)
  checkWellFormed('login', login)
  checkWellFormed('password', text)
  return encode(login, text)
}

function checkWellFormed(field: string, value: string): void {
  if (!value.isWellFormed()) throw new EncodeError(`"${field}" has a lone surrogate, which has no UTF-8`)
}

async function askedPassword(password: PasswordFunction): Promise<string> {
  let answer: unknown
  try {
    answer = await password()
  } catch (thrown) {
    const cause = asError(thrown)
    throw new AuthenticationError(`the "password" function failed: ${cause.message}`, { cause })
  }
  if (typeof answer === 'string') return answer
  throw noPassword(answer)
}

/** The error for what a password function may not answer. */
export function noPassword(answer: unknown): EncodeError {
  return new EncodeError(
    `the "password" function must return a string or { password, expiresAt }, not a value of type ${typeof answer}`,
  )
}

// RFC 4616: NUL separates the fields, and neither field can hold one.
function plain(login: string, password: string): Buffer {
  if (login.includes('\0')) throw new EncodeError('"login" holds a NUL character, which PLAIN cannot carry')
  if (password.includes('\0')) throw new EncodeError('"password" holds a NUL character, which PLAIN cannot carry')
  return Buffer.from(`\0${login}\0${password}`)
}

/** A field table with LOGIN and PASSWORD as long strings, without the leading length of a table. */
function amqPlain(login: string, password: string): Buffer {
  return Buffer.concat([...longStringField('LOGIN', login), ...longStringField('PASSWORD', password)])
}

function longStringField(name: string, value: string): Buffer[] {
  const bytes = Buffer.from(value)
  const head = Buffer.from(`${String.fromCharCode(name.length)}${name}S\0\0\0\0`, 'latin1')
  head.writeUInt32BE(bytes.length, head.length - 4)
  return [head, bytes]
}
