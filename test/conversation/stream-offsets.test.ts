import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { AbortError, type AmqpProtocol, connect, EncodeError, type OffsetStore } from '../../src/index.ts'
// Loaded before the clock stands still.
import '../../src/patterns/consume/stored-offsets.ts'
import { type Broker, startBroker } from '../../src/testing/index.ts'
import { rejection } from '../support/rejection.ts'
import { turn } from '../support/settled.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

interface Scene {
  readonly clock: VirtualClock
  readonly broker: Broker
  readonly protocol: AmqpProtocol
  readonly errors: Error[]
}

/** A stream `s` with the messages m0 to m9, of which those with an even number have the filter value `even`. */
async function scene(run: (scene: Scene) => Promise<void>): Promise<void> {
  const clock = new VirtualClock()
  const errors: Error[] = []
  await using broker = await startBroker({ clock })
  const protocol = await connect({
    ...broker.inMemory,
    clock,
    heartbeat: 0,
    onError: error => void errors.push(error as Error),
  })
  await protocol.queueDeclare('s', { durable: true, arguments: { 'x-queue-type': 'stream' } })
  for (let i = 0; i < 10; i++) {
    const headers = i % 2 === 0 ? { 'x-stream-filter-value': 'even' } : {}
    await protocol.publish(`m${i}`, '', 's', { headers })
  }
  await run({ clock, broker, protocol, errors })
  await clock.until(protocol.close())
}

class MemoryStore implements OffsetStore {
  readonly saved: bigint[] = []
  stored: bigint | number | undefined

  constructor(stored?: bigint | number) {
    this.stored = stored
  }

  load(): bigint | number | undefined {
    return this.stored
  }

  save(offset: bigint): void {
    this.saved.push(offset)
    this.stored = offset
  }
}

describe('the offset store of a consumer of a stream', () => {
  it('begins at the beginning if nothing is stored, saves every 5 seconds what has changed, and at the close', () =>
    scene(async ({ clock, protocol }) => {
      const store = new MemoryStore()
      const got: string[] = []
      const consumer = await protocol.consumer('s', message => void got.push(message.text()), { offsetStore: store })
      await turn()
      assert.equal(got.length, 10)
      assert.deepEqual(store.saved, [])
      await clock.advance(5_000)
      assert.deepEqual(store.saved, [10n])
      await clock.advance(20_000)
      assert.deepEqual(store.saved, [10n])
      await protocol.publish('m10', '', 's')
      await turn()
      await clock.until(consumer.close())
      assert.deepEqual(store.saved, [10n, 11n])
    }))

  for (const stored of [7n, 7]) {
    it(`begins at the offset that is stored, a ${typeof stored}`, () =>
      scene(async ({ protocol }) => {
        const got: string[] = []
        await protocol.consumer('s', message => void got.push(message.text()), {
          offsetStore: new MemoryStore(stored),
          arguments: { 'x-stream-offset': 'first' },
        })
        await turn()
        assert.deepEqual(got, ['m7', 'm8', 'm9'])
      }))
  }

  it('is given the first offset that is not settled, whatever is settled after it, and what was not handled', () =>
    scene(async ({ clock, protocol }) => {
      const store = new MemoryStore()
      let end = (): void => {}
      const stuck = new Promise<void>(resolve => {
        end = resolve
      })
      const handler = (message: { text(): string }): unknown => (message.text() === 'm3' ? stuck : undefined)
      const consumer = await protocol.consumer('s', handler, { offsetStore: store, concurrency: 2 })
      await turn()
      await clock.advance(5_000)
      assert.deepEqual(store.saved, [3n])
      const closed = consumer.close({ timeout: 1_000 })
      await clock.until(closed)
      assert.deepEqual(store.saved, [3n])
      end()
      const paused = await protocol.consumer('s', () => {}, { offsetStore: new MemoryStore(4) })
      paused.pause()
      await clock.until(paused.close())
    }))

  it('does not pass what a loop was given and has not settled, nor what it has not seen', () =>
    scene(async ({ clock, protocol }) => {
      const store = new MemoryStore()
      const consumer = await protocol.consumer('s', { offsetStore: store })
      for await (const message of consumer) if (message.text() === 'm5') break
      await clock.advance(0)
      await clock.until(consumer.close())
      assert.deepEqual(store.saved, [5n])
    }))

  it('goes on across a lost connection', () =>
    scene(async ({ clock, broker, protocol }) => {
      const store = new MemoryStore()
      const got: string[] = []
      const consumer = await protocol.consumer('s', message => void got.push(message.text()), { offsetStore: store })
      await turn()
      await clock.advance(5_000)
      broker.cutConnections()
      await clock.until(protocol.publish('m10', '', 's'))
      await turn()
      await clock.advance(5_000)
      assert.deepEqual(store.saved, [10n, 11n])
      assert.deepEqual(got.slice(-1), ['m10'])
      await clock.until(consumer.close())
    }))

  it('that fails to save is reported, and asked again', () =>
    scene(async ({ clock, protocol, errors }) => {
      const store = new MemoryStore()
      let failures = 2
      const save = (offset: bigint): void => {
        if (failures-- > 0) throw new Error('disk full')
        store.save(offset)
      }
      await protocol.consumer('s', () => {}, { offsetStore: { load: () => undefined, save } })
      await turn()
      await clock.advance(15_000)
      assert.deepEqual(store.saved, [10n])
      assert.deepEqual(
        errors.map(({ message }) => message),
        ['disk full', 'disk full'],
      )
    }))

  it('that fails to load, or loads no offset, rejects the consumer', () =>
    scene(async ({ protocol }) => {
      const save = (): void => {}
      const broken = Promise.reject(new Error('no such table'))
      await assert.rejects(
        protocol.consumer('s', () => {}, { offsetStore: { load: () => broken, save } }),
        {
          message: 'no such table',
        },
      )
      for (const bad of ['7', -1, 1.5, -1n]) {
        const offsetStore = { load: () => bad as number, save }
        const error = await rejection(
          protocol.consumer('s', () => {}, { offsetStore }),
          EncodeError,
        )
        assert.match(error.message, /offsetStore\.load\(\)/)
      }
    }))

  it('that never loads ends with the signal', () =>
    scene(async ({ protocol }) => {
      const abort = new AbortController()
      const offsetStore = { load: () => new Promise<never>(() => {}), save() {} }
      const rejected = rejection(
        protocol.consumer('s', () => {}, { offsetStore, signal: abort.signal }),
        AbortError,
      )
      await turn()
      abort.abort()
      assert.match((await rejected).message, /^consuming from "s" was aborted/)
    }))

  it('must have both methods, and acks', () =>
    scene(async ({ protocol }) => {
      const store = new MemoryStore()
      for (const bad of [null, 5, {}, { load() {} }, { save() {} }]) {
        await rejection(
          protocol.consumer('s', () => {}, { offsetStore: bad as never }),
          EncodeError,
        )
      }
      await rejection(
        protocol.consumer('s', () => {}, { offsetStore: store, noAck: true }),
        EncodeError,
      )
    }))
})

describe('a filter of a stream', () => {
  const filtered = { 'x-stream-filter': 'even', 'x-stream-offset': 'first' } as const

  it('leaves out other messages of a chunk, which count as settled', () =>
    scene(async ({ clock, protocol }) => {
      const got: string[] = []
      const store = new MemoryStore()
      const handler = (message: { text(): string }): void => void got.push(message.text())
      const consumer = await protocol.consumer('s', handler, {
        arguments: filtered,
        offsetStore: store,
        prefetchCount: 2,
      })
      await turn()
      assert.deepEqual(got, ['m0', 'm2', 'm4', 'm6', 'm8'])
      await clock.until(consumer.close())
      const [saved] = store.saved
      assert.ok(saved === 9n || saved === 10n, String(saved))
    }))

  it('takes several values, and messages without one if it says so', () =>
    scene(async ({ protocol }) => {
      const got: string[] = []
      const args = { ...filtered, 'x-stream-filter': ['odd', 'other'], 'x-stream-match-unfiltered': true }
      await protocol.consumer('s', message => void got.push(message.text()), { arguments: args })
      await turn()
      assert.deepEqual(got, ['m1', 'm3', 'm5', 'm7', 'm9'])
    }))
})
