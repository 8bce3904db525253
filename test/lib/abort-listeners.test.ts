import assert from 'node:assert/strict'
import { EventEmitter, getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import { Cancellation, onAbort } from '../../src/lib/abort-listeners.ts'

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

describe('a signal that is an object of the program’s', () => {
  /** As a polyfill may be: on an EventEmitter, which takes nothing but functions. */
  function polyfill() {
    const emitter = new EventEmitter()
    const signal = {
      aborted: false,
      addEventListener: (name: string, listener: () => void) => emitter.on(name, listener),
      removeEventListener: (name: string, listener: () => void) => emitter.off(name, listener),
    }
    return { emitter, signal: signal as unknown as AbortSignal }
  }

  it('may take functions alone', () => {
    const { emitter, signal } = polyfill()
    const called: string[] = []
    onAbort(signal, () => called.push('gone')).cancel()
    assert.equal(emitter.listenerCount('abort'), 0)
    onAbort(signal, () => called.push('first'))
    onAbort(signal, () => called.push('second'))
    emitter.emit('abort')
    assert.deepEqual(called, ['first', 'second'])
    assert.equal(emitter.listenerCount('abort'), 0)
  })

  it('harms no caller if it throws: that surfaces', async () => {
    const surfaced: unknown[] = []
    const unhandled = (error: unknown): void => void surfaced.push(error)
    const before = process.listeners('unhandledRejection')
    process.removeAllListeners('unhandledRejection')
    process.on('unhandledRejection', unhandled)
    const errors = [new Error('add'), new Error('remove')]
    const signal = {
      aborted: false,
      addEventListener: () => {
        throw errors[0]
      },
      removeEventListener: () => {
        throw errors[1]
      },
    } as unknown as AbortSignal
    const registration = onAbort(signal, () => {})
    registration.cancel()
    await new Promise(resolve => setImmediate(resolve))
    process.off('unhandledRejection', unhandled)
    for (const listener of before) process.on('unhandledRejection', listener)
    assert.deepEqual(surfaced, errors)
  })
})

describe('a cancellation', () => {
  it('is over once, for the first reason, and calls in order those that have not gone', () => {
    const cancellation = new Cancellation()
    const called: string[] = []
    onAbort(cancellation, () => called.push('first'))
    onAbort(cancellation, () => called.push('second')).cancel()
    onAbort(cancellation, () => called.push('third'))
    cancellation.throwIfAborted()
    const reason = new Error('enough')
    cancellation.abort(reason)
    cancellation.abort(new Error('more than enough'))
    assert.deepEqual(called, ['first', 'third'])
    assert.equal(cancellation.reason, reason)
    assert.throws(() => cancellation.throwIfAborted(), reason)
  })

  it('has the reason of an AbortController if it is given none', () => {
    const [cancellation, controller] = [new Cancellation(), new AbortController()]
    cancellation.abort()
    controller.abort()
    assert.deepEqual(cancellation.reason, controller.signal.reason)
  })

  it('takes a signal along, made before or afterwards', () => {
    const cancellation = new Cancellation()
    const before = cancellation.signal
    assert.equal(cancellation.signal, before, 'one for all who ask')
    assert.equal(cancellation.registrations.size, 1)
    assert.equal(before.aborted, false)
    const reason = new Error('enough')
    cancellation.abort(reason)
    assert.equal(before.reason, reason)
    assert.equal(cancellation.signal.reason, reason)
    const late = new Cancellation()
    late.abort(reason)
    assert.equal(late.signal.reason, reason)
  })
})
