import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Message } from '../../../src/index.ts'
import { HandlerWatch, type SlowHandlers } from '../../../src/patterns/consume/slow-handlers.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

function watched(threshold: number, count: number) {
  const clock = new VirtualClock()
  const running = new Map<number, Message>()
  const seen: SlowHandlers[] = []
  let collecting = false
  const runs = {
    working: () => [...running.values()],
    get isIdle() {
      return running.size === 0 && !collecting
    },
  }
  const watch = new HandlerWatch(clock, threshold, runs, slow => seen.push(slow))
  /** As a handler begins. */
  const begin = (at: number, name: string): void => {
    assert.ok(at < count)
    running.set(at, { name } as unknown as Message)
    if (!watch.active) watch.start()
  }
  const end = (at: number): void => void running.delete(at)
  /** As the first message of a batch comes, and as its handler begins by a timer. */
  const collect = (): void => {
    collecting = true
    if (!watch.active) watch.start()
  }
  const handOver = (name: string): void => {
    collecting = false
    running.set(0, { name } as unknown as Message)
  }
  const told = (): [number, string, number][] =>
    seen
      .splice(0)
      .map(({ count, longest: { message, ms } }) => [count, (message as unknown as { name: string }).name, ms])
  return { clock, watch, begin, end, collect, handOver, told }
}

describe('handlers that run for long', () => {
  it('are reported a threshold after they were first seen, and again each time that has doubled', async () => {
    const { clock, begin, told } = watched(1_000, 1)
    begin(0, 'stuck')
    await clock.advance(1_249)
    assert.deepEqual(told(), [])
    await clock.advance(1)
    assert.deepEqual(told(), [[1, 'stuck', 1_000]])
    await clock.advance(999)
    assert.deepEqual(told(), [])
    await clock.advance(1)
    assert.deepEqual(told(), [[1, 'stuck', 2_000]])
    await clock.advance(60_000)
    assert.deepEqual(
      told().map(([, , ms]) => ms),
      [4_000, 8_000, 16_000, 32_000],
    )
  })

  it('are counted, and the slowest is named', async () => {
    const { clock, begin, end, told } = watched(1_000, 3)
    begin(0, 'first')
    await clock.advance(500)
    begin(1, 'second')
    begin(2, 'quick')
    await clock.advance(300)
    end(2)
    await clock.advance(500)
    assert.deepEqual(told(), [[1, 'first', 1_000]])
    await clock.advance(500)
    assert.deepEqual(told(), [[2, 'first', 1_500]])
  })

  it('are reported if they began long after the last message came, with a batch', async () => {
    const { clock, watch, collect, handOver, told } = watched(1_000, 1)
    collect()
    await clock.advance(600)
    handOver('stuck')
    await clock.advance(1_150)
    assert.deepEqual(told(), [[1, 'stuck', 1_000]])
    assert.equal(watch.active, true)
  })

  it('are not reported if one place has many short ones', async () => {
    const { clock, begin, end, told } = watched(1_000, 1)
    for (let i = 0; i < 20; i++) {
      begin(0, `message ${i}`)
      await clock.advance(300)
      end(0)
    }
    assert.deepEqual(told(), [])
  })

  it('need no timer while none runs, nor if the threshold is Infinity', async () => {
    const { clock, watch, begin, end } = watched(1_000, 1)
    begin(0, 'short')
    end(0)
    assert.equal(watch.active, true)
    await clock.advance(250)
    assert.equal(watch.active, false)
    const never = watched(Number.POSITIVE_INFINITY, 1)
    never.begin(0, 'stuck')
    await never.clock.advance(10_000_000)
    assert.deepEqual(never.told(), [])
  })
})
