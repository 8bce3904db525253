import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FlushWaiter } from '../../../src/channel/port.ts'
import { closedByProgram } from '../../../src/connection/close-reasons.ts'
import { WriteBatcher } from '../../../src/connection/wire/write-batcher.ts'
import { systemClock } from '../../../src/lib/clock.ts'
import { FakeTransport } from '../../support/fake-transport.ts'

const { setImmediate } = globalThis
const tick = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

class Fixture {
  readonly transport = new FakeTransport()
  fullChanges = 0
  readonly outgoing: WriteBatcher

  constructor(maxBuffered = 100_000) {
    this.outgoing = new WriteBatcher(this.transport, systemClock, maxBuffered, {
      gateChanged: () => this.fullChanges++,
    })
  }

  write(bytes: Uint8Array): void {
    const { writer } = this.outgoing
    writer.begin()
    writer.reserve(bytes.length)
    writer.bytes(bytes)
    this.outgoing.written()
  }

  get sizes(): number[] {
    return this.transport.writes.map(({ length }) => length)
  }
}

function departure(): FlushWaiter & { readonly told: string[] } {
  const told: string[] = []
  return { told, sent: () => told.push('sent'), lost: () => told.push('lost') }
}

describe('WriteBatcher', () => {
  it('sends what further callbacks of one turn of the event loop write in one write, until it reads again', async () => {
    const fixture = new Fixture()
    const { outgoing } = fixture
    const nextCallback = (): Promise<void> => new Promise(resolve => process.nextTick(() => process.nextTick(resolve)))
    for (const bytes of ['a', 'b', 'c']) {
      fixture.write(Buffer.from(bytes))
      await nextCallback()
    }
    assert.deepEqual(fixture.transport.writes.map(String), ['a'])
    await tick()
    outgoing.readStarts()
    outgoing.readEnds()
    fixture.write(Buffer.from('d'))
    await nextCallback()
    assert.deepEqual(fixture.transport.writes.map(String), ['a', 'bc', 'd'])
  })

  it('sends while a test of the program has put fake timers in the place of the global ones', async () => {
    globalThis.setImmediate = assert.fail as unknown as typeof setImmediate
    try {
      const fixture = new Fixture()
      for (const bytes of ['a', 'b']) {
        fixture.write(Buffer.from(bytes))
        await tick()
      }
      assert.deepEqual(fixture.sizes, [1, 1])
    } finally {
      globalThis.setImmediate = setImmediate
    }
  })

  it('sends what one tick writes in one write, after its promises', async () => {
    const fixture = new Fixture()
    fixture.write(Buffer.from('a'))
    fixture.write(Buffer.from('b'))
    await Promise.resolve()
    fixture.write(Buffer.from('c'))
    assert.deepEqual(fixture.sizes, [])
    await tick()
    assert.deepEqual(fixture.transport.writes.map(String), ['abc'])
  })

  it('takes as many answers as the peer reads, and 20,000 that it does not', async () => {
    const { outgoing, transport } = new Fixture()
    const answer = (): void => {
      const { writer } = outgoing
      writer.begin()
      writer.reserve(1)
      writer.octet(1)
      outgoing.methodWritten()
      outgoing.answered()
    }
    for (let i = 0; i < 20_000; i++) answer()
    await tick()
    transport.open = false
    for (let i = 0; i < 20_000; i++) answer()
    assert.throws(answer, /^ProtocolError: the server asked more than 20000 times, and read none of the answers$/)
    transport.left(transport.writes.length, 0)
    answer()
  })

  it('sends the first of many methods before the tick ends, so that the broker can begin', async () => {
    const { outgoing, transport } = new Fixture()
    const { writer } = outgoing
    for (let i = 0; i < 100; i++) {
      writer.begin()
      writer.reserve(1)
      writer.bytes(Buffer.of(i))
      outgoing.methodWritten()
    }
    assert.deepEqual(
      transport.writes.map(({ length }) => length),
      [32, 32],
    )
    await tick()
    assert.deepEqual(Buffer.concat(transport.writes), Buffer.from(Array.from({ length: 100 }, (_, i) => i)))
  })

  it('sends what its transport makes the program write after what it is being given', async () => {
    const fixture = new Fixture()
    const { transport } = fixture
    const write = transport.write.bind(transport)
    let calls = 0
    transport.write = (segments, sent) => {
      if (calls++ === 0) for (let i = 0; i < 20; i++) fixture.write(Buffer.alloc(5_000, 'inner'))
      return write(segments, sent)
    }
    fixture.write(Buffer.from('outer'))
    await tick()
    await tick()
    assert.equal(Buffer.concat(transport.writes).toString('latin1', 0, 10), 'outerinner')
    assert.equal(Buffer.concat(transport.writes).length, 100_005)
  })

  it('sends what a read makes it write at the end of the read', () => {
    const fixture = new Fixture()
    fixture.outgoing.readStarts()
    fixture.write(Buffer.from('a'))
    fixture.write(Buffer.from('b'))
    fixture.outgoing.readEnds()
    assert.deepEqual(fixture.transport.writes.map(String), ['ab'])
  })

  it('ends the stream, and writes nothing of it, if bytes sent by reference were transferred away', async () => {
    const fixture = new Fixture()
    const { outgoing, transport } = fixture
    const body = new Uint8Array(20_000)
    fixture.write(Buffer.from('head'))
    outgoing.writer.reference(body.subarray(0, 15_000))
    const waiting = departure()
    outgoing.whenFlushed(waiting)
    structuredClone(body, { transfer: [body.buffer] })
    await tick()
    assert.deepEqual(fixture.sizes, [])
    assert.deepEqual(transport.calls, ['destroy'])
    assert.deepEqual(waiting.told, [])
    outgoing.fail(closedByProgram('broker:5672'))
    assert.deepEqual(waiting.told, ['lost'])
  })

  it('does not hold much back until the tick ends, and loses none of it', async () => {
    const fixture = new Fixture()
    for (let i = 0; i < 100; i++) fixture.write(Buffer.alloc(5_000, i))
    assert.ok(fixture.sizes.length > 3 && fixture.sizes.length < 50, `${fixture.sizes.length} writes`)
    await tick()
    const all = Buffer.concat(fixture.transport.writes)
    assert.equal(all.length, 500_000)
    for (let i = 0; i < 100; i++) assert.ok(all.subarray(i * 5_000, (i + 1) * 5_000).every(byte => byte === i))
  })

  it('sends a large body with what stands around it in one write', async () => {
    const fixture = new Fixture()
    const encoder = fixture.outgoing.encoder(131_072)
    const body = Buffer.alloc(65_536, 'x')
    for (let n = 1; n <= 3; n++) {
      encoder.publish(1, '', 'q', false, undefined, body)
      fixture.outgoing.written()
      await tick()
      assert.equal(fixture.sizes.length, n)
    }
    assert.ok(Buffer.concat(fixture.transport.writes).toString('latin1').endsWith('x\xce'))
  })

  it('does not write over a chunk that the socket still has', async () => {
    const fixture = new Fixture()
    fixture.transport.open = false
    const kept: Buffer[] = []
    const write = fixture.transport.write.bind(fixture.transport)
    fixture.transport.write = (segments, sent) => {
      kept.push(...segments.map(segment => Buffer.from(segment.buffer, segment.byteOffset, segment.length)))
      return write(segments, sent)
    }
    for (let i = 1; i <= 50; i++) {
      fixture.write(Buffer.alloc(100, i))
      await tick()
    }
    for (const [i, bytes] of kept.entries()) assert.ok(bytes.every(byte => byte === i + 1))
  })

  it('lets a publisher go on, until a thousand publishes or 256 KiB want a turn of the event loop', async () => {
    const fixture = new Fixture()
    let before = 0
    while (fixture.outgoing.publishWritten() === undefined) before++
    assert.equal(before, 999)
    const turn = fixture.outgoing.publishWritten()
    assert.ok(turn instanceof Promise)
    assert.equal(fixture.outgoing.publishWritten(), turn)
    await turn
    assert.equal(fixture.outgoing.publishWritten(), undefined)
    for (let i = 0; i < 40; i++) fixture.write(Buffer.alloc(10_000))
    assert.ok(fixture.outgoing.publishWritten() instanceof Promise)
  })

  it('says full from the write that the socket asked to wait after, until it drains', async () => {
    const fixture = new Fixture()
    fixture.transport.open = false
    fixture.write(Buffer.alloc(10))
    await tick()
    assert.equal(fixture.outgoing.publishWritten(), undefined, 'the socket keeps a little without asking')
    fixture.write(Buffer.alloc(70_000))
    await tick()
    assert.equal(fixture.outgoing.publishWritten(), 'full')
    const waiter = departure()
    fixture.outgoing.whenWritable(waiter)
    assert.deepEqual(waiter.told, [])
    fixture.transport.open = true
    fixture.transport.pending = 0
    fixture.outgoing.onDrain()
    assert.deepEqual(waiter.told, ['sent'])
    assert.equal(fixture.outgoing.publishWritten(), undefined)
  })

  it('reports when more than maxBuffered waits, and when no longer', async () => {
    const fixture = new Fixture()
    fixture.transport.open = false
    fixture.write(Buffer.alloc(60_000))
    await tick()
    assert.equal(fixture.outgoing.full, false)
    fixture.write(Buffer.alloc(60_000))
    await tick()
    assert.equal(fixture.outgoing.full, true)
    assert.equal(fixture.fullChanges, 1)
    fixture.transport.left(1, 60_000)
    assert.equal(fixture.outgoing.full, false)
    assert.equal(fixture.fullChanges, 2)
  })

  it('is full no longer, whatever maxBuffered is, though a socket reports no drain of a little', async () => {
    for (const maxBuffered of [1, 10, 1_000, 65_535]) {
      const fixture = new Fixture(maxBuffered)
      fixture.transport.open = false
      fixture.write(Buffer.alloc(maxBuffered))
      await tick()
      assert.equal(fixture.outgoing.full, false)
      fixture.write(Buffer.alloc(1))
      await tick()
      assert.equal(fixture.outgoing.full, true, `${maxBuffered}`)
      fixture.transport.left(2, 0)
      assert.equal(fixture.outgoing.full, false, `${maxBuffered}`)
      assert.equal(fixture.fullChanges, 2)
    }
  })

  it('calls the waiters for a departure when the write with those bytes has left, and not an earlier one', async () => {
    const fixture = new Fixture()
    fixture.transport.open = false
    const waiters = [departure(), departure(), departure()] as const
    const encoder = fixture.outgoing.encoder(131_072)
    // Sent at the end of the tick; at once, without the chunk after it; at once, with it.
    for (const [i, size] of [20_000, 100_000, 50_000].entries()) {
      encoder.publish(1, '', 'q', false, undefined, Buffer.alloc(size))
      fixture.outgoing.whenFlushed(waiters[i] as FlushWaiter)
      fixture.outgoing.written()
      await tick()
    }
    const told = (): number[] => waiters.map(each => each.told.length)
    assert.equal(fixture.sizes.length, 3)
    fixture.transport.left(1, 150_000)
    assert.deepEqual(told(), [1, 0, 0])
    fixture.transport.left(1, 50_000)
    assert.deepEqual(told(), [1, 1, 0])
    fixture.transport.left(1, 0)
    assert.deepEqual(told(), [1, 1, 1])
  })

  it('does not take a departure that is reported twice for that of a later write', async t => {
    const fixture = new Fixture()
    const { outgoing, transport } = fixture
    const write = t.mock.method(transport, 'write')
    fixture.write(Buffer.from('a'))
    await tick()
    const sent = write.mock.calls[0]?.arguments[1]
    sent?.()
    sent?.()
    transport.open = false
    fixture.write(Buffer.from('b'))
    await tick()
    fixture.write(Buffer.from('c'))
    const waiter = departure()
    outgoing.whenFlushed(waiter)
    // The first of the two is of a write whose departure is known already.
    transport.left(2, 1)
    assert.deepEqual(fixture.sizes, [1, 1])
    assert.deepEqual(waiter.told, [])
    await tick()
    transport.left(1, 0)
    assert.deepEqual(waiter.told, ['sent'])
  })

  it('calls all waiters once when the connection is lost', async () => {
    const fixture = new Fixture()
    fixture.transport.open = false
    const waiters = [departure(), departure(), departure()] as const
    fixture.write(Buffer.from('a'))
    fixture.outgoing.whenFlushed(waiters[0])
    await tick()
    fixture.write(Buffer.from('b'))
    fixture.outgoing.whenFlushed(waiters[1])
    fixture.outgoing.whenWritable(waiters[2])
    const ending = closedByProgram('broker:5672')
    fixture.outgoing.fail(ending)
    fixture.outgoing.fail(ending)
    assert.deepEqual(
      waiters.map(({ told }) => told),
      [['lost'], ['lost'], ['lost']],
    )
  })
})
