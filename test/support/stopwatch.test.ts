import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Stopwatch } from './stopwatch.ts'

describe('a stopwatch', () => {
  it('counts what is waited', async () => {
    using watch = new Stopwatch()
    const started = performance.now()
    await sleep(200)
    const passed = performance.now() - started
    assert.ok(watch.elapsed > 120 && watch.elapsed <= passed + 1, `${watch.elapsed} of ${passed} ms`)
  })

  it('counts what is worked', () => {
    using watch = new Stopwatch()
    const { user, system } = process.cpuUsage()
    let used = 0
    while (used < 100) {
      const now = process.cpuUsage({ user, system })
      used = (now.user + now.system) / 1000
    }
    assert.ok(watch.elapsed >= 99, `${watch.elapsed} ms`)
  })

  it('does not count what the process was kept from', async () => {
    using watch = new Stopwatch()
    await sleep(10)
    // As the machine would: nothing runs, and no CPU is used.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 300)
    assert.ok(watch.elapsed < 100, `${watch.elapsed} ms`)
  })
})
