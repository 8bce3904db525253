import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Confirms } from '../../src/broker/confirms.ts'

/** More than a call can have arguments. */
const MANY = 200_000

function sent(confirms: Confirms): (readonly [boolean, number, boolean])[] {
  const all: (readonly [boolean, number, boolean])[] = []
  confirms.take((...one) => all.push(one))
  return all
}

describe('The confirms of a channel of the broker', () => {
  it('go together up to the oldest that is open, of any number', () => {
    const confirms = new Confirms()
    for (let tag = 1; tag <= MANY; tag++) confirms.opened(tag)
    assert.deepEqual(sent(confirms), [])
    for (const tag of [1, 2, 4, MANY]) confirms.settled(tag, true)
    assert.deepEqual(sent(confirms), [
      [true, 2, true],
      [true, 4, false],
      [true, MANY, false],
    ])
    for (let tag = 3; tag < MANY; tag++) if (tag !== 4) confirms.settled(tag, tag !== 5)
    const [first, second, ...others] = sent(confirms)
    assert.deepEqual(first, [true, 3, true])
    assert.deepEqual(second, [true, 6, false])
    assert.deepEqual(others.at(-1), [false, 5, false])
  })
})
