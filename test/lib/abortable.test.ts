import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { describe, it } from 'node:test'
import { abortable } from '../../src/lib/abortable.ts'

describe('abortable', () => {
  it('gives what is answered, thrown or rejected, and leaves no listener', async () => {
    const { signal } = new AbortController()
    assert.equal(await abortable(signal, () => 1), 1)
    assert.equal(await abortable(signal, async () => 2), 2)
    await assert.rejects(
      abortable(signal, () => {
        throw new Error('thrown')
      }),
      /thrown/,
    )
    await assert.rejects(
      abortable(signal, () => Promise.reject(new Error('rejected'))),
      /rejected/,
    )
    assert.deepEqual(getEventListeners(signal, 'abort'), [])
  })

  it('rejects with the reason when the signal is aborted, and gives a late answer to who puts it away', async () => {
    const controller = new AbortController()
    const late: number[] = []
    let answer: (value: number) => void = () => {}
    const waiting = abortable(
      controller.signal,
      () =>
        new Promise<number>(resolve => {
          answer = resolve
        }),
      value => late.push(value),
    )
    controller.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
    answer(7)
    await new Promise(resolve => setImmediate(resolve))
    assert.deepEqual(late, [7])
  })

  it('asks nothing if the signal is aborted already, and swallows a late rejection', async () => {
    await assert.rejects(
      abortable(AbortSignal.abort(new Error('before')), () => assert.fail('asked')),
      /before/,
    )
    const controller = new AbortController()
    let fail: (error: Error) => void = () => {}
    const waiting = abortable(
      controller.signal,
      () =>
        new Promise((_resolve, reject) => {
          fail = reject
        }),
    )
    controller.abort(new Error('enough'))
    await assert.rejects(waiting, /enough/)
    fail(new Error('late'))
    await new Promise(resolve => setImmediate(resolve))
  })
})
