import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { TagGate } from '../../../src/channel/consume/tag-gate.ts'
import { FakeChannelPort } from '../../support/fake-channel-port.ts'
import { rejection } from '../../support/rejection.ts'

describe('TagGate', () => {
  it('counts each waiter once, also if its method fails at once', async () => {
    const port = new FakeChannelPort()
    const gate = new TagGate(port)
    const answered = gate.written('tag', 'cancel')
    const fail = (): never => {
      throw new Error('in use')
    }
    const waiting = rejection(gate.pass('tag', 'consume', { what: 'basic.consume', site: undefined }, fail), Error)
    assert.equal(port.waiting, 1)
    answered()
    assert.equal((await waiting).message, 'in use')
    assert.equal(port.waiting, 0)
  })
})
