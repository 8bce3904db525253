import { BrokerEngine } from '../../src/broker/broker.ts'
import { Channel } from '../../src/broker/channel.ts'
import type { ClientConnection } from '../../src/broker/client-connection.ts'
import type { Exchange } from '../../src/broker/exchange.ts'
import type { Queue } from '../../src/broker/queue.ts'
import { Refusal } from '../../src/broker/refusals.ts'
import type { ReleaseName } from '../../src/broker/release-name.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import type { Evidence } from './judge.ts'
import { describeBinding, describeConsumer, describeExchange, describeQueue, ERROR_QUEUE, EXCHANGE } from './names.ts'
import type { Listener } from './network.ts'

/** Seconds. Short enough to pass within a history, and long enough to have an effect. */
const HEARTBEAT = 20

/** Operations of a history on the broker, and the state that it reads at the end. */
export interface BrokerControl {
  readonly listener: NonNullable<Listener>
  start(): void
  restart(): void
  kill(): void
  stop(): void
  block(reason: string): void
  unblock(): void
  cancelConsumers(queue: string): void
  closeChannels(replyCode: number, replyText: string): void
  closeConnections(replyCode: number, replyText: string): void
  /** Whether it closes the next connection that logs in, in the moment in which that is open. */
  closeNext(does: boolean): void
  nackNext(count: number): void
  /** The messages that it should have answered with a nack are taken. */
  stopNacks(): void
  /** It closes the connection over messages with this id, as over an error of its own. */
  breakOver(messageId: string): void
  /** It closes the connection over methods that name this queue, as over an error of its own. */
  breakOverQueue(name: string): void
  withholdConfirms(): void
  releaseConfirms(): void
  /** It does not confirm messages with this id until it releases confirms. */
  leaveUnconfirmed(messageId: string): void
  /** Logins need this password from now on. */
  setPassword(password: string): void
  /** The next connections get `count` channels. */
  grantChannels(count: number): void
  evidence(): Evidence
}

/** The broker closes a channel over a settlement of what it has as settled. */
const UNKNOWN_TAG = 'unknown delivery tag'

/** connection.open-ok, the first thing in what is written. */
const isOpenOk = (bytes: Buffer): boolean => bytes.length > 10 && bytes.readUInt32BE(7) === ((10 << 16) | 41)

const flagsOf = ({ durable, autoDelete, arguments: args }: Queue | Exchange) => ({
  durable,
  autoDelete,
  arguments: args,
})

/** What there is of queues, exchanges and bindings, with what it looks like. */
function entities(queues: readonly Queue[], exchanges: readonly Exchange[]): Map<string, string> {
  const there = new Map<string, string>()
  for (const queue of queues)
    there.set(`queue ${queue.name}`, describeQueue({ ...flagsOf(queue), exclusive: queue.owner !== undefined }))
  for (const exchange of exchanges) {
    const { name: source, type, internal, bindings } = exchange
    there.set(`exchange ${source}`, describeExchange({ ...flagsOf(exchange), type, internal }))
    for (const { destination, routingKey, arguments: args } of bindings) {
      const ofPrograms = source === EXCHANGE
      const name = ofPrograms
        ? `binding ${destination.name} ${routingKey}`
        : describeBinding(source, destination.name, routingKey, args)
      // Another one whose arguments differ in nothing but types.
      there.set(name, there.has(name) ? `${there.get(name)}and again ` : '')
    }
  }
  return there
}

/** A broker without a network, on a virtual clock, that grants `channelMax` channels to a connection. */
export function startSimulatedBroker(clock: VirtualClock, release: ReleaseName, channelMax = 100): BrokerControl {
  const limits = { channelMax, frameMax: 16_384, heartbeat: HEARTBEAT }
  const engine = new BrokerEngine({
    clock,
    release,
    users: { guest: { password: 'guest' } },
    vhosts: ['/'],
    limits,
  })
  const arrived: string[] = []
  const forgot = new Set<string>()
  /** Copies of each message that the broker took. */
  const copies = new Map<string, number>()
  const count = (id: string, change: number) => copies.set(id, (copies.get(id) ?? 0) + change)
  let nacks = true
  let closesNext = false
  let unknownTags = 0
  /** What is being read, and when it was written. What a broker that blocks has read goes on by itself later. */
  let reading: { readonly connection: ClientConnection; readonly written: number } | undefined
  const written = new Map<string, number>()
  /** Where and when each message came in last. */
  const last = new Map<string, { readonly connection: ClientConnection; readonly channelsClosed: number }>()
  const confirmFate = engine.confirmFate.bind(engine)
  engine.confirmFate = message => {
    const decided = confirmFate(message)
    const fate = decided === 'nack' && !nacks ? 'take' : decided
    const { messageId } = message.properties
    if (messageId !== undefined && left.has(messageId)) return 'withhold'
    if (fate === 'nack' && messageId !== undefined) {
      count(messageId, -1)
      const refused = last.get(messageId)
      if (refused !== undefined) nackedOn.add(refused.connection)
    }
    return fate
  }
  const doubled = new Set<string>()
  /** A publisher gives a channel up that nacks, and sends again what has no confirm. */
  const nackedOn = new Set<ClientConnection>()
  const breaking = new Set<string>()
  const broken = new Set<ClientConnection>()
  const left = new Set<string>()
  let channelsClosed = 0
  engine.onPublish = ({ properties, routingKeys }, connection) => {
    const { messageId } = properties
    if (messageId === undefined) return
    if (breaking.has(messageId)) throw new Refusal(541, 'INTERNAL_ERROR')
    const before = last.get(messageId)
    // A copy of a failed message is none of its publisher's.
    if (routingKeys[0] !== ERROR_QUEUE) {
      if (before?.connection === connection && before.channelsClosed === channelsClosed && !nackedOn.has(connection))
        doubled.add(messageId)
      if (reading?.connection === connection) written.set(messageId, reading.written)
      last.set(messageId, { connection, channelsClosed })
    }
    arrived.push(messageId)
    count(messageId, 1)
  }
  const queues = (): Queue[] => [...(engine.vhosts.get('/')?.queues.values() ?? [])]
  const exchanges = (): Exchange[] => [...(engine.vhosts.get('/')?.exchanges.values() ?? [])]
  const queued = () =>
    new Map(
      queues().map(({ name, type, ready, unacked }) => {
        // A stream keeps what it has given.
        const messages = type === 'stream' ? ready : [...ready, ...unacked.map(({ stored }) => stored)]
        return [name, messages.map(({ message }) => message.properties.messageId ?? '')] as const
      }),
    )
  const connections = (): ClientConnection[] => [...engine.connections]
  return {
    listener: socket => {
      const nothing = () => {}
      const reset = () => socket.destroy()
      const write = (bytes: Buffer) => {
        socket.write(bytes)
        if (bytes.includes(UNKNOWN_TAG)) unknownTags++
        if (closesNext && isOpenOk(bytes)) {
          closesNext = false
          clock.after(0, () => {
            connection.fail(new Refusal(320, 'CONNECTION_FORCED - closed as soon as it was open'))
            engine.run()
          })
        }
        return true
      }
      const connection = engine.accept({
        ...socket,
        write,
        reset,
        pause: nothing,
        resume: nothing,
        peer: 'simulated:1',
      })
      return {
        bytes: (chunk, at) => {
          reading = { connection, written: at }
          connection.receive(chunk)
          reading = undefined
        },
        ended: () => connection.lost(),
        closed: () => connection.lost(),
      }
    },
    start: () => {},
    restart: () => {
      engine.restart(true)
      engine.started()
    },
    kill: () => {
      const before = new Set([...queued().values()].flat())
      engine.restart(false)
      engine.started()
      for (const id of [...queued().values()].flat()) before.delete(id)
      for (const id of before) forgot.add(id)
    },
    stop: () => engine.stop(),
    block: reason => engine.setAlarm(reason),
    unblock: () => engine.setAlarm(undefined),
    cancelConsumers: name => {
      const queue = engine.queue(name, '/')
      if (queue !== undefined) engine.cancelConsumers(queue)
    },
    closeChannels: (replyCode, replyText) => {
      channelsClosed++
      const channels = connections().flatMap(connection => connection.channels)
      Channel.close(channels, new Refusal(replyCode, replyText))
      engine.run()
    },
    closeConnections: (replyCode, replyText) => {
      const refusal = new Refusal(replyCode, replyText)
      engine.endAll(connections(), connection => connection.fail(refusal))
    },
    closeNext: does => {
      closesNext = does
    },
    nackNext: count => engine.nackNext(count),
    stopNacks: () => {
      nacks = false
    },
    breakOver: messageId => void breaking.add(messageId),
    breakOverQueue: name => {
      const all = engine.vhosts.get('/')?.queues
      if (all === undefined) return
      const get = all.get.bind(all)
      all.get = each => {
        const { connection } = reading ?? {}
        if (each !== name || connection === undefined || broken.has(connection)) return get(each)
        broken.add(connection)
        throw new Refusal(541, 'INTERNAL_ERROR')
      }
    },
    withholdConfirms: () => engine.withholdConfirms(true),
    releaseConfirms: () => {
      left.clear()
      engine.withholdConfirms(false)
    },
    leaveUnconfirmed: messageId => void left.add(messageId),
    setPassword: password => engine.setUser('guest', { password }),
    grantChannels: count => {
      limits.channelMax = count
    },
    // Made as they are read: most who look read one of them.
    evidence: () => ({
      arrived,
      forgot,
      doubled,
      written,
      unknownTags,
      get nacked() {
        return new Set([...copies].filter(([, taken]) => taken === 0).map(([id]) => id))
      },
      get queued() {
        return queued()
      },
      get unacked() {
        return new Map(queues().map(({ name, unacked }) => [name, unacked.length]))
      },
      get consumers() {
        return new Map(
          queues().map(({ name, consumers }) => [
            name,
            consumers
              .map(({ options: { prefetch, noAck, priority, exclusive, arguments: args } }) =>
                describeConsumer(prefetch, noAck, priority, exclusive, args),
              )
              .sort(),
          ]),
        )
      },
      get entities() {
        return entities(queues(), exchanges())
      },
      get places() {
        return queues().flatMap(({ consumers }) =>
          consumers.map(({ tag, options }) => [tag, options.arguments['x-stream-offset']] as const),
        )
      },
    }),
  }
}
