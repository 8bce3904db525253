import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EncodeError } from '../../src/errors.ts'
import { encodeTable } from '../../src/protocol/field-table.ts'
import { copyTable } from '../../src/protocol/table-copy.ts'
import { type FieldTable, int8, timestamp } from '../../src/protocol/values.ts'
import { Writer } from '../../src/protocol/writer.ts'

const encode = (table: FieldTable): Buffer => Writer.encode(writer => encodeTable(writer, table, 'table'))

describe('a copy of a table', () => {
  it('has the same values and wire types, and does not change with the table', () => {
    const date = new Date(5_000)
    const bytes = Buffer.from('bytes')
    const list = [1, 'x']
    const table: FieldTable = { a: int8(1), b: date, c: bytes, d: list, e: timestamp(2n ** 63n), f: { g: 1.5, h: -0 } }
    const before = encode(table)
    const copy = copyTable(table, 'arguments')
    assert.ok(copy !== undefined)
    assert.deepEqual(encode(copy), before)
    date.setTime(9_000)
    bytes.fill(0)
    list.push('y')
    table['z'] = 1
    assert.deepEqual(encode(copy), before)
  })

  it('is refused with an EncodeError, whatever a value of it throws', () => {
    for (const thrown of [new TypeError('mine'), null, Object.create(null)]) {
      const table = {
        get a(): number {
          throw thrown
        },
      }
      assert.throws(() => copyTable(table, 'queue.declare: arguments'), EncodeError)
    }
    assert.throws(
      () => copyTable({ a: Number.NaN }, 'queue.declare: arguments'),
      /^EncodeError: queue.declare: arguments.a is NaN/,
    )
  })

  it('of undefined is undefined', () => assert.equal(copyTable(undefined, 'arguments'), undefined))
})
