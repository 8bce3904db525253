import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DecodeError, EncodeError } from '../../../src/index.ts'
import { fit, schemaOption, schemasOption } from '../../../src/patterns/typed/fit.ts'
import { HOSTILE_VALUES } from '../../support/hostile-values.ts'
import { rejection } from '../../support/rejection.ts'
import { ORDER, schema } from './scene.ts'

const refused = (listed: string): DecodeError => new DecodeError(`it ${listed}`)

describe('A schema', () => {
  it('makes a value, at once or later', async () => {
    assert.deepEqual(await fit(ORDER, { id: 1, other: 2 }, refused), { id: 1 })
    const later = schema(async value => ({ value: [value] }))
    assert.deepEqual(await fit(later, 1, refused), [1])
    // Some name what is not there.
    assert.equal(
      await fit(
        schema(() => ({ value: undefined, issues: undefined })),
        1,
        refused,
      ),
      undefined,
    )
    assert.equal(
      await fit(
        schema(() => ({ value: 2, issues: null })),
        1,
        refused,
      ),
      2,
    )
  })

  it('says what is wrong and where, readably', async () => {
    const error = await rejection(
      fit(
        schema(() => ({
          issues: [
            { message: 'too small', path: ['items', 0, { key: 'price' }] },
            { message: 'no such key', path: [{ key: 'a b' }, Symbol('s'), 'größe'] },
            { message: 'wrong' },
          ],
        })),
        1,
        refused,
      ),
      DecodeError,
    )
    assert.deepEqual(error.issues, [
      { path: 'items[0].price', message: 'too small' },
      { path: '["a b"][Symbol(s)].größe', message: 'no such key' },
      { path: '', message: 'wrong' },
    ])
    assert.equal(
      error.message,
      'it does not fit its schema: items[0].price: too small; ["a b"][Symbol(s)].größe: no such key; wrong',
    )
  })

  it('with issues refuses, even if it gives a value too', async () => {
    for (const issues of [[], [{ message: 'no' }], { length: 1, 0: { message: 'no' } }]) {
      const error = await rejection(
        fit(
          schema(() => ({ value: 1, issues })),
          1,
          refused,
        ),
        DecodeError,
      )
      assert.equal(error.issues?.length, issues.length)
    }
  })

  it('with very many and very long issues makes an error of a bounded size', async () => {
    const issue = { message: 'é'.repeat(100_000), path: Array.from({ length: 10_000 }, () => 'key') }
    const error = await rejection(
      fit(
        schema(() => ({ issues: Array.from({ length: 10_000 }, () => issue) })),
        1,
        refused,
      ),
      DecodeError,
    )
    assert.equal(error.issues?.length, 100)
    assert.ok(JSON.stringify(error.issues).length < 100_000)
    assert.ok(error.message.length < 5_000)
    assert.match(error.message, /; 95 more$/)
  })

  it('that throws or returns anything at all rejects', async () => {
    for (const value of Object.values(HOSTILE_VALUES)) {
      for (const act of [
        (): unknown => value,
        (): unknown => {
          throw value
        },
        (): unknown => Promise.reject(value),
        (): unknown => ({ issues: [value] }),
        (): unknown => ({ issues: [{ message: value, path: [value, { key: value }] }] }),
        (): unknown => ({
          get issues(): unknown {
            throw value
          },
        }),
      ]) {
        let settled: unknown
        try {
          settled = await fit(schema(act), 1, refused)
        } catch {
          settled = 'rejected'
        }
        assert.equal(settled, 'rejected')
      }
    }
  })

  it('must be one', () => {
    assert.equal(schemaOption('publisher', undefined), undefined)
    assert.equal(schemaOption('publisher', ORDER), ORDER)
    const callable = Object.assign(() => {}, ORDER)
    assert.equal(schemaOption('publisher', callable), callable)
    for (const value of [
      ...Object.values(HOSTILE_VALUES).filter(value => value !== undefined),
      {},
      { '~standard': null },
      { '~standard': { version: 2, validate() {} } },
    ]) {
      assert.throws(() => schemaOption('publisher', value), {
        name: 'EncodeError',
        message: /"schema" must be a schema/,
      })
    }
    assert.deepEqual(schemasOption('rpcClient', undefined), [undefined, undefined])
    assert.deepEqual(schemasOption('rpcClient', { reply: ORDER }), [undefined, ORDER])
    assert.throws(() => schemasOption('rpcClient', { request: {} }), { message: /"schema.request" must be a schema/ })
    for (const value of [ORDER, null, 'x', { requests: ORDER }])
      assert.throws(() => schemasOption('rpcClient', value), EncodeError)
  })
})
