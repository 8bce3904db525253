import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { LeavingSinks } from '../../src/channel/consume/leaving-sinks.ts'
import type { RecoveringChannel } from '../../src/channel/recovering-channel.ts'
import type { Closable } from '../../src/connection/channel-source.ts'
import { GracefulClose, type GracefulHost } from '../../src/connection/graceful-close.ts'
import { follow } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

class Host implements GracefulHost {
  readonly clock = new VirtualClock()
  readonly ending = undefined
  readonly parts: Closable[] = []
  readonly openChannels: RecoveringChannel[] = []
  readonly leaving = new LeavingSinks()
  readonly log: string[] = []

  after(milliseconds: number, run: () => void) {
    return this.clock.after(milliseconds, run)
  }
  onEnded(): () => void {
    return () => {}
  }

  /** A part that takes `milliseconds` to close. */
  part(name: string, milliseconds: number, bringsWork: boolean): Closable {
    const part: Closable = {
      bringsWork,
      close: ({ timeout }) =>
        new Promise(resolve => {
          this.log.push(`${name} begins, within ${timeout} ms`)
          this.clock.after(milliseconds, () => {
            this.log.push(`${name} is closed`)
            resolve()
          })
        }),
    }
    this.parts.push(part)
    return part
  }

  /** A channel that takes `milliseconds` to drain; it has a consumer if it is busy. */
  channel(name: string, milliseconds: number, isBusy = true): void {
    const drain = (): Promise<void> =>
      new Promise(resolve => {
        this.log.push(`${name} drains`)
        this.clock.after(milliseconds, resolve)
      })
    const stopConsumers = async (): Promise<void> => {
      if (isBusy) this.log.push(`${name} stops its consumers`)
    }
    this.openChannels.push({ work: { isBusy, drain, stopConsumers } } as unknown as RecoveringChannel)
  }
}

describe('a graceful close', () => {
  it('ends what brings work in, then the other parts, then channels that are busy', async () => {
    const host = new Host()
    host.part('publisher', 100, false)
    host.part('consumer', 200, true)
    host.channel('busy', 300)
    host.channel('idle', 300, false)
    const close = new GracefulClose(host, 5_000)
    await host.clock.until(close.finishWork())
    assert.deepEqual(host.log, [
      'consumer begins, within 4000 ms',
      'busy stops its consumers',
      'consumer is closed',
      'publisher begins, within 3800 ms',
      'publisher is closed',
      'busy drains',
    ])
    assert.equal(host.clock.now(), 600)
    assert.equal(close.timeLeft, 4_400)
  })

  it('waits for nothing if nothing is under way', async () => {
    const host = new Host()
    await new GracefulClose(host, 5_000).finishWork()
    assert.equal(host.clock.now(), 0)
  })

  it('ends also what begins to bring work in meanwhile, before the other parts', async () => {
    const host = new Host()
    host.part('publisher', 100, false)
    host.part('consumer', 200, true)
    const close = new GracefulClose(host, 5_000)
    const finished = close.finishWork()
    await host.clock.advance(150)
    close.join(host.part('late consumer', 200, true))
    await host.clock.until(finished)
    assert.deepEqual(host.log, [
      'consumer begins, within 4000 ms',
      'late consumer begins, within 3850 ms',
      'consumer is closed',
      'late consumer is closed',
      'publisher begins, within 3650 ms',
      'publisher is closed',
    ])
  })

  it('keeps a fifth of its time for closing the connection', async () => {
    const host = new Host()
    host.part('consumer', 60_000, true)
    const close = new GracefulClose(host, 1_000)
    await host.clock.until(close.finishWork())
    assert.equal(host.clock.now(), 800)
    assert.equal(close.timeLeft, 200)
  })

  it('waits as long as it takes if there is no limit', async () => {
    const host = new Host()
    host.part('consumer', 86_400_000, true)
    host.channel('busy', 86_400_000)
    const close = new GracefulClose(host, Number.POSITIVE_INFINITY)
    await host.clock.until(close.finishWork(), Number.POSITIVE_INFINITY)
    assert.equal(host.clock.now(), 2 * 86_400_000)
    assert.equal(close.timeLeft, Number.POSITIVE_INFINITY)
  })

  it('waits once and no more if its time is over: a busy process has few turns', async t => {
    const host = new Host()
    host.part('consumer', 60_000, true)
    host.part('publisher', 60_000, false)
    host.channel('busy', 60_000)
    const after = t.mock.method(host, 'after')
    const finished = new GracefulClose(host, 1_000).finishWork()
    host.clock.block(900)
    await host.clock.until(finished)
    assert.deepEqual(host.log, [
      'consumer begins, within 800 ms',
      'busy stops its consumers',
      'publisher begins, within 0 ms',
      'busy drains',
    ])
    assert.equal(after.mock.callCount(), 1)
  })

  it('waits for nothing if there is no time', async () => {
    const host = new Host()
    host.part('consumer', 10, true)
    const outcome = follow(new GracefulClose(host, 0).finishWork())
    await host.clock.advance(0)
    assert.equal(outcome.state, 'resolved')
  })
})
