import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { inspect } from 'node:util'
import fc from 'fast-check'
import { hidden } from '../../src/channel/publish/publish-errors.ts'
import { EncodeError, FrameError } from '../../src/errors.ts'
import type { BasicProperties } from '../../src/protocol/properties.ts'
import type { Properties } from '../../src/protocol/received-properties.ts'
import { anyProperties, encode, hex, nestedTables, read } from '../support/property-lists.ts'

describe('received properties', () => {
  it('keep the wire types of headers and timestamp when they are published again', () => {
    const lists = [
      hex('0040 00000000ffffffff'),
      // Types u, b, f, S of octets that are not UTF-8, and t.
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

  it('are written as the program changed them', () => {
    const seen = read(encode({ headers: { a: 1, b: 'x' }, contentType: 'text/plain' }))
    const { headers } = seen
    assert.ok(headers !== undefined)
    headers['a'] = 2
    headers['c'] = true
    assert.deepEqual(read(encode(seen)).toJSON(), { headers: { a: 2, b: 'x', c: true }, contentType: 'text/plain' })
    const dated = read(encode({ timestamp: new Date(5000) }))
    dated.timestamp?.setTime(9000)
    assert.deepEqual(read(encode(dated)).timestamp, new Date(9000))
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

  it('keep their bytes to themselves in an error, which Node prints as it is when nothing catches it', () => {
    for (const properties of [{ contentType: 'a', headers: { secret: 1 } }, {}]) {
      const list = encode(properties)
      const { wireFlags } = read(list)
      const kept = hidden(read(list))
      kept.contentType
      assert.equal(inspect(kept, { customInspect: false }), `Properties { wireFlags: ${wireFlags} }`)
      assert.deepEqual(kept.toJSON(), properties)
      assert.deepEqual(encode(kept), list)
      assert.equal(kept.wireBytes.length, list.length - 2)
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

  it('keep a timestamp past the range of Date, as producers that count in microseconds send it', () => {
    for (const seconds of [8_640_000_000_001n, 1_700_000_000_123_456n, 2n ** 53n + 1n, 2n ** 64n - 1n]) {
      const bytes = Buffer.alloc(10)
      bytes.writeUInt16BE(0x0040)
      bytes.writeBigUInt64BE(seconds, 2)
      const received = read(bytes)
      assert.ok(received.timestamp instanceof Date)
      assert.equal(received.timestamp.getTime(), Number(seconds) * 1000)
      assert.equal(received.timestamp.valueOf(), Number(seconds) * 1000)
      assert.ok(inspect(received).includes('timestamp'))
      assert.ok(JSON.stringify(received).includes(String(Number(seconds) * 1000)))
      // As it came, once read, and copied: by another list of headers, too.
      assert.deepEqual(encode(received), bytes)
      assert.deepEqual(encode({ ...received.toJSON() }), bytes)
      const headers = encode({ headers: { at: received.timestamp } })
      assert.ok(headers.includes(bytes.subarray(2)))
      assert.deepEqual(encode({ headers: read(headers).headers }), headers)
    }
    const received = read(hex('0040 ffffffffffffffff'))
    received.timestamp?.setTime(5_000)
    assert.equal(received.timestamp?.getTime(), 5_000)
    assert.equal(received.timestamp?.toISOString(), '1970-01-01T00:00:05.000Z')
    assert.deepEqual(encode(received), hex('0040 0000000000000005'))
  })

  it('say of headers nested more than 64 deep that they are, and keep the rest', () => {
    const list = (depth: number, last = ''): Buffer => {
      const offset = hex('0f 782d73747265616d2d6f6666736574 6c 0000000000000007')
      const entries = Buffer.concat([offset, hex('0174 46'), nestedTables(depth - 1), hex(last)])
      const length = Buffer.alloc(4)
      length.writeUInt32BE(entries.length)
      return Buffer.concat([hex('a080 0163'), length, entries, hex('016d')])
    }
    assert.equal(read(list(64)).isTooDeep, false)
    const received = read(list(65))
    assert.equal(received.isTooDeep, true)
    assert.equal(received.headers?.['x-stream-offset'], 7)
    assert.equal(received.contentType, 'c')
    assert.equal(received.messageId, 'm')
    assert.equal(JSON.stringify(received.headers).split('{').length - 1, 65, 'the deepest is empty')
    for (const last of ['0161 7a', '0161 53 00000001', '05']) {
      assert.throws(() => read(list(65, last)), FrameError, 'what comes after them is checked, too')
    }
  })
})
