import type { ConnectionStats } from '../diagnostics/stats.ts'
import { ignore } from '../lib/ignore.ts'
import type { WaitBounds } from '../lib/wait-list.ts'
import type { ConnectionState } from './connection-state.ts'
import type { EmitEvent } from './protocol-events.ts'
import { RecoveringConnection } from './recovering-connection.ts'
import { publisherSettings, type Settings } from './settings/settings.ts'

/** Figures that are sums over both connections. */
const SUMS = [
  'openChannels',
  'reconnects',
  'totalRecoveryMs',
  'totalBlockedMs',
  'unconfirmed',
  'waiting',
  'bufferedBytes',
  'receivedBytesWaiting',
  'unacknowledged',
  'handlersRunning',
  'published',
  'delivered',
] as const satisfies (keyof ConnectionStats)[]

/**
 * The connections of one protocol: one, or two that open, are closed and end together. With two connections, publishes go
 * by the second one, since a broker that is short of memory or disk reads nothing more from a connection that publishes.
 * Topology and its recovery are the first one's.
 */
export class Connections {
  readonly main: RecoveringConnection
  /** Undefined if there is only one connection. */
  readonly #publisher: RecoveringConnection | undefined
  #closing: Promise<void> | undefined

  constructor(settings: Settings, emit: EmitEvent) {
    let emitClosed: (() => void) | undefined
    const main = new RecoveringConnection(settings, (event, ...args) => {
      if (event !== 'closed') return emit(event, ...args)
      emitClosed = () => emit(event, ...args)
      if (this.state === 'closed') emitClosed()
    })
    this.main = main
    if (!settings.separate) return
    const closed = (): void => {
      const { ending } = publisher
      emitClosed?.()
      // If the program has closed it, or closes both, the other one is being closed, too.
      if (ending?.error !== undefined && main.state !== 'closing') main.endWith(ending)
    }
    const publisher = new RecoveringConnection(
      publisherSettings(settings),
      (event, ...args) => (event === 'closed' ? closed() : emit(event, ...args)),
      main,
    )
    this.#publisher = publisher
    main.onEnded(ending => {
      // A close lets the other one finish.
      if (this.#closing === undefined) publisher.endWith(ending)
    })
    // The end of both is reported once.
    publisher.waitClosed().catch(ignore)
  }

  /** One after the other: the second one has its attempts when the first one is open. */
  open(attempts: number, isAwaiting: boolean): Promise<void> {
    const publisher = this.#publisher
    if (publisher === undefined) return this.main.open(attempts, isAwaiting)
    return this.#openBoth(publisher, attempts, isAwaiting)
  }

  async #openBoth(publisher: RecoveringConnection, attempts: number, isAwaiting: boolean): Promise<void> {
    const { main } = this
    await main.open(attempts, isAwaiting)
    if (publisher.ending !== undefined) return
    try {
      await publisher.open(attempts, isAwaiting)
    } catch (error) {
      throw main.ending?.error ?? error
    }
  }

  get state(): ConnectionState {
    const { state } = this.main
    const other = this.#publisher?.state
    if (other === undefined) return state
    if (state === 'closed' && other === 'closed') return state
    if (this.#closing !== undefined) return 'closing'
    return state === 'open' ? other : state
  }

  get blocked(): string | undefined {
    return this.#publisher?.blockedReason ?? this.main.blockedReason
  }

  stats(): ConnectionStats {
    const main = this.main.stats()
    const publisher = this.#publisher?.stats()
    if (publisher === undefined) return main
    const sums = Object.fromEntries(SUMS.map(name => [name, main[name] + publisher[name]]))
    return {
      ...main,
      ...(sums as Pick<ConnectionStats, (typeof SUMS)[number]>),
      state: this.state,
      openMs: Math.min(main.openMs, publisher.openMs),
      recoveringMs: Math.max(main.recoveringMs, publisher.recoveringMs),
      lastRecoveryMs: main.lastRecoveryMs ?? publisher.lastRecoveryMs,
      blockedReason: this.blocked,
      publishers: [...main.publishers, ...publisher.publishers],
      consumers: [...main.consumers, ...publisher.consumers],
      publisherConnection: publisher,
    }
  }

  async ready(bounds: WaitBounds): Promise<void> {
    await Promise.all([this.main.ready(bounds), this.#publisher?.ready(bounds)])
  }

  /** As `RecoveringConnection.waitClosed`, once both have ended. */
  async waitClosed(): Promise<void> {
    await this.main.waitClosed()
    await this.#publisher?.waitClosed().catch(ignore)
  }

  async updateSecret(secret: string, reason: string): Promise<void> {
    await Promise.all([this.main.updateSecret(secret, reason), this.#publisher?.updateSecret(secret, reason)])
  }

  /** As `RecoveringConnection.close`: consumers end first, then publishers, since handlers publish. */
  close(replyCode: number, replyText: string, timeout: number): Promise<void> {
    const publisher = this.#publisher
    if (publisher === undefined) return this.main.close(replyCode, replyText, timeout)
    this.#closing ??= this.#closeBoth(publisher, replyCode, replyText, timeout)
    return this.#closing
  }

  async #closeBoth(
    publisher: RecoveringConnection,
    replyCode: number,
    replyText: string,
    timeout: number,
  ): Promise<void> {
    const { main } = this
    const end = main.clock.now() + timeout
    const timeLeft = (): number => Math.max(0, end - main.clock.now())
    const part = {
      // What is written has time to leave, also after handlers that took all there was for work.
      close: (limit: { timeout: number }) =>
        publisher.close(replyCode, replyText, Math.max(limit.timeout, timeLeft() / 2)),
    }
    main.register(part)
    // A connection that is not open is closed at once, but what the other one has published may be confirmed.
    if (main.state !== 'open') await part.close({ timeout })
    await main.close(replyCode, replyText, timeLeft())
    // The first one may have been lost meanwhile.
    await part.close({ timeout: timeLeft() })
  }
}
