import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Oldest } from '../../src/lib/oldest.ts'

describe('Oldest', () => {
  it('is the first member of a Set, whatever is added and deleted', () => {
    const step = fc.record({ add: fc.nat(300), remove: fc.nat(300), look: fc.boolean(), chance: fc.nat() })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), steps => {
        const set = new Set<number>()
        const oldest = new Oldest<number>(set)
        let next = 0
        for (const { add, remove, look, chance } of steps) {
          for (let i = 0; i < add; i++) {
            set.add(++next)
            oldest.added(next)
          }
          for (let i = 0; i < remove && set.size > 0; i++) {
            set.delete([...set][i % 3 === 0 ? chance % set.size : 0] ?? 0)
            if (look) assert.equal(oldest.key, [...set][0])
          }
          assert.equal(oldest.key, [...set][0])
        }
      }),
    )
  })

  it('looks at each a few times, however many there are, and also after one that stays', () => {
    let looks = 0
    class Counted extends Set<number> {
      override has(key: number): boolean {
        looks++
        return super.has(key)
      }
    }
    for (const first of [0, 1]) {
      const set = new Counted()
      const oldest = new Oldest<number>(set)
      looks = 0
      for (let key = 0; key < 20_000; key++) {
        set.add(key)
        oldest.added(key)
      }
      for (let key = first; key < 20_000; key++) {
        set.delete(key)
        assert.equal(oldest.key, key < 19_999 || first === 1 ? (first === 1 ? 0 : key + 1) : undefined)
        if (first === 0) continue
        set.add(20_000 + key)
        oldest.added(20_000 + key)
      }
      assert.ok(looks < 5 * 20_000, `${looks}`)
    }
  })
})
