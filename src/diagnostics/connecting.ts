import { Operation } from './operation.ts'
import type { Around, Endpoint } from './server-context.ts'

/** What subscribers to `asyncamqp:connect` get: one attempt to connect, to one of several servers. */
export class ConnectContext {
  /** `host:port` of each server, in the order in which they are tried. */
  readonly servers: readonly string[]
  readonly connectionName: string
  /** The number of the connection in this process, counted from 1. It stays the same through recoveries. */
  readonly connectionId: number
  /** A lost connection is recovered; else it is the program's `connect()`. */
  readonly recovering: boolean
  /** Number of the attempt since the loss, from 1. */
  readonly attempt: number
  /** Of the server that it is connected to; undefined while it is not. */
  serverAddress: string | undefined = undefined
  serverPort: number | undefined = undefined
  virtualHost: string | undefined = undefined
  /** Why it failed; a `ConnectionFailedError` has the `attempts`, each with server, step and cause. */
  error: unknown = undefined

  /** What a subscriber to `start` wants it to run within. */
  around: Around | undefined = undefined

  /** @internal */
  constructor(
    servers: readonly string[],
    { connectionId, connectionName }: Pick<Endpoint, 'connectionId' | 'connectionName'>,
    recovering: boolean,
    attempt: number,
  ) {
    this.servers = servers
    this.connectionId = connectionId
    this.connectionName = connectionName
    this.recovering = recovering
    this.attempt = attempt
  }

  /** @internal */
  connected({ serverAddress, serverPort, virtualHost }: Endpoint): void {
    this.serverAddress = serverAddress
    this.serverPort = serverPort
    this.virtualHost = virtualHost
  }

  /** @internal */
  succeeded(): void {}

  /** @internal */
  failed(error: unknown): void {
    this.error = error
  }
}

/** @internal */
export const CONNECT = new Operation<ConnectContext>('connect')
