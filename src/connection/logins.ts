import { CONNECT, ConnectContext } from '../diagnostics/connecting.ts'
import type { ChannelSource } from './channel-source.ts'
import type { Connection, ConnectionEvents } from './connection.ts'
import { addressOf, dial, inOrder, isRefusedLogin } from './dial.ts'
import type { PasswordFunction } from './settings/auth.ts'
import { Secrets } from './settings/secrets.ts'
import type { ServerSettings } from './settings/server-settings.ts'
import type { Settings } from './settings/settings.ts'
import type { TokenRenewal } from './token-renewal.ts'

/** What a login is made for. */
export interface LoginRequest {
  readonly signal: AbortSignal | undefined
  /** The number of the attempt. */
  readonly attempt: number
  /** A lost connection is being recovered. */
  readonly isRecovery: boolean
  /** `host:port` of the connection that was lost: it is tried last. */
  readonly lostServer: string | undefined
  /** `host:port` that is tried first, in spite of that. */
  readonly nearServer: string | undefined
}

/**
 * The logins of one long-lived connection, one after the other: at the servers in turn, with the newest password or token.
 * A login that is refused for an old token is tried again with a new one.
 */
export class Logins {
  readonly #settings: Settings
  readonly #connection: ConnectionEvents & ChannelSource
  readonly #secrets = new Secrets(password => this.#askPassword(password))
  /** Made for the first password function. */
  #renewal: TokenRenewal | undefined

  constructor(settings: Settings, connection: ConnectionEvents & ChannelSource) {
    this.#settings = settings
    this.#connection = connection
  }

  /** The program gave the broker a new secret. */
  push(secret: string): void {
    this.#secrets.push(secret)
  }

  async connect(request: LoginRequest): Promise<Connection> {
    const order = this.#order(request)
    for (;;) {
      try {
        const connection = await this.#dialTraced(order, request)
        this.#renewal?.start(connection)
        return connection
      } catch (error) {
        if (!isRefusedLogin(error)) throw error
        this.#secrets.refused()
        if (this.#renewal?.refused() !== true) throw error
      }
    }
  }

  #order({ lostServer, nearServer }: LoginRequest): ServerSettings[] {
    const { servers, serverOrder, clock } = this.#settings
    const order = inOrder(servers, serverOrder, lostServer, clock)
    const isNear = (server: ServerSettings): number => Number(addressOf(server) === nearServer)
    order.sort((one, other) => isNear(other) - isNear(one))
    return order.map(server => ({ ...server, password: () => this.#secrets.current(server.password) }))
  }

  async #askPassword(password: PasswordFunction): Promise<string> {
    const { TokenRenewal } = await import('./token-renewal.ts')
    this.#renewal ??= new TokenRenewal(this.#connection)
    return await this.#renewal.ask(password)
  }

  #dialTraced(order: readonly ServerSettings[], request: LoginRequest): Promise<Connection> {
    const { signal, isRecovery, attempt } = request
    if (!CONNECT.active) return dial(order, this.#settings, this.#connection, signal)
    const servers = order.map(({ host, port }) => `${host}:${port}`)
    const context = new ConnectContext(servers, this.#settings, isRecovery, attempt)
    return CONNECT.promise(context, async () => {
      const connection = await dial(order, this.#settings, this.#connection, signal)
      context.connected(connection.endpoint)
      return connection
    })
  }
}
