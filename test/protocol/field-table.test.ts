import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import vm from 'node:vm'
import fc from 'fast-check'
import { EncodeError, FrameError } from '../../src/errors.ts'
import { decodeTable, encodeTable, skipTable } from '../../src/protocol/field-table.ts'
import { decimal as decimalLayout, tableScalars } from '../../src/protocol/layouts.ts'
import { Reader } from '../../src/protocol/reader.ts'
import {
  decimal,
  double,
  type FieldTable,
  type FieldValue,
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
import { CHUNK_SIZE, Writer } from '../../src/protocol/writer.ts'

function encode(table: unknown, name = 'headers'): Buffer {
  return Writer.encode(writer => encodeTable(writer, table as FieldTable, name))
}

function decode(bytes: Buffer): FieldTable {
  const reader = new Reader(bytes, 0, bytes.length)
  const table = decodeTable(reader)
  assert.equal(reader.position, bytes.length)
  return table
}

function lengthed(payload: Buffer): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(payload.length)
  return Buffer.concat([length, payload])
}

/** A table of entries, each a name and the octets of type and value. */
function tableOf(...entries: readonly (readonly [string, Buffer])[]): Buffer {
  return lengthed(
    Buffer.concat(
      entries.map(([name, value]) => {
        const bytes = Buffer.from(name)
        return Buffer.concat([Buffer.from([bytes.length]), bytes, value])
      }),
    ),
  )
}

/** A table whose entry `v` has these octets: a type and a value. */
function single(hex: string): Buffer {
  return tableOf(['v', Buffer.from(hex.replaceAll(' ', ''), 'hex')])
}

function typed(type: string, value: Buffer): Buffer {
  return Buffer.concat([Buffer.from(type), value])
}

describe('a field table', () => {
  const vectors: readonly (readonly [string, FieldValue, string])[] = [
    ['a boolean, true (t)', true, '74 01'],
    ['a boolean, false (t)', false, '74 00'],
    ['a signed 32-bit integer (I)', -2, '49 fffffffe'],
    ['the largest of 32 bits (I)', 0x7fff_ffff, '49 7fffffff'],
    ['the smallest of 32 bits (I)', -0x8000_0000, '49 80000000'],
    ['a signed 64-bit integer (l)', 0x8000_0000, '6c 0000000080000000'],
    ['a negative one (l)', -0x8000_0001, '6c ffffffff7fffffff'],
    ['the largest exact number (l)', Number.MAX_SAFE_INTEGER, '6c 001fffffffffffff'],
    ['the smallest exact number (l)', Number.MIN_SAFE_INTEGER, '6c ffe0000000000001'],
    ['a bigint (l)', 2n ** 63n - 1n, '6c 7fffffffffffffff'],
    ['a negative bigint (l)', -(2n ** 63n), '6c 8000000000000000'],
    ['a double (d)', 0.1, '64 3fb999999999999a'],
    ['negative zero (d)', -0, '64 8000000000000000'],
    ['a whole number past the exact ones (d)', 2 ** 53, '64 4340000000000000'],
    ['a decimal (D)', decimal(-314, 2), '44 02 fffffec6'],
    ['a string (S)', 'h€', '53 00000004 68e282ac'],
    ['an empty string (S)', '', '53 00000000'],
    ['an array (A)', [1, 'a'], '41 0000000b 49 00000001 53 00000001 61'],
    ['an empty array (A)', [], '41 00000000'],
    ['a timestamp (T)', new Date(1_000_000_000_000), '54 000000003b9aca00'],
    ['a table (F)', { a: null }, '46 00000003 01 61 56'],
    ['an empty table (F)', {}, '46 00000000'],
    ['nothing (V)', null, '56'],
    ['octets (x)', Buffer.from([0, 255]), '78 00000002 00ff'],
  ]
  for (const [what, value, hex] of vectors) {
    it(`writes and reads ${what} (§4.2.5.5)`, () => {
      assert.deepStrictEqual(encode({ v: value }), single(hex))
      assert.deepStrictEqual(decode(single(hex)), { v: value })
    })
  }

  const readOnly: readonly (readonly [string, FieldValue, string])[] = [
    ['a boolean of any octet but 0', true, '74 02'],
    ['a signed 8-bit integer (b)', -1, '62 ff'],
    ['an unsigned 8-bit integer (B)', 255, '42 ff'],
    ['a signed 16-bit integer (s), as RabbitMQ has it', -2, '73 fffe'],
    ['a signed 16-bit integer (U), as §4.2.1 has it', -2, '55 fffe'],
    ['an unsigned 16-bit integer (u)', 65_534, '75 fffe'],
    ['an unsigned 32-bit integer (i)', 4_294_967_295, '69 ffffffff'],
    ['a small 64-bit integer (l)', -1, '6c ffffffffffffffff'],
    ['a signed 64-bit integer (L)', -1, '4c ffffffffffffffff'],
    ['a large 64-bit integer (L) as a bigint', 2n ** 53n, '4c 0020000000000000'],
    ['a float (f)', 0.5, '66 3f000000'],
    ['a timestamp past the range of Date', timestamp(8_640_000_000_001), '54 000007dba8218001'],
    ['the last timestamp', timestamp(2n ** 64n - 1n), '54 ffffffffffffffff'],
    ['a string that is no UTF-8, as its octets', Buffer.from([0x61, 0xff]), '53 00000002 61ff'],
  ]
  for (const [what, value, hex] of readOnly) {
    it(`reads ${what}`, () => {
      assert.deepStrictEqual(decode(single(hex)), { v: value })
    })
  }

  it('reads infinities and NaN, and refuses to write them', () => {
    assert.deepStrictEqual(decode(single('64 7ff0000000000000')), { v: Number.POSITIVE_INFINITY })
    const nan = decode(single('66 7fc00000'))
    assert.deepStrictEqual(nan, { v: Number.NaN })
    assert.throws(() => encode(nan), /^EncodeError: headers\.v is NaN, which RabbitMQ cannot read$/)
    assert.throws(() => encode({ v: Number.NEGATIVE_INFINITY }), EncodeError)
  })

  it('keeps U+FFFD that was sent as such a string', () => {
    assert.deepStrictEqual(decode(encode({ v: 'a\ufffdb' })), { v: 'a\ufffdb' })
  })

  it('writes the wire type that a value names', () => {
    const cases: readonly (readonly [FieldValue, string])[] = [
      [int8(-1), '62 ff'],
      [uint8(255), '42 ff'],
      [int16(-2), '73 fffe'],
      [uint16(65_534), '75 fffe'],
      [int32(1), '49 00000001'],
      [uint32(4_294_967_295), '69 ffffffff'],
      [int64(-1), '6c ffffffffffffffff'],
      [int64(2n ** 62n), '6c 4000000000000000'],
      [float(0.5), '66 3f000000'],
      [double(1), '64 3ff0000000000000'],
      [timestamp(8_640_000_000_001), '54 000007dba8218001'],
      [timestamp(2n ** 64n - 1n), '54 ffffffffffffffff'],
    ]
    for (const [value, hex] of cases) assert.deepStrictEqual(encode({ v: value }), single(hex), hex)
  })

  it('writes scalars as the layouts do', () => {
    const write = (type: keyof typeof tableScalars, value: number): Buffer => {
      const layout = tableScalars[type] as { readonly span: number; encode(value: number, buffer: Buffer): number }
      const bytes = Buffer.alloc(layout.span)
      layout.encode(value, bytes)
      return tableOf(['v', typed(type, bytes)])
    }
    assert.deepStrictEqual(encode({ v: int8(-128) }), write('b', -128))
    assert.deepStrictEqual(encode({ v: int16(-300) }), write('s', -300))
    assert.deepStrictEqual(encode({ v: uint16(40_000) }), write('u', 40_000))
    assert.deepStrictEqual(encode({ v: -70_000 }), write('I', -70_000))
    assert.deepStrictEqual(encode({ v: uint32(3_000_000_000) }), write('i', 3_000_000_000))
    assert.deepStrictEqual(encode({ v: float(1.5) }), write('f', 1.5))
    assert.deepStrictEqual(encode({ v: 1.1 }), write('d', 1.1))
    const bytes = Buffer.alloc(decimalLayout.span)
    decimalLayout.encode({ scale: 3, value: -5 }, bytes)
    assert.deepStrictEqual(encode({ v: decimal(-5, 3) }), tableOf(['v', typed('D', bytes)]))
  })

  it('writes Maps and Uint8Arrays as tables and octets', () => {
    const expected = encode({ a: 1, b: { c: Buffer.from([7]) } })
    const map = new Map<string, FieldValue>([
      ['a', 1],
      ['b', new Map([['c', new Uint8Array([7])]])],
    ])
    assert.deepStrictEqual(encode(map), expected)
  })

  it('takes objects, arrays, dates and octets of another realm', () => {
    const foreign: unknown = vm.runInNewContext('({ a: [1], b: new Date(1000), c: new Uint8Array([1]), d: {} })')
    assert.deepStrictEqual(encode(foreign), encode({ a: [1], b: new Date(1000), c: new Uint8Array([1]), d: {} }))
  })

  it('leaves out members that are undefined', () => {
    assert.deepStrictEqual(encode({ a: undefined, b: 1 }), encode({ b: 1 }))
    assert.deepStrictEqual(encode(new Map([['a', undefined]])), encode({}))
  })

  it('leaves out members that are inherited', () => {
    const parent = Object.assign(Object.create(null), { short: 1, long: 'x'.repeat(200) })
    const table = Object.assign(Object.create(parent), { own: true })
    assert.deepStrictEqual(decode(encode(table)), { own: true })
  })

  it('takes the seconds of a Date, without their fraction', () => {
    assert.deepStrictEqual(decode(encode({ at: new Date(1999) })), { at: new Date(1000) })
  })

  it('has no prototype to set: __proto__ is a name as any other', () => {
    const bytes = tableOf(['__proto__', encodeValue({ admin: true })], ['constructor', typed('V', Buffer.alloc(0))])
    const table = decode(bytes)
    assert.equal(Object.getPrototypeOf(table), Object.prototype)
    assert.deepStrictEqual(Object.keys(table), ['__proto__', 'constructor'])
    assert.equal(table['admin'], undefined)
    assert.deepStrictEqual(encode(table), bytes)
  })

  it('has the last of several entries with one name', () => {
    assert.deepStrictEqual(decode(tableOf(['a', encodeValue(1)], ['a', encodeValue('x')])), { a: 'x' })
  })

  it('gives octets that are not those of the read buffer', () => {
    const bytes = encode({ v: Buffer.from('abc') })
    const table = decode(bytes)
    bytes.fill(0)
    assert.deepStrictEqual(table, { v: Buffer.from('abc') })
  })

  it('is written whole where it is larger than a chunk, and where the message moves', () => {
    const table = {
      short: 'a'.repeat(17),
      text: '€'.repeat(CHUNK_SIZE),
      octets: Buffer.alloc(CHUNK_SIZE, 1),
      many: Array.from({ length: 20_000 }, (_, i) => ({ i })),
    }
    assert.deepStrictEqual(decode(encode(table)), table)
    for (const before of [0, 1, 100, 300, 500]) {
      const small = { name: 'value', nested: { list: [1, 'a'.repeat(100)] } }
      const writer = new Writer()
      writer.begin()
      writer.reserve(1)
      writer.position = CHUNK_SIZE - before
      writer.begin()
      writer.reserve(1)
      writer.octet(0xaa)
      encodeTable(writer, small, 'headers')
      const bytes = writer.buffer.subarray(writer.positionOf(1), writer.position)
      assert.deepStrictEqual(decode(Buffer.from(bytes)), small, `${before} bytes before the end of the chunk`)
    }
  })

  it('comes back as it was given', () => {
    fc.assert(
      fc.property(anyTable, table => {
        const bytes = encode(table)
        assert.equal(skipTable(bytes, 0, bytes.length), bytes.length)
        assert.deepStrictEqual(decode(bytes), table)
      }),
    )
  })

  it('has the same bytes as an object and as a Map, whose entries are written one way only', () => {
    const length = fc.constantFrom(0, 1, 3, 4, 63, 64, 65, 126, 127, 128, 129, 200)
    const string = fc
      .tuple(length, fc.constantFrom('', 'é', '€', '😀'))
      .map(([size, end]) => 'x'.repeat(size) + end)
      .filter(value => Buffer.byteLength(value) < 256)
    const value = fc.oneof(
      string,
      fc.boolean(),
      fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
      fc.constantFrom(0, -0, 2 ** 31 - 1, 2 ** 31, -(2 ** 31), -(2 ** 31) - 1, 1.5),
      fc.constant(null),
    )
    // An object would put names that are array indexes first.
    const entries = fc.uniqueArray(fc.tuple(string, value), { selector: ([name]) => name, maxLength: 8 })
    fc.assert(
      fc.property(entries, all => {
        assert.deepStrictEqual(encode(Object.fromEntries(all)), encode(new Map(all)))
      }),
    )
  })

  it('has the same bytes when it is published again as it came, whatever its wire types', () => {
    fc.assert(
      fc.property(wireTable, bytes => {
        assert.equal(skipTable(bytes, 0, bytes.length), bytes.length)
        assert.deepStrictEqual(encode(decode(bytes)), bytes)
      }),
    )
  })

  it('keeps the wire type of an entry only as long as its value is the one that came', () => {
    const table = decode(tableOf(['a', typed('b', Buffer.from([5]))], ['b', typed('b', Buffer.from([6]))]))
    table['a'] = 300
    assert.deepStrictEqual(encode(table), tableOf(['a', encodeValue(300)], ['b', typed('b', Buffer.from([6]))]))
    const list = decode(single('41 00000004 62 01 62 02'))['v'] as FieldValue[]
    list[0] = 'x'
    assert.deepStrictEqual(encode({ v: list }), single('41 00000008 53 00000001 78 62 02'))
  })

  it("sends on a received table that looks like amqplib's notation of a type", () => {
    const notation = tableOf(['!', encodeValue('int8')], ['value', encodeValue(1)])
    for (const value of [typed('F', notation), typed('A', lengthed(typed('F', notation)))]) {
      const bytes = tableOf(['v', value])
      assert.deepStrictEqual(encode(decode(bytes)), bytes)
    }
  })

  it('remembers wire types hidden from programs', () => {
    const table = decode(single('62 05'))
    assert.deepStrictEqual(table, { v: 5 })
    assert.deepStrictEqual(Reflect.ownKeys(table), ['v'])
    assert.deepStrictEqual(encode({ ...table }), encode({ v: 5 }))
  })
})

describe('a value that no field table holds', () => {
  class Point {
    readonly x = 1
  }
  const cases: readonly (readonly [string, unknown, RegExp])[] = [
    [
      "amqplib's notation of a type",
      { a: { '!': 'timestamp', value: 1_700_000_000 } },
      /^headers\.a is .*, a notation of amqplib that is only a table here; use timestamp\(value\)$/,
    ],
    [
      "amqplib's other name of a type",
      { a: [{ '!': 'short', value: 1 }] },
      /^headers\.a\[0\] is .* use int16\(value\)$/,
    ],
    [
      "amqplib's notation of a decimal",
      { a: { '!': 'decimal', value: { places: 2, digits: 125 } } },
      /use decimal\(value, scale\)$/,
    ],
    ['a function', { a: () => 1 }, /^headers\.a is a function, which no field type holds/],
    ['a symbol', { 'x-a': [Symbol('s')] }, /^headers\["x-a"\]\[0\] is Symbol\(s\), which no field type holds/],
    [
      'an instance of a class',
      { a: { b: new Point() } },
      /^headers\.a\.b is an object \(Point\), which no field type holds/,
    ],
    ['a regular expression', { a: /x/ }, /^headers\.a is an object \(RegExp\), which/],
    ['undefined in an array', { a: [1, undefined] }, /^headers\.a\[1\] is undefined, which/],
    [
      'a bigint past 64 bits',
      { a: 2n ** 63n },
      /^headers\.a is 9223372036854775808n, but the integers of a table have 64 bits/,
    ],
    [
      'an invalid Date',
      { a: new Date(Number.NaN) },
      /^headers\.a must be a valid Date from 1970 on, not an invalid Date$/,
    ],
    ['a Date before 1970', { a: new Date(-1) }, /^headers\.a must be a valid Date from 1970 on/],
    ['a lone surrogate', { a: 'x\ud800' }, /^headers\.a has a lone surrogate, which has no UTF-8/],
    ['a lone surrogate in a long text', { a: `${'x'.repeat(3_000)}\udc00` }, /^headers\.a has a lone surrogate/],
    ['a lone surrogate in a name', { 'x\ud800': 1 }, /^the name of headers\[.+\] has a lone surrogate/],
    [
      'a long name',
      { ['n'.repeat(256)]: 1 },
      /^the name of headers\["n+\.\.\."\] takes 256 bytes, more than the 255 of a short string$/,
    ],
    ['a name that is long in bytes', { ['€'.repeat(86)]: 1 }, /^the name of headers\["€+\.\.\."\] takes 258 bytes/],
    ['a key that is no string', new Map([[1, 'a']]), /^headers has the key 1, which is not a string$/],
    [
      'a key that is no string further in',
      { m: new Map([[1, 'a']]) },
      /^headers\.m has the key 1, which is not a string$/,
    ],
    ['an array for a table', [1], /^headers must be a plain object or a Map, not an array$/],
    ['null for a table', null, /^headers must be a plain object or a Map, not null$/],
    ['a string for a table', 'x', /^headers must be a plain object or a Map, not "x"$/],
  ]
  for (const [what, table, message] of cases) {
    it(`is named: ${what}`, () => {
      assert.throws(
        () => encode(table),
        error => error instanceof EncodeError && message.test(error.message),
      )
    })
  }

  it('is a table that contains itself, or nests more than 64 deep', () => {
    const cycle: Record<string, unknown> = {}
    cycle['list'] = [cycle, cycle]
    assert.throws(() => encode(cycle), /headers nests tables and arrays more than 64 deep, or contains itself/)
    assert.deepStrictEqual(decode(encode(nest(64))), nest(64))
    assert.throws(() => encode(nest(65)), EncodeError)
  })
})

describe('a bad field table', () => {
  function refuses(bytes: Buffer): void {
    const check = (error: unknown): boolean => error instanceof FrameError && error.replyCode === 502
    assert.throws(() => decodeTable(new Reader(bytes, 0, bytes.length)), check, bytes.toString('hex'))
    assert.throws(() => skipTable(bytes, 0, bytes.length), check, bytes.toString('hex'))
  }

  const sample = encode({
    s: 'text',
    i: 1,
    l: 2 ** 40,
    d: 1.5,
    t: true,
    v: null,
    x: Buffer.from('abc'),
    at: new Date(0),
    dec: decimal(1, 1),
    f: { a: [int8(1), [uint16(2)], { b: float(1) }] },
  })

  it('is refused where it is cut short, at any byte', () => {
    for (let end = 0; end < sample.length; end++) {
      refuses(sample.subarray(0, end))
      const shorter = Buffer.from(sample.subarray(0, end))
      if (end < 4) continue
      shorter.writeUInt32BE(end - 4)
      // An end between two entries makes a shorter table that is sound.
      let sound = true
      try {
        skipTable(shorter, 0, end)
      } catch {
        sound = false
      }
      if (sound) decodeTable(new Reader(shorter, 0, end))
      else refuses(shorter)
    }
  })

  it('is refused with a type that does not exist, which is named', () => {
    refuses(single('7a 00'))
    assert.throws(() => decode(single('7a 00')), /a value of the type 'z', which does not exist/)
    assert.throws(() => decode(single('00 00')), /a value of the type 0x00, which does not exist/)
  })

  it('is refused if an entry reaches past its table', () => {
    const inner = Buffer.from('00000006 01 61 49 0000 0000'.replaceAll(' ', ''), 'hex')
    refuses(tableOf(['a', typed('F', inner)], ['b', encodeValue('padding')]))
    const list = Buffer.from('00000004 49 00000000'.replaceAll(' ', ''), 'hex')
    refuses(tableOf(['a', typed('A', list)], ['b', encodeValue('padding')]))
    refuses(Buffer.from('00000003 05 61 62 63 64 65 49 00000000'.replaceAll(' ', ''), 'hex'))
  })

  it('is refused where it is nested more than 64 deep', () => {
    let deep = lengthed(Buffer.alloc(0))
    for (let depth = 1; depth < 64; depth++) deep = tableOf(['a', typed('F', deep)])
    assert.equal(skipTable(deep, 0, deep.length), deep.length)
    assert.deepStrictEqual(encode(decode(deep)), deep)
    refuses(tableOf(['a', typed('F', deep)]))
    let lists = lengthed(Buffer.alloc(0))
    for (let depth = 1; depth < 100_000; depth++) lists = depth < 2000 ? lengthed(typed('A', lists)) : lists
    refuses(tableOf(['a', typed('A', lists)]))
  })

  it('is found by walking it exactly where it is found by decoding it', () => {
    const mutated = fc
      .tuple(anyTable, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }))
      .map(([table, changes]) => {
        const bytes = Buffer.from(encode(table))
        for (const [at, octet] of changes) bytes[at % bytes.length] = octet
        return bytes
      })
    const random = fc.uint8Array({ maxLength: 60 }).map(octets => lengthed(Buffer.from(octets)))
    fc.assert(
      fc.property(fc.oneof(mutated, random, wireTable), bytes => {
        assert.deepStrictEqual(
          outcome(() => skipTable(bytes, 0, bytes.length)),
          outcome(() => {
            const reader = new Reader(bytes, 0, bytes.length)
            decodeTable(reader)
            return reader.position
          }),
        )
      }),
      { numRuns: 2_000 },
    )
  })
})

/** The offset of its end, or that it is refused; any other exception is the caller's to see. */
function outcome(read: () => number): number | 'refused' {
  try {
    return read()
  } catch (error) {
    if (error instanceof FrameError && error.replyCode === 502) return 'refused'
    throw error
  }
}

function nest(depth: number): FieldTable {
  let table: FieldTable = {}
  for (let i = 1; i < depth; i++) table = { a: table }
  return table
}

/** Type and value octets of a value. */
function encodeValue(value: FieldValue): Buffer {
  return encode({ v: value }).subarray(6)
}

const text = fc.string({ unit: 'binary', maxLength: 40 })
const { table: anyTable } = fc.letrec<{ value: FieldValue; table: FieldTable }>(tie => ({
  value: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.integer({ min: -0x8000_0002, max: 0x8000_0002 }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.bigInt({ min: 2n ** 53n, max: 2n ** 63n - 1n }),
    fc.bigInt({ min: -(2n ** 63n), max: -(2n ** 53n) }),
    text,
    fc.constant(null),
    fc.nat({ max: 8_640_000_000 }).map(seconds => new Date(seconds * 1000)),
    fc.uint8Array({ maxLength: 40 }).map(octets => Buffer.from(octets)),
    fc.tuple(fc.integer(), fc.nat(255)).map(([value, scale]) => decimal(value, scale)),
    fc.array(tie('value'), { maxLength: 5 }),
    tie('table'),
  ),
  table: fc.dictionary(fc.string({ unit: 'binary', maxLength: 20 }), tie('value'), {
    noNullPrototype: true,
    maxKeys: 6,
  }),
}))

function scalar(type: string, size: number, isGood: (bytes: Buffer) => boolean = () => true): fc.Arbitrary<Buffer> {
  const random = fc.uint8Array({ minLength: size, maxLength: size })
  // Small numbers too: random octets make hardly any.
  const small = fc.nat(255).map(octet => Buffer.concat([Buffer.alloc(size - 1), Buffer.from([octet])]))
  return fc
    .oneof(random, small)
    .map(octets => Buffer.from(octets))
    .filter(isGood)
    .map(bytes => typed(type, bytes))
}

const { table: wireTable } = fc.letrec<{ value: Buffer; table: Buffer }>(tie => ({
  value: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    fc.constantFrom(typed('t', Buffer.from([0])), typed('t', Buffer.from([1])), Buffer.from('V')),
    scalar('b', 1),
    scalar('B', 1),
    scalar('s', 2),
    scalar('U', 2),
    scalar('u', 2),
    scalar('I', 4),
    scalar('i', 4),
    scalar('l', 8),
    scalar('L', 8),
    scalar('T', 8),
    scalar('D', 5),
    scalar('f', 4, bytes => Number.isFinite(bytes.readFloatBE())),
    scalar('d', 8, bytes => Number.isFinite(bytes.readDoubleBE())),
    fc
      .double({ noNaN: true, noDefaultInfinity: true })
      .map(value => {
        const bytes = Buffer.alloc(8)
        bytes.writeDoubleBE(Math.round(value))
        return typed('d', bytes)
      })
      .filter(bytes => Number.isFinite(bytes.readDoubleBE(1))),
    fc.uint8Array({ maxLength: 20 }).map(octets => typed('S', lengthed(Buffer.from(octets)))),
    text.map(value => typed('S', lengthed(Buffer.from(value)))),
    fc.uint8Array({ maxLength: 20 }).map(octets => typed('x', lengthed(Buffer.from(octets)))),
    fc.array(tie('value'), { maxLength: 5 }).map(values => typed('A', lengthed(Buffer.concat(values)))),
    tie('table').map(table => typed('F', table)),
  ),
  // JavaScript sorts names that are array indexes: a letter in front keeps the order.
  table: fc
    .uniqueArray(
      fc.tuple(
        text.map(name => `n${name}`),
        tie('value'),
      ),
      { selector: ([name]) => name, maxLength: 6 },
    )
    .map(entries => tableOf(...entries)),
}))
