import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { EncodeError } from '../../src/errors.ts'
import { showing } from '../../src/lib/await-site.ts'

describe('An error that is refused', () => {
  function refusedBy(method: () => unknown): string {
    return showing(new EncodeError('no'), method).stack ?? ''
  }

  it('shows what called the method', () => {
    function method(): string {
      const stack = refusedBy(method)
      return `${stack}`
    }
    function caller(): string {
      const stack = method()
      return `${stack}`
    }
    const [, first = ''] = caller().split('\n')
    assert.match(first, /await-site\.test/)
    assert.doesNotMatch(first, /refusedBy|method/)
  })

  it('keeps its lines if the method is not among those that run', () => {
    assert.match(
      refusedBy(() => undefined),
      /^EncodeError: no\n {4}at .*await-site\.test/,
    )
  })
})
