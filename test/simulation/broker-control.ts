import { BrokerEngine } from '../../src/broker/broker.ts'
import type { ClientConnection } from '../../src/broker/client-connection.ts'
import { Refusal } from '../../src/broker/refusals.ts'
import type { VirtualClock } from '../support/virtual-clock.ts'
import type { Evidence } from './judge.ts'
import type { Listener } from './network.ts'
import { EXCHANGE } from './program.ts'

const HEARTBEAT = 10

/** What a history does to the broker, and what it reads off it at the end. */
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
  nackNext(count: number): void
  withholdConfirms(): void
  releaseConfirms(): void
  evidence(): Evidence
}

/** A broker without a network, on a virtual clock. */
export function startSimulatedBroker(clock: VirtualClock): BrokerControl {
  const engine = new BrokerEngine({
    clock,
    release: '4.3',
    users: { guest: { password: 'guest' } },
    vhosts: ['/'],
    limits: { channelMax: 100, frameMax: 16_384, heartbeat: HEARTBEAT },
  })
  const arrived: string[] = []
  const forgot = new Set<string>()
  const nacked = new Set<string>()
  const confirmFate = engine.confirmFate.bind(engine)
  engine.confirmFate = () => {
    const fate = confirmFate()
    const last = arrived.at(-1)
    if (fate === 'nack' && last !== undefined) nacked.add(last)
    return fate
  }
  engine.onPublish = ({ properties }) => {
    if (properties.messageId !== undefined) arrived.push(properties.messageId)
  }
  const queued = () => {
    const queues = engine.vhosts.get('/')?.queues ?? new Map()
    return new Map(
      [...queues].map(([name, queue]) => {
        const messages = [...queue.ready, ...queue.unacked.map(({ stored }: { stored: unknown }) => stored)]
        return [name, messages.map(({ message }) => message.properties.messageId ?? '')] as const
      }),
    )
  }
  const connections = (): ClientConnection[] => [...engine.connections]
  return {
    listener: socket => {
      const connection = engine.accept({ ...socket, pause: () => {}, resume: () => {}, peer: 'simulated:1' })
      return {
        bytes: chunk => connection.receive(chunk),
        ended: () => connection.lost(),
        closed: () => connection.lost(),
      }
    },
    start: () => {},
    restart: () => engine.restart(true),
    kill: () => {
      const before = new Set([...queued().values()].flat())
      engine.restart(false)
      for (const id of [...queued().values()].flat()) before.delete(id)
      for (const id of before) forgot.add(id)
    },
    stop: () => engine.stop(),
    block: reason => engine.setAlarm(reason),
    unblock: () => engine.setAlarm(undefined),
    cancelConsumers: name => {
      const queue = engine.queue(name, '/')
      for (const consumer of queue?.consumers ?? []) {
        queue?.cancel(consumer, () => {})
        consumer.receiver.cancelled(consumer)
      }
      engine.run()
    },
    closeChannels: (replyCode, replyText) => {
      for (const connection of connections()) {
        for (const channel of connection.channels) channel.closeWith(new Refusal(replyCode, replyText))
      }
      engine.run()
    },
    closeConnections: (replyCode, replyText) => {
      for (const connection of connections()) connection.fail(new Refusal(replyCode, replyText))
      engine.run()
    },
    nackNext: count => engine.nackNext(count),
    withholdConfirms: () => engine.withholdConfirms(true),
    releaseConfirms: () => engine.withholdConfirms(false),
    evidence: () => ({
      arrived,
      forgot,
      nacked,
      queued: queued(),
      bindings: new Set(
        (engine.exchange(EXCHANGE, '/')?.bindings ?? []).map(
          ({ destination, routingKey }) => `${destination.name} ${routingKey}`,
        ),
      ),
    }),
  }
}
