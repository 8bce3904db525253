import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { FrameError } from '../../src/errors.ts'
import { tableScalars } from '../../src/protocol/layouts.ts'
import { Reader } from '../../src/protocol/reader.ts'

function reader(hex: string): Reader {
  const buffer = Buffer.from(hex.replaceAll(' ', ''), 'hex')
  return new Reader(buffer, 0, buffer.length)
}

describe('a reader', () => {
  it('reads integers as the layouts do', () => {
    const buffer = Buffer.from('80fedcba98765432', 'hex')
    const at = (): Reader => new Reader(buffer, 0, buffer.length)
    assert.equal(at().octet(), tableScalars.B.decode(buffer))
    assert.equal(at().int8(), tableScalars.b.decode(buffer))
    assert.equal(at().short(), tableScalars.u.decode(buffer))
    assert.equal(at().int16(), tableScalars.s.decode(buffer))
    assert.equal(at().long(), tableScalars.i.decode(buffer))
    assert.equal(at().int32(), tableScalars.I.decode(buffer))
    assert.equal(at().float(), tableScalars.f.decode(buffer))
    assert.equal(at().double(), tableScalars.d.decode(buffer))
    const { high, low } = tableScalars.l.decode(buffer)
    assert.equal(at().int64(), (BigInt(high) << 32n) + BigInt(low))
    assert.equal(at().bigint(), 0x80fedcba98765432n)
  })

  it('gives 64-bit integers as numbers if those are exact, else as bigints', () => {
    assert.equal(reader('001fffffffffffff').int64(), Number.MAX_SAFE_INTEGER)
    assert.equal(reader('0020000000000000').int64(), 2n ** 53n)
    assert.equal(reader('ffe0000000000001').int64(), Number.MIN_SAFE_INTEGER)
    assert.equal(reader('ffe0000000000000').int64(), -(2n ** 53n))
    assert.equal(reader('ffffffffffffffff').int64(), -1)
    assert.equal(reader('0000000100000000').int64(), 0x1_0000_0000)
    assert.equal(reader('001fffffffffffff').longlong(), Number.MAX_SAFE_INTEGER)
  })

  it('refuses a tag past the exact integers', () => {
    assert.throws(() => reader('0020000000000000').longlong(), { name: 'FrameError', replyCode: 502 })
  })

  it('gives long strings in a buffer of their own', () => {
    const input = Buffer.from('00000003616263', 'hex')
    const octets = new Reader(input, 0, input.length).longstr()
    input.fill(0)
    assert.deepStrictEqual(octets, Buffer.from('abc'))
  })

  it('reads short strings as UTF-8 and moves on', () => {
    const fields = reader('03 e282ac 00 7f')
    assert.equal(fields.shortstr(), '€')
    assert.equal(fields.shortstr(), '')
    assert.equal(fields.remaining, 1)
    assert.equal(fields.octet(), 0x7f)
    assert.equal(fields.remaining, 0)
  })

  it('says what is cut short, and stays where it was', () => {
    const cases: readonly (readonly [string, (fields: Reader) => unknown, RegExp])[] = [
      ['', fields => fields.octet(), /^an octet of 1 octet is cut short: 0 are left$/],
      ['00', fields => fields.short(), /^a short integer of 2 octets is cut short: 1 are left$/],
      ['000000', fields => fields.long(), /^a long integer of 4 octets/],
      ['000000', fields => fields.float(), /^a float of 4 octets/],
      ['00000000000000', fields => fields.longlong(), /^a long long integer of 8 octets/],
      ['00000000000000', fields => fields.bigint(), /^a long long integer of 8 octets/],
      ['00000000000000', fields => fields.int64(), /^a long long integer of 8 octets/],
      ['00000000000000', fields => fields.double(), /^a double of 8 octets/],
      ['056162', fields => fields.shortstr(), /^a short string of 5 octets is cut short: 2 are left$/],
      ['ffffffff6162', fields => fields.longstr(), /^a long string of 4294967295 octets is cut short: 2 are left$/],
      ['00', fields => fields.skip(2), /^a run of octets of 2 octets/],
    ]
    for (const [hex, read, message] of cases) {
      assert.throws(
        () => read(reader(hex)),
        error => error instanceof FrameError && error.replyCode === 502 && message.test(error.message),
        hex,
      )
    }
  })

  it('never reads past the end it was given, nor past its buffer', () => {
    const buffer = Buffer.from([1, 2, 3, 4])
    assert.throws(() => new Reader(buffer, 0, 3).long(), FrameError)
    assert.throws(() => new Reader(buffer, 2, 100).long(), FrameError)
    assert.equal(new Reader(buffer, 0, 4).long(), 0x01020304)
  })
})
