import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Acker } from '../../../src/channel/consume/acker.ts'
import { StreamPosition } from '../../../src/channel/consume/stream-position.ts'
import { EncodeError } from '../../../src/errors.ts'
import { decodeMethod } from '../../../src/protocol/method-codec.ts'
import { FakeChannelPort } from '../../support/fake-channel-port.ts'

const FRAME = 7 + 13 + 1

class Fixture {
  readonly port = new FakeChannelPort()
  readonly acker = new Acker(this.port, 1, 100)

  /** The settlements that were written since the last look: method and wire tag. */
  written(): string[] {
    const bytes = Buffer.concat(this.port.writer.take())
    const all: string[] = []
    for (let at = 0; at < bytes.length; at += FRAME) {
      const { method, args } = decodeMethod(bytes, at + 7, at + FRAME - 1)
      all.push(`${method.name} ${args['deliveryTag']}`)
    }
    return all
  }
}

describe('Acker', () => {
  it('counts the tags of the wire from where the earlier lives ended', () => {
    const made = new Fixture()
    assert.equal(made.acker.settle('ack', 100, false, false), false, 'of an earlier life')
    assert.equal(made.acker.settle('ack', 99, true, false), false, 'with multiple it never becomes 0, which is all')
    assert.equal(made.acker.settle('ack', 101, false, false), true)
    assert.equal(made.acker.settle('nack', 0, true, true), true)
    assert.equal(made.acker.settle('reject', 103, false, false), true)
    assert.deepEqual(made.written(), ['basic.ack 1', 'basic.nack 0', 'basic.reject 3'])
    assert.equal(made.acker.sent, 3)
  })

  it('refuses values that are not tags', () => {
    const { acker } = new Fixture()
    for (const tag of [0, -1, 1.5, Number.NaN, 2 ** 53]) {
      assert.throws(() => acker.settle('ack', tag, false, false), EncodeError)
    }
  })

  it('sends nothing once channel.close is written, or the life is over', () => {
    const frozen = new Fixture()
    frozen.acker.freeze()
    const over = new Fixture()
    over.acker.end(() => new Error('lost'))
    over.acker.freeze()
    for (const fixture of [frozen, over]) {
      assert.equal(fixture.acker.over, true)
      assert.equal(fixture.acker.settle('ack', 101, false, false), false)
      assert.deepEqual(fixture.written(), [])
    }
  })

  it('settles on a stream by acks only, and moves its position', () => {
    const fixture = new Fixture()
    const position = new StreamPosition(true)
    for (const tag of [101, 102, 103, 104]) position.delivered(tag, tag + 1_000)
    fixture.acker.onStream(position)
    assert.equal(fixture.acker.settle('nack', 102, false, true), false)
    assert.equal(fixture.acker.settle('reject', 101, false, true), false)
    assert.equal(position.resumeOffset, 1_101n)
    assert.equal(fixture.acker.settle('reject', 101, false, false), true)
    assert.equal(position.resumeOffset, 1_102n)
    assert.equal(fixture.acker.settle('nack', 0, true, true), false)
    assert.equal(fixture.acker.settle('ack', 104, true, false), true)
    assert.equal(position.resumeOffset, 1_105n)
    assert.deepEqual(fixture.written(), ['basic.ack 1', 'basic.ack 4'])
    assert.equal(fixture.acker.settle('nack', 110, false, true), true, 'of another queue')
    assert.deepEqual(fixture.written(), ['basic.nack 10'])
  })

  it('knows a message of a stream only if its queue is one without doubt', () => {
    for (const [isStream, known] of [
      [true, true],
      [undefined, false],
    ] as const) {
      const { acker } = new Fixture()
      const position = new StreamPosition(isStream)
      position.delivered(101, 5)
      acker.onStream(position)
      assert.equal(acker.isKnownStream(101), known)
      assert.equal(acker.isKnownStream(102), false)
    }
  })

  it('refuses what may be of a stream or of another queue as asked, or not at all: never by an ack', () => {
    for (const takesRejectOfStream of [false, true]) {
      const fixture = new Fixture()
      const { acker, port } = fixture
      port.takesRejectOfStream = takesRejectOfStream
      const position = new StreamPosition(undefined)
      for (const tag of [101, 102]) {
        acker.lastTag = tag
        position.delivered(tag, tag)
        acker.onStream(position)
      }
      assert.equal(acker.settle('reject', 101, false, false), takesRejectOfStream)
      assert.equal(acker.settle('nack', 102, false, true), false)
      assert.deepEqual(fixture.written(), takesRejectOfStream ? ['basic.reject 1'] : [])
      assert.equal(port.reported.length, takesRejectOfStream ? 1 : 2)
      position.delivered(103, undefined)
      acker.onNoStream(position)
      assert.equal(acker.settle('reject', 102, false, false), true)
      assert.deepEqual(fixture.written(), ['basic.reject 2'])
    }
  })

  it('refuses no range of messages of which some are of a stream and some are not, if the broker minds', () => {
    for (const takesRejectOfStream of [false, true]) {
      const fixture = new Fixture()
      const { acker, port } = fixture
      port.takesRejectOfStream = takesRejectOfStream
      const position = new StreamPosition(true)
      position.delivered(101, 5)
      acker.onStream(position)
      acker.lastTag = 102
      assert.equal(acker.settle('nack', 0, true, true), false)
      assert.equal(acker.settle('nack', 102, true, false), takesRejectOfStream)
      assert.equal(port.reported.length, takesRejectOfStream ? 1 : 2)
      assert.deepEqual(fixture.written(), takesRejectOfStream ? ['basic.nack 2'] : [])
    }
  })

  it('makes room in the window of a stream by one ack, and settles nothing by it', () => {
    const fixture = new Fixture()
    const { acker } = fixture
    const position = new StreamPosition(true)
    for (const tag of [101, 102, 103]) position.delivered(tag, tag)
    acker.onStream(position)
    assert.equal(acker.settle('ack', 103, false, false), true)
    acker.makeRoom(position)
    acker.makeRoom(position)
    assert.deepEqual(fixture.written(), ['basic.ack 3', 'basic.ack 2'])
    assert.equal(position.resumeOffset, 101n)
    let told = 0
    acker.onSettled(() => told++)
    assert.equal(acker.settle('ack', 101, false, false), true)
    assert.equal(position.resumeOffset, 102n)
    position.delivered(104, 104)
    assert.equal(acker.settle('ack', 104, true, false), true)
    assert.equal(position.resumeOffset, 105n)
    assert.deepEqual(fixture.written(), ['basic.ack 4'])
    assert.equal(told, 2)
  })

  it('keeps nothing of a stream whose deliveries are all settled, until the next one comes', () => {
    const { acker } = new Fixture()
    const position = new StreamPosition(true)
    for (const tag of [101, 102]) {
      position.delivered(tag, tag)
      acker.onStream(position)
      assert.equal(acker.hasStreams, true)
      acker.settle('ack', tag, false, false)
      assert.equal(acker.hasStreams, false)
    }
    assert.equal(position.resumeOffset, 103n)
  })

  it('changes nothing if a settlement cannot be written, in a getter of a message that is being encoded', () => {
    const made = new Fixture()
    const position = new StreamPosition(true, 'first')
    made.acker.onStream(position)
    position.delivered(101, 7n, false)
    const before = position.resumeOffset
    const { writer } = made.port
    writer.begin()
    writer.guard('basic.publish', 4_096)
    assert.throws(() => made.acker.settle('ack', 101, false, false), EncodeError)
    writer.unguard()
    assert.equal(made.acker.sent, 0)
    assert.equal(position.resumeOffset, before)
    assert.equal(made.acker.settle('ack', 101, false, false), true)
    assert.notEqual(position.resumeOffset, before)
    assert.deepEqual(made.written(), ['basic.ack 1'])
  })

  it('aborts what watches a message that is not settled when the life ends, after all is done', async () => {
    const { acker } = new Fixture()
    const [watched, settled] = [acker.watch(), acker.watch()]
    acker.unwatch(settled)
    const reason = new Error('lost')
    acker.end(() => reason)
    assert.equal(watched.signal.aborted, false, 'not within the end')
    await Promise.resolve()
    assert.equal(watched.signal.reason, reason)
    assert.equal(settled.signal.aborted, false)
    assert.equal(acker.watch().signal.reason, reason)
  })

  it('calls the waiter for a settlement, and at the end', () => {
    const { acker } = new Fixture()
    let calls = 0
    const forget = acker.onSettled(() => calls++)
    acker.onSettled(() => calls++)
    acker.settle('ack', 101, false, false)
    assert.equal(calls, 2)
    forget()
    acker.end(() => new Error('lost'))
    assert.equal(calls, 3)
  })
})
