import { ReplyCode } from '../protocol/constants.ts'
import * as methods from '../protocol/methods.ts'
import type { FieldTable } from '../protocol/values.ts'
import { accessRefused, channelError, commandInvalid, notAllowed, type Refusal } from './refusals.ts'
import type { Release } from './release.ts'
import { readCredentials, type User } from './users.ts'
import type { VirtualHost } from './virtual-host.ts'

/** What the broker offers in connection.tune. */
export interface Limits {
  readonly channelMax: number
  readonly frameMax: number
  /** Seconds. */
  readonly heartbeat: number
}

export interface HandshakeHost {
  readonly release: Release
  readonly limits: Limits
  readonly vhosts: ReadonlyMap<string, VirtualHost>
  /** The common name of the client's certificate, if it came over TLS; '' without a certificate. */
  readonly certificateName: string | undefined
  /** The user with this name and password, if there is one and logins are not refused; a certificate needs none. */
  authenticate(login: string, password: string | undefined): User | undefined
  send<M extends methods.AnyMethod>(method: M, args: methods.ArgumentsOf<M>): void
}

/** Refused without a word: RabbitMQ lets the client wait, and then closes the socket. */
export class SilentRefusal extends Error {}

/** What was agreed on. */
export interface Agreed extends Limits {
  readonly user: User
  readonly vhost: VirtualHost
  readonly clientProperties: FieldTable
}

const EXTERNAL = 'EXTERNAL'

type State = 'starting' | 'tuning' | 'opening' | 'open'

/** The broker's side of connection.start to connection.open-ok. */
export class ServerHandshake {
  readonly #host: HandshakeHost
  #state: State = 'starting'
  #clientProperties: FieldTable = {}
  #user: User | undefined
  #limits: Limits

  constructor(host: HandshakeHost) {
    this.#host = host
    this.#limits = host.limits
    host.send(methods.ConnectionStart, {
      versionMajor: 0,
      versionMinor: 9,
      serverProperties: serverProperties(host.release),
      mechanisms: this.#mechanisms,
      locales: 'en_US',
    })
  }

  get limits(): Limits {
    return this.#limits
  }

  get #mechanisms(): string {
    const { release, certificateName } = this.#host
    return certificateName === undefined ? release.mechanisms : `${release.mechanisms} ${EXTERNAL}`
  }

  /** Whether the client gets the reason of a refusal. */
  tells({ replyCode }: Refusal): boolean {
    if (this.#state === 'opening') return replyCode !== ReplyCode.INTERNAL_ERROR
    return this.#state === 'starting' && replyCode === ReplyCode.ACCESS_REFUSED
  }

  get clientProperties(): FieldTable {
    return this.#clientProperties
  }

  /** Returns what was agreed once the connection is open. @throws Refusal, SilentRefusal */
  receive(method: methods.AnyMethod, args: Record<string, unknown>): Agreed | undefined {
    if (method === methods.ConnectionStartOk && this.#state === 'starting') {
      this.#start(args as methods.DecodedOf<typeof methods.ConnectionStartOk>)
    } else if (method === methods.ConnectionTuneOk && this.#state === 'tuning') {
      this.#tune(args as methods.DecodedOf<typeof methods.ConnectionTuneOk>)
    } else if (method === methods.ConnectionOpen && this.#state === 'opening') {
      return this.#open(args as methods.DecodedOf<typeof methods.ConnectionOpen>)
    } else throw channelError(`unexpected method in connection state ${this.#state}`)
    return undefined
  }

  #start({ clientProperties, mechanism, response }: methods.DecodedOf<typeof methods.ConnectionStartOk>): void {
    if (!this.#mechanisms.split(' ').includes(mechanism)) {
      throw new SilentRefusal(commandInvalid(`unknown authentication mechanism '${mechanism}'`).message)
    }
    this.#clientProperties = clientProperties
    const { certificateName: login = '' } = this.#host
    const credentials = mechanism === EXTERNAL ? { login, password: undefined } : readCredentials(mechanism, response)
    if (credentials === undefined) throw new SilentRefusal(`no name and password can be read of ${mechanism}`)
    const user = this.#host.authenticate(credentials.login, credentials.password)
    if (user === undefined) {
      if (!this.has('authentication_failure_close')) throw new SilentRefusal('login refused')
      throw accessRefused(
        `Login was refused using authentication mechanism ${mechanism}. For details see the broker logfile.`,
      )
    }
    this.#user = user
    this.#state = 'tuning'
    this.#host.send(methods.ConnectionTune, this.#host.limits)
  }

  #tune({ channelMax, frameMax, heartbeat }: methods.DecodedOf<typeof methods.ConnectionTuneOk>): void {
    const { limits, release } = this.#host
    checkNegotiated('frame_max', release.frameMin, limits.frameMax, frameMax)
    checkNegotiated('channel_max', 1, limits.channelMax, channelMax)
    this.#limits = { channelMax, frameMax, heartbeat }
    this.#state = 'opening'
  }

  #open({ virtualHost }: methods.DecodedOf<typeof methods.ConnectionOpen>): Agreed {
    const vhost = this.#host.vhosts.get(virtualHost)
    if (vhost === undefined) throw notAllowed(`vhost ${virtualHost} not found`)
    if (this.#user === undefined || !this.#user.mayEnter(virtualHost)) {
      throw notAllowed(`access to vhost '${virtualHost}' refused for user '${this.#user?.name}'`)
    }
    this.#state = 'open'
    this.#host.send(methods.ConnectionOpenOk, {})
    return { ...this.#limits, user: this.#user, vhost, clientProperties: this.#clientProperties }
  }

  /** Whether the client says that it can do something. */
  has(capability: string): boolean {
    return hasCapability(this.#clientProperties, capability)
  }
}

export function hasCapability({ capabilities }: FieldTable, name: string): boolean {
  return typeof capabilities === 'object' && capabilities !== null && (capabilities as FieldTable)[name] === true
}

function checkNegotiated(name: string, least: number, most: number, value: number): void {
  const tooLow = value !== 0 && value < least
  const tooHigh = most !== 0 && (value === 0 || value > most)
  if (!tooLow && !tooHigh) return
  const [than, limit] = tooLow ? ['lower than the minimum', least] : ['higher than the maximum', most]
  throw new SilentRefusal(notAllowed(`negotiated ${name} = ${value} is ${than} allowed value (${limit})`).message)
}

function serverProperties(release: Release): FieldTable {
  return {
    capabilities: {
      publisher_confirms: true,
      exchange_exchange_bindings: true,
      'basic.nack': true,
      consumer_cancel_notify: true,
      'connection.blocked': true,
      consumer_priorities: true,
      authentication_failure_close: true,
      per_consumer_qos: true,
      direct_reply_to: true,
    },
    cluster_name: 'asyncamqp-testing',
    information: 'A broker for tests, which is alike RabbitMQ',
    platform: 'Node.js',
    product: 'RabbitMQ',
    version: release.version,
  }
}
