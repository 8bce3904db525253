import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Fifo } from '../../src/lib/fifo.ts'

describe('Fifo', () => {
  it('behaves as an array does, whatever is asked of it', () => {
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ kind: fc.constant('push' as const), count: fc.integer({ min: 1, max: 900 }) }),
      },
      {
        weight: 6,
        arbitrary: fc.record({ kind: fc.constant('shift' as const), count: fc.integer({ min: 1, max: 900 }) }),
      },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('takeAll' as const) }) },
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), steps => {
        const fifo = new Fifo<{ readonly number: number }>()
        let model: { readonly number: number }[] = []
        let number = 0
        for (const each of steps) {
          if (each.kind === 'push') {
            for (let i = 0; i < each.count; i++) {
              const item = { number: number++ }
              fifo.push(item)
              model.push(item)
            }
          } else if (each.kind === 'shift') {
            for (let i = 0; i < each.count; i++) assert.equal(fifo.shift(), model.shift())
          } else {
            assert.deepEqual(fifo.takeAll(), model)
            model = []
          }
          assert.equal(fifo.length, model.length)
          assert.equal(fifo.peek(), model[0])
        }
        assert.deepEqual(fifo.takeAll(), model)
      }),
    )
  })

  it('keeps nothing of what was taken', () => {
    const fifo = new Fifo<object>()
    fifo.push({})
    fifo.push({})
    fifo.shift()
    fifo.shift()
    assert.equal(fifo.shift(), undefined)
    assert.equal(fifo.length, 0)
  })

  // In time that grows with the square of the length, this takes minutes.
  it('does not slow down with its length', { timeout: 60_000 }, () => {
    const fifo = new Fifo<number>()
    for (let i = 0; i < 1_000_000; i++) fifo.push(i)
    for (let i = 0; i < 1_000_000; i++) assert.equal(fifo.shift(), i)
  })
})
