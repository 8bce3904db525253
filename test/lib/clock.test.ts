import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { systemClock } from '../../src/lib/clock.ts'
import { runText } from '../support/program.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

describe('the clock of the machine', () => {
  it('calls what it was given once its time has come, not before, and never within the call', async () => {
    const start = systemClock.now()
    let inside = true
    const [wasInside, at] = await new Promise<[boolean, number]>(resolve => {
      systemClock.after(12.5, () => resolve([inside, systemClock.now()]), { keepsProcessAlive: true })
      inside = false
    })
    assert.equal(wasInside, false)
    assert.ok(at >= start + 12.5, `${at - start} ms`)
  })

  it('waits for delays that setTimeout cannot count, and for Infinity for ever', async () => {
    const fired: number[] = []
    const timers = [2 ** 31, 2 ** 40, Number.MAX_VALUE, Number.POSITIVE_INFINITY].map(delay =>
      systemClock.after(delay, () => fired.push(delay)),
    )
    await pause(20)
    assert.deepEqual(fired, [])
    for (const timer of timers) timer.cancel()
  })

  it('takes a delay below 0 for 0, and refuses NaN', async () => {
    await new Promise<void>(resolve => {
      systemClock.after(-5, resolve, { keepsProcessAlive: true })
    })
    assert.throws(() => systemClock.after(Number.NaN, () => {}), RangeError)
  })

  it('goes by the time and the timers that a test of a program puts in the place of the real ones', t => {
    systemClock.now()
    const real = Object.getOwnPropertyDescriptor(globalThis, 'performance')
    assert.ok(real !== undefined)
    t.after(() => Object.defineProperty(globalThis, 'performance', real))
    t.mock.timers.enable({ apis: ['setTimeout', 'Date'], now: 0 })
    // As the fake timers of Jest and Vitest do it: another object of that name.
    const fake = { now: () => Date.now() }
    Object.defineProperty(globalThis, 'performance', { configurable: true, writable: true, value: fake })
    const fired: number[] = []
    systemClock.after(60_000, () => fired.push(systemClock.now()))
    t.mock.timers.tick(59_999)
    assert.deepEqual(fired, [])
    t.mock.timers.tick(1)
    assert.deepEqual(fired, [60_000])
  })

  it('does not call what was cancelled', async () => {
    let called = false
    const timer = systemClock.after(1, () => {
      called = true
    })
    timer.cancel()
    timer.cancel()
    await pause(10)
    assert.equal(called, false)
  })

  for (const keepsProcessAlive of [false, true]) {
    it(`${keepsProcessAlive ? 'keeps' : 'does not keep'} the process alive if keepsProcessAlive is ${keepsProcessAlive}`, () => {
      const module = new URL('../../src/lib/clock.js', import.meta.url)
      const { stdout } = runText(`import { systemClock } from '${module}'
        systemClock.after(${keepsProcessAlive ? 20 : 5000}, () => console.log('fired'), { keepsProcessAlive: ${keepsProcessAlive} })`)
      assert.equal(stdout, keepsProcessAlive ? 'fired\n' : '')
    })
  }
})

describe('a virtual clock', () => {
  it('lets timers run in the order of their times, each at its time', async () => {
    const clock = new VirtualClock()
    const ran: [string, number][] = []
    const note = (name: string) => () => ran.push([name, clock.now()])
    clock.after(20, note('20'))
    clock.after(10, () => {
      note('10')()
      clock.after(5, note('10 + 5'))
    })
    clock.after(20, note('20 again'))
    clock.after(Number.POSITIVE_INFINITY, note('never'))
    clock.after(30, note('cancelled')).cancel()
    await clock.advance(1_000)
    assert.deepEqual(ran, [
      ['10', 10],
      ['10 + 5', 15],
      ['20', 20],
      ['20 again', 20],
    ])
    assert.equal(clock.now(), 1_000)
    assert.equal(clock.pending, 0)
  })

  it('goes on until a promise is settled', async () => {
    const clock = new VirtualClock()
    const day = 86_400_000
    const late = new Promise<string>(resolve => {
      clock.after(day, () => resolve('late'))
    })
    await assert.rejects(clock.until(late, 1_000), /pending after 1000 ms/)
    assert.equal(await clock.until(late, 2 * day), 'late')
    assert.equal(clock.now(), day)
    await assert.rejects(clock.until(new Promise(() => {})), /no timer runs/)
  })

  it('has a chance that repeats itself', () => {
    const draw = (seed: number): number[] => {
      const clock = new VirtualClock({ seed })
      return Array.from({ length: 100 }, () => clock.random())
    }
    assert.deepEqual(draw(7), draw(7))
    assert.notDeepEqual(draw(7), draw(8))
    assert.ok(draw(7).every(number => number >= 0 && number < 1))
  })
})
