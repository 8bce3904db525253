import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { SetIndex } from '../../src/lib/set-index.ts'

describe('SetIndex', () => {
  it('has the members of each key, and no key without one', () => {
    const index = new SetIndex<number>()
    index.add('a', 1)
    index.add('a', 2)
    index.add('b', 3)
    index.remove('b', 3)
    index.remove('c', 4)
    assert.deepEqual([...index.of('a')], [1, 2])
    assert.deepEqual([...index.of('b')], [])
    assert.deepEqual([...index.of('c')], [])
  })
})
