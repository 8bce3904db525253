/**
 * As much of RabbitMQ's management API as the tests use, for the broker in this process.
 */
import { once } from 'node:events'
import { createServer } from 'node:http'

/**
 * @typedef {import('../../dist/testing.d.ts').Broker} TestingBroker
 * @typedef {import('../../dist/testing.d.ts').QueueView} QueueView
 * @typedef {import('../../dist/testing.d.ts').ConnectionView} ConnectionView
 * @typedef {import('../../dist/testing.d.ts').Permissions} Permissions
 * @typedef {{ password: string, permissions: Record<string, Permissions> | undefined }} KnownUser
 */

/** Answers requests about one broker. */
export class TestingManagement {
  #broker
  #server
  #port = 0
  /** @type {Map<string, KnownUser>} */
  #users = new Map([['guest', { password: 'guest', permissions: undefined }]])

  /** @param {TestingBroker} broker */
  constructor(broker) {
    this.#broker = broker
    this.#server = createServer((request, response) => {
      /** @type {Buffer[]} */
      const pieces = []
      request.on('data', piece => pieces.push(piece))
      request.on('end', async () => {
        const body = Buffer.concat(pieces).toString()
        const path = (request.url ?? '').replace(/^\/api\//, '').split('/')
        try {
          const found = await this.#answer(
            request.method ?? 'GET',
            path.map(decodeURIComponent),
            body === '' ? {} : JSON.parse(body),
            String(request.headers['x-reason'] ?? 'closed by a test'),
          )
          response.writeHead(found === undefined ? 404 : found === null ? 204 : 200)
          response.end(found === undefined || found === null ? undefined : JSON.stringify(found))
        } catch (error) {
          response.writeHead(400)
          response.end(String(error))
        }
      })
    })
  }

  get url() {
    return `http://guest:guest@127.0.0.1:${this.#port}`
  }

  async start() {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    const address = this.#server.address()
    if (typeof address === 'object' && address !== null) this.#port = address.port
  }

  async stop() {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }

  /**
   * The answer to send: null if there is nothing to say, undefined for what does not exist.
   *
   * @param {string} method
   * @param {string[]} path
   * @param {any} body
   * @param {string} reason
   * @returns {Promise<unknown>}
   */
  async #answer(method, [kind = '', first = '', second = ''], body, reason) {
    if (method === 'GET') return this.#shown(kind, first, second)
    const deletes = method === 'DELETE'
    if (kind === 'vhosts') {
      if (deletes) this.#broker.deleteVirtualHost(first)
      else this.#broker.addVirtualHost(first)
    } else if (kind === 'users') {
      if (deletes) this.#broker.deleteUser(first)
      else this.#setUser(first, { permissions: {}, ...this.#users.get(first), password: body.password })
    } else if (kind === 'permissions') {
      const user = this.#users.get(second)
      if (user?.permissions !== undefined) {
        this.#setUser(second, { ...user, permissions: { ...user.permissions, [first]: body } })
      }
    } else if (kind === 'queues' || kind === 'exchanges') {
      await this.#change(kind, deletes, first, second, body)
    } else if (kind === 'connections') {
      this.#broker.connections.find(connection => nameOf(connection) === first)?.close(`CLOSED_BY_API: ${reason}`)
    } else return undefined
    return null
  }

  /**
   * Declares or deletes, as a client of its own.
   *
   * @param {'queues' | 'exchanges'} kind
   * @param {boolean} deletes
   * @param {string} vhost
   * @param {string} name
   * @param {any} body
   */
  async #change(
    kind,
    deletes,
    vhost,
    name,
    { type, durable = false, auto_delete: autoDelete, internal, arguments: table },
  ) {
    const { connect } = await import('../../dist/index.mjs')
    const protocol = await connect({ ...this.#broker.inMemory, virtualhost: vhost, recovery: false })
    try {
      if (kind === 'queues') {
        if (deletes) await protocol.queueDelete(name)
        else await protocol.queueDeclare(name, { durable, autoDelete, arguments: table })
      } else if (deletes) await protocol.exchangeDelete(name)
      else await protocol.exchangeDeclare(name, type, { durable, autoDelete, internal, arguments: table })
    } finally {
      await protocol.close()
    }
  }

  /**
   * @param {string} name
   * @param {KnownUser} user
   */
  #setUser(name, user) {
    this.#users.set(name, user)
    this.#broker.setUser(name, user)
  }

  /**
   * @param {string} kind
   * @param {string} vhost
   * @param {string} name
   */
  #shown(kind, vhost, name) {
    const broker = this.#broker
    switch (kind) {
      case 'overview':
        return { product_name: 'asyncamqp/testing' }
      case 'connections':
        return broker.connections.map(shownConnection)
      case 'queues': {
        if (name === '') return broker.queueNames(vhost).map(each => shownQueue(broker.queue(each, vhost)))
        const queue = broker.queue(name, vhost)
        return queue.exists ? shownQueue(queue) : undefined
      }
      case 'exchanges': {
        const exchange = broker.exchange(name, vhost)
        if (!exchange.exists) return undefined
        const { type, durable, autoDelete, internal, arguments: table } = exchange
        return { name, type, durable, auto_delete: autoDelete, internal, arguments: table }
      }
      case 'bindings':
        return broker.exchangeNames(vhost).flatMap(source =>
          broker.exchange(source, vhost).bindings.map(binding => ({
            source,
            destination: binding.destination,
            destination_type: binding.destinationKind,
            routing_key: binding.routingKey,
            arguments: binding.arguments,
          })),
        )
      case 'consumers':
        return broker.queueNames(vhost).flatMap(each =>
          broker.queue(each, vhost).consumers.map(consumer => ({
            consumer_tag: consumer.consumerTag,
            queue: { name: each, vhost },
            prefetch_count: consumer.prefetchCount,
            ack_required: !consumer.noAck,
            exclusive: consumer.exclusive,
            arguments: consumer.arguments,
          })),
        )
      default:
        return undefined
    }
  }
}

/** @param {ConnectionView} connection */
function nameOf({ peer }) {
  return `${peer} -> 127.0.0.1:5672`
}

/** @param {ConnectionView} connection */
function shownConnection(connection) {
  const { login, virtualhost, channels, clientProperties, limits, isBlocked } = connection
  return {
    name: nameOf(connection),
    user: login,
    vhost: virtualhost,
    ssl: false,
    auth_mechanism: 'PLAIN',
    channels,
    channel_max: limits.channelMax,
    frame_max: limits.frameMax,
    timeout: limits.heartbeat,
    state: isBlocked ? 'blocked' : 'running',
    client_properties: clientProperties,
  }
}

/** @param {QueueView} queue */
function shownQueue({ name, durable, exclusive, autoDelete, arguments: table, type, ready, unacked, consumers }) {
  return {
    name,
    durable,
    exclusive,
    auto_delete: autoDelete,
    arguments: table,
    type,
    messages: ready.length + unacked.length,
    messages_ready: ready.length,
    messages_unacknowledged: unacked.length,
    consumers: consumers.length,
  }
}
