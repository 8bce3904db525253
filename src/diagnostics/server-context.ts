/** The connection by which something is done, or to which something happened. */
export interface Endpoint {
  /** Host name or address of the server that it is connected to, or was last, as the program named it. */
  readonly serverAddress: string
  readonly serverPort: number
  readonly virtualHost: string
  /** The option `connectionName`: what the broker shows for it. */
  readonly connectionName: string
}

/** Who knows by which connection something is done. */
export interface EndpointSource {
  /** Of the connection there is, or was last. */
  readonly endpoint: Endpoint
}

/** What the contexts of operations on a connection have in common. */
export abstract class ServerContext {
  /** @internal */
  readonly source: EndpointSource
  /** Why it failed; undefined while it has not. */
  error: unknown = undefined

  /** @internal */
  constructor(source: EndpointSource) {
    this.source = source
  }

  /** The host of the server, as the program named it. */
  get serverAddress(): string {
    return this.source.endpoint.serverAddress
  }

  get serverPort(): number {
    return this.source.endpoint.serverPort
  }

  get virtualHost(): string {
    return this.source.endpoint.virtualHost
  }

  /** The option `connectionName`. */
  get connectionName(): string {
    return this.source.endpoint.connectionName
  }
}
