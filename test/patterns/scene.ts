import { after } from 'node:test'
import {
  type AmqpProtocol,
  type Channel,
  ChannelClosedError,
  type ConnectOptions,
  connect,
  type QueueArguments,
} from '../../src/index.ts'
import { broker, vhostUrl } from '../support/broker.ts'
import { management } from '../support/management.ts'
import { uniqueName } from '../support/names.ts'

/** A protocol of one test, another one to observe with, and queues that are deleted with the vhost of the file. */
export class Scene implements AsyncDisposable {
  readonly protocol: AmqpProtocol
  readonly connectionName: string
  /** What `onError` was called with. */
  readonly errors: readonly Error[]
  /** A channel of another connection. */
  readonly outside: Channel
  readonly #onlooker: AmqpProtocol

  constructor(
    protocol: AmqpProtocol,
    connectionName: string,
    errors: readonly Error[],
    onlooker: AmqpProtocol,
    outside: Channel,
  ) {
    this.protocol = protocol
    this.connectionName = connectionName
    this.errors = errors
    this.#onlooker = onlooker
    this.outside = outside
  }

  /** A durable queue with these messages in it. */
  async queue(bodies: readonly (string | Uint8Array)[] = [], args: QueueArguments = {}): Promise<string> {
    const name = uniqueName('queue')
    await this.outside.queueDeclare(name, { durable: true, arguments: args })
    await this.fill(name, bodies)
    return name
  }

  async fill(queueName: string, bodies: readonly (string | Uint8Array)[]): Promise<void> {
    await Promise.all(bodies.map(body => this.outside.publish(body, '', queueName)))
  }

  /** Messages that are ready in a queue, and its consumers. */
  async inspect(queueName: string): Promise<{ messageCount: number; consumerCount: number }> {
    await using channel = await this.#onlooker.channel()
    const { messageCount, consumerCount } = await channel.queueDeclare(queueName, { passive: true })
    return { messageCount, consumerCount }
  }

  async exists(queueName: string): Promise<boolean> {
    try {
      await this.inspect(queueName)
      return true
    } catch (error) {
      if (error instanceof ChannelClosedError && error.replyCode === 404) return false
      throw error
    }
  }

  /** Take everything that is ready in a queue. */
  async drain(queueName: string): Promise<{ body: string; isRedeliver: boolean; headers: Record<string, unknown> }[]> {
    const all: { body: string; isRedeliver: boolean; headers: Record<string, unknown> }[] = []
    for (;;) {
      const result = await this.outside.basicGet(queueName, { noAck: true })
      if (result === null) return all
      const { body, envelope, properties } = result
      all.push({ body: body.toString(), isRedeliver: envelope.isRedeliver, headers: { ...properties.headers } })
    }
  }

  /** Have the broker close the connection under test. */
  async closeConnection(): Promise<void> {
    await management().closeConnection(this.connectionName)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.protocol.close({ timeout: 500 }), this.#onlooker.close()])
  }
}

/** What gives scenes in a vhost of its own; call it once, at the top of a file. */
export async function withScenes(): Promise<(options?: ConnectOptions) => Promise<Scene>> {
  const vhost = uniqueName('patterns')
  await management().createVhost(vhost, [broker.login])
  after(() => management().deleteVhost(vhost))
  const url = vhostUrl(vhost)
  return async (options = {}) => {
    const errors: Error[] = []
    const connectionName = uniqueName('connection')
    const protocol = await connect(url, { onError: error => errors.push(error), connectionName, ...options })
    const onlooker = await connect(url)
    return new Scene(protocol, connectionName, errors, onlooker, await onlooker.channel({ publisherConfirms: true }))
  }
}

/** A promise and what settles it. */
export function deferred<T = void>(): { readonly promise: Promise<T>; resolve(value: T): void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>(settle => {
    resolve = settle
  })
  return { promise, resolve }
}

/** The next time that an event is emitted. */
export async function nextEvent<T>(
  emitter: { once(event: string, listener: (value: T) => void): unknown },
  event: string,
): Promise<T> {
  return await new Promise(resolve => emitter.once(event, resolve))
}
