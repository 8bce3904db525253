import { after } from 'node:test'
import { broker, vhostUrl } from './broker.ts'
import { uniqueName } from './names.ts'
import { type UntilOptions, until } from './until.ts'

export interface QueueInfo {
  readonly name: string
  readonly durable: boolean
  readonly exclusive: boolean
  readonly auto_delete: boolean
  readonly arguments: Readonly<Record<string, unknown>>
  readonly type: string
  /** The figures are missing until the queue has reported them for the first time. */
  readonly messages?: number
  readonly messages_ready?: number
  readonly messages_unacknowledged?: number
  readonly consumers?: number
}

export interface ConnectionInfo {
  /** The broker's: `127.0.0.1:50000 -> 127.0.0.1:5672`. */
  readonly name: string
  readonly user: string
  readonly vhost: string
  readonly ssl: boolean
  readonly auth_mechanism: string
  readonly channels: number
  readonly channel_max: number
  readonly frame_max: number
  readonly timeout: number
  readonly state: string
  readonly client_properties: { readonly connection_name?: string; readonly [name: string]: unknown }
}

export interface BindingInfo {
  readonly source: string
  readonly destination: string
  readonly destination_type: 'queue' | 'exchange'
  readonly routing_key: string
  readonly arguments: Readonly<Record<string, unknown>>
}

export interface ExchangeInfo {
  readonly name: string
  readonly type: string
  readonly durable: boolean
  readonly auto_delete: boolean
  readonly internal: boolean
  readonly arguments: Readonly<Record<string, unknown>>
}

export interface ConsumerInfo {
  readonly consumer_tag: string
  readonly queue: { readonly name: string; readonly vhost: string }
  readonly prefetch_count: number
  readonly ack_required: boolean
  readonly exclusive: boolean
  readonly arguments: Readonly<Record<string, unknown>>
}

export interface Permissions {
  readonly configure: string
  readonly write: string
  readonly read: string
}

const allPermissions: Permissions = { configure: '.*', write: '.*', read: '.*' }

/** A client of RabbitMQ's management HTTP API: the broker as it sees itself. */
export class Management {
  readonly #origin: string
  readonly #authorization: string

  /** @param url with user and password */
  constructor(url: string) {
    const { origin, username, password } = new URL(url)
    this.#origin = origin
    const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
    this.#authorization = `Basic ${Buffer.from(credentials).toString('base64')}`
  }

  /** Resolves with the answer's JSON, and with undefined for 404 and for an answer without a body. */
  async request<T>(
    method: string,
    path: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<T | undefined> {
    const response = await fetch(`${this.#origin}/api/${path}`, {
      method,
      headers: { authorization: this.#authorization, 'content-type': 'application/json', ...headers },
      body: body === undefined ? null : JSON.stringify(body),
    })
    const text = await response.text()
    if (response.status === 404) return undefined
    if (!response.ok) throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`)
    return text === '' ? undefined : JSON.parse(text)
  }

  async createVhost(vhost: string, users: readonly string[]): Promise<void> {
    await this.request('PUT', `vhosts/${encodeURIComponent(vhost)}`, {})
    for (const user of users) await this.setPermissions(vhost, user)
  }

  async deleteVhost(vhost: string): Promise<void> {
    await this.request('DELETE', `vhosts/${encodeURIComponent(vhost)}`)
  }

  async createUser(name: string, password: string, tags = ''): Promise<void> {
    await this.request('PUT', `users/${encodeURIComponent(name)}`, { password, tags })
  }

  async deleteUser(name: string): Promise<void> {
    await this.request('DELETE', `users/${encodeURIComponent(name)}`)
  }

  /** Lets a user do everything on a vhost, unless permissions are given. */
  async setPermissions(vhost: string, user: string, permissions: Partial<Permissions> = {}): Promise<void> {
    const path = `permissions/${encodeURIComponent(vhost)}/${encodeURIComponent(user)}`
    await this.request('PUT', path, { ...allPermissions, ...permissions })
  }

  async setPolicy(
    vhost: string,
    name: string,
    policy: { pattern: string; definition: object; 'apply-to'?: string },
  ): Promise<void> {
    await this.request('PUT', `policies/${encodeURIComponent(vhost)}/${encodeURIComponent(name)}`, policy)
  }

  /** Those that the broker reports by now, which may take a second after they opened. */
  async connections(): Promise<ConnectionInfo[]> {
    const connections = (await this.request<ConnectionInfo[]>('GET', 'connections')) ?? []
    // One that is about to go is listed by its name alone.
    return connections.filter(connection => connection.client_properties !== undefined)
  }

  /** Waits until the broker reports the connection that calls itself by this name (`connectionName`). */
  async connection(connectionName: string, options?: UntilOptions): Promise<ConnectionInfo> {
    return await until(
      `the broker lists the connection "${connectionName}"`,
      async () => {
        const connections = await this.connections()
        return connections.find(({ client_properties: properties }) => properties.connection_name === connectionName)
      },
      options,
    )
  }

  /** Has the broker close the connection of this name, once it reports it (320, CONNECTION_FORCED). */
  async closeConnection(connectionName: string, reason = 'closed by a test', options?: UntilOptions): Promise<void> {
    const { name } = await this.connection(connectionName, options)
    await this.request('DELETE', `connections/${encodeURIComponent(name)}`, undefined, { 'x-reason': reason })
  }

  /** Undefined if there is none. */
  async queue(vhost: string, name: string): Promise<QueueInfo | undefined> {
    return await this.request('GET', `queues/${encodeURIComponent(vhost)}/${encodeURIComponent(name)}`)
  }

  async queues(vhost: string): Promise<QueueInfo[]> {
    return (await this.request('GET', `queues/${encodeURIComponent(vhost)}`)) ?? []
  }

  /** Waits until a queue is as wanted; its figures are up to 1.5 s old. */
  async queueUntil(
    vhost: string,
    name: string,
    condition: (queue: QueueInfo) => boolean,
    options?: UntilOptions,
  ): Promise<QueueInfo> {
    let last: QueueInfo | undefined
    try {
      return await until(
        `the queue "${name}" is as the test wants it`,
        async () => {
          last = await this.queue(vhost, name)
          return last !== undefined && condition(last) ? last : undefined
        },
        options,
      )
    } catch (error) {
      throw new Error(`The queue never became as the test wants it: ${JSON.stringify(last)}`, { cause: error })
    }
  }

  /** Undefined if there is none. */
  async exchange(vhost: string, name: string): Promise<ExchangeInfo | undefined> {
    return await this.request('GET', `exchanges/${encodeURIComponent(vhost)}/${encodeURIComponent(name)}`)
  }

  /** Without those that every queue has to the default exchange. */
  async bindings(vhost: string): Promise<BindingInfo[]> {
    const bindings = (await this.request<BindingInfo[]>('GET', `bindings/${encodeURIComponent(vhost)}`)) ?? []
    return bindings.filter(binding => binding.source !== '')
  }

  async consumers(vhost: string): Promise<ConsumerInfo[]> {
    return (await this.request('GET', `consumers/${encodeURIComponent(vhost)}`)) ?? []
  }
}

let shared: Management | undefined

/** The management API of the broker that all tests share. */
export function management(): Management {
  shared ??= new Management(broker.managementUrl)
  return shared
}

export interface TestVhost {
  readonly name: string
  readonly url: string
  /** The URL for TLS. */
  readonly tlsUrl: string
}

/**
 * Makes a vhost that only the calling test file uses, and deletes it with all that is in it after the file's tests.
 * Call it once, at the top of a file: `const vhost = await withVhost()`.
 */
export async function withVhost(): Promise<TestVhost> {
  const name = uniqueName('test')
  const users = broker.has('clientUser') ? [broker.login, broker.clientUser] : [broker.login]
  await management().createVhost(name, users)
  after(() => management().deleteVhost(name))
  return {
    name,
    url: vhostUrl(name),
    get tlsUrl() {
      return vhostUrl(name, broker.tlsUrl)
    },
  }
}
