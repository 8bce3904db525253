import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { lineOf } from '../../src/diagnostics/log-lines.ts'
import {
  ChannelClosedError,
  ConnectionFailedError,
  ConnectionLostError,
  ConsumerCancelledError,
  type Endpoint,
  FrameError,
  type LifecycleEvent,
  type LifecycleEventName,
  type LifecycleEvents,
} from '../../src/index.ts'
import { packageRoot } from '../package/consumer-project.ts'

const ENDPOINT: Endpoint = {
  connectionId: 1,
  connectionName: 'orders',
  serverAddress: 'rabbit-1',
  serverPort: 5672,
  virtualHost: '/',
}
const cut = new Error('read ECONNRESET')
const lost = new ConnectionLostError('the connection to rabbit-1:5672 was lost: read ECONNRESET', { reason: 'socket' })
const refused = new Error('connect ECONNREFUSED 10.0.0.1:5672')
const unreachable = new ConnectionFailedError(
  'connect to rabbit-1:5672 failed: connect ECONNREFUSED 10.0.0.1:5672 (nothing listens there)',
  { attempts: [{ server: 'rabbit-1:5672', step: 'connect', cause: refused }] },
)
const inequivalent = new ChannelClosedError(
  "channel 3 was closed by the server because of queue.declare: PRECONDITION_FAILED (406), inequivalent arg 'durable' for queue 'orders'",
  { replyCode: 406, replyText: 'PRECONDITION_FAILED - inequivalent arg', method: 'queue.declare' },
)
const cancelled = new ConsumerCancelledError(
  'the server cancelled the consumer of queue "orders": the queue was deleted or moved, or the consumer took too long',
  { queueName: 'orders', consumerTag: 'ctag-1' },
)
const noFigures = (): never => {
  throw new Error('the log asks for no figures')
}
const consumer = { queueName: 'orders', consumerTag: 'ctag-1' }

/** One of each event that has a line. */
const EVENTS: { readonly [N in LifecycleEventName]: LifecycleEvents[N] } = {
  'connection.connecting': { attempt: 2, delayMs: 120, error: unreachable, stats: noFigures },
  'connection.opened': {
    durationMs: 12,
    encrypted: true,
    serverProduct: 'RabbitMQ',
    serverVersion: '4.3.6',
    heartbeatSeconds: 10,
    stats: noFigures,
  },
  'connection.lost': { error: lost, reason: 'socket', openMs: 5_200, willRecover: true },
  'connection.recovering': { attempt: 1, delayMs: 20, error: undefined },
  'connection.recovery_attempt_failed': {
    attempt: 1,
    error: unreachable,
    servers: unreachable.attempts,
    nextDelayMs: 340,
  },
  'connection.recovered': {
    attempts: 2,
    durationMs: 1_240,
    channels: 5,
    exchanges: 2,
    queues: 3,
    bindings: 4,
    consumers: 2,
    stillMissing: 0,
  },
  'connection.recovery_failed': { error: unreachable, attempts: 10, durationMs: 300_000 },
  'connection.closed': { error: undefined },
  'connection.blocked': { reason: 'low on memory' },
  'connection.unblocked': { blockedMs: 3_000, connectionEnded: false },
  'entity.recovery_failed': { entity: 'queue "orders"', error: inequivalent, willRetry: false },
  'queue.renamed': { oldName: 'amq.gen-a', newName: 'amq.gen-b' },
  'channel.closed': {
    channelId: 3,
    error: inequivalent,
    replyCode: 406,
    replyText: 'PRECONDITION_FAILED - inequivalent arg',
    method: 'queue.declare',
  },
  'consumer.cancelled': { ...consumer, error: cancelled, willResume: true },
  'consumer.resumed': { ...consumer, error: cancelled, interruptedMs: 320 },
  'consumer.given_up': { queueName: 'orders', error: cancelled },
  'consumer.slow_handlers': {
    ...consumer,
    slowHandlers: 3,
    handlersRunning: 32,
    longestMs: 61_000,
    deliveryTag: 17,
    messageId: 'order-4711',
  },
  'publisher.resent': { exchangeName: 'orders', count: 7, nacked: 0 },
}

/** The line of an event, changed by `change`. */
function line<N extends LifecycleEventName>(name: N, change: Partial<LifecycleEvents[N]> = {}): string | undefined {
  const details: LifecycleEvents[N] = { ...EVENTS[name], ...change }
  const event: LifecycleEvent<N> = { ...ENDPOINT, ...details }
  return lineOf(name, event)?.slice(0, 2).join(' ')
}

describe('the lines of the log', () => {
  it('are those that the documentation shows', () => {
    const text = readFileSync(join(packageRoot, 'docs/observability.md'), 'utf8')
    const rows = Array.from(text.matchAll(/^\| `([\w.]+)` \| (info|warn|error) \| (.*) \|$/gm), match =>
      match.slice(1, 4),
    )
    const lines = Object.keys(EVENTS).flatMap(name => {
      const [level, ...words] = line(name as LifecycleEventName)?.split(' ') ?? []
      return level === undefined ? [] : [[name, level, words.join(' ')]]
    })
    assert.deepEqual(
      rows,
      lines,
      `\n${lines.map(([name, level, words]) => `| \`${name}\` | ${level} | ${words} |`).join('\n')}\n`,
    )
  })

  it('say if there is no recovery, and what broke the protocol', () => {
    assert.match(
      line('connection.lost', { willRecover: false }) ?? '',
      /^error .*; recovery is off, so it stays closed$/,
    )
    assert.match(
      line('connection.lost', { error: new FrameError('a frame ends with 0') }) ?? '',
      /^warn the connection to rabbit-1:5672 was given up, since the server broke the protocol: a frame ends with 0; /,
    )
  })

  it('name the step at each server of several', () => {
    const servers = ['a:1', 'b:2'].map((server, i) => ({ server, step: i === 0 ? 'connect' : 'tls', cause: cut }))
    assert.match(
      line('connection.recovery_attempt_failed', { servers, nextDelayMs: undefined }) ?? '',
      /^warn attempt 1 to reconnect failed \(steps a:1 connect, b:2 tls\): .*; no other follows$/,
    )
  })

  it('say what is missing after a recovery, and what is tried again', () => {
    assert.match(
      line('connection.recovered', { stillMissing: 2 }) ?? '',
      /; the broker still refuses 2, which are tried again$/,
    )
    assert.match(
      line('entity.recovery_failed', { willRetry: true }) ?? '',
      /; it is tried again, and the rest goes on$/,
    )
  })

  it('leave out what the line of the connection says', () => {
    assert.equal(line('connection.closed', { error: lost }), undefined)
    assert.match(
      line('connection.closed', { error: unreachable }) ?? '',
      /^error connect to rabbit-1:5672 failed: .*; no other attempt follows/,
    )
    assert.equal(line('connection.connecting', { error: undefined }), undefined)
    assert.equal(line('consumer.cancelled', { error: lost }), undefined)
    assert.equal(line('consumer.resumed', { error: lost }), undefined)
    assert.equal(line('connection.unblocked', { connectionEnded: true }), undefined)
    assert.match(line('consumer.cancelled', { willResume: false }) ?? '', /; it gets no more messages$/)
    assert.match(line('consumer.cancelled', { willResume: undefined }) ?? '', /; "onCancel" decides what follows$/)
  })

  it('say why messages were sent again, and which may come twice', () => {
    const resent = (details: Partial<LifecycleEvents['publisher.resent']>) =>
      line('publisher.resent', details)?.replace(/.*sent again/, '…')
    assert.match(
      line('publisher.resent', { exchangeName: undefined, count: 1 }) ?? '',
      /^warn 1 message was sent again/,
    )
    assert.match(
      line('publisher.resent', { exchangeName: '' }) ?? '',
      /^warn 7 messages to the default exchange were sent/,
    )
    assert.equal(resent({}), '…; receivers may see 7 twice, since they may have arrived before')
    assert.equal(resent({ nacked: 7 }), '…, 7 since the broker had refused them (basic.nack)')
    assert.equal(
      resent({ nacked: 3 }),
      '…, 3 since the broker had refused them (basic.nack); receivers may see 4 twice, since they may have arrived before',
    )
  })

  it('of slow handlers of one queue are alike, whatever each of them says', () => {
    const key = (change: object) =>
      lineOf('consumer.slow_handlers', { ...ENDPOINT, ...EVENTS['consumer.slow_handlers'], ...change })?.[2]
    assert.ok(key({}))
    assert.equal(key({ slowHandlers: 4, longestMs: 70_000, deliveryTag: 18, messageId: undefined }), key({}))
    assert.notEqual(key({ queueName: 'invoices' }), key({}))
  })
})
