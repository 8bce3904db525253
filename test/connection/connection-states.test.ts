import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type AmqpProtocol, ConnectionClosedError, ConnectionLostError, connect } from '../../src/index.ts'
import * as methods from '../../src/protocol/methods.ts'
import { converse, converseOnChannel, FakeBroker, startConsumer } from '../support/fake-broker.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

/** What a protocol emits, with its state at that moment. */
function diary(protocol: AmqpProtocol): string[] {
  const lines: string[] = []
  protocol.on('disconnected', error => lines.push(`disconnected ${error.name}, ${protocol.state}`))
  protocol.on('recovering', attempt => lines.push(`recovering ${attempt}, ${protocol.state}`))
  protocol.on('recovered', () => lines.push(`recovered, ${protocol.state}`))
  protocol.on('closed', error => lines.push(`closed ${error?.name}, ${protocol.state}`))
  return lines
}

describe('a connection', () => {
  it('is open, closing and closed when the program closes it', async () => {
    const { peer, protocol } = await converse()
    const lines = diary(protocol)
    assert.equal(protocol.state, 'open')
    peer.answers.delete('connection.close')
    const closing = protocol.close()
    assert.equal(protocol.state, 'closing')
    await peer.expect(methods.ConnectionClose)
    peer.reply(0, methods.ConnectionCloseOk, {})
    await closing
    assert.equal(protocol.state, 'closed')
    assert.deepEqual(lines, ['closed undefined, closed'])
    await protocol.waitClosed()
  })

  it('is closed after the limit if the server does not agree', async () => {
    const clock = new VirtualClock()
    const { peer, protocol } = await converse({ clock })
    peer.mute()
    const closing = follow(protocol.close({ timeout: 1_000 }))
    await clock.advance(999)
    assert.equal(closing.state, 'pending')
    await clock.advance(1)
    assert.equal(closing.state, 'resolved')
    assert.equal(protocol.state, 'closed')
  })

  it('closes as it was asked to where it is lost while what is under way comes to its end', async () => {
    const clock = new VirtualClock()
    const broker = new FakeBroker()
    const errors: Error[] = []
    const protocol = await connect({
      clock,
      heartbeat: 0,
      createTransport: broker.createTransport,
      onError: error => errors.push(error),
    })
    const peer = await broker.accept()
    const channel = await protocol.channel()
    const answered = startConsumer({ peer, channel }, () => new Promise(() => {}), { consumerTag: 'c' })
    await answered
    const publishing = follow(channel.queueDeclare('q'))
    const lines = diary(protocol)
    const closing = follow(protocol.close({ timeout: 5_000 }))
    await turn()
    assert.equal(protocol.state, 'closing')
    peer.transport.break(new Error('read ECONNRESET'))
    await clock.advance(0)
    assert.equal(closing.state, 'resolved')
    assert.ok(publishing.error instanceof ConnectionLostError)
    assert.deepEqual(lines, ['closed undefined, closed'])
    await protocol.waitClosed()
    assert.deepEqual(errors, [])
    assert.equal(broker.peers.length, 1)
  })

  it('is closed with the server’s words if the server closes it and nothing is recovered', async () => {
    const { peer, protocol, errors } = await converse()
    const lines = diary(protocol)
    peer.reply(0, methods.ConnectionClose, { replyCode: 320, replyText: 'CONNECTION_FORCED', classId: 0, methodId: 0 })
    const { replyCode } = await rejection(protocol.waitClosed(), ConnectionClosedError)
    assert.equal(replyCode, 320)
    assert.equal(lines.at(-1), 'closed ConnectionClosedError, closed')
    assert.equal(errors.length, 1, 'nobody waited for it')
    await rejection(protocol.channel(), ConnectionClosedError)
  })

  it('does not report its end if a promise was rejected with it', async () => {
    const { peer, channel, errors } = await converseOnChannel()
    const pending = rejection(channel.queueDeclare('q'), ConnectionLostError)
    await turn()
    peer.transport.break(new Error('read ECONNRESET'))
    await pending
    await turn()
    assert.deepEqual(errors, [])
  })
})
