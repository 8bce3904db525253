import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { internShortstr } from '../../src/protocol/intern.ts'

describe('interning short strings', () => {
  it('gives the text that is there, whatever came before', () => {
    const text = fc.oneof(
      fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 5 }),
      fc.string({ unit: 'binary', maxLength: 80 }),
    )
    fc.assert(
      fc.property(fc.array(text, { minLength: 1, maxLength: 50 }), texts => {
        for (const expected of texts) {
          const bytes = Buffer.from(`<${expected}>`)
          assert.equal(internShortstr(bytes, 1, bytes.length - 1), expected)
        }
      }),
    )
  })

  it('never takes octets that are not UTF-8 for a text that came before', () => {
    const latin1 = Buffer.from('caf\xe9', 'latin1')
    assert.equal(internShortstr(latin1, 0, 4), 'caf\ufffd')
    assert.equal(internShortstr(Buffer.from('café'), 0, 5), 'café')
    assert.equal(internShortstr(latin1, 0, 4), 'caf\ufffd')
  })

  it('distinguishes texts that share a slot', () => {
    for (let i = 0; i < 5_000; i++) {
      const bytes = Buffer.from(`a${i.toString().padStart(4, '0')}z`)
      assert.equal(internShortstr(bytes, 0, bytes.length), bytes.toString())
    }
  })

  it('distinguishes a text from its beginning if both share a slot', () => {
    const letters = ['a', 'b', 'c', 'd']
    const texts = [...letters]
    for (let from = 0; texts.length < 5_000; from++) for (const letter of letters) texts.push(`${texts[from]}${letter}`)
    for (const text of texts) {
      const whole = Buffer.from(text)
      for (let end = 1; end < whole.length; end++) {
        for (const stop of [whole.length, end, whole.length]) {
          assert.equal(internShortstr(whole, 0, stop), text.slice(0, stop))
        }
      }
    }
  })

  it('gives texts of any length', () => {
    for (let length = 0; length < 200; length++) {
      const bytes = Buffer.alloc(length, 'x')
      for (let i = 0; i < 2; i++) assert.equal(internShortstr(bytes, 0, length), 'x'.repeat(length))
    }
  })
})
