import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { decodeTable, encodeTable } from '../../src/protocol/field-table.ts'
import { KnownHeaders } from '../../src/protocol/known-headers.ts'
import { Reader } from '../../src/protocol/reader.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { Writer } from '../../src/protocol/writer.ts'

const encoded = (table: FieldTable): Buffer => Writer.encode(writer => encodeTable(writer, table, 'headers'))

/** Decodes in the middle of other bytes, and compares with what the table of field types says. */
function check(bytes: Buffer, known: KnownHeaders): FieldTable {
  const amid = Buffer.concat([Buffer.from('..'), bytes, Buffer.from('..')])
  const expected = decodeTable(new Reader(bytes, 0, bytes.length))
  const table = known.decode(amid, 2)
  assert.deepStrictEqual(table, expected)
  assert.deepEqual(Object.keys(table), Object.keys(expected))
  // The wire types that were remembered are part of it.
  assert.deepEqual(encoded(table), encoded(expected))
  return table
}

const text = fc.oneof(fc.constantFrom('a', 'b', 'é', '\ufffd', 'acme', 'ACME'), fc.string({ maxLength: 3 }))
const value = fc.oneof(
  text,
  fc.constantFrom(0, -0, 1, -1, 70_000, 2 ** 40, 0.5, true, false, null),
  fc.constantFrom(new Date(1000), ['a', 1], { deep: 'er' }, Buffer.from([0xff]), 2n ** 60n),
)
const anyTable = fc.dictionary(fc.constantFrom('a', 'b', 'é', '1', '__proto__', 'name'), value, { maxKeys: 4 })

describe('headers like those before', () => {
  it('are read as any table is, whatever came before', () => {
    const run = fc.array(fc.tuple(anyTable, anyTable, fc.nat(3)), { maxLength: 8 })
    fc.assert(
      fc.property(run, steps => {
        const known = new KnownHeaders()
        for (const [some, others, repeats] of steps) {
          const changed = Object.entries(some).map(([name, each]) => [name, others[name] ?? each] as const)
          for (let i = 0; i <= repeats; i++) {
            check(encoded(some), known)
            check(encoded(Object.fromEntries(changed)), known)
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  it('are read where any octet is another', () => {
    const bytes = encoded({ tenant: 'acme', attempt: 7, sampled: true, source: 'shop' })
    for (let at = 4; at < bytes.length; at++) {
      for (const octet of [0x00, 0x01, 0x41, 0x7f, 0x80, 0xc3, 0xff]) {
        const known = new KnownHeaders()
        check(bytes, known)
        const other = Buffer.from(bytes)
        other[at] = octet
        let expected: FieldTable
        try {
          expected = decodeTable(new Reader(other, 0, other.length))
        } catch {
          // It is found on arrival, and never gets here.
          continue
        }
        assert.deepStrictEqual(known.decode(other, 0), expected)
      }
    }
  })

  it('are of entries that come twice, the last of which counts', () => {
    const entry = (name: string, text: string): Buffer =>
      Buffer.from(
        `${String.fromCharCode(name.length)}${name}S\0\0\0${String.fromCharCode(text.length)}${text}`,
        'latin1',
      )
    const table = (...entries: Buffer[]): Buffer => {
      const all = Buffer.concat([Buffer.alloc(4), ...entries])
      all.writeUInt32BE(all.length - 4, 0)
      return all
    }
    const twice = [
      [entry('a', 'x'), entry('a', 'y')],
      [entry('a', ''), entry('a', 'z'.repeat(17))],
      [entry('a', 'z'.repeat(17)), entry('a', '')],
    ]
    for (const entries of twice) {
      const bytes = table(...entries)
      const known = new KnownHeaders()
      check(bytes, known)
      check(bytes, known)
      check(
        table(...entries.map((each, i) => (i === 0 ? Buffer.from(String(each).replace(/[xz]/g, 'v')) : each))),
        known,
      )
      check(table(entry('a', 'x'), entry('b', 'y')), known)
      check(table(entry('a', 'y'), entry('a', 'x')), known)
      // Where there is nothing behind it.
      assert.doesNotThrow(() => new KnownHeaders().decode(bytes, 0))
    }
  })

  it('are an object of their own each time, the first too', () => {
    const bytes = encoded({ tenant: 'acme', attempt: 1 })
    const known = new KnownHeaders()
    for (let i = 0; i < 5; i++) {
      const table = check(bytes, known)
      table['tenant'] = 'changed'
      table['more'] = i
      delete table['attempt']
    }
  })

  it('have octets that are no UTF-8 in a buffer of their own each time', () => {
    const bytes = encoded({ octets: 'xyz', attempt: 1 })
    bytes.write('\xff', bytes.indexOf('xyz'), 'latin1')
    const known = new KnownHeaders()
    for (let i = 0; i < 4; i++) {
      const { octets } = check(bytes, known)
      assert.ok(Buffer.isBuffer(octets))
      octets.fill(0)
    }
  })

  it('may be named __proto__', () => {
    const known = new KnownHeaders()
    for (const text of ['a', 'b', 'c']) {
      const table = check(encoded(JSON.parse(`{"__proto__":"${text}","n":1}`)), known)
      assert.equal(Object.getPrototypeOf(table), Object.prototype)
      assert.deepEqual(Object.entries(table), [
        ['__proto__', text],
        ['n', 1],
      ])
    }
  })
})
