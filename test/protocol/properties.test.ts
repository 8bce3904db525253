import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { EncodeError, FrameError } from '../../src/errors.ts'
import {
  type BasicProperties,
  MAX_SCALAR_PROPERTIES,
  Properties,
  writeProperties,
} from '../../src/protocol/properties.ts'
import { Writer } from '../../src/protocol/writer.ts'

function encode(properties: BasicProperties): Buffer {
  return Writer.encode(writer => {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    writeProperties(writer, properties)
  })
}

/** Read from the middle of a buffer that is spoilt afterwards, as the read buffer of a connection is. */
function read(list: Buffer): Properties {
  const reused = Buffer.concat([Buffer.from([9, 9, 9]), list, Buffer.from([9, 9])])
  const properties = Properties.read(reused, 3, 3 + list.length)
  reused.fill(0xff)
  return properties
}

function hex(text: string): Buffer {
  return Buffer.from(text.replaceAll(' ', ''), 'hex')
}

const text = fc.string({ unit: 'grapheme', maxLength: 40 }).filter(value => Buffer.byteLength(value) < 256)
const anyProperties: fc.Arbitrary<BasicProperties> = fc.record(
  {
    contentType: text,
    contentEncoding: text,
    headers: fc.dictionary(fc.string({ maxLength: 10 }), fc.oneof(fc.integer(), fc.boolean(), text, fc.constant(null))),
    deliveryMode: fc.nat(255),
    priority: fc.nat(255),
    correlationId: text,
    replyTo: text,
    expiration: text,
    messageId: text,
    timestamp: fc.nat(0xffff_ffff).map(seconds => new Date(seconds * 1000)),
    messageType: text,
    userId: text,
    appId: text,
    clusterId: text,
  },
  { requiredKeys: [] },
)

/** What fast-check makes may lack a prototype. */
function plain(properties: BasicProperties): BasicProperties {
  const { headers } = properties
  return headers === undefined ? { ...properties } : { ...properties, headers: { ...headers } }
}

describe('properties', () => {
  it('are written in the order of their flags, all fourteen (§4.2.6.1)', () => {
    const all: Required<BasicProperties> = {
      clusterId: 'n',
      appId: 'm',
      userId: 'l',
      messageType: 'k',
      timestamp: new Date(1_700_000_000_000),
      messageId: 'i',
      expiration: '1',
      replyTo: 'g',
      correlationId: 'f',
      priority: 5,
      deliveryMode: 2,
      headers: { h: true },
      contentEncoding: 'b',
      contentType: 'a',
    }
    const list = hex('fffc 0161 0162 00000004 0168 7401 02 05 0166 0167 0131 0169 000000006553f100 016b 016c 016d 016e')
    assert.deepEqual(encode(all), list)
    assert.deepEqual(read(list).toJSON(), all)
  })

  const single: readonly (readonly [BasicProperties, string])[] = [
    [{}, '0000'],
    [{ contentType: 'a' }, '8000 0161'],
    [{ contentEncoding: 'a' }, '4000 0161'],
    [{ headers: {} }, '2000 00000000'],
    [{ deliveryMode: 2 }, '1000 02'],
    [{ priority: 255 }, '0800 ff'],
    [{ correlationId: 'a' }, '0400 0161'],
    [{ replyTo: 'a' }, '0200 0161'],
    [{ expiration: '60000' }, '0100 05 3630303030'],
    [{ messageId: '' }, '0080 00'],
    [{ timestamp: new Date(0) }, '0040 0000000000000000'],
    [{ messageType: 'a' }, '0020 0161'],
    [{ userId: 'a' }, '0010 0161'],
    [{ appId: 'a' }, '0008 0161'],
    [{ clusterId: 'a' }, '0004 0161'],
  ]
  for (const [properties, list] of single) {
    const [name = 'none'] = Object.keys(properties)
    it(`write and read ${name} alone`, () => {
      assert.deepEqual(encode(properties), hex(list))
      assert.deepEqual(read(hex(list)).toJSON(), properties)
    })
  }

  it('come back as they went, any of them', () => {
    fc.assert(
      fc.property(anyProperties, properties => {
        const received = read(encode(properties))
        assert.deepEqual(received.toJSON(), plain(properties))
        assert.deepEqual(read(encode(received)).toJSON(), plain(properties))
      }),
    )
  })

  it('leave out members that are undefined', () => {
    assert.deepEqual(encode({ contentType: undefined, headers: undefined, priority: 1 }), hex('0800 01'))
  })

  it('cut the milliseconds of a timestamp', () => {
    assert.deepEqual(encode({ timestamp: new Date(1_999) }), hex('0040 0000000000000001'))
  })

  const bad: readonly (readonly [string, unknown, RegExp])[] = [
    [
      'a string where a number is due',
      { deliveryMode: '2' },
      /properties\.deliveryMode must be an integer from 0 to 255, not '2'/,
    ],
    ['a priority of 256', { priority: 256 }, /properties\.priority must be an integer from 0 to 255, not 256/],
    ['a priority of 1.5', { priority: 1.5 }, /properties\.priority must be an integer/],
    ['an expiration that is a number', { expiration: 60_000 }, /properties\.expiration must be a string, not 60000/],
    ['a null', { replyTo: null }, /properties\.replyTo must be a string, not null/],
    ['a string of 256 bytes', { messageId: 'ü'.repeat(128) }, /properties\.messageId takes 256 bytes/],
    ['a timestamp that is a number', { timestamp: 5 }, /properties\.timestamp must be a valid Date/],
    ['an invalid Date', { timestamp: new Date(Number.NaN) }, /properties\.timestamp must be a valid Date/],
    ['a Date before 1970', { timestamp: new Date(-1000) }, /properties\.timestamp must be a valid Date from 1970 on/],
    ['headers that are no table', { headers: 'x' }, /properties\.headers/],
    ['a header that is a function', { headers: { f: () => 1 } }, /properties\.headers/],
    ['an unknown member', { contenttype: 'x' }, /unknown member "contenttype"; it may have contentType, /],
    ['an unknown member beside known ones', { contentType: 'x', persistent: true }, /unknown member "persistent"/],
    ['an unknown member that is undefined', { typ: undefined }, /unknown member "typ"/],
  ]
  for (const [what, properties, message] of bad) {
    it(`refuse ${what}, by its name`, () => {
      assert.throws(
        () => encode(properties as BasicProperties),
        (error: unknown) => error instanceof EncodeError && message.test(error.message),
      )
    })
  }
})

describe('received properties', () => {
  it('keep the wire types of headers and timestamp when they are published again', () => {
    const lists = [
      hex('0040 00000000ffffffff'),
      // Types u, b, f, S of octets that are no UTF-8, and t.
      hex('2000 0000001d 0161 75 0001 0162 62 ff 0163 66 3f800000 0164 53 00000002 fffe 0165 7400'),
      hex('2000 00000008 0161 73 0005 0162 56'),
    ]
    for (const list of lists) {
      assert.deepEqual(encode(read(list)), list, 'unread')
      const seen = read(list)
      assert.ok(inspect(seen).length > 0)
      assert.deepEqual(encode(seen), list, 'read')
      assert.deepEqual(encode(seen.toJSON()), list, 'copied')
    }
  })

  it('have no timestamp where it is past the range of Date, and can be published again all the same', () => {
    const list = hex('0840 01 0020000000000001')
    const received = read(list)
    assert.equal(received.timestamp, undefined)
    assert.deepEqual(received.toJSON(), { priority: 1 })
    assert.deepEqual(encode(received), list)
  })

  it('are written as the program changed them', () => {
    const seen = read(encode({ headers: { a: 1, b: 'x' }, contentType: 'text/plain' }))
    const { headers } = seen
    assert.ok(headers !== undefined)
    headers['a'] = 2
    headers['c'] = true
    assert.deepEqual(read(encode(seen)).toJSON(), { headers: { a: 2, b: 'x', c: true }, contentType: 'text/plain' })
  })

  it('are refused as a spread, whose values are getters, with a hint', () => {
    for (const received of [read(encode({ contentType: 'a', headers: { x: 1 } })), read(encode({}))]) {
      for (const spread of [{ ...received }, { ...received, contentType: 'b', deliveryMode: 2 }]) {
        assert.throws(
          () => encode(spread as BasicProperties),
          (error: unknown) =>
            error instanceof EncodeError &&
            /copy received properties with toJSON\(\), not by spreading/.test(error.message),
        )
      }
    }
  })

  it('show what is set, and only that', () => {
    const received = read(encode({ contentType: 'a', priority: 0 }))
    assert.equal(JSON.stringify(received), '{"contentType":"a","priority":0}')
    assert.equal(inspect(received), "{ contentType: 'a', priority: 0 }")
    assert.equal(received.messageId, undefined)
    assert.equal(received.headers, undefined)
    assert.equal(received.timestamp, undefined)
  })

  it('give the same headers and timestamp each time', () => {
    const received = read(encode({ headers: { a: 1 }, timestamp: new Date(5000) }))
    assert.equal(received.headers, received.headers)
    assert.equal(received.timestamp, received.timestamp)
  })

  it('have the odd keys of a table as plain keys', () => {
    const received = read(hex('2000 00000010 09 5f5f70726f746f5f5f 53 00000001 78'))
    assert.deepEqual(Object.entries(received.headers ?? {}), [['__proto__', 'x']])
    assert.equal(({} as Record<string, unknown>)['x'], undefined)
  })

  const faults: readonly (readonly [string, string, RegExp])[] = [
    ['flags that are cut', '80', /cut short/],
    ['no flags at all', '', /cut short/],
    ['a string that is cut', '8000 0561', /cut short/],
    ['a string that is missing', '8000', /cut short/],
    ['an octet that is missing', '1000', /cut short/],
    ['a timestamp that is cut', '0040 00000000', /cut short/],
    ['a table that is cut', '2000 00000010 0161', /cut short/],
    ['a table whose entry goes past it', '2000 00000004 0161 53 00 000000ff', /./],
    ['a table with a type that does not exist', '2000 00000004 0161 7a 00', /type/],
    ['a second word of flags', '0001 0000', /property flags that the basic class does not know/],
    ['a flag that is not defined', '0002', /property flags that the basic class does not know/],
    ['bytes behind the last property', '0800 01 ff', /1 bytes too many/],
  ]
  for (const [what, list, message] of faults) {
    it(`are refused with ${what}, when they come and not when they are read`, () => {
      assert.throws(
        () => read(hex(list)),
        (error: unknown) => error instanceof FrameError && error.replyCode === 502 && message.test(error.message),
      )
    })
  }

  it('are refused when they come, or can all be read, whatever the bytes', () => {
    const mutated = fc
      .tuple(anyProperties, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }))
      .map(([properties, changes]) => {
        const list = encode(properties)
        for (const [at, octet] of changes) list[at % list.length] = octet
        return list
      })
    fc.assert(
      fc.property(mutated, list => {
        let received: Properties
        try {
          received = read(list)
        } catch (error) {
          assert.ok(error instanceof FrameError)
          return
        }
        assert.ok(inspect(received).length > 0)
      }),
      { numRuns: 1000 },
    )
  })
})
