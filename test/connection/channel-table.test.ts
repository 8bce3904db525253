import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ChannelReceiver, FrameReceiver } from '../../src/channel/port.ts'
import { ChannelTable } from '../../src/connection/channel-table.ts'
import { lost } from '../../src/connection/close-reasons.ts'
import { ConnectionLostError, NoChannelAvailableError, ProtocolError } from '../../src/errors.ts'
import { type AnyMethod, BasicCancel, ChannelOpenOk } from '../../src/protocol/methods.ts'

class Receiver implements FrameReceiver {
  readonly seen: string[] = []

  methodFrame(_buffer: Buffer, start: number, end: number): number {
    this.seen.push(`method ${start}`)
    return end + 1
  }
  headerFrame(): void {
    this.seen.push('header')
  }
  bodyFrame(): void {
    this.seen.push('body')
  }
}

class Channel extends Receiver implements ChannelReceiver {
  readonly id: number
  isSuccessor = false
  endings = 0

  constructor(id: number) {
    super()
    this.id = id
  }
  resume(): void {}
  blockedChanged(): void {}
  connectionClosing(): void {}
  connectionEnded(): void {
    this.endings++
  }
}

class Fixture {
  readonly zero = new Receiver()
  readonly table = new ChannelTable(this.zero, 'broker:5672')

  constructor(channelMax: number) {
    this.table.channelMax = channelMax
  }

  open(): Channel {
    const channel = new Channel(this.table.take())
    this.table.attach(channel)
    return channel
  }

  method(id: number, method: AnyMethod): number {
    const payload = Buffer.alloc(8)
    payload.writeUInt32BE(method.key)
    return this.table.methodFrame(id, payload, 0, 8, 8)
  }

  content(id: number): void {
    this.table.headerFrame(id, Buffer.alloc(0), 0, 0, 0)
    this.table.bodyFrame(id, Buffer.alloc(0), 0, 0, true)
  }
}

describe('ChannelTable', () => {
  it('gives each channel its frames, channel 0 too', () => {
    const fixture = new Fixture(10)
    const [one, two] = [fixture.open(), fixture.open()]
    fixture.method(0, BasicCancel)
    fixture.method(2, BasicCancel)
    fixture.content(2)
    assert.deepEqual(fixture.zero.seen, ['method 0'])
    assert.deepEqual(one.seen, [])
    assert.deepEqual(two.seen, ['method 0', 'header', 'body'])
    assert.deepEqual([...fixture.table.channels()], [one, two])
  })

  it('takes a frame of a number that is not in use for a violation', () => {
    const fixture = new Fixture(10)
    const { id } = fixture.open()
    fixture.table.release(id, false)
    for (const stray of [id, 2, 65_535]) {
      assert.throws(() => fixture.method(stray, BasicCancel), ProtocolError)
      assert.throws(() => fixture.content(stray), /channel \d+, which is not open/)
    }
  })

  it('absorbs what comes for a channel that the server closed', () => {
    const fixture = new Fixture(10)
    const { id, seen } = fixture.open()
    fixture.table.release(id, true)
    assert.equal(fixture.method(id, BasicCancel), 9)
    fixture.content(id)
    assert.deepEqual(seen, [])
  })

  it('gives a number of a channel that the server closed last, and absorbs its old frames up to open-ok', () => {
    const fixture = new Fixture(2)
    const first = fixture.open()
    fixture.table.release(first.id, true)
    assert.equal(fixture.open().id, 2)
    const again = fixture.open()
    assert.equal(again.id, 1)
    assert.deepEqual([first.isSuccessor, again.isSuccessor], [false, true])
    fixture.method(1, BasicCancel)
    fixture.content(1)
    assert.deepEqual(again.seen, [])
    assert.equal([...fixture.table.channels()][0], again)
    fixture.method(1, ChannelOpenOk)
    fixture.method(1, BasicCancel)
    fixture.content(1)
    assert.deepEqual(again.seen, ['method 0', 'method 0', 'header', 'body'])
  })

  it('ignores a number that is released twice, or whose channel was never there', () => {
    const fixture = new Fixture(10)
    for (const mayFollow of [false, true]) {
      const { id } = fixture.open()
      fixture.table.release(id, mayFollow)
      fixture.table.release(id, false)
      fixture.table.release(7, mayFollow)
      assert.deepEqual([fixture.table.inUse, [...fixture.table.channels()].length], [0, 0])
    }
    const ids = Array.from({ length: 10 }, () => fixture.open().id)
    assert.deepEqual(
      ids.sort((a, b) => a - b),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    )
  })

  it('says whether a number is free, and fails if none is', () => {
    const { table } = new Fixture(1)
    assert.equal(table.available, true)
    table.take()
    assert.deepEqual([table.available, table.inUse], [false, 1])
    assert.throws(() => table.take(), NoChannelAvailableError)
    assert.match(table.exhausted('queue.declare of "a"').message, /^queue.declare of "a" was not sent: all 1 channels/)
  })

  it('ends every channel once, and ignores what still comes', () => {
    const fixture = new Fixture(10)
    const [one, two] = [fixture.open(), fixture.open()]
    fixture.table.end(lost('broker:5672', 'socket', 'it is gone'))
    assert.deepEqual([one.endings, two.endings], [1, 1])
    fixture.method(7, BasicCancel)
    fixture.content(0)
    assert.equal(fixture.table.available, false)
    assert.throws(() => fixture.table.take(), ConnectionLostError)
  })
})
