import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { EventEmitter, once } from 'node:events'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { emitSafely, keepListenerContexts } from '../../src/lib/safe-emitter.ts'
import { hostileForms } from '../support/hostile-values.ts'

interface Events {
  told: [what: string]
}

const ADD = ['on', 'addListener', 'prependListener', 'once', 'prependOnceListener'] as const
const ignore = (): void => {}

function refuse(event: string | symbol): void {
  if (event === 'refused') throw new RangeError('no such event')
}

class SafeEmitter<E extends Record<keyof E, unknown[]>> extends EventEmitter<E> {
  static {
    keepListenerContexts(SafeEmitter.prototype, refuse)
  }
}

describe('An emitter that keeps the contexts of its listeners', () => {
  for (const add of ADD) {
    it(`asks before it adds a listener by ${add}`, () => {
      const emitter: EventEmitter = new SafeEmitter()
      assert.throws(() => emitter[add]('refused', ignore), RangeError)
      assert.equal(emitter.listenerCount('refused'), 0)
    })

    it(`runs a listener added by ${add} in the context in which it was added, and finds it by itself`, () => {
      const storage = new AsyncLocalStorage<string>()
      const emitter = new SafeEmitter<Events>()
      const heard: unknown[] = []
      function listener(this: unknown, what: string): void {
        heard.push(what, storage.getStore(), this === emitter)
      }
      storage.run('added', () => emitter[add]('told', listener))
      assert.deepEqual(emitter.listeners('told'), [listener])
      assert.equal(emitter.listenerCount('told'), 1)
      assert.equal(emitter.listenerCount('told', listener), 1)
      storage.run('told', () => emitSafely(emitter, assert.ifError, 'told', 'x'))
      assert.deepEqual(heard, ['x', 'added', true])
      const left = add.toLowerCase().includes('once') ? 0 : 1
      assert.equal(emitter.listenerCount('told'), left)
      emitter.off('told', listener)
      assert.equal(emitter.listenerCount('told'), 0)
    })

    it(`forgets a listener added by ${add} when it is taken off before anything was emitted`, () => {
      const emitter = new SafeEmitter<Events>()
      const listener = (): void => assert.fail()
      emitter[add]('told', listener).removeListener('told', listener)
      emitSafely(emitter, assert.ifError, 'told', 'x')
      assert.equal(emitter.emit('told', 'x'), false)
    })
  }

  it('keeps the order of listeners, and emits new ones, as an EventEmitter does', () => {
    const calls = (emitter: EventEmitter): unknown[] => {
      const heard: unknown[] = []
      emitter.on('newListener', (event, listener) => heard.push(event, listener.name))
      emitter.on('told', function second() {
        heard.push(2)
      })
      emitter.prependOnceListener('told', function first() {
        heard.push(1)
      })
      emitter.once('told', function third() {
        heard.push(3)
      })
      emitter.emit('told')
      emitter.emit('told')
      return heard
    }
    assert.deepEqual(calls(new SafeEmitter<Record<string, unknown[]>>()), calls(new EventEmitter()))
  })

  it('takes no listener that is none', () => {
    assert.throws(() => new SafeEmitter<Events>().on('told', 5 as never), { code: 'ERR_INVALID_ARG_TYPE' })
  })

  it('serves events.once', async () => {
    const emitter = new SafeEmitter<Events>()
    const told = once(emitter, 'told')
    emitSafely(emitter, assert.ifError, 'told', 'x')
    assert.deepEqual(await told, ['x'])
  })
})

describe('emitSafely', () => {
  for (const [form, hostile] of Object.entries(hostileForms('thrown'))) {
    it(`calls the other listeners if one ${form}`, async () => {
      const emitter = new SafeEmitter<Events>()
      const heard: string[] = []
      const failures: unknown[] = []
      emitter.on('told', hostile)
      emitter.on('told', what => void heard.push(what))
      emitSafely(emitter, thrown => failures.push(thrown), 'told', 'x')
      assert.deepEqual(heard, ['x'])
      await turn()
      assert.deepEqual(failures, ['thrown'])
    })
  }

  it('calls those that listened when it began, also if one takes another off', () => {
    const emitter = new SafeEmitter<Events>()
    const heard: string[] = []
    const last = (): void => void heard.push('last')
    emitter.on('told', () => {
      emitter.off('told', last)
      emitter.on('told', ignore)
    })
    emitter.on('told', last)
    emitSafely(emitter, assert.ifError, 'told', 'x')
    assert.deepEqual(heard, ['last'])
  })
})
