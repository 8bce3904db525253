import {
  type AmqpProtocol,
  type BasicProperties,
  type Channel,
  ChannelClosedError,
  type ConnectOptions,
  connect,
  type Envelope,
} from '../../src/index.ts'
import { broker } from './broker.ts'
import { Inbox } from './inbox.ts'
import { uniqueName } from './names.ts'
import { until } from './until.ts'

/** One message as a consumer's callback got it. */
export interface Delivered {
  readonly channel: Channel
  readonly body: Buffer
  readonly envelope: Envelope
  readonly properties: BasicProperties
}

/** A connection to the broker without recovery, and a channel; whatever was named through it is deleted after it. */
export class Fixture implements AsyncDisposable {
  readonly protocol: AmqpProtocol
  readonly channel: Channel
  /** What `onError` was called with. */
  readonly errors: readonly unknown[]
  readonly #queues: string[] = []
  readonly #exchanges: string[] = []

  constructor(protocol: AmqpProtocol, channel: Channel, errors: readonly unknown[]) {
    this.protocol = protocol
    this.channel = channel
    this.errors = errors
  }

  queueName(prefix = 'queue'): string {
    const name = uniqueName(prefix)
    this.#queues.push(name)
    return name
  }

  exchangeName(prefix = 'exchange'): string {
    const name = uniqueName(prefix)
    this.#exchanges.push(name)
    return name
  }

  /** How many messages are ready in a queue, and how many consumers it has, asked on a channel of its own. */
  async inspect(queueName: string): Promise<{ messageCount: number; consumerCount: number }> {
    await using channel = await this.protocol.channel()
    const { messageCount, consumerCount } = await channel.queueDeclare(queueName, { passive: true })
    return { messageCount, consumerCount }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.protocol.close()
    if (this.#queues.length + this.#exchanges.length === 0) return
    await using protocol = await connect(broker.url, { recovery: false })
    await using channel = await protocol.channel()
    await Promise.all(this.#exchanges.map(name => channel.exchangeDelete(name)))
    for (const name of this.#queues) {
      await until(`the queue "${name}" is deleted`, () => deleted(protocol, name), { interval: 10 })
    }
  }
}

/** RabbitMQ 4.3 removes a connection's exclusive queues only after it has closed; until then they are locked (405). */
async function deleted(protocol: AmqpProtocol, queueName: string): Promise<boolean> {
  await using channel = await protocol.channel()
  try {
    await channel.queueDelete(queueName)
    return true
  } catch (error) {
    if (error instanceof ChannelClosedError && error.replyCode === 405) return false
    throw error
  }
}

export async function openFixture(options: ConnectOptions = {}): Promise<Fixture> {
  const errors: unknown[] = []
  const protocol = await connect(broker.url, { recovery: false, onError: error => errors.push(error), ...options })
  return new Fixture(protocol, await protocol.channel(), errors)
}

/** A consumer's callback that keeps what it gets. */
export function deliveryInbox(): {
  readonly inbox: Inbox<Delivered>
  readonly callback: (channel: Channel, body: Buffer, envelope: Envelope, properties: BasicProperties) => void
} {
  const inbox = new Inbox<Delivered>()
  return {
    inbox,
    callback: (channel, body, envelope, properties) => inbox.add({ channel, body, envelope, properties }),
  }
}
