import { type ChannelEvents, ChannelSession, NO_EARLIER_LIFE } from '../../channel/channel-session.ts'
import { PLAIN_ROUTES } from '../../channel/publish-routes.ts'
import type { ArgumentsOf, ReplyOf, SyncMethod } from '../../protocol/methods.ts'
import type { Connection } from '../connection.ts'

/** Only the recovery uses it, and learns of its end by its calls. */
const NO_EVENTS: ChannelEvents = {
  routes: PLAIN_ROUTES,
  closing: () => {},
  returned: () => {},
  consumerGone: () => {},
  left: () => {},
  cancelled: () => {},
  closedByServer: () => {},
  moreMayGo: () => {},
  ended: () => {},
}

/** A channel of a connection for the recovery's own calls. Nothing of it is recorded, and it has one life. */
export class BareChannel {
  readonly #session: ChannelSession

  /** Write channel.open; calls may follow at once. Throws if the connection has no number for it, or is over. */
  constructor(connection: Connection) {
    const id = connection.channels.take()
    this.#session = new ChannelSession(connection, id, NO_EVENTS, NO_EARLIER_LIFE)
    connection.attach(this.#session)
    // Its calls report why it could not be opened.
    this.#session.open({}).catch(() => {})
  }

  call<M extends SyncMethod>(method: M, args: ArgumentsOf<M>, what: string): Promise<ReplyOf<M> | undefined> {
    return this.#session.call(method, args, { what, site: undefined })
  }

  /** Never rejects. */
  close(): Promise<void> {
    return this.#session.close(200, 'the topology is recovered')
  }
}
