import type { CloseReason } from '../channel/close-reason.ts'
import { CONNECT, ConnectContext } from '../diagnostics/connecting.ts'
import { NoChannelAvailableError } from '../errors.ts'
import type { Cancellation } from '../lib/abort-listeners.ts'
import type { OpeningChannel } from './channel-opener.ts'
import type { ChannelSource, SourcedChannelOptions } from './channel-source.ts'
import type { Connection, ConnectionEvents } from './connection.ts'
import { addressOf, dial, inOrder, isRefusedLogin } from './dial.ts'
import type { PasswordFunction } from './settings/auth.ts'
import { Secrets } from './settings/secrets.ts'
import type { ServerSettings } from './settings/server-settings.ts'
import type { Settings } from './settings/settings.ts'
import type { TokenRenewal } from './token-renewal.ts'

/** The long-lived connection that logins are made for. */
export type LoginHost = ConnectionEvents &
  ChannelSource & {
    /** The connection that was lost, if there was one. */
    readonly connection: Connection | undefined
  }

/** The other connection of the protocol, which has the topology. */
export interface MainConnection {
  /** The connection that channels may be opened on; undefined while there is none. */
  readonly usable: Connection | undefined
  /** Why it is closed for good. */
  readonly ending: CloseReason | undefined
  openChannel(options: SourcedChannelOptions): OpeningChannel | Promise<OpeningChannel>
}

/**
 * The logins of one long-lived connection, one after the other: at the servers in turn, with the newest password or token.
 * A login that is refused for an old token is tried again with a new one.
 */
export class Logins {
  readonly #settings: Settings
  readonly #connection: LoginHost
  readonly #main: MainConnection | undefined
  readonly #secrets = new Secrets()
  /** Made for the first password function. */
  #renewal: TokenRenewal | undefined

  /** If there is a `main` connection, a recovery follows that of it. */
  constructor(settings: Settings, connection: LoginHost, main: MainConnection | undefined) {
    this.#settings = settings
    this.#connection = connection
    this.#main = main
  }

  /** The program gave the broker a new secret. */
  push(secret: string): void {
    this.#secrets.push(secret)
  }

  /** Log in, for attempt number `attempt`. */
  connect(signal: Cancellation, attempt: number): Promise<Connection> {
    const main = this.#connection.state === 'recovering' ? this.#main : undefined
    return main === undefined ? this.#login(signal, attempt) : this.#follow(main, signal, attempt)
  }

  /** There is one that tries, and this one follows. */
  async #follow(main: MainConnection, signal: Cancellation, attempt: number): Promise<Connection> {
    await answered(main, signal)
    const connection = await this.#login(signal, attempt)
    try {
      // If the broker has lost the other connection with its exclusive queues, that is known now.
      await answered(main, signal)
    } catch (error) {
      connection.abandon('the other connection has ended')
      throw error
    }
    return connection
  }

  async #login(signal: Cancellation, attempt: number): Promise<Connection> {
    const order = this.#order()
    const isRecovery = this.#connection.state === 'recovering'
    for (;;) {
      try {
        const connection = await this.#dial(order, signal, attempt, isRecovery)
        this.#renewal?.start(connection)
        return connection
      } catch (error) {
        if (!isRefusedLogin(error)) throw error
        this.#secrets.refused()
        if (this.#renewal?.refused() !== true) throw error
      }
    }
  }

  #order(): ServerSettings[] {
    const { servers, serverOrder, clock } = this.#settings
    const order = inOrder(servers, serverOrder, this.#connection.connection?.server, clock)
    // At first only the server of the other connection knows what that has declared.
    const nearServer = this.#main?.usable?.server
    const isNear = (server: ServerSettings): number => Number(addressOf(server) === nearServer)
    order.sort((one, other) => isNear(other) - isNear(one))
    const ask = (password: PasswordFunction): Promise<string> => this.#askPassword(password)
    return order.map(server => ({ ...server, password: () => this.#secrets.current(server.password, ask) }))
  }

  async #askPassword(password: PasswordFunction): Promise<string> {
    const { TokenRenewal } = await import('./token-renewal.ts')
    this.#renewal ??= new TokenRenewal(this.#connection)
    return await this.#renewal.ask(password)
  }

  #dial(
    order: readonly ServerSettings[],
    signal: Cancellation,
    attempt: number,
    isRecovery: boolean,
  ): Promise<Connection> {
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

/** Resolves once the broker has answered on this connection, or on the next one. Rejects when it is over for good. */
async function answered(connection: MainConnection, signal: Cancellation): Promise<void> {
  for (;;) {
    try {
      const { channel, opened } = await connection.openChannel({
        what: 'a sign of life',
        recover: false,
        signal: signal.signal,
      })
      await opened
      void channel.close()
      return
    } catch (error) {
      if (signal.aborted || connection.ending !== undefined) throw error
      // Too many channels are open, so the broker cannot be asked.
      if (error instanceof NoChannelAvailableError) return
    }
  }
}
