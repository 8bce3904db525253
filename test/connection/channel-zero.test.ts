import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelZero } from '../../src/connection/channel-zero.ts'
import { closedByProgram } from '../../src/connection/close-reasons.ts'
import { ProtocolError } from '../../src/errors.ts'
import { ConnectionSecure } from '../../src/protocol/methods.ts'
import { methodFrame } from '../support/fake-broker.ts'

describe('channel 0', () => {
  it('makes no error at the end for a question that was answered in the handshake', async () => {
    const zero = new ChannelZero({} as never, {} as never, () => {})
    assert.equal(await zero.ask('password', () => 'secret'), 'secret')
    zero.opened()
    const ending = closedByProgram('localhost:5672')
    zero.fail(ending)
    assert.equal(ending.isReported, false)
  })

  it('rejects a question that is open when the connection ends', async () => {
    const zero = new ChannelZero({} as never, {} as never, () => {})
    const asked = zero.ask('password', () => new Promise<string>(() => {}))
    zero.fail(closedByProgram('localhost:5672'))
    await assert.rejects(asked, { code: 'CONNECTION_CLOSED' })
  })

  it('keeps no more than some methods that come while the program is asked for a password', () => {
    const zero = new ChannelZero({} as never, {} as never, () => {})
    void zero.ask('password', () => new Promise<string>(() => {}))
    const frame = methodFrame(0, ConnectionSecure, { challenge: 'again' })
    const receive = (): number => zero.methodFrame(frame, 7, frame.length - 1)
    for (let n = 0; n < 100; n++) receive()
    assert.throws(receive, ProtocolError)
  })

  it('ends a handshake whose connection ended just after connection.tune, and starts no heartbeats', () => {
    let tuned = 0
    const zero = new ChannelZero({} as never, { tuned: () => tuned++ } as never, () => {})
    zero.fail(closedByProgram('localhost:5672'))
    assert.throws(() => zero.tuned({} as never), { code: 'CONNECTION_CLOSED' })
    assert.equal(tuned, 0)
  })
})
