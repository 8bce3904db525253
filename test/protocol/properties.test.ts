import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { EncodeError } from '../../src/errors.ts'
import type { BasicProperties } from '../../src/protocol/properties.ts'
import { anyProperties, encode, hex, read } from '../support/property-lists.ts'

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

  it('have their getters asked once for each message', () => {
    let reads = 0
    const counting: BasicProperties = {
      get messageId() {
        return `id-${++reads}`
      },
      headers: Object.defineProperty({}, 'seq', { enumerable: true, get: () => ++reads }),
    }
    for (let n = 0; n < 8; n += 2) {
      assert.deepEqual(encode(counting), encode({ messageId: `id-${n + 1}`, headers: { seq: n + 2 } }))
    }
    assert.equal(reads, 8)
  })

  it('cut the milliseconds of a timestamp', () => {
    assert.deepEqual(encode({ timestamp: new Date(1_999) }), hex('0040 0000000000000001'))
  })

  const bad: readonly (readonly [string, unknown, RegExp])[] = [
    [
      'a string where a number is due',
      { deliveryMode: '2' },
      /properties\.deliveryMode must be an integer from 0 to 255, not "2"/,
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
    ['an unknown member', { contenttype: 'x' }, /unknown member "contenttype"; did you mean "contentType"\?/],
    ['a name in another case', { messageID: 'x' }, /unknown member "messageID"; did you mean "messageId"\?/],
    ['a name that is like no other', { compressed: 1 }, /unknown member "compressed"; known are contentType, /],
    [
      'an unknown member beside known ones',
      { contentType: 'x', persistent: true },
      /unknown member "persistent"; did you mean deliveryMode: 2\?/,
    ],
    [
      'an option of the publish',
      { mandatory: true },
      /"mandatory"; it is an option, which the argument after the prop/,
    ],
    ['the CC of other clients', { CC: ['q'] }, /unknown member "CC"; did you mean headers: \{ CC: \[\.\.\.\] \}\?/],
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
