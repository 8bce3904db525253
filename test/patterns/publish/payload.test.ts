import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { runInNewContext } from 'node:vm'
import { EncodeError } from '../../../src/index.ts'
import { isEncoded, toJson, withJsonType, withPersistence } from '../../../src/patterns/publish/payload.ts'
import type { BasicProperties } from '../../../src/protocol/properties.ts'

class OrderCreated {
  readonly id: number
  readonly #secret = 'not a property'

  constructor(id: number) {
    this.id = id
  }

  reveal(): string {
    return this.#secret
  }
}

class Model {
  readonly row = { id: 7, hidden: true }

  toJSON(): unknown {
    return { id: this.row.id }
  }
}

describe('A payload', () => {
  it('is sent as it is if it is a string or bytes, of another realm too', () => {
    for (const payload of [
      'text',
      Buffer.from('x'),
      new Uint8Array(2),
      runInNewContext('new Uint8Array(2)') as object,
    ]) {
      assert.equal(isEncoded(payload), true)
    }
    for (const payload of [{}, [], new Uint16Array(2), new ArrayBuffer(2)]) assert.equal(isEncoded(payload), false)
  })

  it('is JSON as JSON.stringify writes it if it is any other object, and the same inside another', () => {
    const objects: [unknown, string][] = [
      [{ a: [1, 'é'], none: undefined }, '{"a":[1,"é"]}'],
      [[1, null], '[1,null]'],
      [new OrderCreated(5), '{"id":5}'],
      [new Model(), '{"id":7}'],
      [new Date(0), '"1970-01-01T00:00:00.000Z"'],
      [Object.assign(Object.create(null), { a: 1 }), '{"a":1}'],
      [runInNewContext('({ a: [1] })'), '{"a":[1]}'],
      [JSON.parse('{"__proto__":1}'), '{"__proto__":1}'],
    ]
    for (const [payload, text] of objects) {
      assert.equal(toJson('publish', payload), text)
      assert.equal(toJson('publish', [payload]), `[${text}]`)
      assert.equal(toJson('publish', { payload }), `{"payload":${text}}`)
    }
  })

  it('is refused if JSON would lose what it holds, wherever it stands', () => {
    const round: Record<string, unknown> = {}
    round['self'] = round
    const losing: [unknown, RegExp][] = [
      [new Map([[1, 2]]), /Map/],
      [new Set([1]), /Set/],
      [Promise.resolve(1), /Promise/],
      [new TypeError('x'), /TypeError/],
      [/x/, /RegExp/],
      [new ArrayBuffer(8), /ArrayBuffer/],
      [new Uint16Array(1), /Uint16Array/],
      [new DataView(new ArrayBuffer(1)), /DataView/],
      [runInNewContext('new Map([[1, 2]])'), /Map/],
    ]
    for (const [value, name] of losing) {
      const message = new RegExp(`^publish: payload must be .* not an object \\(${name.source}\\)$`)
      assert.throws(() => toJson('publish', value), { name: 'EncodeError', message })
      assert.throws(() => toJson('publish', { items: [{ value }] }), {
        name: 'EncodeError',
        message: new RegExp(`^publish: payload cannot be sent as JSON: "value" is an object \\(${name.source}\\)`),
      })
    }
    assert.throws(() => toJson('publish', { bytes: new Uint8Array(1) }), /"bytes" is an object \(Uint8Array\)/)
  })

  it('is refused with the reason if JSON.stringify throws or returns nothing, or if it is not an object', () => {
    const round: Record<string, unknown> = {}
    round['self'] = round
    const thrower = {
      toJSON: () => {
        throw null
      },
    }
    const refused: [unknown, RegExp][] = [
      [round, /cannot be sent as JSON: .*(circular|cyclic)/],
      [{ big: 1n }, /cannot be sent as JSON: .*BigInt/],
      [{ toJSON: () => undefined }, /cannot be sent as JSON: its toJSON\(\) returned nothing/],
      [thrower, /cannot be sent as JSON: null/],
      [42, /payload must be .* not 42/],
      [null, /payload must be .* not null/],
      [undefined, /payload must be .* not undefined/],
      [() => {}, /payload must be .* not a function/],
    ]
    for (const [payload, message] of refused) {
      assert.throws(
        () => toJson('publish', payload),
        (error: unknown) => {
          assert.ok(error instanceof EncodeError)
          assert.match(error.message, message)
          return true
        },
      )
    }
  })

  it('gets its content type and its delivery mode unless the properties say otherwise', () => {
    assert.deepEqual(withJsonType(undefined), { contentType: 'application/json' })
    assert.deepEqual(withJsonType({ contentType: undefined, messageId: 'm' }), {
      contentType: 'application/json',
      messageId: 'm',
    })
    assert.deepEqual(withJsonType({ contentType: 'text/x' }), { contentType: 'text/x' })
    assert.deepEqual(withPersistence(undefined), { deliveryMode: 2 })
    assert.deepEqual(withPersistence({ deliveryMode: undefined }), { deliveryMode: 2 })
    assert.deepEqual(withPersistence({ deliveryMode: 1 }), { deliveryMode: 1 })
  })

  it('keeps properties that their object inherits, getters of a class too', () => {
    class Job {
      readonly messageId = 'm'
      get correlationId(): string {
        return 'c'
      }
    }
    for (const properties of [new Job(), Object.create({ messageId: 'm', correlationId: 'c' }) as BasicProperties]) {
      const { messageId, correlationId, deliveryMode } = withPersistence(properties)
      assert.deepEqual([messageId, correlationId, deliveryMode], ['m', 'c', 2])
      assert.deepEqual(withJsonType(properties).correlationId, 'c')
    }
    const misspelt = withPersistence(Object.create({ corelationId: 'c' }) as BasicProperties)
    assert.ok('corelationId' in misspelt, 'it is refused when it is encoded')
  })
})
