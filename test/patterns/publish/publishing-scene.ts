import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import { type AmqpProtocol, type ConnectOptions, connect } from '../../../src/index.ts'
import * as methods from '../../../src/protocol/methods.ts'
import { FakeBroker, type FakePeer, methodFrame, returnFrames } from '../../support/fake-broker.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

/** A message that the broker got. */
export interface Arrived {
  readonly channel: number
  /** Its delivery tag on that channel. */
  readonly tag: number
  readonly exchange: string
  readonly routingKey: string
  body: string
}

/** A connection to a broker in memory, whose messages a test settles. */
export class PublishedTo {
  readonly peer: FakePeer
  readonly all: Arrived[] = []
  /** Called with each whole message. */
  arrived: (message: Arrived) => void = () => {}
  /** Messages that the broker has spoken of. */
  readonly #settled = new Set<Arrived>()
  readonly #tags = new Map<number, number>()
  readonly #arriving = new Map<number, Arrived>()

  constructor(peer: FakePeer) {
    this.peer = peer
    const { answers } = peer
    answers.set(methods.ConfirmSelect.name, ({ channel }) => {
      this.#tags.set(channel, 0)
      return methodFrame(channel, methods.ConfirmSelectOk, {})
    })
    answers.set(methods.BasicPublish.name, ({ channel, args }) => {
      const tag = (this.#tags.get(channel) ?? 0) + 1
      this.#tags.set(channel, tag)
      const { exchangeName, routingKey } = args as { exchangeName: string; routingKey: string }
      this.#arriving.set(channel, { channel, tag, exchange: exchangeName, routingKey, body: '' })
      return undefined
    })
    answers.set('header', ({ channel, payload }) => {
      if (payload.readBigUInt64BE(4) === 0n) this.#whole(channel)
      return undefined
    })
    answers.set('body', ({ channel, payload }) => {
      const message = this.#arriving.get(channel)
      assert.ok(message !== undefined)
      message.body += payload.toString()
      this.#whole(channel)
      return undefined
    })
  }

  #whole(channel: number): void {
    const message = this.#arriving.get(channel)
    assert.ok(message !== undefined)
    this.all.push(message)
    this.arrived(message)
  }

  /** The bodies of all messages so far. */
  get bodies(): string[] {
    return this.all.map(({ body }) => body)
  }

  /** The last message. */
  get last(): Arrived {
    const last = this.all.at(-1)
    assert.ok(last !== undefined, 'no message has come')
    return last
  }

  ack(message: Arrived, multiple = false): void {
    const { channel, tag } = message
    this.#settled.add(message)
    this.peer.reply(channel, methods.BasicAck, { deliveryTag: tag, multiple })
  }

  nack(message: Arrived, multiple = false): void {
    const { channel, tag } = message
    this.#settled.add(message)
    this.peer.reply(channel, methods.BasicNack, { deliveryTag: tag, multiple, requeue: false })
  }

  /** Return a message of the default exchange, then confirm it. */
  giveBack(message: Arrived): void {
    const { channel, tag, routingKey, body } = message
    this.#settled.add(message)
    this.peer.send(
      returnFrames(channel, routingKey, body, { deliveryMode: 2 }),
      methodFrame(channel, methods.BasicAck, { deliveryTag: tag, multiple: false }),
    )
  }

  /** Close a channel over a publish. */
  close(channel: number, replyCode = 406, replyText = 'PRECONDITION_FAILED - invalid expiration'): void {
    for (const message of this.all) if (message.channel === channel) this.#settled.add(message)
    this.peer.reply(channel, methods.ChannelClose, { replyCode, replyText, classId: 60, methodId: 40 })
  }

  /** Confirm unsettled messages, and each further message as it comes. */
  confirmAll(): void {
    this.arrived = message => this.ack(message)
    for (const message of this.all) if (!this.#settled.has(message)) this.ack(message)
  }

  /** Close the connection, as RabbitMQ does over an error of its own, which names nothing. */
  breakDown(): void {
    const args = { replyCode: 541, replyText: 'INTERNAL_ERROR', classId: 0, methodId: 0 }
    this.peer.reply(0, methods.ConnectionClose, args)
    this.peer.finish()
  }

  /** Break the connection. */
  lose(): void {
    this.peer.finish()
  }
}

export interface PublishingScene {
  readonly clock: VirtualClock
  readonly protocol: AmqpProtocol
  readonly broker: FakeBroker
  /** The connections so far. */
  readonly connections: readonly PublishedTo[]
  /** The connection there is. */
  readonly current: PublishedTo
  readonly errors: Error[]
  /** Refuse further connections, or no longer. */
  refusing: boolean
}

/** A client of a broker in memory, in virtual time. `prepare` gets each connection before anything comes by it. */
export async function publishing(
  t: TestContext,
  options: ConnectOptions & { readonly channelMax?: number } = {},
  prepare: (connection: PublishedTo) => void = () => {},
): Promise<PublishingScene> {
  const { channelMax, ...rest } = options
  const clock = new VirtualClock()
  const broker = new FakeBroker(channelMax === undefined ? {} : { channelMax })
  const connections: PublishedTo[] = []
  const errors: Error[] = []
  const scene: { refusing: boolean } = { refusing: false }
  broker.prepare = peer => {
    const connection = new PublishedTo(peer)
    connections.push(connection)
    prepare(connection)
  }
  const protocol = await connect({
    clock,
    heartbeat: 0,
    recovery: { jitter: 0, initialDelay: 0 },
    onError: error => errors.push(error),
    createTransport: async (...given) => {
      if (scene.refusing) throw new Error('refused')
      return broker.createTransport(...given)
    },
    ...rest,
  })
  t.after(async () => {
    const closed = protocol.close({ timeout: 0 })
    await clock.advance(1_000)
    await closed
  })
  return {
    clock,
    protocol,
    broker,
    connections,
    errors,
    get current() {
      const current = connections.at(-1)
      assert.ok(current !== undefined)
      return current
    },
    get refusing() {
      return scene.refusing
    },
    set refusing(refusing) {
      scene.refusing = refusing
    },
  }
}

/** Lose the connection and have it recovered. */
export async function recover(the: PublishingScene): Promise<PublishedTo> {
  const before = the.connections.length
  the.current.lose()
  await the.clock.advance(100)
  assert.equal(the.connections.length, before + 1)
  const current = the.connections.at(-1)
  assert.ok(current !== undefined)
  return current
}
