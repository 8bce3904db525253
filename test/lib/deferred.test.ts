import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deferred } from '../../src/lib/deferred.ts'

test('a deferred promise is settled by its owner, the first time alone', async () => {
  const resolved = deferred<string>()
  resolved.resolve('first')
  resolved.resolve('second')
  resolved.reject(new Error('third'))
  assert.equal(await resolved.promise, 'first')

  const rejected = deferred()
  rejected.reject(new Error('first'))
  rejected.resolve()
  await assert.rejects(rejected.promise, /first/)
})
