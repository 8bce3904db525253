import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { argumentsKey } from '../../../src/connection/recovery/binding-key.ts'
import { decimal, double, type FieldTable, int8, int16, int64, timestamp } from '../../../src/index.ts'
import { decodeTable } from '../../../src/protocol/field-table.ts'
import { Reader } from '../../../src/protocol/reader.ts'

/** A table as it came: one entry `n` with this type octet and these bytes. */
function received(type: string, ...bytes: number[]): FieldTable {
  const entry = [1, 0x6e, type.charCodeAt(0), ...bytes]
  const buffer = Buffer.from([0, 0, 0, entry.length, ...entry])
  return decodeTable(new Reader(buffer, 0, buffer.length))
}

describe('the key of arguments', () => {
  it('is one for each order of the names, and for none', () => {
    assert.equal(argumentsKey(undefined), argumentsKey({}))
    assert.equal(argumentsKey({ a: 1, b: 'x', c: [1] }), argumentsKey({ c: [1], b: 'x', a: 1 }))
  })

  it('distinguishes values and wire types', () => {
    const tables: FieldTable[] = [
      {},
      { n: 1 },
      { n: 2 },
      { m: 1 },
      { n: int8(1) },
      { n: int16(1) },
      { n: int64(1) },
      { n: double(1) },
      { n: decimal(1, 0) },
      { n: timestamp(1) },
      { n: '1' },
      { n: true },
      { n: null },
      { n: Buffer.from('1') },
      { n: { a: 1, b: 2 } },
      { n: [1] },
      { n: [{ a: 1 }] },
      { n: [1], o: 1 },
    ]
    assert.equal(new Set(tables.map(argumentsKey)).size, tables.length)
  })

  it('keeps to the order in a table in it, which RabbitMQ compares as it came', () => {
    assert.notEqual(argumentsKey({ n: { a: 1, b: 2 } }), argumentsKey({ n: { b: 2, a: 1 } }))
  })

  it('has one 64-bit integer, of which RabbitMQ reads two types', () => {
    const eight = [0, 0, 0, 0, 0, 0, 0, 1]
    assert.equal(argumentsKey(received('L', ...eight)), argumentsKey(received('l', ...eight)))
    const nested = (type: string): FieldTable => ({ a: [received(type, ...eight)], b: received(type, ...eight) })
    assert.equal(argumentsKey(nested('L')), argumentsKey(nested('l')))
  })
})
