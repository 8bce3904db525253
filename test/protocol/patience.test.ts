import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Patience } from '../../src/protocol/patience.ts'

/** Runs things of the given kinds, keeping one at a time. Returns how many were compared, alike and kept. */
function run(kinds: readonly unknown[], patience = new Patience()) {
  const count = { compared: 0, alike: 0, kept: 0 }
  let known: unknown
  for (const kind of kinds) {
    const compares = patience.compares
    if (compares) count.compared++
    if (compares && kind === known) {
      count.alike++
      patience.alike()
    } else if (patience.missed()) {
      known = kind
      count.kept++
    }
  }
  return count
}

const times = <T>(count: number, make: (i: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i))

describe('patience', () => {
  it('keeps the first, and compares all that are alike with it', () => {
    assert.deepEqual(run(times(100, () => 'a')), { compared: 100, alike: 99, kept: 1 })
  })

  it('hardly compares or keeps anything where all are different', () => {
    const { compared, alike, kept } = run(times(10_000, i => i))
    assert.equal(alike, 0)
    assert.ok(compared < 150 && kept < 25, `compared ${compared}, kept ${kept}`)
  })

  it('finds alike every second of two kinds that come in turn', () => {
    const { alike, kept } = run(times(1_000, i => i % 2))
    assert.ok(alike > 470 && kept < 20, `alike ${alike}, kept ${kept}`)
  })

  it('finds out when what was different has become alike, and when a run of one kind is over', () => {
    const patience = new Patience()
    run(
      times(5_000, i => i),
      patience,
    )
    const first = run(
      times(3_000, () => 'a'),
      patience,
    )
    assert.ok(first.alike >= 1_950, `${first.alike}`)
    const second = run(
      times(1_000, () => 'b'),
      patience,
    )
    assert.ok(second.alike >= 990, `${second.alike}`)
  })
})
