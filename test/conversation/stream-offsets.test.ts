import assert from 'node:assert/strict'
import { AsyncLocalStorage } from 'node:async_hooks'
import { describe, it } from 'node:test'
import {
  AbortError,
  type AmqpProtocol,
  ConnectionClosedError,
  connect,
  EncodeError,
  type OffsetStore,
} from '../../src/index.ts'
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

/** A stream `s` with the messages m0 to m9, whose filter values are `even` and `odd`. */
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
    const headers = { 'x-stream-filter-value': i % 2 === 0 ? 'even' : 'odd' }
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

  it('does not pass messages that a loop has not settled or not seen', () =>
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

  it('that never loads ends with the connection', () =>
    scene(async ({ clock, protocol }) => {
      const offsetStore = { load: () => new Promise<never>(() => {}), save() {} }
      const rejected = rejection(
        protocol.consumer('s', () => {}, { offsetStore }),
        ConnectionClosedError,
      )
      await turn()
      await clock.until(protocol.close())
      assert.match((await rejected).message, /^consuming from "s"/)
    }))

  it('saves in the asynchronous context of the consumer', () =>
    scene(async ({ clock, protocol }) => {
      const storage = new AsyncLocalStorage<string>()
      const contexts: (string | undefined)[] = []
      const offsetStore = { load: () => undefined, save: () => void contexts.push(storage.getStore()) }
      await storage.run('made', () => protocol.consumer('s', () => {}, { offsetStore }))
      await turn()
      await clock.advance(5_000)
      assert.deepEqual(contexts, ['made'])
    }))

  it('starts over with a stream that was deleted and made again', () =>
    scene(async ({ clock, protocol }) => {
      const store = new MemoryStore()
      const got: string[] = []
      const consumer = await protocol.consumer('s', message => void got.push(message.text()), { offsetStore: store })
      await turn()
      await clock.until(protocol.queueDelete('s'))
      await clock.advance(3_000)
      await clock.until(protocol.queueDeclare('s', { durable: true, arguments: { 'x-queue-type': 'stream' } }))
      await clock.until(protocol.publish('new', '', 's'))
      await clock.advance(5_000)
      assert.deepEqual(got.slice(10), ['new'])
      await clock.until(consumer.close())
      assert.deepEqual(store.saved.at(-1), 1n)
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

  it('takes several values, and leaves out no message without one, whose value may be elsewhere', () =>
    scene(async ({ protocol }) => {
      const got: string[] = []
      const args = { ...filtered, 'x-stream-filter': ['odd', 'other'], 'x-stream-match-unfiltered': true }
      await protocol.publish('without', '', 's')
      await protocol.consumer('s', message => void got.push(message.text()), { arguments: args })
      await turn()
      assert.deepEqual(got, ['m1', 'm3', 'm5', 'm7', 'm9', 'without'])
    }))
})
