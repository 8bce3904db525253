import assert from 'node:assert/strict'
import { getEventListeners, once } from 'node:events'
import { describe, it } from 'node:test'
import { AbortError, ConnectionClosedError, EncodeError, TimeoutError } from '../../src/errors.ts'
import { type CallSite, placeOfCall } from '../../src/lib/call-site.ts'
import { type WaitBounds, WaitList } from '../../src/lib/wait-list.ts'
import { rejection } from '../support/rejection.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

class Fixture {
  readonly clock = new VirtualClock()
  readonly list = new WaitList(this.clock, 'a channel number')
  readonly log: string[] = []

  /** Wait, and write down when it is the turn of `name`, or why it never came. */
  wait(name: string, bounds: Partial<WaitBounds> = {}): Promise<void> {
    return this.list
      .wait({ what: name, ...bounds }, () => {
        this.log.push(name)
      })
      .catch((error: Error) => {
        this.log.push(`${name}: ${error.name}`)
      })
  }
}

describe('WaitList', () => {
  it('gives turns first in, first out, and says whether somebody took one', () => {
    const { list, log, ...fixture } = bound(new Fixture())
    for (const name of ['a', 'b', 'c']) void fixture.wait(name)
    assert.equal(list.length, 3)
    assert.equal(list.wakeNext(), true)
    assert.deepEqual(log, ['a'])
    list.wakeAll()
    assert.deepEqual(log, ['a', 'b', 'c'])
    assert.equal(list.length, 0)
    assert.equal(list.wakeNext(), false)
  })

  it('resolves to what the waiter took', async () => {
    const { list } = new Fixture()
    const promise = list.wait({ what: 'a number' }, () => 7)
    list.wakeNext()
    assert.equal(await promise, 7)
  })

  it('ends a wait by its own timeout or signal, with an error that names what waited and where', async () => {
    const { list, clock, log, ...fixture } = bound(new Fixture())
    const controller = new AbortController()
    const reason = new Error('enough')
    const method = (): CallSite => placeOfCall()
    const site = method()
    const timedOut = rejection(list.wait({ what: 'queue.declare of "orders"', timeout: 500, site }), TimeoutError)
    const { signal } = controller
    const aborted = rejection(list.wait({ what: () => 'channel.open', signal, outcome: 'notSent' }), AbortError)
    void fixture.wait('patient', { timeout: Number.POSITIVE_INFINITY, signal })
    void fixture.wait('free')
    await clock.advance(499)
    assert.equal(list.length, 4)
    await clock.advance(1)
    assert.match(
      (await timedOut).message,
      /^queue.declare of "orders" timed out: it waited 500 ms for a channel number$/,
    )
    assert.match((await timedOut).stack ?? '', /wait-list\.test/)
    controller.abort(reason)
    const { message, cause, outcome } = await aborted
    assert.deepEqual([message, cause, outcome], ['channel.open was aborted', reason, 'notSent'])
    await clock.advance(0)
    assert.deepEqual(log, ['patient: AbortError'])
    list.wakeNext()
    assert.deepEqual(log, ['patient: AbortError', 'free'])
  })

  it('does not begin to wait with a signal that is aborted already', async () => {
    const { list } = new Fixture()
    await rejection(list.wait({ what: 'it', signal: AbortSignal.abort() }), AbortError)
    assert.equal(list.length, 0)
  })

  it('gives turns for as long as the first one is ready, and asks before each', () => {
    const { list, log } = new Fixture()
    let left = 2
    const enter = (name: string, isReady: () => boolean): void => {
      const granted = (): void => {
        left--
        log.push(name)
      }
      list.enter({ isReady, granted, failed: () => {} }, { what: name })
    }
    for (const name of ['a', 'b', 'c']) enter(name, () => left > 0)
    enter('d', () => true)
    list.wakeReady()
    assert.deepEqual(log, ['a', 'b'])
    left = 1
    list.wakeReady()
    assert.deepEqual([log, list.length], [['a', 'b', 'c', 'd'], 0])
  })

  it('gives the turn of one that was aborted, or that fails to take it, to the next', async () => {
    const { list, log, ...fixture } = bound(new Fixture())
    const controller = new AbortController()
    void fixture.wait('aborted', { signal: controller.signal })
    const failing = list.wait({ what: 'failing' }, () => {
      throw new EncodeError('it cannot')
    })
    void fixture.wait('next')
    controller.abort()
    list.wakeNext()
    await rejection(failing, EncodeError)
    assert.deepEqual(log.sort(), ['aborted: AbortError', 'next'])
  })

  it('does not take back by an abort what was taken in the turn before it', async () => {
    const { list } = new Fixture()
    const controller = new AbortController()
    const promise = list.wait({ what: 'it', signal: controller.signal }, () => 'taken')
    list.wakeNext()
    controller.abort()
    assert.equal(await promise, 'taken')
  })

  it('lets a caller that waits again while all are woken wait for the next time', () => {
    const { list, log, ...fixture } = bound(new Fixture())
    void list.wait({ what: 'again' }, () => {
      log.push('first time')
      void fixture.wait('second time')
    })
    list.wakeAll()
    assert.deepEqual(log, ['first time'])
    assert.equal(list.length, 1)
  })

  it('takes a waiter that leaves out of the middle in constant time', () => {
    const { list } = new Fixture()
    const granted: number[] = []
    const places = Array.from({ length: 10 }, (_, i) =>
      list.enter({ granted: () => granted.push(i), failed: assert.ifError }, { what: String(i) }),
    )
    for (const i of [0, 4, 5, 9, 4]) places[i]?.leave()
    assert.equal(list.length, 6)
    list.wakeAll()
    assert.deepEqual(granted, [1, 2, 3, 6, 7, 8])
  })

  it('fails all with an error for each', async () => {
    const { list, clock } = new Fixture()
    const errors = ['a', 'b'].map(what =>
      rejection(list.wait({ what, timeout: 100, signal: new AbortController().signal }), ConnectionClosedError),
    )
    list.failAll(({ what }) => new ConnectionClosedError(`${what} failed`))
    const [a, b] = await Promise.all(errors)
    assert.deepEqual([a?.message, b?.message], ['a failed', 'b failed'])
    assert.equal(list.length, 0)
    assert.equal(clock.pending, 0)
  })

  it('serves thousands of waits of one signal with one listener, and ends them by one abort in order', async () => {
    const { list } = new Fixture()
    const warnings: Error[] = []
    const warn = (warning: Error): void => void warnings.push(warning)
    process.on('warning', warn)
    const controller = new AbortController()
    const { signal } = controller
    const ended: number[] = []
    for (let i = 0; i < 20_000; i++) {
      list.enter({ granted: () => {}, failed: () => ended.push(i) }, { what: 'it', signal })
    }
    assert.equal(getEventListeners(signal, 'abort').length, 1)
    list.wakeNext()
    const aborted = once(signal, 'abort')
    controller.abort()
    await aborted
    assert.equal(ended.length, 19_999)
    assert.ok(ended.every((value, index) => value === index + 1))
    assert.equal(list.length, 0)
    process.off('warning', warn)
    assert.deepEqual(warnings, [])
  })
})

/** Its methods may be taken off it. */
function bound(fixture: Fixture): Pick<Fixture, 'clock' | 'list' | 'log' | 'wait'> {
  const { clock, list, log } = fixture
  return { clock, list, log, wait: (name, bounds) => fixture.wait(name, bounds) }
}
