import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { cutToBytes } from '../../src/lib/cut-text.ts'

describe('cutToBytes', () => {
  it('leaves what fits, and cuts the rest between characters', () => {
    assert.equal(cutToBytes('€'.repeat(85), 255), '€'.repeat(85))
    assert.equal(cutToBytes(`${'€'.repeat(85)}!`, 255), `${'€'.repeat(84)}...`)
    assert.equal(cutToBytes('ab😀cdef', 8), 'ab...')
    assert.equal(cutToBytes('ab😀cdef', 9), 'ab😀...')
  })

  it('never makes more bytes than asked for, nor half a character', () => {
    const text = 'aé€😀'.repeat(20)
    for (let most = 3; most < 300; most++) {
      const cut = cutToBytes(text, most)
      assert.ok(Buffer.byteLength(cut) <= most)
      assert.ok(text.startsWith(cut.replace(/\.\.\.$/, '')))
      assert.equal(Buffer.from(cut).toString(), cut)
    }
  })
})
