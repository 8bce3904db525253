import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { decodeTable, encodeTable } from '../../src/protocol/field-table.ts'
import { decodeHeaders } from '../../src/protocol/known-headers.ts'
import { Reader } from '../../src/protocol/reader.ts'
import type { FieldTable } from '../../src/protocol/values.ts'
import { Writer } from '../../src/protocol/writer.ts'

const encoded = (table: FieldTable): Buffer => Writer.encode(writer => encodeTable(writer, table, 'headers'))

/** Decodes in the middle of other bytes, and compares with what the table of field types says. */
function check(bytes: Buffer): FieldTable {
  const amid = Buffer.concat([Buffer.from('..'), bytes, Buffer.from('..')])
  const expected = decodeTable(new Reader(bytes, 0, bytes.length))
  const table = decodeHeaders(amid, 2)
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
        for (const [some, others, repeats] of steps) {
          const changed = Object.entries(some).map(([name, each]) => [name, others[name] ?? each] as const)
          for (let i = 0; i <= repeats; i++) {
            check(encoded(some))
            check(encoded(Object.fromEntries(changed)))
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
        check(bytes)
        check(bytes)
        const other = Buffer.from(bytes)
        other[at] = octet
        let expected: FieldTable
        try {
          expected = decodeTable(new Reader(other, 0, other.length))
        } catch {
          // It is found on arrival, and never gets here.
          continue
        }
        assert.deepStrictEqual(decodeHeaders(other, 0), expected)
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
    for (let i = 0; i < 3; i++) {
      check(table(entry('a', 'x'), entry('a', 'y')))
      check(table(entry('a', 'x'), entry('b', 'y')))
      check(table(entry('a', 'y'), entry('a', 'x')))
    }
  })

  it('are an object of their own each time', () => {
    const bytes = encoded({ tenant: 'acme', attempt: 1 })
    for (let i = 0; i < 5; i++) {
      const table = check(bytes)
      table['tenant'] = 'changed'
      table['more'] = i
      delete table['attempt']
    }
  })
})
