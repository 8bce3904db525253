import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Heartbeat } from '../../../src/connection/wire/heartbeat.ts'
import { within } from '../../support/settled.ts'

/** Seconds. */
const INTERVAL = 0.1

class Fixture implements Disposable {
  wrote = performance.now()
  read = performance.now()
  /** When something came that a paused reader has not read. */
  unread: number | undefined
  beats = 0
  died: number | undefined
  readonly #waiters: (() => void)[] = []
  readonly heartbeat = new Heartbeat(INTERVAL, {
    lastWrite: () => this.wrote,
    lastRead: () => this.read,
    readOnce: () => {
      if (this.unread === undefined) return
      this.unread = undefined
      setImmediate(() => {
        this.read = performance.now()
      })
    },
    beat: () => {
      this.beats++
      this.wrote = performance.now()
    },
    dead: () => {
      this.died = performance.now()
      for (const waiter of this.#waiters) waiter()
    },
  })

  dead(): Promise<void> {
    return new Promise(resolve => this.#waiters.push(resolve))
  }

  [Symbol.dispose](): void {
    this.heartbeat.stop()
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, milliseconds))
}

describe('Heartbeat', () => {
  it('sends one where nothing else left for half an interval', async () => {
    using fixture = new Fixture()
    for (let i = 0; i < 10; i++) {
      fixture.read = performance.now()
      await pause(30)
    }
    assert.ok(fixture.beats >= 4 && fixture.beats <= 6, `${fixture.beats} in 300 ms`)
  })

  it('sends none while other bytes leave', async () => {
    using fixture = new Fixture()
    for (let i = 0; i < 15; i++) {
      fixture.wrote = performance.now()
      fixture.read = fixture.wrote
      await pause(10)
    }
    assert.equal(fixture.beats, 0)
  })

  it('takes a peer for dead that is silent for two intervals, and not before', async () => {
    const start = performance.now()
    using fixture = new Fixture()
    await within(1_000, 'death', fixture.dead())
    const after = (fixture.died ?? 0) - start
    assert.ok(after >= 200 && after < 400, `${after} ms`)
    const { beats } = fixture
    await pause(150)
    assert.equal(fixture.beats, beats, 'it beats no more')
  })

  it('does not take its own absence for the peer’s: what came in meanwhile is read before it judges', async () => {
    using fixture = new Fixture()
    const end = performance.now() + 400
    while (performance.now() < end);
    // The read happens where the event loop polls, between the two turns.
    setImmediate(() => {
      fixture.read = performance.now()
    })
    await pause(50)
    assert.equal(fixture.died, undefined)
    await within(1_000, 'death', fixture.dead())
  })

  it('reads what waits before it judges, so that a peer which lives may be left unread', async () => {
    using fixture = new Fixture()
    for (const end = performance.now() + 500; performance.now() < end; await pause(20)) fixture.unread = end
    assert.equal(fixture.died, undefined)
    assert.ok(fixture.beats >= 5)
    const silent = performance.now()
    await within(1_000, 'death', fixture.dead())
    const after = (fixture.died ?? 0) - silent
    assert.ok(after < 450, `${after} ms`)
  })

  it('stops for good', async () => {
    const fixture = new Fixture()
    fixture.heartbeat.stop()
    await pause(300)
    assert.equal(fixture.beats, 0)
    assert.equal(fixture.died, undefined)
  })

  it('does not keep a process alive', () => {
    using _fixture = new Fixture()
    assert.equal(process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length, 0)
  })
})
