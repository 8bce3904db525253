import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Slab } from '../../src/protocol/slab.ts'

describe('a slab', () => {
  it('holds pieces one behind the other, each at a multiple of 8, as they were', () => {
    const slab = new Slab(64)
    const source = Buffer.from('abcdefghijklmnopqrstuvwxyz')
    assert.deepEqual([slab.copyIn(source, 0, 3), slab.copyIn(source, 3, 12), slab.copyIn(source, 12, 12)], [0, 8, 24])
    source.fill('-')
    assert.equal(slab.buffer.toString('latin1', 0, 3), 'abc')
    assert.equal(slab.buffer.toString('latin1', 8, 17), 'defghijkl')
    assert.equal(slab.memory, slab.buffer.buffer)
  })

  it('is followed by another when it is full, and keeps its pieces', () => {
    const slab = new Slab(64)
    const { buffer } = slab
    const piece = Buffer.alloc(16, 'x')
    for (let at = 0; at < 64; at += 16) assert.equal(slab.copyIn(piece, 0, 16), at)
    assert.equal(slab.buffer, buffer)
    piece.fill('y')
    assert.equal(slab.copyIn(piece, 0, 16), 0)
    assert.notEqual(slab.buffer, buffer)
    assert.equal(slab.memory, slab.buffer.buffer)
    assert.equal(buffer.toString('latin1'), 'x'.repeat(64))
    assert.equal(slab.buffer.toString('latin1', 0, 16), 'y'.repeat(16))
  })

  it('cannot be transferred, and is left when it was all the same', () => {
    const slab = new Slab(64)
    const { buffer } = slab
    const at = slab.copyIn(Buffer.from('abc'), 0, 3)
    try {
      structuredClone(buffer, { transfer: [buffer.buffer as ArrayBuffer] })
    } catch {
      // Node 20 copies it, later ones refuse.
    }
    assert.equal(buffer.toString('latin1', at, 3), 'abc')
    // As ArrayBuffer.transfer() of later versions of Node leaves it.
    slab.buffer = Buffer.alloc(0)
    assert.equal(slab.copyIn(Buffer.from('def'), 0, 3), 0)
    assert.equal(slab.buffer.toString('latin1', 0, 3), 'def')
    assert.equal(slab.memory, slab.buffer.buffer)
  })
})
