import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import { onAbort } from '../../src/lib/abort-listeners.ts'

describe('onAbort', () => {
  it('has one listener for all who wait for a signal, and none once they have gone', () => {
    const { signal } = new AbortController()
    const registrations = Array.from({ length: 1_000 }, () => onAbort(signal, () => {}))
    assert.equal(getEventListeners(signal, 'abort').length, 1)
    for (const registration of registrations) registration.cancel()
    assert.equal(getEventListeners(signal, 'abort').length, 0)
    onAbort(signal, () => {})
    assert.equal(getEventListeners(signal, 'abort').length, 1)
  })

  it('calls them in order, each once, and none that was cancelled, by one of them even', () => {
    const controller = new AbortController()
    const { signal } = controller
    const called: string[] = []
    onAbort(signal, () => called.push('first'))
    onAbort(signal, () => {
      called.push('second')
      third.cancel()
    })
    const third = onAbort(signal, () => called.push('third'))
    onAbort(signal, () => called.push('fourth')).cancel()
    onAbort(signal, () => called.push('fifth'))
    controller.abort()
    assert.deepEqual(called, ['first', 'second', 'fifth'])
    assert.equal(getEventListeners(signal, 'abort').length, 0)
    third.cancel()
  })

  it('keeps signals apart', () => {
    const [one, other] = [new AbortController(), new AbortController()]
    const called: string[] = []
    onAbort(one.signal, () => called.push('one'))
    onAbort(other.signal, () => called.push('other'))
    other.abort()
    assert.deepEqual(called, ['other'])
  })
})
