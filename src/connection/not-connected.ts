import type { Endpoint } from '../diagnostics/server-context.ts'
import { PublishEncoder } from '../protocol/publish-encoder.ts'
import { Writer } from '../protocol/writer.ts'
import { addressOf } from './dial.ts'
import type { Settings } from './settings/settings.ts'
import type { TransportPeer } from './wire/transport.ts'

/** What stands for a connection before there is the first one: what is known of it is in the settings. */
export class NotConnected {
  readonly #settings: Settings
  /** Made for the first message that waits. */
  #publishes: Pick<PublishEncoder, 'check'> | undefined

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** The server that is tried first. */
  get endpoint(): Endpoint {
    const { servers, connectionId, connectionName } = this.#settings
    const { host: serverAddress = '', port: serverPort = 0, virtualhost: virtualHost = '' } = servers[0] ?? {}
    return { connectionId, serverAddress, serverPort, virtualHost, connectionName }
  }

  /** The server that is tried first. */
  get peer(): TransportPeer {
    const { host = '', port = 0, tls } = this.#settings.servers[0] ?? {}
    return { host, port, localPort: 0, encrypted: tls !== undefined }
  }

  /** All servers, for errors. */
  get server(): string {
    return this.#settings.servers.map(addressOf).join(', ')
  }

  /** A message that is too large for the frames of the connection to come is refused when its turn comes. */
  get publishes(): Pick<PublishEncoder, 'check'> {
    this.#publishes ??= new PublishEncoder(new Writer(), Number.POSITIVE_INFINITY)
    return this.#publishes
  }
}
