import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { EncodeError } from '../../src/errors.ts'
import { decodeTable } from '../../src/protocol/field-table.ts'
import { type BasicProperties, MAX_SCALAR_PROPERTIES, writeProperties } from '../../src/protocol/properties.ts'
import { PropertiesTemplate } from '../../src/protocol/properties-template.ts'
import { Reader } from '../../src/protocol/reader.ts'
import { Writer } from '../../src/protocol/writer.ts'

const encoded = (properties: BasicProperties): Buffer =>
  Writer.encode(writer => {
    writer.reserve(2 + MAX_SCALAR_PROPERTIES)
    writeProperties(writer, properties)
  })

/** Writes lists one after the other, as an encoder does, and counts those that were filled in. */
class Lists {
  readonly #template = new PropertiesTemplate()
  filled = 0

  write(properties: BasicProperties): Buffer {
    return Writer.encode(writer => {
      writer.reserve(2 + MAX_SCALAR_PROPERTIES)
      if (this.#template.write(writer, properties)) this.filled++
      else {
        writeProperties(writer, properties)
        this.#template.learn(properties, writer.buffer, writer.positionOf(0), writer.position)
      }
    })
  }

  /** The list is what encoding makes of the same properties. */
  check(properties: BasicProperties): void {
    assert.equal(this.write(properties).toString('hex'), encoded(properties).toString('hex'))
  }
}

const order = (id: number) => ({
  contentType: 'application/json',
  messageId: `order-${String(id).padStart(6, '0')}`,
  timestamp: new Date(1_700_000_000_000 + 60_000 * id),
  deliveryMode: 1 + (id % 2),
  headers: { tenant: 'acme', attempt: id, sampled: id % 3 === 0, trace: `t${String(id).padStart(8, '0')}` },
})

const text = fc.oneof(
  fc.constantFrom(
    '',
    'a',
    'b',
    'ab',
    'ba',
    'é',
    'é\u0000',
    '\u{1f407}',
    'order-000001',
    'order-000002',
    'x'.repeat(64),
  ),
  fc.string({ maxLength: 4 }),
)
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined, freq: 4 })
const header = fc.oneof(
  text,
  fc.constantFrom(0, -0, 1, -1, 70_000, 2 ** 31, -(2 ** 31), 1.5, 12n, true, false, null, undefined),
  fc.constantFrom(new Date(5000), [1, 'a'], { deep: 'er' }, Buffer.from('bytes')),
)
const anyProperties: fc.Arbitrary<BasicProperties> = fc.record(
  {
    messageId: maybe(text),
    contentType: maybe(text),
    deliveryMode: maybe(fc.constantFrom(0, 1, 2, 255)),
    timestamp: maybe(fc.constantFrom(new Date(0), new Date(1000), new Date(5e15))),
    headers: maybe(fc.dictionary(fc.constantFrom('a', 'b', 'ab', 'é'), header, { maxKeys: 3 })),
    appId: maybe(text),
  },
  { requiredKeys: [] },
)

describe('a template of properties', () => {
  it('makes of any run of properties what encoding each of them makes', () => {
    const run = fc.array(fc.tuple(anyProperties, anyProperties, fc.nat(3)), { maxLength: 8 })
    fc.assert(
      fc.property(run, steps => {
        const lists = new Lists()
        for (const [some, others, repeats] of steps) {
          for (let i = 0; i <= repeats; i++) {
            lists.check(some)
            // Alike: the same members, some of them with another value.
            lists.check({ ...some, ...pick(others, Object.keys(some)) })
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  it('is filled in for messages that are alike, from the second on', () => {
    const lists = new Lists()
    for (let id = 0; id < 100; id++) lists.check(order(id))
    assert.equal(lists.filled, 99)
  })

  it('takes the values of now from an object that is changed and published again', () => {
    const lists = new Lists()
    const properties = order(1)
    for (let id = 1; id < 10; id++) {
      properties.messageId = `order-${String(id).padStart(6, '0')}`
      properties.headers.attempt = id
      properties.timestamp.setTime(id * 1000)
      lists.check(properties)
    }
    assert.equal(lists.filled, 8)
  })

  it('is not filled in for other members, lengths, kinds of value, or text that is not ASCII', () => {
    const { headers, ...rest } = order(1)
    const others: BasicProperties[] = [
      rest,
      { ...rest, headers: {} },
      { ...rest, headers: { ...headers, more: 1 } },
      { ...rest, headers: { ...headers, attempt: -0 } },
      { ...rest, headers: { ...headers, attempt: 1.5 } },
      { ...rest, headers: { ...headers, attempt: true } },
      { ...rest, headers: { ...headers, tenant: 'äcme' } },
      { ...rest, headers: { ...headers, tenant: 'acme inc' } },
      { ...rest, headers: { ...headers, tenant: ['acme'] } },
      { ...order(1), messageId: 'order-00000é' },
      { ...order(1), messageId: 'order-1' },
      { ...order(1), messageId: undefined },
      { ...order(1), priority: 1 },
      Object.fromEntries(Object.entries(order(1)).reverse()),
    ]
    for (const other of others) {
      const lists = new Lists()
      lists.check(order(0))
      lists.check(order(1))
      lists.check(other)
      assert.equal(lists.filled, 1, JSON.stringify(other))
      lists.check(order(2))
    }
  })

  it('leaves members that are no properties, and values that cannot be sent, to the error they make', () => {
    const bad: [object, RegExp][] = [
      [{ ...order(1), mesageId: 'order-000001' }, /unknown member "mesageId"/],
      [{ ...order(1), deliveryMode: 256 }, /deliveryMode must be an integer from 0 to 255/],
      [{ ...order(1), timestamp: new Date(-1) }, /timestamp must be a valid Date/],
      [{ ...order(1), timestamp: 'now' }, /timestamp must be a valid Date/],
      [{ ...order(1), timestamp: Date }, /timestamp must be a valid Date/],
      [{ ...order(1), headers: 5 }, /headers must be a plain object/],
      [{ ...order(1), headers: { ...order(1).headers, attempt: Number.NaN } }, /NaN/],
    ]
    for (const [properties, message] of bad) {
      const lists = new Lists()
      lists.check(order(0))
      lists.check(order(1))
      assert.throws(
        () => lists.write(properties),
        (error: unknown) => error instanceof EncodeError && message.test(error.message),
      )
      lists.check(order(2))
    }
  })

  it('keeps the wire types of headers that were received', () => {
    const lists = new Lists()
    const plain = { headers: { n: 5 } }
    const received = { headers: decodeTable(new Reader(Buffer.from('00000004016e6205', 'hex'), 0, 8)) }
    assert.deepEqual(received, plain)
    for (const properties of [received, plain, received, plain, plain, received]) lists.check(properties)
    assert.notDeepEqual(encoded(received), encoded(plain))
  })

  it('sees properties that are getters of a class', () => {
    class Named {
      deliveryMode = 2
      get messageId(): string {
        return 'named'
      }
    }
    for (const first of [{ deliveryMode: 2 }, new Named()]) {
      const lists = new Lists()
      for (const properties of [first, first, new Named(), { deliveryMode: 2 }, new Named()]) lists.check(properties)
    }
  })

  it('tells members apart by their names, and 0 from -0', () => {
    const pairs: [BasicProperties, BasicProperties][] = [
      [{ messageId: 'a' }, { appId: 'a' }],
      [{ headers: { a: 'x' } }, { headers: { b: 'x' } }],
      [{ headers: { n: 0 } }, { headers: { n: -0 } }],
      [{ headers: { n: 1 } }, { headers: { n: true } }],
      [{ timestamp: new Date(1_999) }, { timestamp: new Date(2_000) }],
      [{ timestamp: new Date(5e15) }, { timestamp: new Date(5e15 + 999) }],
    ]
    for (const [one, other] of pairs) {
      for (const order of [
        [one, other, other],
        [other, one, one],
      ]) {
        const lists = new Lists()
        for (const properties of order) lists.check(properties)
      }
    }
  })

  it('asks getters once for each message, and no more', () => {
    const lists = new Lists()
    let reads = 0
    const counting: BasicProperties = {
      contentType: 'own',
      get messageId() {
        return `id-${++reads}`
      },
      headers: Object.defineProperty({}, 'seq', { enumerable: true, get: () => ++reads }),
    }
    for (let n = 1; n < 9; n += 2) {
      const list = lists.write(counting)
      assert.equal(reads, n + 1)
      assert.deepEqual(list, encoded({ contentType: 'own', messageId: `id-${n}`, headers: { seq: n + 1 } }))
    }
    const headers = Object.defineProperty({}, 'seq', { enumerable: true, get: () => ++reads })
    const tables = new Lists()
    for (let i = 0; i < 4; i++) {
      const before = reads
      tables.write({ headers })
      assert.equal(reads, before + 1)
    }
    for (const messageId of ['id-1', 'id-2', 'id-3'])
      lists.check({ contentType: 'own', messageId, headers: { seq: 5 } })
  })

  it('takes nothing for a member of each message that the first inherited', () => {
    const parent = Object.assign(Object.create(null), { messageId: 'secret', headers: { a: 1 } })
    const child = (): BasicProperties => Object.assign(Object.create(parent), { contentType: 'own' })
    for (const first of [child(), { contentType: 'own' }]) {
      const lists = new Lists()
      for (const properties of [first, { contentType: 'own' }, child(), { contentType: 'own' }]) lists.check(properties)
    }
    const tables = new Lists()
    const table = Object.assign(Object.create(Object.assign(Object.create(null), { long: 'x'.repeat(65) })), { a: 1 })
    for (const headers of [table, { a: 1 }, table, { a: 2 }]) tables.check({ headers })
  })

  it('knows only members that are properties, whatever is inherited', () => {
    const parent = Object.assign(Object.create(null), { foo: 5 })
    const child = (messageId: string): BasicProperties => Object.assign(Object.create(parent), { messageId })
    const lists = new Lists()
    for (const id of ['a', 'b', 'c']) {
      lists.check(child(id))
      lists.check({ messageId: id })
      parent.foo++
    }
  })

  it('goes on being filled in where a text in between is not ASCII', () => {
    const lists = new Lists()
    for (let id = 0; id < 2000; id++) {
      if (id % 20 === 19) lists.check({ ...order(id), messageId: 'order-00000é' })
      else lists.check(order(id))
    }
    assert.ok(lists.filled > 1700, `${lists.filled}`)
  })

  it('is not spoiled by a long text that is not ASCII', () => {
    const lists = new Lists()
    const long = (id: number, last = '-'): BasicProperties => ({
      ...order(id),
      correlationId: `${'correlation'.repeat(8)}${String(id).padStart(6, '0')}${last}`,
    })
    for (let id = 0; id < 300; id++) lists.check(id % 30 === 29 ? long(id, '語') : long(id))
    assert.equal(lists.filled, 300 - 1 - 10)
  })

  it('gives up on a program whose messages are all different, and finds it out when they no longer are', () => {
    const lists = new Lists()
    for (let id = 0; id < 3000; id++) lists.check({ headers: { [`k${id}`]: id } })
    assert.equal(lists.filled, 0)
    for (let id = 0; id < 3000; id++) lists.check(order(id))
    assert.ok(lists.filled >= 1900, `${lists.filled}`)
  })

  it('keeps no list above a kilobyte', () => {
    const lists = new Lists()
    const value = 'x'.repeat(200)
    const headers = Object.fromEntries(Array.from({ length: 6 }, (_, i) => [`h${i}`, value]))
    for (let i = 0; i < 5; i++) lists.check({ headers })
    assert.equal(lists.filled, 0)
  })
})

function pick(properties: BasicProperties, names: readonly string[]): BasicProperties {
  return Object.fromEntries(Object.entries(properties).filter(([name]) => names.includes(name)))
}
