import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AbortError } from '../../src/index.ts'
import { Mutex } from '../../src/lib/mutex.ts'
import { rejection } from '../support/rejection.ts'
import { follow, turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

describe('A mutex', () => {
  it('is given to one at a time, first come, first served', async () => {
    const mutex = new Mutex(new VirtualClock())
    const release = await mutex.acquire('first')
    const second = follow(mutex.acquire('second'))
    const third = follow(mutex.acquire('third'))
    await turn()
    assert.deepEqual([second.state, third.state], ['pending', 'pending'])
    release()
    release()
    await turn()
    assert.deepEqual([second.state, third.state], ['resolved', 'pending'])
    second.value?.()
    await turn()
    assert.equal(third.state, 'resolved')
    third.value?.()
    await mutex.acquire('fourth')
  })

  it('goes to no caller that comes between a release and the one it was given to', async () => {
    const mutex = new Mutex(new VirtualClock())
    const release = await mutex.acquire('first')
    const second = follow(mutex.acquire('second'))
    release()
    const third = follow(mutex.acquire('third'))
    await turn()
    assert.deepEqual([second.state, third.state], ['resolved', 'pending'])
  })

  it('is not given to one that was aborted', async () => {
    const mutex = new Mutex(new VirtualClock())
    const release = await mutex.acquire('first')
    const controller = new AbortController()
    const aborted = rejection(mutex.acquire('a publish', controller.signal), AbortError)
    const next = follow(mutex.acquire('next'))
    controller.abort()
    assert.match((await aborted).message, /^a publish was aborted/)
    release()
    await turn()
    assert.equal(next.state, 'resolved')
  })
})
