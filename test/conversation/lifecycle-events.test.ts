import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelClosedError, type ConnectOptions, ConsumerCancelledError } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { Recoverable } from '../support/agreeable-broker.ts'
import { methodFrame } from '../support/fake-broker.ts'
import { SeenLifecycle } from '../support/lifecycle.ts'
import { rejection } from '../support/rejection.ts'
import { turn } from '../support/settled.ts'

const INFO = { serverAddress: 'localhost', serverPort: 5672, virtualHost: '/' }
const FORBIDDEN = { replyCode: 403, replyText: 'ACCESS_REFUSED - Login was refused' }
let made = 0

/** A recoverable connection, and the events of its diagnostics channels. */
async function seen(options: ConnectOptions = {}) {
  const connectionName = `lifecycle ${++made}`
  const lifecycle = new SeenLifecycle(connectionName)
  const the = await Recoverable.open({ connectionName, ...options })
  return { the, lifecycle, info: { connectionId: the.protocol.stats().connectionId, connectionName, ...INFO } }
}

/** Have the next `count` logins refused. */
function refuseLogins(the: Recoverable, count: number): void {
  const { prepare } = the.broker
  let left = count
  the.broker.prepare = peer => {
    prepare(peer)
    if (left-- <= 0) return
    const close = { ...FORBIDDEN, classId: 10, methodId: 11 }
    peer.answers.set('connection.start-ok', () => methodFrame(0, methods.ConnectionClose, close))
  }
}

describe('the diagnostics channels of lifecycle events', () => {
  it('say what a recovery brought back, and how long it took', async () => {
    const { the, lifecycle, info } = await seen()
    await the.protocol.exchangeDeclare('orders', 'topic')
    await the.protocol.queueDeclare('paid')
    await the.protocol.queueBind('paid', 'orders', '#')
    await the.protocol.consumer('paid', () => {})
    await the.clock.advance(1_000)
    await the.recover()
    const [opened] = lifecycle.of('connection.opened')
    assert.deepEqual(opened, {
      ...info,
      durationMs: 0,
      encrypted: false,
      serverProduct: opened?.serverProduct,
      serverVersion: opened?.serverVersion,
      heartbeatSeconds: 0,
      stats: opened?.stats,
    })
    const [lost] = lifecycle.of('connection.lost')
    assert.match(lost?.error.message ?? '', /^the connection to localhost:5672 was lost: cut$/)
    assert.deepEqual(lost, { ...info, error: lost?.error, reason: 'socket', openMs: 1_000, willRecover: true })
    const [recovered] = lifecycle.of('connection.recovered')
    const { durationMs = -1 } = recovered ?? {}
    assert.ok(durationMs >= 0 && durationMs <= 100, String(durationMs))
    const counts = { channels: 1, exchanges: 1, queues: 1, bindings: 1, consumers: 1, stillMissing: 0 }
    assert.deepEqual(recovered, { ...info, attempts: 1, durationMs, ...counts })
    const [cancelled] = lifecycle.of('consumer.cancelled')
    assert.equal(cancelled?.queueName, 'paid')
    assert.equal(cancelled?.error, lost?.error)
    const [resumed] = lifecycle.of('consumer.resumed')
    assert.equal(resumed?.consumerTag, cancelled?.consumerTag)
    await the.protocol.close()
    assert.deepEqual(lifecycle.of('connection.closed'), [{ ...info, error: undefined }])
    assert.deepEqual(
      lifecycle.names.filter(name => name.startsWith('connection.')),
      [
        'connection.connecting',
        'connection.opened',
        'connection.lost',
        'connection.recovering',
        'connection.recovered',
        'connection.closed',
      ],
    )
  })

  it('say of each attempt that failed which server, which step and why', async () => {
    const { the, lifecycle, info } = await seen()
    refuseLogins(the, 2)
    await the.recover()
    const failed = lifecycle.of('connection.recovery_attempt_failed')
    assert.deepEqual(
      failed.map(({ attempt }) => attempt),
      [1, 2],
    )
    const delays = lifecycle.of('connection.recovering').map(({ delayMs }) => delayMs)
    for (const [index, event] of failed.entries()) {
      assert.match(event.error.message, /403/)
      assert.deepEqual(event, {
        ...info,
        attempt: index + 1,
        error: event.error,
        servers: event.servers,
        nextDelayMs: delays[index + 1],
      })
      assert.deepEqual(the.seen('recoveryAttemptFailed')[index], [index + 1, event.error, 'main'])
    }
    assert.equal(lifecycle.of('connection.recovered')[0]?.attempts, 3)
  })

  it('say that a recovery gave up before they say that the connection is closed', async () => {
    const { the, lifecycle } = await seen({ recovery: { maxAttempts: 2 } })
    refuseLogins(the, 2)
    const closed = new Promise(resolve => the.protocol.once('closed', resolve))
    the.peer.transport.break(new Error('cut'))
    await the.clock.until(closed)
    assert.deepEqual(
      lifecycle.of('connection.recovery_attempt_failed').map(({ nextDelayMs }) => nextDelayMs === undefined),
      [false, true],
    )
    const [gaveUp] = lifecycle.of('connection.recovery_failed')
    assert.equal(gaveUp?.attempts, 2)
    assert.match(gaveUp?.error.message ?? '', /403/)
    assert.deepEqual(lifecycle.names.slice(-2), ['connection.recovery_failed', 'connection.closed'])
    assert.match(lifecycle.of('connection.closed')[0]?.error?.message ?? '', /the recovery gave up/)
  })

  it('say for how long the broker blocked', async () => {
    const { the, lifecycle, info } = await seen()
    the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' }))
    await the.clock.advance(3_000)
    the.peer.send(methodFrame(0, methods.ConnectionUnblocked, {}))
    await turn()
    assert.deepEqual(lifecycle.of('connection.blocked'), [{ ...info, reason: 'low on memory' }])
    assert.deepEqual(lifecycle.of('connection.unblocked'), [{ ...info, blockedMs: 3_000, connectionEnded: false }])
  })

  it('say of a block that its connection ended: the broker may block the next one, too', async () => {
    const { the, lifecycle, info } = await seen()
    the.peer.send(methodFrame(0, methods.ConnectionBlocked, { reason: 'low on memory' }))
    await the.clock.advance(2_000)
    the.peer.transport.break(new Error('cut'))
    await turn()
    assert.deepEqual(lifecycle.of('connection.unblocked'), [{ ...info, blockedMs: 2_000, connectionEnded: true }])
  })

  it('name a channel that the server closed, and what was at fault', async () => {
    const { the, lifecycle, info } = await seen()
    const channel = await the.protocol.channel()
    const { channelId } = channel
    the.refuse.set('queue.declare q', { replyCode: 406, replyText: 'PRECONDITION_FAILED - other arguments' })
    await rejection(channel.queueDeclare('q'), ChannelClosedError)
    const [closed] = lifecycle.of('channel.closed')
    assert.ok(closed?.error instanceof ChannelClosedError)
    const { error } = closed
    const details = { channelId, error, replyCode: 406, replyText: 'PRECONDITION_FAILED - other arguments' }
    assert.deepEqual(closed, { ...info, ...details, method: 'queue.declare' })
    // Closed by the client anyway, and its call rejects.
    await rejection(the.protocol.queueDeclare('q'), ChannelClosedError)
    assert.equal(lifecycle.of('channel.closed').length, 1)
  })

  it('say that onCancel decides, and that a consumer is given up', async () => {
    const { the, lifecycle, info } = await seen()
    const consumer = await the.protocol.consumer('q', () => {}, { onCancel: () => 'close' })
    const { consumerTag = '' } = consumer.stats()
    the.peer.send(methodFrame(1, methods.BasicCancel, { consumerTag, noWait: true }))
    await the.clock.until(new Promise<void>(resolve => consumer.once('closed', () => resolve())))
    const [{ error } = {}] = lifecycle.of('consumer.given_up')
    assert.ok(error instanceof ConsumerCancelledError)
    assert.deepEqual(
      lifecycle.all.slice(-2).map(({ event }) => event),
      [
        { ...info, queueName: 'q', consumerTag, error, willResume: undefined },
        { ...info, queueName: 'q', error },
      ],
    )
  })

  it('report the cancel of a consumer once, on either level', async () => {
    const { the, lifecycle, info } = await seen()
    const channel = await the.protocol.channel()
    const { consumerTag } = await channel.basicConsume(() => {}, 'low')
    const consumer = await the.protocol.consumer('high')
    const { consumerTag: other = '' } = consumer.stats()
    for (const [number, tag] of [
      [1, consumerTag],
      [2, other],
    ] as const) {
      the.peer.send(methodFrame(number, methods.BasicCancel, { consumerTag: tag, noWait: true }))
    }
    const resumed = new Promise<void>(resolve => consumer.once('resumed', resolve))
    await the.clock.until(resumed)
    const cancelled = lifecycle.of('consumer.cancelled')
    for (const { error } of cancelled) assert.ok(error instanceof ConsumerCancelledError)
    assert.deepEqual(
      cancelled.map(({ error, ...rest }) => rest),
      [
        { ...info, queueName: 'low', consumerTag, willResume: false },
        { ...info, queueName: 'high', consumerTag: other, willResume: true },
      ],
    )
    const [again, ...others] = lifecycle.of('consumer.resumed')
    assert.deepEqual(others, [])
    assert.deepEqual(again, {
      ...info,
      queueName: 'high',
      consumerTag: consumer.stats().consumerTag,
      interruptedMs: 50,
      error: cancelled[1]?.error,
    })
  })

  it('come before the event of the program, whose state is that of after the event', async () => {
    const { the, lifecycle } = await seen()
    const states: unknown[] = []
    the.protocol.on('disconnected', () => states.push(the.protocol.state, lifecycle.names.at(-1)))
    the.peer.transport.break(new Error('cut'))
    await turn()
    assert.deepEqual(states, ['recovering', 'connection.lost'])
    await the.protocol.close()
  })
})
