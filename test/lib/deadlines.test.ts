import assert from 'node:assert/strict'
import { once } from 'node:events'
import net from 'node:net'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { systemClock } from '../../src/lib/clock.ts'
import { type Deadline, Deadlines } from '../../src/lib/deadlines.ts'
import { runText } from '../support/program.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

function block(milliseconds: number): void {
  const end = performance.now() + milliseconds
  while (performance.now() < end);
}

function timers(): number {
  return process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length
}

describe('Deadlines', () => {
  it('expires each deadline once, in order of time and then of making', async () => {
    const clock = new VirtualClock()
    const deadlines = new Deadlines(clock, { keepsProcessAlive: true })
    const expired: string[] = []
    deadlines.after(20, () => expired.push('20'))
    deadlines.after(5, () => expired.push('5'))
    deadlines.after(10, () => expired.push('10'))
    deadlines.after(10, () => expired.push('10 again'))
    await clock.advance(20)
    assert.deepEqual(expired, ['5', '10', '10 again', '20'])
    assert.equal(deadlines.size, 0)
  })

  it('does not expire one before its time', async () => {
    const deadlines = new Deadlines(systemClock, { keepsProcessAlive: true })
    const start = performance.now()
    await new Promise<void>(resolve => {
      deadlines.after(25, resolve)
    })
    assert.ok(performance.now() - start >= 25)
  })

  it('keeps the order when the event loop was busy past all of them', async () => {
    const deadlines = new Deadlines(systemClock, { keepsProcessAlive: true })
    const expired: number[] = []
    const added: { readonly delay: number; readonly time: number }[] = []
    await new Promise<void>(resolve => {
      for (const delay of [9, 3, 7, 1, 8, 2, 6, 4, 5]) {
        const { time } = deadlines.after(delay, () => expired.push(delay))
        added.push({ delay, time })
      }
      deadlines.after(100, resolve)
      block(30)
    })
    // By when they end: the machine may have been busy between two of them.
    added.sort((a, b) => a.time - b.time)
    assert.deepEqual(
      expired,
      added.map(({ delay }) => delay),
    )
  })

  it('lets bytes that came during a busy time be read before a deadline expires', async () => {
    const echo = new Worker(
      `const { parentPort } = require('node:worker_threads')
      const server = require('node:net').createServer(socket => socket.pipe(socket))
      server.listen(0, '127.0.0.1', () => parentPort.postMessage(server.address().port))`,
      { eval: true },
    )
    const [port] = await once(echo, 'message')
    const socket = net.connect(port, '127.0.0.1')
    await once(socket, 'connect')
    const events: string[] = []
    socket.once('data', () => events.push('reply'))
    const deadlines = new Deadlines(systemClock, { keepsProcessAlive: true })
    await new Promise<void>(resolve => {
      deadlines.after(20, () => {
        events.push('expired')
        resolve()
      })
      socket.write('call')
      block(200)
    })
    socket.destroy()
    await echo.terminate()
    assert.deepEqual(events, ['reply', 'expired'])
  })

  it('does not expire what was cancelled, at any place, by another one either', async () => {
    const clock = new VirtualClock()
    const deadlines = new Deadlines(clock, { keepsProcessAlive: true })
    const expired: number[] = []
    const made: Deadline[] = []
    for (let delay = 1; delay <= 20; delay++) made.push(deadlines.after(delay, () => expired.push(delay)))
    deadlines.after(5.5, () => made[9]?.cancel())
    for (const index of [19, 0, 7, 7, 12]) made[index]?.cancel()
    assert.equal(deadlines.size, 17)
    await clock.advance(21)
    assert.deepEqual(expired, [2, 3, 4, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 18, 19])
  })

  it('has one timer for all, and none for nothing', () => {
    const before = timers()
    const deadlines = new Deadlines(systemClock, { keepsProcessAlive: true })
    const made = Array.from({ length: 1000 }, (_, i) => deadlines.after(10_000 - i, () => {}))
    assert.equal(timers(), before + 1)
    for (const deadline of made) deadline.cancel()
    assert.equal(timers(), before)
    assert.equal(deadlines.size, 0)

    deadlines.after(10_000, () => {})
    assert.equal(timers(), before + 1)
    deadlines.clear()
    assert.equal(timers(), before)
  })

  it('arms its timer once for many that follow one another, if that keeps no process alive', async t => {
    const arm = t.mock.method(globalThis, 'setTimeout')
    const deadlines = new Deadlines(systemClock)
    for (let i = 0; i < 100; i++) deadlines.after(20_000 + i, () => assert.fail('expired')).cancel()
    assert.equal(arm.mock.callCount(), 1)
    assert.ok(Number(arm.mock.calls[0]?.arguments[1]) <= 500, 'nor is it left behind for long')
    assert.equal(deadlines.size, 0)

    const alive = setTimeout(() => {}, 10_000)
    const start = performance.now()
    await new Promise<void>(resolve => {
      deadlines.after(5, resolve)
    })
    // The timer fires for nothing meanwhile.
    await new Promise<void>(resolve => {
      deadlines.after(600, resolve)
    })
    assert.ok(performance.now() - start >= 605)
    clearTimeout(alive)
  })

  it('does not wake the process up before its time, if its timer may be left behind', async () => {
    const clock = new VirtualClock()
    const started: number[] = []
    const counting = Object.assign(Object.create(clock), {
      now: () => clock.now(),
      after: (milliseconds: number, run: () => void) => {
        started.push(milliseconds)
        return clock.after(milliseconds, run)
      },
    })
    const deadlines = new Deadlines(counting, { longestLeft: Number.POSITIVE_INFINITY })
    let expired = 0
    deadlines.after(60_000, () => expired++)
    await clock.advance(59_999)
    assert.equal(expired, 0)
    await clock.advance(1)
    assert.equal(expired, 1)
    assert.deepEqual(started, [60_000])
  })

  it('arms its timer once for many that follow one another and keep the process alive, and keeps it alive for none', t => {
    const before = timers()
    const arm = t.mock.method(globalThis, 'setTimeout')
    const deadlines = new Deadlines(systemClock, { keepsProcessAlive: true })
    for (let i = 0; i < 100; i++) {
      const deadline = deadlines.after(20_000 + i, () => assert.fail('expired'))
      assert.equal(timers(), before + 1)
      deadline.cancel()
      assert.equal(timers(), before)
    }
    assert.equal(arm.mock.callCount(), 1)
    deadlines.clear()
  })

  it('waits for ever for an infinite one, without a timer, and long for a long one', async () => {
    const before = timers()
    const deadlines = new Deadlines(systemClock, { keepsProcessAlive: true })
    const never = deadlines.after(Number.POSITIVE_INFINITY, () => assert.fail('expired'))
    assert.equal(timers(), before)
    assert.equal(never.remaining, Number.POSITIVE_INFINITY)
    never.cancel()

    const long = deadlines.after(2 ** 40, () => assert.fail('expired'))
    await new Promise<void>(resolve => {
      deadlines.after(5, resolve)
    })
    assert.ok(long.remaining > 2 ** 39)
    long.cancel()
  })

  it('goes on when a callback throws, and adds and expires from within callbacks', async () => {
    const deadlines = new Deadlines(systemClock, { keepsProcessAlive: true })
    const thrown = new Promise<unknown>(resolve => {
      process.setUncaughtExceptionCaptureCallback(resolve)
    })
    deadlines.after(1, () => {
      throw new Error('boom')
    })
    await new Promise<void>(resolve => {
      deadlines.after(2, () => deadlines.after(0, resolve))
    })
    assert.match(String(await thrown), /boom/)
    process.setUncaughtExceptionCaptureCallback(null)
  })

  it('cancels in any order without losing another one', () => {
    const deadlines = new Deadlines(systemClock)
    const made: Deadline[] = []
    for (let i = 0; i < 500; i++) made.push(deadlines.after(1000 + ((i * 7919) % 500), () => {}))
    for (let i = 0; i < 500; i++) {
      made[(i * 263) % 500]?.cancel()
      assert.equal(deadlines.size, 499 - i)
    }
  })

  for (const keepsProcessAlive of [false, true]) {
    it(`${keepsProcessAlive ? 'keeps' : 'does not keep'} the process alive if keepsProcessAlive is ${keepsProcessAlive}`, () => {
      const module = new URL('../../src/lib/deadlines.js', import.meta.url)
      const { stdout, status } = runText(`import { Deadlines } from '${module}'
        import { systemClock } from '${new URL('clock.js', module)}'
        new Deadlines(systemClock, { keepsProcessAlive: ${keepsProcessAlive} }).after(${keepsProcessAlive ? 20 : 5000}, () => console.log('expired'))`)
      assert.deepEqual([stdout, status], [keepsProcessAlive ? 'expired\n' : '', 0])
    })
  }
})
