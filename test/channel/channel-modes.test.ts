import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelModes } from '../../src/channel/channel-modes.ts'

describe('the modes of a channel', () => {
  it('have the limit that was written last, for each consumer and for the channel', () => {
    const modes = new ChannelModes()
    modes.qosWritten({ prefetchCount: 1 })
    modes.qosWritten({ prefetchCount: 2 })
    modes.qosWritten({ prefetchCount: 30, connectionGlobal: true })
    assert.equal(modes.prefetch?.prefetchCount, 2)
    assert.equal(modes.globalPrefetch?.prefetchCount, 30)
  })

  it('take a limit back that the broker refused', () => {
    const modes = new ChannelModes()
    const [one, two, three] = [1, 2, 3].map(prefetchCount => modes.qosWritten({ prefetchCount }))
    one?.accept()
    two?.refuse()
    assert.equal(modes.prefetch?.prefetchCount, 3)
    three?.refuse()
    assert.equal(modes.prefetch?.prefetchCount, 1)
  })

  it('take a transaction from one point to the next, and nowhere else', () => {
    const modes = new ChannelModes()
    assert.equal(modes.transactionTo('open'), false)
    assert.equal(modes.transactionTo('lost'), false)
    assert.equal(modes.transactionTo('idle'), true)
    assert.equal(modes.transactionTo('lost'), false, 'it had done nothing')
    assert.equal(modes.transactionTo('open'), true)
    assert.equal(modes.transactionTo('lost'), true)
    assert.equal(modes.transactionTo('open'), false)
    assert.equal(modes.transactionTo('idle'), true)
    assert.equal(modes.transactionTo('none'), true)
    assert.equal(modes.transaction, 'none')
  })
})
