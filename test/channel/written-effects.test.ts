import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { WrittenEffects, type WrittenMethod } from '../../src/channel/written-effects.ts'

const [DECLARE, BIND, CONSUME] = [1, 2, 3]

/** A life of a channel, and what became of its methods, in order. */
function life() {
  const effects = new WrittenEffects()
  const fates: string[] = []
  const write = (key: number, name: string, noWait = false): WrittenMethod =>
    effects.written(
      key,
      { accept: () => fates.push(`${name} done`), refuse: () => fates.push(`${name} refused`) },
      noWait,
    )
  return { effects, fates, write }
}

describe('the effects of written methods', () => {
  it('are accepted with their replies', () => {
    const { fates, write } = life()
    const [a, b] = [write(DECLARE, 'a'), write(DECLARE, 'b')]
    a.replied()
    b.replied()
    b.replied()
    assert.deepEqual(fates, ['a done', 'b done'])
  })

  it('without a reply are accepted with the next reply of the channel, which the broker sends in order', () => {
    const { fates, write } = life()
    write(DECLARE, 'a', true)
    const b = write(BIND, 'b')
    write(DECLARE, 'c', true)
    assert.deepEqual(fates, [])
    b.replied()
    assert.deepEqual(fates, ['a done', 'b done'])
  })

  it('are refused if a reply is missing when the life ends, and accepted if there is none to come', () => {
    const { effects, fates, write } = life()
    write(DECLARE, 'a', true)
    write(BIND, 'b')
    write(DECLARE, 'c', true)
    effects.ended(0)
    assert.deepEqual(fates.sort(), ['a done', 'b refused', 'c done'])
  })

  it('are refused from the method on that the server refused, also without a reply', () => {
    const { effects, fates, write } = life()
    write(DECLARE, 'a', true)
    write(BIND, 'b', true)
    write(DECLARE, 'c', true)
    write(BIND, 'd')
    effects.ended(BIND)
    assert.deepEqual(fates.sort(), ['a done', 'b refused', 'c refused', 'd refused'])
  })

  it('of a consume-ok that is late hold up nothing', () => {
    const { fates, write } = life()
    const consume = write(CONSUME, 'consume')
    write(DECLARE, 'a', true)
    write(BIND, 'b').replied()
    consume.replied()
    assert.deepEqual(fates, ['a done', 'b done', 'consume done'])
  })

  it('of more than a thousand methods that nothing replies to are accepted, the oldest first', () => {
    const { fates, write } = life()
    for (let n = 0; n < 1_002; n++) write(BIND, String(n), true)
    assert.deepEqual(fates, ['0 done', '1 done'])
  })
})
