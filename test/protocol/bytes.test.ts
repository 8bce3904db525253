import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import {
  copyBytes,
  copyWords,
  equalBytes,
  isAscii,
  newView,
  viewOf,
  writeAnyAscii,
  writeAscii,
} from '../../src/protocol/bytes.ts'

const bytes = fc.uint8Array({ maxLength: 600 })
const gap = fc.nat({ max: 9 })

/** `content` in the middle of other bytes, not at the start of its memory. */
function amid(content: Uint8Array, before: number): Buffer {
  const all = Buffer.alloc(before + content.length + 5, 0xee)
  all.set(content, before)
  return all.subarray(1)
}

describe('bytes by words', () => {
  it('are copied whole, wherever they stand, and nothing beside them is touched', () => {
    fc.assert(
      fc.property(bytes, gap, gap, fc.boolean(), (content, before, at, anyLength) => {
        const source = amid(content, before + 1)
        const end = before + content.length
        const target = Buffer.alloc(at + content.length + 5, 0xdd)
        if (anyLength) copyBytes(source, before, end, target, newView(target), at)
        else copyWords(viewOf(source), before, end, newView(target), at)
        const expected = Buffer.alloc(target.length, 0xdd)
        expected.set(content, at)
        assert.deepEqual(target, expected)
      }),
    )
  })

  it('are the same when every one is', () => {
    fc.assert(
      fc.property(bytes, gap, gap, fc.nat(), (content, before, otherBefore, at) => {
        const one = newView(amid(content, before + 1))
        const other = amid(content, otherBefore + 1)
        assert.ok(equalBytes(one, before, newView(other), otherBefore, content.length))
        if (content.length === 0) return
        const changed = otherBefore + (at % content.length)
        other[changed] = (other[changed] ?? 0) ^ 1
        assert.ok(!equalBytes(one, before, newView(other), otherBefore, content.length))
      }),
    )
  })

  it('are seen in the buffer that is asked for, whichever was before', () => {
    const [one, two] = [Buffer.from([1, 2, 3, 4]), Buffer.from([5, 6, 7, 8])]
    assert.equal(viewOf(one).getUint32(0), 0x01020304)
    assert.equal(viewOf(two).getUint32(0), 0x05060708)
    assert.equal(viewOf(one.subarray(2)).getUint16(0), 0x0304)
  })

  it('are ASCII up to 127, at every place', () => {
    for (let length = 1; length < 12; length++) {
      for (let at = 0; at < length; at++) {
        for (const [code, isIt] of [
          [0, true],
          [127, true],
          [128, false],
          [255, false],
          [256, false],
          [0x4141, false],
        ] as const) {
          const text = 'a'.repeat(at) + String.fromCharCode(code) + 'a'.repeat(length - at - 1)
          assert.equal(writeAscii(newView(Buffer.alloc(12)), 0, text), isIt, `${code} at ${at} of ${length}`)
          if (code < 256) assert.equal(isAscii(newView(Buffer.from(text, 'latin1')), 0, length), isIt)
        }
      }
    }
  })

  it('are those of a text of any length in ASCII, and of no other', () => {
    const unit = fc.oneof(
      { weight: 99, arbitrary: fc.constantFrom(...'azAZ09-\u0000\u007f') },
      fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }),
    )
    fc.assert(
      fc.property(fc.string({ unit, maxLength: 150 }), gap, (text, at) => {
        const target = Buffer.alloc(at + 3 * text.length, 0xdd)
        const isAscii = Buffer.byteLength(text) === text.length
        assert.equal(writeAnyAscii(target, newView(target), at, text), isAscii)
        if (isAscii) assert.equal(target.toString('latin1', at, at + text.length), text)
        assert.deepEqual([...target.subarray(0, at)], Array(at).fill(0xdd))
        if (isAscii) assert.deepEqual([...target.subarray(at + text.length)], Array(2 * text.length).fill(0xdd))
      }),
    )
  })

  it('are those of a text in ASCII, and of no other', () => {
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ maxLength: 20 }), fc.string({ unit: 'binary', maxLength: 20 })),
        gap,
        (text, at) => {
          const target = Buffer.alloc(at + text.length + 5, 0xdd)
          const isAscii = Buffer.byteLength(text) === text.length
          assert.equal(writeAscii(newView(target), at, text), isAscii)
          if (isAscii) assert.equal(target.toString('latin1', at, at + text.length), text)
          assert.deepEqual([...target.subarray(0, at), ...target.subarray(at + text.length)], Array(at + 5).fill(0xdd))
        },
      ),
    )
  })
})
