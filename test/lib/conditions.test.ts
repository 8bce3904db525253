import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Conditions } from '../../src/lib/conditions.ts'
import { follow, turn } from '../support/settled.ts'

describe('Conditions', () => {
  it('resolve at once where they are true, and else when a check finds them so, each on its own', async () => {
    const conditions = new Conditions()
    let count = 0
    await conditions.until(() => true)
    const [first, second] = [follow(conditions.until(() => count > 0)), follow(conditions.until(() => count > 1))]
    conditions.check()
    count = 1
    await turn()
    assert.equal(first.state, 'pending', 'nothing was checked')
    conditions.check()
    await turn()
    assert.deepEqual([first.state, second.state], ['resolved', 'pending'])
    count = 2
    conditions.check()
    conditions.check()
    await turn()
    assert.equal(second.state, 'resolved')
  })
})
