/** Regular expressions for names of queues and exchanges, as in RabbitMQ. */
export interface Permissions {
  readonly configure?: string | undefined
  readonly write?: string | undefined
  readonly read?: string | undefined
}

/** A user of the broker. */
export interface UserOptions {
  readonly password: string
  /** By virtual host. Default: everything, on every virtual host. */
  readonly permissions?: Readonly<Record<string, Permissions>> | undefined
}
