import { asError } from '../lib/thrown.ts'

/** Calls `run` in a context, and returns its result. */
export type Around = <T>(run: () => T) => T

/** The connection by which something is done, or to which something happened. */
export interface Endpoint {
  /** The number of the connection in this process, counted from 1. It stays the same through recoveries. */
  readonly connectionId: number
  /** Host name or address of the server that it is connected to, or was last, as the program named it. */
  readonly serverAddress: string
  readonly serverPort: number
  readonly virtualHost: string
  /** The option `connectionName`: what the broker shows for it. */
  readonly connectionName: string
}

/** An object that knows the connection by which something is done. */
export interface EndpointSource {
  /** Of the connection there is, or was last. */
  readonly endpoint: Endpoint
}

/** What the contexts of operations on a connection have in common. */
export abstract class ServerContext {
  readonly #source: EndpointSource
  /** Why it failed; undefined while it has not. */
  error: unknown = undefined

  /**
   * What the call runs within: it is undefined, and a subscriber to `start` may set it to a function that calls the one it
   * is given. For APIs that know a context by `with(context, callback)` alone, as OpenTelemetry's; a tool with an
   * `AsyncLocalStorage` binds that to the channel. If there is one already, call it inside of yours.
   */
  around: Around | undefined = undefined

  /** @internal */
  constructor(source: EndpointSource) {
    this.#source = source
  }

  /** @internal Not a field: a tool that prints all fields of a context must not find the connection's. */
  get source(): EndpointSource {
    return this.#source
  }

  /** @internal */
  abstract succeeded(): void

  /** @internal */
  failed(error: unknown): void {
    // A program may throw nothing at all, which would look like success.
    this.error = error === undefined ? asError(error) : error
  }

  /** The number of the connection in this process, counted from 1. It stays the same through recoveries. */
  get connectionId(): number {
    return this.#source.endpoint.connectionId
  }

  /** The host of the server, as the program named it. */
  get serverAddress(): string {
    return this.#source.endpoint.serverAddress
  }

  get serverPort(): number {
    return this.#source.endpoint.serverPort
  }

  get virtualHost(): string {
    return this.#source.endpoint.virtualHost
  }

  /** The option `connectionName`. */
  get connectionName(): string {
    return this.#source.endpoint.connectionName
  }
}
