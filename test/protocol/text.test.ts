import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import vm from 'node:vm'
import fc from 'fast-check'
import { EncodeError } from '../../src/errors.ts'
import { encodeError } from '../../src/protocol/encode-error.ts'
import { inspectShort } from '../../src/protocol/inspect-short.ts'
import { cutText, hasLoneSurrogate } from '../../src/protocol/text.ts'

describe('cutText', () => {
  it('gives the longest start that fits, and never a part of a character', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), fc.nat(80), (text, most) => {
        const cut = cutText(text, most)
        assert.ok(text.startsWith(cut))
        assert.ok(cut.isWellFormed())
        assert.ok(Buffer.byteLength(cut) <= most)
        const next = String.fromCodePoint(text.codePointAt(cut.length) ?? 0)
        if (cut !== text) assert.ok(Buffer.byteLength(cut + next) > most)
      }),
    )
  })

  it('replaces lone surrogates, so that the result can always be sent', () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom('\ud83d', '\ude00', 'a', 'é', '€')), fc.nat(20), (units, most) => {
        const cut = cutText(units.join(''), most)
        assert.ok(cut.isWellFormed())
        assert.ok(Buffer.byteLength(cut) <= most)
      }),
    )
  })

  it('cuts to a short string unless a length is given', () => {
    assert.equal(cutText('x'.repeat(300)), 'x'.repeat(255))
    assert.equal(cutText(`${'x'.repeat(253)}€`), 'x'.repeat(253))
    assert.equal(cutText(`${'x'.repeat(252)}😀`), 'x'.repeat(252))
  })
})

describe('hasLoneSurrogate', () => {
  it('finds one anywhere, whatever is around it', () => {
    const unit = fc.constantFrom('\ud83d', '\ude00', 'a', 'é', '😀')
    fc.assert(
      fc.property(fc.array(unit, { maxLength: 8 }), units => {
        const text = units.join('')
        assert.equal(hasLoneSurrogate(text, Buffer.byteLength(text)), !text.isWellFormed())
      }),
    )
  })
})

describe('inspectShort', () => {
  class Order {}
  const values: readonly (readonly [unknown, string])[] = [
    ['text', '"text"'],
    ['x'.repeat(50), `"${'x'.repeat(37)}..."`],
    [5, '5'],
    [5n, '5n'],
    [Number.NaN, 'NaN'],
    [true, 'true'],
    [undefined, 'undefined'],
    [null, 'null'],
    [2n ** 64n, '18446744073709551616n'],
    [-(2n ** 127n) - 1n, 'a bigint of more than 128 bits'],
    [Symbol('s'), 'Symbol(s)'],
    [() => 1, 'a function'],
    [[1, 2], 'an array'],
    [{ password: 'secret' }, 'an object (Object)'],
    [new Order(), 'an object (Order)'],
    [Object.create(null), 'an object (without a prototype)'],
    [Buffer.from('x'), 'an object (Buffer)'],
    [new Date(Number.NaN), 'an invalid Date'],
    [{ constructor: { name: Symbol('s') } }, 'an object (without a prototype)'],
  ]
  for (const [value, expected] of values) {
    it(`shows ${expected.slice(0, 40)}`, () => assert.equal(inspectShort(value), expected))
  }

  it('throws nothing, whatever the value does', () => {
    const throwing = (): never => {
      throw new Error('hostile')
    }
    const { proxy, revoke } = Proxy.revocable({}, {})
    revoke()
    for (const value of [
      proxy,
      new Proxy({}, { get: throwing, getPrototypeOf: throwing }),
      {
        get constructor() {
          return throwing()
        },
      },
    ]) {
      assert.equal(inspectShort(value), 'an object')
    }
  })
})

describe('encodeError', () => {
  it('keeps an EncodeError, and makes one of anything else', () => {
    const error = new EncodeError('headers.a is NaN')
    assert.equal(encodeError('basic.publish', error), error)
    const foreign: unknown = vm.runInNewContext('new TypeError("of another realm")')
    for (const [thrown, message] of [
      [new Error('mine'), 'mine'],
      [foreign, 'of another realm'],
      ['text', 'text'],
      [undefined, 'undefined'],
      [Object.create(null), 'something was thrown that has no text'],
      [Symbol('s'), 'Symbol(s)'],
    ] as const) {
      const made = encodeError('basic.publish', thrown)
      assert.ok(made instanceof EncodeError)
      assert.equal(made.message, `basic.publish cannot be encoded: ${message}`)
      assert.equal(made.cause, thrown)
    }
  })
})
