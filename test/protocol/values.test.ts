import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EncodeError } from '../../src/errors.ts'
import {
  decimal,
  double,
  float,
  int8,
  int16,
  int32,
  int64,
  timestamp,
  uint8,
  uint16,
  uint32,
} from '../../src/protocol/values.ts'

describe('values with a wire type', () => {
  it('take the whole range of their type and nothing past it', () => {
    const ranges = [
      [int8, -128, 127],
      [uint8, 0, 255],
      [int16, -32_768, 32_767],
      [uint16, 0, 65_535],
      [int32, -2_147_483_648, 2_147_483_647],
      [uint32, 0, 4_294_967_295],
    ] as const
    for (const [make, least, most] of ranges) {
      assert.equal(make(least).value, least)
      assert.equal(make(most).value, most)
      for (const bad of [least - 1, most + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY]) {
        assert.throws(() => make(bad), EncodeError, `${make.name}(${bad})`)
      }
      assert.throws(() => make('1' as unknown as number), EncodeError)
    }
  })

  it('hold 64-bit integers as numbers if those are exact', () => {
    assert.deepStrictEqual(int64(5n), int64(5))
    assert.equal(int64(5n).value, 5)
    assert.equal(int64(2n ** 53n).value, 2n ** 53n)
    assert.equal(int64(-(2n ** 63n)).value, -(2n ** 63n))
    assert.equal(timestamp(2n ** 64n - 1n).value, 2n ** 64n - 1n)
    for (const bad of [2n ** 63n, -(2n ** 63n) - 1n, 2 ** 53, 1.5, Number.NaN]) {
      assert.throws(() => int64(bad), EncodeError, String(bad))
    }
    assert.throws(() => int64(null as unknown as number), EncodeError)
  })

  it('round floats to 32 bits, and refuse what RabbitMQ cannot read', () => {
    assert.equal(float(0.1).value, Math.fround(0.1))
    assert.equal(double(3).value, 3)
    for (const make of [float, double]) {
      assert.throws(() => make(Number.NaN), EncodeError)
      assert.throws(() => make(Number.NEGATIVE_INFINITY), EncodeError)
    }
    assert.throws(() => float(1e300), /float takes a finite 32-bit number, not 1e\+300/)
  })

  it('take the whole seconds of a Date', () => {
    assert.equal(timestamp(new Date(1999)).value, 1)
    assert.deepStrictEqual(timestamp(new Date(7000)), timestamp(7))
    assert.throws(() => timestamp(new Date(Number.NaN)), EncodeError)
    assert.throws(() => timestamp(new Date(-1)), EncodeError)
    assert.throws(() => timestamp(-1), EncodeError)
    assert.throws(() => timestamp(2n ** 64n), EncodeError)
  })

  it('write decimals in digits', () => {
    assert.equal(String(decimal(1250, 2)), '12.50')
    assert.equal(String(decimal(-5, 3)), '-0.005')
    assert.equal(String(decimal(7, 0)), '7')
    assert.equal(String(decimal(-2_147_483_648, 10)), '-0.2147483648')
    assert.throws(() => decimal(2_147_483_648, 0), EncodeError)
    assert.throws(() => decimal(1.5, 0), EncodeError)
    assert.throws(() => decimal(1, 256), EncodeError)
    assert.throws(() => decimal(1, -1), EncodeError)
  })

  it('equal one another by type and value, and do not change', () => {
    assert.deepStrictEqual(decimal(1, 2), decimal(1, 2))
    assert.notDeepStrictEqual(decimal(10, 2), decimal(1, 1))
    assert.notDeepStrictEqual(int8(1), uint8(1))
    assert.notDeepStrictEqual(int8(1), int8(2))
    assert.ok(Object.isFrozen(int8(1)))
    assert.ok(Object.isFrozen(decimal(1, 2)))
  })
})
