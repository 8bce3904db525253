import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { atMost, type Lifetime } from '../../src/lib/at-most.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

class Owner implements Lifetime {
  readonly clock = new VirtualClock()
  ending: unknown
  readonly listeners = new Set<() => void>()

  after(milliseconds: number, run: () => void) {
    return this.clock.after(milliseconds, run)
  }
  onEnded(run: () => void): () => void {
    this.listeners.add(run)
    return () => this.listeners.delete(run)
  }
}

const never = new Promise<void>(() => {})

describe('atMost', () => {
  it('waits for a promise, however it is settled, and leaves nothing behind', async () => {
    const owner = new Owner()
    await atMost(owner, 100, Promise.resolve())
    await atMost(owner, Number.POSITIVE_INFINITY, Promise.reject(new Error('it failed')))
    assert.deepEqual([owner.clock.pending, owner.listeners.size], [0, 0])
  })

  it('waits no longer than that', async () => {
    const owner = new Owner()
    const waiting = follow(atMost(owner, 100, never))
    await owner.clock.advance(99)
    assert.equal(waiting.state, 'pending')
    await owner.clock.advance(1)
    assert.equal(waiting.state, 'resolved')
    assert.equal(owner.listeners.size, 0)
  })

  it('does not wait past the end of its owner, nor after it', async () => {
    const owner = new Owner()
    const waiting = follow(atMost(owner, 100, never))
    for (const run of [...owner.listeners]) run()
    await turn()
    assert.equal(waiting.state, 'resolved')
    assert.equal(owner.clock.pending, 0)
    owner.ending = 'it is over'
    await atMost(owner, 100, never)
  })
})
