import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { LifecycleEventName } from '../../../src/index.ts'
import type { Errand, Outing } from './errand.ts'

const NAMES = [
  'connection.connecting',
  'connection.opened',
  'connection.lost',
  'connection.recovering',
  'connection.recovery_attempt_failed',
  'connection.recovered',
  'connection.recovery_failed',
  'connection.blocked',
  'connection.unblocked',
  'connection.closed',
  'publisher.resent',
  'consumer.cancelled',
  'consumer.resumed',
  'consumer.given_up',
  'consumer.slow_handlers',
  'channel.closed',
] as const satisfies readonly LifecycleEventName[]
/** Other in each run: it has to be there. */
const OWN = /^(consumerTag|deliveryTag)$/
/** The same for all events of a connection. */
const LEFT_OUT = /^(server|connection|network)|^(stats|user|virtualHost|vhost)/
/** Milliseconds that the network may take are none. */
const PRECISION = 100

function shown(value: unknown): string {
  if (value instanceof Error) return value.name
  if (Array.isArray(value)) return `${value.length}`
  return `${value}`
}

/** What an event says, but for what is other in each run. */
function look(event: object): string {
  const parts = Object.entries(event).filter(([name]) => !LEFT_OUT.test(name))
  const rounded = (name: string, value: unknown): unknown =>
    name.endsWith('Ms') && typeof value === 'number' ? Math.round(value / PRECISION) * PRECISION : value
  return parts
    .map(([name, value]) => `${name} ${OWN.test(name) ? typeof value : shown(rounded(name, value))}`)
    .join(', ')
}

/** Collects what is reported of a connection, in order. */
function collect(outing: Outing, connectionName: string): string[] {
  const lines: string[] = []
  for (const name of NAMES) {
    const see = (message: unknown): void => {
      if ((message as { connectionName: string }).connectionName === connectionName)
        lines.push(`${name}: ${look(message as object)}`)
    }
    subscribe(`asyncamqp:${name}`, see)
    outing.keep({ close: async () => unsubscribe(`asyncamqp:${name}`, see) })
  }
  return lines
}

/** All that happens to a connection and to what is on it is reported, once, in order, with what it was and how long that took. */
export const lifecycle: Errand = async outing => {
  const { control, connect } = outing.startBroker()
  const lines = collect(outing, outing.name)
  const expect = (what: string, ...should: readonly string[]): void =>
    outing.equal(lines.splice(0), should, `what is reported of ${what}`)
  const own = await connect({ connectionName: outing.name, recovery: { initialDelay: 300, jitter: 0, factor: 2 } })
  const { protocol } = own
  expect(
    'a connection',
    'connection.connecting: attempt 1, delayMs 0, error undefined',
    'connection.opened: durationMs 0, encrypted false, heartbeatSeconds 10',
  )
  for (const queue of ['queue', 'other']) await protocol.queueDeclare(queue)
  const consumer = await protocol.consumer('queue', () => outing.sleep(1_000), { slowHandlerThreshold: 300 })
  await protocol.publish('x', '', 'queue', { messageId: 'slow' })
  await outing.sleep(1_200)
  expect(
    'a slow handler',
    'consumer.slow_handlers: queueName queue, consumerTag string, slowHandlers 1, handlersRunning 1, longestMs 300, deliveryTag number, messageId slow',
    'consumer.slow_handlers: queueName queue, consumerTag string, slowHandlers 1, handlersRunning 1, longestMs 600, deliveryTag number, messageId slow',
  )
  control.block('low on memory')
  const blocked = outing.meanwhile(protocol.publish('x', '', 'other'))
  await outing.sleep(500)
  control.unblock()
  await blocked
  expect('a block', 'connection.blocked: reason low on memory', 'connection.unblocked: blockedMs 500')
  control.cancelConsumers('queue')
  await outing.sleep(3_000)
  expect(
    'a consumer that the broker cancels',
    'consumer.cancelled: queueName queue, consumerTag string, error ConsumerCancelledError, willResume true',
    'consumer.resumed: queueName queue, consumerTag string, interruptedMs 100, error ConsumerCancelledError',
  )
  const closing = await protocol.consumer('other', () => {}, { onCancel: () => 'close' })
  control.cancelConsumers('other')
  await outing.sleep(100)
  expect(
    'a consumer that is closed then',
    'consumer.cancelled: queueName other, consumerTag string, error ConsumerCancelledError, willResume undefined',
    'consumer.given_up: queueName other, error ConsumerCancelledError',
  )
  const channel = await protocol.channel()
  await channel.queueDeclare('none', { passive: true }).catch(() => {})
  expect(
    'a channel that the broker closes',
    "channel.closed: channelId 3, error ChannelClosedError, replyCode 404, replyText NOT_FOUND - no queue 'none' in vhost '/', method queue.declare",
  )
  const publisher = await protocol.publisher()
  control.withholdConfirms()
  const sent = [1, 2].map(n => outing.meanwhile(publisher.publish(`${n}`, 'other')))
  await outing.sleep(80)
  own.refuse(true)
  own.cut()
  await outing.sleep(500)
  own.refuse(false)
  control.releaseConfirms()
  await Promise.all(sent)
  await outing.sleep(1_000)
  expect(
    'a loss',
    'connection.lost: error ConnectionLostError, reason socket, openMs 4900, willRecover true',
    'connection.recovering: attempt 1, delayMs 300, error undefined',
    'consumer.cancelled: queueName queue, consumerTag string, error ConnectionLostError, willResume true',
    'connection.recovery_attempt_failed: attempt 1, error ConnectionFailedError, nextDelayMs 300',
    'connection.recovering: attempt 2, delayMs 300, error ConnectionFailedError',
    'publisher.resent: exchangeName , count 2, nacked 0',
    'connection.recovered: attempts 2, durationMs 600, channels 2, exchanges 0, queues 2, bindings 0, consumers 1, stillMissing 0',
    'consumer.resumed: queueName queue, consumerTag string, interruptedMs 600, error ConnectionLostError',
  )
  control.closeConnections(320, 'CONNECTION_FORCED - by an operator')
  await protocol.ready({ timeout: 20_000 })
  await outing.sleep(1_000)
  expect(
    'a connection that the broker closes',
    'connection.lost: error ConnectionClosedError, reason closedByServer, openMs 1000, willRecover true',
    'connection.recovering: attempt 1, delayMs 300, error undefined',
    'consumer.cancelled: queueName queue, consumerTag string, error ConnectionClosedError, willResume true',
    'connection.recovered: attempts 1, durationMs 300, channels 1, exchanges 0, queues 2, bindings 0, consumers 1, stillMissing 0',
    'consumer.resumed: queueName queue, consumerTag string, interruptedMs 300, error ConnectionClosedError',
  )
  await consumer.close()
  await closing.close()
  await protocol.close()
  expect('a close', 'connection.closed: error undefined')
  const last = await connect({
    connectionName: outing.name,
    recovery: { initialDelay: 100, jitter: 0, maxAttempts: 2 },
  })
  lines.length = 0
  last.refuse(true)
  last.cut()
  await last.protocol.waitClosed().catch(() => {})
  expect(
    'a recovery that is given up',
    'connection.lost: error ConnectionLostError, reason socket, openMs 0, willRecover true',
    'connection.recovering: attempt 1, delayMs 100, error undefined',
    'connection.recovery_attempt_failed: attempt 1, error ConnectionFailedError, nextDelayMs 100',
    'connection.recovering: attempt 2, delayMs 100, error ConnectionFailedError',
    'connection.recovery_attempt_failed: attempt 2, error ConnectionFailedError, nextDelayMs undefined',
    'connection.recovery_failed: error ConnectionFailedError, attempts 2, durationMs 200',
    'connection.closed: error ConnectionLostError',
  )
}
