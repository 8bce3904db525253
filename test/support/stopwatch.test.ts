import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Stopwatch } from './stopwatch.ts'

/** A machine on which nothing passes but what the test says. */
class Machine {
  #now = 0
  #cpu = 0

  now(): number {
    return this.#now
  }

  cpu(): number {
    return this.#cpu
  }

  pass(milliseconds: number, used: number): void {
    this.#now += milliseconds
    this.#cpu += used
  }
}

describe('a stopwatch', () => {
  it('counts what is waited, as long as its looks are on time', () => {
    const machine = new Machine()
    using watch = new Stopwatch(machine)
    for (let looks = 1; looks <= 100; looks++) {
      machine.pass(2, 0)
      assert.equal(watch.elapsed, 2 * looks)
    }
  })

  it('counts what is worked', () => {
    const machine = new Machine()
    using watch = new Stopwatch(machine)
    machine.pass(100, 100)
    assert.equal(watch.elapsed, 100)
  })

  it('does not count what the process was kept from', () => {
    const machine = new Machine()
    using watch = new Stopwatch(machine)
    machine.pass(300, 0)
    assert.equal(watch.elapsed, 3)
    machine.pass(300, 40)
    assert.equal(watch.elapsed, 46)
  })
})
