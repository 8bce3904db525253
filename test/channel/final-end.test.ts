import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { closedByClient, closedByServer } from '../../src/channel/close-reason.ts'
import { FinalEnd } from '../../src/channel/final-end.ts'

describe('the end for good', () => {
  const refused = () => closedByServer(3, 404, "NOT_FOUND - no queue 'q' in vhost '/'", 50, 10)

  it('rejects those who wait, before and after it, with the same error, and need not be reported then', async () => {
    const final = new FinalEnd()
    const waiting = final.wait()
    assert.equal(final.wait(), waiting)
    final.reason = refused()
    const { error } = final.reason
    assert.equal(final.settle(), undefined)
    await assert.rejects(waiting, rejected => rejected === error)
    await assert.rejects(final.wait(), rejected => rejected === error)
  })

  it('resolves for those who wait if the program asked for it', async () => {
    const final = new FinalEnd()
    const waiting = final.wait()
    final.reason = closedByClient(3)
    assert.equal(final.settle(), undefined)
    await Promise.all([waiting, final.wait()])
  })

  it('has to be reported if nothing else has rejected with it', () => {
    const final = new FinalEnd()
    final.reason = refused()
    assert.equal(final.settle(), final.reason.error)
  })

  it('need not be reported if a call has rejected with it', () => {
    const final = new FinalEnd()
    final.reason = refused()
    final.reason.errorFor('queue.declare of "q"', true)
    assert.equal(final.settle(), undefined)
  })
})
