import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Slab } from '../../src/protocol/slab.ts'

describe('a slab', () => {
  it('holds pieces one after the other, as they were', () => {
    const slab = new Slab(64)
    const source = Buffer.from('abcdefghijklmnopqrstuvwxyz')
    assert.deepEqual([slab.copyIn(source, 0, 3), slab.copyIn(source, 3, 12), slab.copyIn(source, 12, 12)], [0, 3, 12])
    source.fill('-')
    assert.equal(slab.buffer.toString('latin1', 0, 3), 'abc')
    assert.equal(slab.buffer.toString('latin1', 3, 12), 'defghijkl')
  })

  it('is followed by another when it is full, and keeps its pieces', () => {
    const slab = new Slab(64)
    const piece = Buffer.alloc(16, 'x')
    assert.equal(slab.copyIn(piece, 0, 16), 0)
    const { buffer } = slab
    for (let at = 16; at < 64; at += 16) assert.equal(slab.copyIn(piece, 0, 16), at)
    assert.equal(slab.buffer, buffer)
    piece.fill('y')
    assert.equal(slab.copyIn(piece, 0, 16), 0)
    assert.notEqual(slab.buffer, buffer)
    assert.equal(buffer.toString('latin1'), 'x'.repeat(64))
    assert.equal(slab.buffer.toString('latin1', 0, 16), 'y'.repeat(16))
  })
})
