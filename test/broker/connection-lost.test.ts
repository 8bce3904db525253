import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ConnectionError, ConnectionLostError, connect } from '../../src/index.ts'
import { broker } from '../support/broker.ts'
import { Inbox } from '../support/inbox.ts'
import { rejection } from '../support/rejection.ts'
import { openRelay } from '../support/relay.ts'
import { Stopwatch } from '../support/stopwatch.ts'

describe('a connection that breaks', { timeout: 60_000 }, () => {
  it('is closed within a second, its channels too, and onError is called', async () => {
    await using relay = await openRelay(broker.host, broker.port)
    const errors = new Inbox<Error>()
    const closed = new Inbox<Error | undefined>()
    await using protocol = await connect(broker.url, {
      host: '127.0.0.1',
      port: relay.port,
      recovery: false,
      onError: error => errors.add(error),
    })
    protocol.on('closed', error => closed.add(error))
    const channel = await protocol.channel()

    using stopwatch = new Stopwatch()
    relay.cut()
    const reported = await errors.next()
    assert.ok(reported instanceof ConnectionLostError)
    assert.ok(reported.reason === 'socket' || reported.reason === 'end', reported.reason)
    assert.ok((await closed.next()) instanceof ConnectionLostError)
    assert.ok(stopwatch.elapsed < 1000)
    assert.equal(protocol.state, 'closed')
    assert.equal(channel.isOpen, false)
    assert.equal(errors.received.length, 1)
  })

  it('rejects what is pending and what comes after it, and the wait for its end', async () => {
    await using relay = await openRelay(broker.host, broker.port)
    await using protocol = await connect(broker.url, { host: '127.0.0.1', port: relay.port, recovery: false })
    const channel = await protocol.channel()
    await channel.confirmSelect()

    const ending = rejection(protocol.waitClosed(), ConnectionLostError)
    const pending = [
      rejection(channel.queueDeclare(), ConnectionLostError),
      rejection(channel.waitClosed(), ConnectionLostError),
      rejection(protocol.channel(), ConnectionLostError),
    ]
    const publishing = rejection(channel.publish('payload', '', 'nowhere'), ConnectionLostError)
    relay.cut()
    await ending
    await Promise.all(pending)
    assert.equal((await publishing).outcome, 'unknown')

    await rejection(channel.queueDeclare(), ConnectionError)
    const late = await rejection(channel.publish('payload', '', 'nowhere'), ConnectionError)
    assert.equal(late.outcome, 'notSent')
    await rejection(protocol.channel(), ConnectionError)
  })
})
