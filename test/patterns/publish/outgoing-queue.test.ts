import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type PendingPublish, pendingPublish, promiseOf, refuse } from '../../../src/channel/publish/message.ts'
import { OutgoingQueue } from '../../../src/patterns/publish/outgoing-queue.ts'

let made = 0

function message(): PendingPublish {
  const publish = pendingPublish(String(made++), '', 'q', undefined, false, true)
  promiseOf(publish).catch(() => {})
  return publish
}

describe('The queue of a publisher', () => {
  it('behaves as an array does, whatever is asked of it', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('push' as const), count: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ kind: fc.constant('write' as const), count: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ kind: fc.constant('lose' as const), count: fc.integer({ min: 0, max: 50 }) }),
      fc.record({ kind: fc.constant('remove' as const), count: fc.integer({ min: 1, max: 200 }) }),
      fc.record({ kind: fc.constant('takeAll' as const), count: fc.constant(1) }),
    )
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), fc.infiniteStream(fc.nat()), (steps, chance) => {
        const queue = new OutgoingQueue()
        let model: PendingPublish[] = []
        let written: PendingPublish[] = []
        for (const { kind, count } of steps) {
          for (let i = 0; i < count && kind === 'push'; i++) {
            const one = message()
            queue.push(one)
            model.push(one)
          }
          for (let i = 0; i < count && kind === 'write'; i++) {
            const first = queue.peek()
            assert.equal(first, model[0])
            if (first === undefined) break
            first.writes++
            queue.shift(first)
            written.push(first)
            model.shift()
          }
          for (let i = 0; i < count && kind === 'remove'; i++) {
            const one = model[chance.next().value % (model.length || 1)]
            if (one === undefined) break
            assert.equal(queue.remove(one), true)
            refuse(one, new Error('given up'))
            model = model.filter(each => each !== one)
          }
          if (kind === 'lose') {
            // The last written messages: those before them are confirmed.
            const unknown = written.slice(-count)
            for (const one of unknown) assert.equal(queue.remove(one), false)
            queue.putBack(unknown)
            model = [...unknown, ...model]
            written = []
          }
          if (kind === 'takeAll') {
            assert.deepEqual(queue.takeAll(), model)
            model = []
          }
          assert.equal(queue.length, model.length)
          assert.equal(queue.peek(), model[0])
        }
        assert.deepEqual(queue.takeAll(), model)
        assert.equal(queue.length, 0)
      }),
    )
  })

  it('keeps little of many messages that were given up', () => {
    const queue = new OutgoingQueue()
    const stuck = message()
    queue.push(stuck)
    for (let i = 0; i < 10_000; i++) {
      const one = message()
      queue.push(one)
      queue.remove(one)
      refuse(one, new Error('given up'))
    }
    assert.equal(queue.length, 1)
    assert.deepEqual(queue.takeAll(), [stuck])
  })
})
