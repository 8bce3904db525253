import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { connect } from '../../src/index.ts'
import { startBroker } from '../../src/testing/index.ts'

describe('A broker for tests with other users', () => {
  it('logs in the first one, by its URL and in memory', async () => {
    await using broker = await startBroker({ users: { 'a:b': { password: 'p@s/s' }, other: { password: 'x' } } })
    await using _overTcp = await connect(broker.url)
    await using _inMemory = await connect(broker.inMemory)
    assert.deepEqual(
      broker.connections.map(({ login }) => login),
      ['a:b', 'a:b'],
    )
  })
})
