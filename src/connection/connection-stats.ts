import type { RecoveringChannel } from '../channel/recovering-channel.ts'
import type { ConnectionTimes } from '../diagnostics/connection-times.ts'
import type { Endpoint } from '../diagnostics/server-context.ts'
import type { ConnectionStats, PartStats } from '../diagnostics/stats.ts'
import type { Closable } from './channel-source.ts'
import type { Connection } from './connection.ts'
import type { ConnectionState } from './connection-state.ts'

/** What the figures are taken from. */
export interface CountedConnection {
  readonly endpoint: Endpoint
  readonly state: ConnectionState
  readonly connection: Connection | undefined
  readonly blockedReason: string | undefined
  readonly openChannels: Iterable<RecoveringChannel>
  readonly parts: Iterable<Closable>
}

/** The figures of a connection at the moment; `past` are those of channels that are closed. */
export function connectionStats(
  { endpoint, state, connection, blockedReason, openChannels, parts }: CountedConnection,
  times: ConnectionTimes,
  past: { readonly published: number; readonly delivered: number },
): ConnectionStats {
  const figures: PartStats = { publishers: [], consumers: [] }
  for (const part of parts) part.addStats?.(figures)
  const channels = [...openChannels]
  const { publishers } = figures
  const consumers = [...figures.consumers, ...channels.flatMap(channel => channel.consumerStats())]
  return {
    ...endpoint,
    state,
    ...times.stats,
    openChannels: connection?.state === 'open' ? connection.channels.inUse : 0,
    blockedReason,
    unconfirmed: sum(channels, ({ unconfirmed }) => unconfirmed),
    waiting: sum(publishers, ({ waiting }) => waiting) + sum(channels, ({ waiting }) => waiting),
    bufferedBytes: connection?.bufferedBytes ?? 0,
    receivedBytesWaiting: connection?.receivedBytesWaiting ?? 0,
    unacknowledged: sum(consumers, ({ unacknowledged = 0 }) => unacknowledged),
    handlersRunning: sum(consumers, ({ handlersRunning }) => handlersRunning),
    published: past.published + sum(channels, ({ published }) => published),
    delivered: past.delivered + sum(channels, ({ delivered }) => delivered),
    publishers,
    consumers,
  }
}

function sum<T>(all: readonly T[], figure: (one: T) => number): number {
  return all.reduce((total, one) => total + figure(one), 0)
}
