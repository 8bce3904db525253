import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { StreamPosition } from '../../../src/channel/consume/stream-position.ts'
import { ChannelClosedError } from '../../../src/errors.ts'

function seen(...offsets: number[]): StreamPosition {
  const position = new StreamPosition(true)
  for (const offset of offsets) position.delivered(offset - 99, offset)
  return position
}

describe('The position of a stream consumer', () => {
  it('is what the program asked for while nothing has come', () => {
    assert.equal(new StreamPosition(true).resumeOffset, undefined)
  })

  it('is when the consumer began if nothing has come, and it asked for what comes from then on', () => {
    for (const offset of [undefined, 'next', 'last']) {
      const position = new StreamPosition(undefined, offset)
      position.began(1_700_000_000_999)
      position.began(1_800_000_000_000)
      assert.deepEqual(position.resumeOffset, new Date(1_700_000_000_000), String(offset))
      position.delivered(1, undefined)
      assert.equal(position.resumeOffset, undefined, 'the queue is no stream')
    }
    for (const offset of ['first', 5, new Date(0)]) {
      const position = new StreamPosition(true, offset)
      position.began(1_700_000_000_999)
      assert.equal(position.resumeOffset, undefined, 'the argument holds')
    }
  })

  it('is that time before the consumer began if nothing has come, and it asked for one: later it would be another place', () => {
    const ages = { '1h': 3_600, '90s': 90, '2m': 120, '7D': 604_800, '1M': 2_592_000, '1Y': 31_536_000 }
    for (const [offset, seconds] of Object.entries(ages)) {
      const position = new StreamPosition(true, offset)
      position.began(1_700_000_000_999)
      assert.deepEqual(position.resumeOffset, new Date((1_700_000_000 - seconds) * 1_000), offset)
      position.delivered(1, 7)
      assert.equal(position.resumeOffset, 7n)
    }
    const all = new StreamPosition(true, '1000Y')
    all.began(1_700_000_000_999)
    assert.deepEqual(all.resumeOffset, new Date(0), 'no timestamp is earlier')
  })

  it('takes as long to move on with 100,000 messages as each of them does', () => {
    const position = seen(...Array.from({ length: 100_000 }, (_, i) => i + 100))
    for (let tag = 2; tag <= 100_000; tag++) position.settled(tag, false)
    assert.equal(position.resumeOffset, 100n)
    position.settled(1, false)
    assert.equal(position.resumeOffset, 100_100n)
    assert.equal(position.has(50, false), false)
  })

  it('knows what came from the stream and is not settled', () => {
    const position = seen(100, 101, 102)
    assert.deepEqual(
      [position.has(1, false), position.has(4, false), position.has(0, true), position.has(9, true)],
      [true, false, true, true],
    )
    position.settled(1, false)
    assert.equal(position.has(1, false), false)
    assert.equal(position.has(1, true), false)
  })

  it('is not kept of a message that was delivered before: it was forwarded from a stream', () => {
    const position = new StreamPosition(undefined)
    assert.equal(position.delivered(1, 100, true), false)
    assert.equal(position.isStream, false)
  })

  it('is the first message that is not settled', () => {
    const position = seen(100, 101, 102)
    position.settled(2, false)
    assert.equal(position.resumeOffset, 100n)
    position.settled(1, false)
    assert.equal(position.resumeOffset, 102n)
  })

  it('is after the last message once all are settled', () => {
    const position = seen(100, 101, 102)
    position.settled(2, true)
    assert.equal(position.resumeOffset, 102n)
    position.settled(0, true)
    assert.equal(position.resumeOffset, 103n)
  })

  it('stays over several losses in which nothing was settled', () => {
    const position = seen(100, 101)
    position.settled(1, false)
    position.restarted()
    position.restarted()
    assert.equal(position.resumeOffset, 101n)
    position.delivered(7, 101n)
    position.settled(2, false)
    assert.equal(position.resumeOffset, 101n, 'a tag from before settles nothing')
    position.settled(7, false)
    assert.equal(position.resumeOffset, 102n)
  })

  it('ignores messages without an offset', () => {
    const position = new StreamPosition(true)
    position.delivered(1, undefined)
    position.settled(1, false)
    assert.equal(position.resumeOffset, undefined)
    position.delivered(2, 101)
    assert.equal(position.resumeOffset, 101n)
  })

  it('is kept of a queue whose messages have offsets, until something shows what it is', () => {
    const stream = new StreamPosition(undefined)
    stream.delivered(1, 100)
    assert.equal(stream.isStream, undefined, 'it may be forwarded')
    assert.equal(stream.isUncertain, true)
    assert.equal(stream.resumeOffset, 100n)
    stream.granted()
    assert.equal(stream.isStream, true)
    for (const tell of [
      (it: StreamPosition) => it.delivered(2, undefined),
      (it: StreamPosition) => it.delivered(2, 101, true),
    ]) {
      const forwarded = new StreamPosition(undefined)
      forwarded.delivered(1, 100)
      assert.equal(tell(forwarded), false)
      assert.equal(forwarded.isStream, false)
      assert.equal(forwarded.isUncertain, false)
      assert.equal(forwarded.has(1, false), false)
      assert.equal(forwarded.resumeOffset, undefined)
    }
    const queue = new StreamPosition(undefined)
    queue.delivered(1, undefined)
    queue.delivered(2, 100)
    assert.equal(queue.isStream, false)
    assert.equal(queue.resumeOffset, undefined)
  })

  it('is dropped if the broker takes no offset for the queue', () => {
    const replyText =
      "PRECONDITION_FAILED - invalid arg 'x-stream-offset' for queue 'q' in vhost '/' of queue type classic"
    const refusal = new ChannelClosedError('', { replyCode: 406, replyText })
    const position = new StreamPosition(undefined)
    assert.equal(position.refused(refusal), false, 'it was refused without one')
    position.delivered(1, 100)
    assert.equal(position.refused(new ChannelClosedError('', { replyCode: 404, replyText: 'NOT_FOUND' })), false)
    assert.equal(position.resumeOffset, 100n)
    assert.equal(position.refused(refusal), true)
    assert.equal(position.refused(refusal), false)
    position.delivered(2, 101)
    assert.equal(position.resumeOffset, undefined)
  })
})
