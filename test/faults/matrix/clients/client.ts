export const CLIENT_NAMES = ['asyncamqp', 'amqplib', 'rabbitmq-client', '@cloudamqp/amqp-client'] as const
export type ClientName = (typeof CLIENT_NAMES)[number]

export interface Settings {
  /** Seconds. Default: the client's own default. */
  readonly heartbeat?: number
}

/** One connection, seen through what a fault may do to it: each client as its documentation shows it. */
export interface Connection {
  /** Resolves when the broker has confirmed the message. */
  publish(body: Buffer, queue: string): Promise<unknown>
  /** Declares a durable queue. */
  declare(queue: string): Promise<unknown>
  /** `timeout` in milliseconds is for the client that has one. */
  close(timeout?: number): Promise<unknown>
}

/** Opens a connection that recovers by itself; without `onLost` no listener is attached to any error. */
export type Open = (url: string, settings: Settings, onLost?: () => void) => Promise<Connection>

/** The URL with what these clients read from its query. */
export function withHeartbeat(url: string, { heartbeat }: Settings): string {
  return heartbeat === undefined ? url : `${url}?heartbeat=${heartbeat}`
}
