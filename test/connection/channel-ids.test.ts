import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ChannelIds } from '../../src/connection/channel-ids.ts'

describe('ChannelIds', () => {
  it('gives numbers from 1 to channelMax, then none', () => {
    const ids = new ChannelIds(3)
    assert.deepEqual([ids.take(), ids.take(), ids.take(), ids.take()], [1, 2, 3, undefined])
    assert.equal(ids.inUse, 3)
  })

  it('takes 0 as no limit but that of the frame header', () => {
    const ids = new ChannelIds(0)
    assert.equal(ids.channelMax, 65_535)
    for (let id = 1; id <= 65_535; id++) assert.equal(ids.take(), id)
    assert.equal(ids.take(), undefined)
  })

  it('gives released numbers before fresh ones, the one released longest ago first', () => {
    const ids = new ChannelIds(10)
    for (let id = 1; id <= 5; id++) ids.take()
    ids.release(4)
    ids.release(2)
    assert.equal(ids.inUse, 3)
    assert.deepEqual([ids.take(), ids.take(), ids.take()], [4, 2, 6])
  })

  it('gives a number for which frames may still come only when there is no other, oldest first', () => {
    const ids = new ChannelIds(4)
    for (let id = 1; id <= 3; id++) ids.take()
    ids.release(2, true)
    ids.release(1, true)
    ids.release(3)
    assert.equal(ids.available, true)
    assert.deepEqual([ids.take(), ids.take(), ids.take(), ids.take(), ids.take()], [3, 4, 2, 1, undefined])
    assert.equal(ids.available, false)
  })

  it('never gives a number that is in use, whatever is taken and released', () => {
    const ids = new ChannelIds(5000)
    const used: number[] = []
    for (let round = 0; round < 40_000; round++) {
      if (round % 7 < 4 || used.length === 0) {
        const id = ids.take()
        if (id === undefined) assert.equal(used.length, 5000)
        else used.push(id)
      } else {
        const [id] = used.splice((round * 31) % used.length, 1)
        assert.ok(id !== undefined)
        ids.release(id)
      }
      assert.equal(ids.inUse, used.length)
    }
    assert.equal(new Set(used).size, used.length)
  })
})
