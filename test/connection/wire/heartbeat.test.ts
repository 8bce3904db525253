import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Heartbeat, type HeartbeatPort } from '../../../src/connection/wire/heartbeat.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

/** Seconds. */
const INTERVAL = 10

class Fixture implements Disposable, HeartbeatPort {
  readonly clock = new VirtualClock()
  lastWrite = 0
  lastRead = 0
  /** Something came that a paused reader has not read. */
  unread = false
  beats = 0
  died: number | undefined
  readonly heartbeat = new Heartbeat(INTERVAL, this.clock, this)

  readOnce(): void {
    if (!this.unread) return
    this.unread = false
    setImmediate(() => {
      this.lastRead = this.clock.now()
    })
  }

  beat(): void {
    this.beats++
    this.lastWrite = this.clock.now()
  }

  dead(interval: number): void {
    assert.equal(interval, INTERVAL)
    this.died = this.clock.now()
  }

  [Symbol.dispose](): void {
    this.heartbeat.stop()
  }
}

describe('Heartbeat', () => {
  it('sends one if nothing else left for half an interval', async () => {
    using fixture = new Fixture()
    for (let second = 0; second < 60; second++) {
      fixture.lastRead = fixture.clock.now()
      await fixture.clock.advance(1_000)
    }
    assert.equal(fixture.beats, 12)
  })

  it('sends none while other bytes leave', async () => {
    using fixture = new Fixture()
    for (let second = 0; second < 60; second++) {
      fixture.lastWrite = fixture.clock.now()
      fixture.lastRead = fixture.lastWrite
      await fixture.clock.advance(1_000)
    }
    assert.equal(fixture.beats, 0)
  })

  it('takes a peer for dead that is silent for two intervals, and not before', async () => {
    using fixture = new Fixture()
    await fixture.clock.advance(19_999)
    assert.equal(fixture.died, undefined)
    await fixture.clock.advance(1)
    assert.equal(fixture.died, 20_000)
    const { beats } = fixture
    await fixture.clock.advance(60_000)
    assert.equal(fixture.beats, beats, 'it beats no more')
  })

  it('does not take its own absence for the peer’s: what came in meanwhile is read before it judges', async () => {
    using fixture = new Fixture()
    fixture.clock.block(40_000)
    // The read happens where the event loop polls, between the timer and the judgement.
    setImmediate(() => {
      fixture.lastRead = fixture.clock.now()
    })
    await fixture.clock.advance(5_000)
    assert.equal(fixture.died, undefined)
    await fixture.clock.advance(15_000)
    assert.equal(fixture.died, 60_000)
  })

  it('reads what waits before it judges, so that a peer which lives may be left unread', async () => {
    using fixture = new Fixture()
    for (let second = 0; second < 50; second++) {
      fixture.unread = true
      await fixture.clock.advance(1_000)
    }
    assert.equal(fixture.died, undefined)
    assert.ok(fixture.beats >= 9, `${fixture.beats} beats`)
    fixture.unread = false
    await fixture.clock.advance(20_000)
    assert.notEqual(fixture.died, undefined)
  })

  it('stops for good', async () => {
    const fixture = new Fixture()
    fixture.heartbeat.stop()
    await fixture.clock.advance(60_000)
    assert.equal(fixture.beats, 0)
    assert.equal(fixture.died, undefined)
    assert.equal(fixture.clock.pending, 0)
  })

  it('does not keep a process alive', () => {
    using fixture = new Fixture()
    assert.equal(fixture.clock.pending, 1)
    assert.equal(fixture.clock.keeping, 0)
  })
})
